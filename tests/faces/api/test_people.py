"""Users, groups, tokens and app passwords by REST: who may change them, and that it counts at once, everywhere."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive
from vfs.operations import tokens

PASSWORD = "correct horse"


def name() -> str:
    return f"u{uuid.uuid4().hex[:8]}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def new_user(api: Api, role: str = "editor") -> dict[str, Any]:
    status, body = api.post("/users", json={"name": name(), "password": PASSWORD, "role": role})
    assert status == 201, body
    user: dict[str, Any] = body["user"]
    return user


def new_token(api: Api, user: str | None = None, **wanted: Any) -> tuple[dict[str, Any], str]:
    status, body = api.post("/tokens", json={"name": "a program", **wanted}, user=user)
    assert status == 201, body
    return body["token"], body["secret"]


# --- users and groups ---


def test_users(api: Api) -> None:
    user = new_user(api)
    one = f"/users/{user['id']}"
    assert api.post("/users", json={"name": user["name"].upper(), "password": PASSWORD})[1]["error"] == "CONFLICT"
    assert api.get(one) == (200, {"success": True, "user": user})
    assert user in api.get("/users")[1]["users"]
    status, body = api.put(one, json={"name": name(), "role": "viewer"})
    assert (status, body["user"]["role"], body["user"]["id"]) == (200, "viewer", user["id"])
    assert api.put(one, json={})[0] == 400
    assert api.delete(one)[0] == 200
    assert api.get(one)[1]["error"] == "NOT_FOUND"
    assert api.delete(one)[0] == 404


@pytest.mark.parametrize("user", ["other", "viewer"])
def test_only_admins_see_and_change_people(api: Api, user: str) -> None:
    me = api.get("/users/me", user=user)[1]["user"]["id"]
    admin = api.get("/users/me")[1]["user"]["id"]
    given = {"name": name(), "password": PASSWORD}
    refused = [
        api.get("/users", user=user),
        api.post("/users", json=given, user=user),
        api.put(f"/users/{me}", json={"role": "admin"}, user=user),
        api.delete(f"/users/{me}", user=user),
        api.get("/groups", user=user),
        api.post("/groups", json={"name": "g"}, user=user),
        api.get("/tokens?everybodys=true", user=user),
    ]
    assert [status for status, _ in refused] == [403] * len(refused)
    assert api.get(f"/users/{me}", user=user)[0] == 200
    assert api.get(f"/users/{admin}", user=user)[0] == 404


def test_the_last_admin_is_neither_removed_nor_demoted(api: Api) -> None:
    admin = api.get("/users/me")[1]["user"]["id"]
    for answer in (api.delete(f"/users/{admin}"), api.put(f"/users/{admin}", json={"role": "editor"})):
        assert (answer[0], answer[1]["error"]) == (400, "INVALID_REQUEST")
    second = new_user(api, "admin")
    assert api.put(f"/users/{second['id']}", json={"role": "viewer"})[0] == 200
    assert api.get("/users/me")[1]["scopes"] == ["read", "write", "admin"]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "x", "password": "short"},
        {"name": "a:b", "password": PASSWORD},
        {"name": "a/b", "password": PASSWORD},
        {"name": "x\0", "password": PASSWORD},
        {"name": "x", "password": "nul\0" * 3},
        {"name": "x", "password": PASSWORD, "role": "king"},
        {"name": "x" * 256, "password": PASSWORD},
        {"password": PASSWORD},
    ],
)
def test_users_that_nobody_can_be(api: Api, given: dict[str, str]) -> None:
    assert api.post("/users", json=given)[0] == 400


@pytest.mark.parametrize("path", ["/users/%00", "/groups/%00", "/groups/%00/members/%00", "/tokens/%00"])
def test_ids_that_nothing_has(api: Api, path: str) -> None:
    assert api.delete(path)[0] == 404


def test_groups(api: Api) -> None:
    user = new_user(api)
    status, body = api.post("/groups", json={"name": name()})
    group = body["group"]
    one = f"/groups/{group['id']}"
    assert (status, group["members"], group["memberCount"]) == (201, [], 0)
    assert api.post("/groups", json={"name": group["name"].upper()})[0] == 409
    for _ in range(2):
        assert api.post(f"{one}/members", json={"userId": user["id"]})[1]["group"]["memberCount"] == 1
    assert api.get(one)[1]["group"]["members"] == [user]
    assert api.post(f"{one}/members", json={"userId": "nobody"})[0] == 404
    assert api.get("/users/me", Authorization=basic(user["name"], PASSWORD))[1]["groups"][0]["id"] == group["id"]
    assert api.put(one, json={"name": name()})[0] == 200
    assert api.delete(f"{one}/members/{user['id']}")[0] == 200
    assert api.delete(f"{one}/members/{user['id']}")[0] == 404
    assert api.delete(one)[0] == 200
    assert api.get(one)[0] == 404


# --- passwords ---


def test_a_new_password_counts_at_once_in_all_processes(api: Api, second_server: ServedDrive) -> None:
    user = new_user(api)
    old, new = basic(user["name"], PASSWORD), basic(user["name"], "battery staple")
    for drive in (api.drive, second_server):
        assert drive.ask("GET", "/api/users/me", Authorization=old).status == 200
    change = {"currentPassword": "battery staple", "newPassword": "battery staple"}
    assert api.put("/users/me/password", json=change, Authorization=old)[0] == 403
    change["currentPassword"] = PASSWORD
    assert api.put("/users/me/password", json=change, Authorization=old)[0] == 200
    for drive in (api.drive, second_server):
        assert drive.ask("GET", "/api/users/me", Authorization=old).status == 401
        assert drive.ask("PROPFIND", "/dav/", Authorization=old, Depth="0").status == 401
        assert drive.ask("PROPFIND", "/dav/", Authorization=new, Depth="0").status == 207


# --- tokens ---


def test_a_bearer_token_is_for_rest_and_can_be_revoked(api: Api, second_server: ServedDrive) -> None:
    token, secret = new_token(api, "other")
    bearer = f"Bearer {secret}"
    for drive in (api.drive, second_server):
        assert drive.ask("GET", "/api/users/me", Authorization=bearer).status == 200
        assert drive.ask("PROPFIND", "/dav/", Authorization=bearer, Depth="0").status == 401
        assert drive.ask("GET", "/api/users/me", Authorization=basic("other", secret)).status == 401
    listed = api.get("/tokens", user="other")[1]["tokens"]
    assert token["id"] in [each["id"] for each in listed] and secret not in str(listed)
    assert api.delete(f"/tokens/{token['id']}", user="viewer")[0] == 404
    assert api.delete(f"/tokens/{token['id']}", user="other")[0] == 200
    for drive in (api.drive, second_server):
        assert drive.ask("GET", "/api/users/me", Authorization=bearer).status == 401
    assert token["id"] not in [each["id"] for each in api.get("/tokens", user="other")[1]["tokens"]]


def test_an_app_password_is_for_basic_on_every_face(api: Api, second_server: ServedDrive) -> None:
    token, secret = new_token(api, "other", kind="app")
    login = basic("OTHER", secret)
    for drive in (api.drive, second_server):
        assert drive.ask("PROPFIND", "/dav/", Authorization=login, Depth="0").status == 207
        assert drive.ask("GET", "/api/users/me", Authorization=login).status == 200
        assert drive.ask("GET", "/api/users/me", Authorization=f"Bearer {secret}").status == 401
        assert drive.ask("GET", "/api/users/me", Authorization=basic("viewer", secret)).status == 401
    assert api.delete(f"/tokens/{token['id']}")[0] == 200  # an admin revokes anybody's
    for drive in (api.drive, second_server):
        assert drive.ask("PROPFIND", "/dav/", Authorization=login, Depth="0").status == 401


# Scopes of an admin's token, and what they are good for.
@pytest.mark.parametrize(
    ("scopes", "writes", "administers"),
    [(["read"], False, False), (["read", "write"], True, False), (["admin"], True, True)],
)
def test_scopes(api: Api, folder: str, scopes: list[str], writes: bool, administers: bool) -> None:
    _, secret = new_token(api, scopes=scopes)
    _, device = new_token(api, scopes=scopes, kind="app")
    for login in (f"Bearer {secret}", basic("admin", device)):
        assert api.get("/folders/root", Authorization=login)[0] == 200
        made = api.post("/folders", json={"name": name()}, Authorization=login)[0]
        assert made == (201 if writes else 403)
        assert api.get("/users", Authorization=login)[0] == (200 if administers else 403)
        other = api.get("/ip-policies/check?address=192.0.2.1", Authorization=login)[0]
        assert other == (200 if administers else 403)
        more = api.post("/tokens", json={"name": "more"}, Authorization=login)[0]
        assert more == (201 if administers else 403)
    login = basic("admin", device)
    put = api.drive.ask("PUT", f"/dav/{folder}/x", b"x", Authorization=login).status
    assert put == (201 if writes else 403)
    assert api.drive.ask("PROPFIND", f"/dav/{folder}", Authorization=login, Depth="0").status == 207


def test_what_a_token_cannot_be(api: Api) -> None:
    for given in (
        {"name": ""},
        {"name": "two\nlines"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "expiresAt": "2001-01-01T00:00:00Z"},
        {"name": "x", "expiresAt": "9999-01-01T00:00:00Z"},
        {"name": "x", "expiresAt": "2100-01-01T00:00:00"},
    ):
        assert api.post("/tokens", json=given)[0] == 400, given
    assert api.post("/tokens", json={"name": "x", "userId": "nobody"})[0] == 404
    admin = api.get("/users/me")[1]["user"]["id"]
    assert api.post("/tokens", json={"name": "x", "userId": admin}, user="other")[0] == 404


def test_an_admin_makes_a_token_for_somebody(api: Api) -> None:
    user = new_user(api, "viewer")
    token, secret = new_token(api, userId=user["id"], expiresAt="2100-01-01T00:00:00Z")
    assert (token["user"], token["lastUsedAt"]) == (user["name"], None)
    assert api.get("/users/me", Authorization=f"Bearer {secret}")[1]["user"] == user
    tokens.note_uses(api.drive.kelp)
    assert api.drive.kelp.background.wait(10)
    listed = {each["id"]: each for each in api.get("/tokens?everybodys=true")[1]["tokens"]}
    assert listed[token["id"]]["lastUsedAt"] is not None
    assert api.delete(f"/users/{user['id']}")[0] == 200
    assert api.get("/users/me", Authorization=f"Bearer {secret}")[0] == 401
