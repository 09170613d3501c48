"""Grants by WebDAV and REST: the same answers to the same questions, at once, from every server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faces.api.conftest import Api
from tests.faces.bad_input import LOCKINFO
from tests.faces.conftest import ServedDrive
from tests.faces.rights_doors import DavDoor, RestDoor
from tests.faces.rights_table import CASES, Ground, hold_against
from tests.faces.rules.requests import lock
from vfs.model import Role

_USERS = {Role.EDITOR: "other", Role.VIEWER: "viewer", Role.ADMIN: "admin"}


@pytest.fixture
def ground(api: Api, request: pytest.FixtureRequest) -> Iterator[Ground]:
    ground = Ground(api.drive.kelp, _USERS[request.param.role], request.param)
    yield ground
    ground.clear()


@pytest.mark.parametrize("door", [DavDoor, RestDoor], ids=["dav", "rest"])
@pytest.mark.parametrize("ground", CASES, ids=str, indirect=True)
def test_each_operation(api: Api, ground: Ground, door: type[DavDoor | RestDoor]) -> None:
    hold_against(door(api, ground.user), ground)


# --- who may say so ---


def give(api: Api, folder: str, level: str, **to: str) -> str:
    """The grant's id."""
    status, body = api.post(f"/folders/{folder}/grants", json={"level": level, **to})
    assert status == 201, body
    given: str = body["grant"]["id"]
    return given


def take_back(api: Api, folder: str, grant: str) -> None:
    assert api.delete(f"/folders/{folder}/grants/{grant}")[0] == 200


@pytest.fixture
def free(api: Api, folder: str) -> Iterator[str]:
    """The id of a fresh folder; its grants go with the test."""
    one = f"/folders/{api.id_of(folder)}/grants"
    yield api.id_of(folder)
    for each in api.get(one)[1]["grants"]:
        assert api.delete(f"{one}/{each['id']}")[0] == 200


def test_who_manages_a_folder_says_who_may_what(api: Api, folder: str, free: str) -> None:
    inner = api.make_folder(f"{folder}/in")
    to_viewer = {"level": "none", "user": "viewer"}
    assert api.post(f"/folders/{inner}/grants", json=to_viewer, user="other")[0] == 403
    assert api.get(f"/folders/{inner}/grants", user="other")[0] == 403
    give(api, inner, "manage", user="OTHER")
    status, body = api.post(f"/folders/{inner}/grants", json=to_viewer, user="other")
    assert (status, body["grant"]["subject"]["name"], body["grant"]["level"]) == (201, "viewer", "none")
    again = api.post(f"/folders/{inner}/grants", json={**to_viewer, "level": "read"}, user="other")[1]["grant"]
    assert (again["id"], again["level"]) == (body["grant"]["id"], "read")
    assert len(api.get(f"/folders/{inner}/grants", user="other")[1]["grants"]) == 2
    assert api.post(f"/folders/{free}/grants", json=to_viewer, user="other")[0] == 403
    token = api.post("/tokens", json={"name": "x"}, user="other")[1]["secret"]
    assert api.post(f"/folders/{inner}/grants", json=to_viewer, Authorization=f"Bearer {token}")[0] == 403
    assert api.delete(f"/folders/{inner}/grants/{again['id']}", user="viewer")[0] == 403
    assert api.delete(f"/folders/{free}/grants/{again['id']}")[0] == 404
    for each in api.get(f"/folders/{inner}/grants", user="other")[1]["grants"]:
        assert api.delete(f"/folders/{inner}/grants/{each['id']}")[0] == 200


@pytest.mark.parametrize(
    ("to", "status", "error"),
    [
        ({"user": "nobody"}, 404, "NOT_FOUND"),
        ({"group": "nobody"}, 404, "NOT_FOUND"),
        ({"userId": "nobody"}, 404, "NOT_FOUND"),
        ({"groupId": "n\0"}, 404, "NOT_FOUND"),
        ({}, 400, "INVALID_REQUEST"),
        ({"user": "other", "group": "x"}, 400, "INVALID_REQUEST"),
    ],
)
def test_grants_to_nobody(api: Api, free: str, to: dict[str, str], status: int, error: str) -> None:
    answer = api.post(f"/folders/{free}/grants", json={"level": "read", **to})
    assert (answer[0], answer[1]["error"]) == (status, error)
    assert api.post(f"/folders/{free}/grants", json={"level": "read", **to}, user="other")[0] in (400, 403)
    assert (
        api.post("/folders/nothing/grants", json={"level": "read", "user": "other"})[1]["error"] == "FOLDER_NOT_FOUND"
    )


# --- at once, everywhere ---


def looks(drive: ServedDrive, folder: str, file: str, user: str) -> list[bool]:
    """Whether it can be seen, in each way that something is remembered of."""
    listed = drive.ask("PROPFIND", f"/dav/{folder}", user=user, Depth="1")
    answers = [
        drive.ask("PROPFIND", f"/dav/{folder}/in", user=user, Depth="1").status == 207,
        drive.ask("GET", f"/dav/{folder}/in/a", user=user).status == 200,
        drive.ask("GET", f"/api/files/{file}/download", user=user).status == 200,
        f"{folder}/in/" in listed.text,
    ]
    assert listed.status == 207
    return answers


def test_a_change_of_rights_counts_at_once_on_every_server(
    api: Api, second_server: ServedDrive, folder: str, free: str
) -> None:
    inner, user = api.make_folder(f"{folder}/in"), "other"
    file = api.make_file(f"{folder}/in/a")
    group = api.post("/groups", json={"name": folder})[1]["group"]["id"]
    me = api.get("/users/me", user=user)[1]["user"]["id"]
    api.post(f"/groups/{group}/members", json={"userId": me})

    def see(expected: bool) -> None:
        for drive in (second_server, api.drive, second_server):
            assert looks(drive, folder, file, user) == [expected] * 4

    see(True)
    none = give(api, inner, "none", user=user)
    see(False)
    take_back(api, inner, none)
    see(True)
    give(api, inner, "none", groupId=group)
    see(False)
    assert api.delete(f"/groups/{group}/members/{me}")[0] == 200
    see(True)
    api.post(f"/groups/{group}/members", json={"userId": me})
    see(False)
    assert api.delete(f"/groups/{group}")[0] == 200
    see(True)


def test_another_role_counts_at_once_on_every_server(api: Api, second_server: ServedDrive, folder: str) -> None:
    name = f"user-{folder}"
    user = api.post("/users", json={"name": name, "password": api.drive.password})[1]["user"]["id"]
    assert second_server.ask("PUT", f"/dav/{folder}/a", b"a", user=name).status == 201
    for role, status in (("viewer", 403), ("editor", 204)):
        assert api.put(f"/users/{user}", json={"role": role})[0] == 200
        for drive in (second_server, api.drive):
            assert drive.ask("PUT", f"/dav/{folder}/a", b"b", user=name).status == status


# --- what is not named, and not lost ---


def test_no_refusal_names_what_may_not_be_seen(api: Api, folder: str, free: str) -> None:
    inner = api.make_folder(f"{folder}/in")
    api.make_file(f"{folder}/in/a")  # on its way to the NAS
    give(api, inner, "none", user="other")
    impatient = Api(api.drive, patient=False)
    for status, body in (
        impatient.delete(f"/folders/{free}", user="other"),
        impatient.post(f"/folders/{free}/move", json={"targetParentId": None, "newName": "x"}, user="other"),
        api.post("/folders", json={"parentId": free, "name": "in", "conflictStrategy": "RENAME"}, user="other"),
    ):
        assert (status, body["error"]) == (403, "FORBIDDEN")
        assert set(body) == {"error", "message", "traceId"}
    take_back(api, inner, api.get(f"/folders/{inner}/grants")[1]["grants"][0]["id"])


def test_a_history_tells_of_grants_only_to_who_may_give_them(api: Api, folder: str, free: str) -> None:
    give(api, free, "read", user="viewer")
    told = {user: api.get(f"/folders/{free}/history", user=user)[1]["history"] for user in ("admin", "other", "viewer")}
    assert [line["detail"] for line in told["admin"] if line["event"] == "grant"] == ["read to viewer"]
    assert [line["event"] for line in told["other"]] == [line["event"] for line in told["viewer"]] == ["create"]
    give(api, free, "manage", user="other")
    assert api.get(f"/folders/{free}/history?limit=1", user="other")[1]["history"][0]["detail"] == "manage to other"


def test_a_deep_lock_holds_only_what_is_ones_own_to_change(api: Api, folder: str, free: str) -> None:
    """Else it would keep others from what the caller may not touch, and a refusal would name what he may not see."""
    inner = api.make_folder(f"{folder}/in")
    api.make_file(f"{folder}/in/a")
    give(api, inner, "none", user="other")
    _, held = lock(api.drive, f"/dav/{folder}/in/a")
    for path in (folder, ""):
        reply = api.drive.ask("LOCK", f"/dav/{path}", LOCKINFO, user="other", Depth="infinity")
        assert reply.status == 403
        assert "in/a" not in reply.text
    assert api.drive.ask("LOCK", f"/dav/{folder}", LOCKINFO, user="other", Depth="0").status == 200
    assert api.delete(f"/locks/{held}")[0] == 200
    take_back(api, inner, api.get(f"/folders/{inner}/grants")[1]["grants"][0]["id"])


def test_the_trash_is_ones_own_as_far_as_one_may_still_write(api: Api, folder: str, free: str) -> None:
    file = api.make_file(f"{folder}/a")
    assert api.delete(f"/files/{file}", user="other")[0] == 200
    give(api, free, "read", user="other")
    assert api.delete(f"/trash/{file}", user="other")[0] == 403
    assert api.post(f"/trash/{file}/restore", json={}, user="other")[0] == 403
    assert api.delete("/trash", user="other")[0] == 200
    give(api, free, "write", user="other")
    assert api.post(f"/trash/{file}/restore", json={}, user="other")[0] == 200
    assert api.read(f"{folder}/a") == b"bytes"


def test_what_became_others_in_the_trash_is_not_purged(api: Api, folder: str, free: str) -> None:
    other = api.get("/users/me", user="other")[1]["user"]["id"]
    whole, inner = api.make_folder(f"{folder}/whole"), api.make_folder(f"{folder}/whole/in")
    members = []
    for level in ("none", "write"):
        group = api.post("/groups", json={"name": f"{folder} {level}"})[1]["group"]["id"]
        members.append(f"/groups/{group}/members")
        assert api.post(members[-1], json={"userId": other})[0] == 200
        give(api, inner, level, groupId=group)
    assert api.delete(f"/folders/{whole}", user="other")[0] == 200
    assert api.delete(f"{members[1]}/{other}")[0] == 200
    assert api.delete(f"/trash/{whole}", user="other")[0] == 403
    assert api.delete("/trash", user="other")[0] == 200
    assert api.get(f"/folders/{whole}")[1]["error"] == "FILE_IN_TRASH"
    for each in members:
        assert api.delete(each.removesuffix("/members"))[0] == 200


def test_what_holds_something_of_others_does_not_give_way(api: Api, folder: str, free: str) -> None:
    inner = api.make_folder(f"{folder}/taken")
    secret = api.make_folder(f"{folder}/taken/secret")
    api.make_folder(f"{folder}/comes")
    give(api, secret, "read", user="other")
    for method in ("MOVE", "COPY"):
        target = f"/dav/{folder}/taken"
        reply = api.drive.ask(method, f"/dav/{folder}/comes", user="other", Destination=target)
        assert reply.status == 403
    assert (api.id_of(f"{folder}/taken"), api.id_of(f"{folder}/taken/secret")) == (inner, secret)
    merged = {"targetParentId": inner, "newName": "secret", "conflictStrategy": "MERGE"}
    assert api.post(f"/folders/{api.id_of(f'{folder}/comes')}/move", json=merged, user="other")[0] == 403
    take_back(api, secret, api.get(f"/folders/{secret}/grants")[1]["grants"][0]["id"])


def test_an_older_content_is_shown_again_by_who_may_write(api: Api, folder: str, free: str) -> None:
    api.make_file(f"{folder}/a", b"old")
    file = api.id_of(f"{folder}/a")
    api.drive.ask("PUT", f"/dav/{folder}/a", b"new", user="other")
    give(api, free, "read", user="other")
    version = api.get(f"/files/{file}/versions", user="other")[1]["versions"][0]["id"]
    again = f"/files/{file}/versions/{version}/restore"
    assert api.post(again, json={}, user="other")[0] == 403
    give(api, free, "write", user="other")
    assert api.post(again, json={}, user="other")[0] == 200
    assert api.read(f"{folder}/a") == b"old"


def test_uploads_of_others_are_an_admins_but_not_for_each_of_his_tokens(api: Api, folder: str) -> None:
    begun = {"fileName": "a", "folderId": api.id_of(folder)}
    session = api.post("/files/multipart/initiate", json=begun, user="other")[1]["sessionId"]
    one, tokens = f"/files/multipart/{session}", {}
    for scope in ("write", "admin"):
        tokens[scope] = "Bearer " + api.post("/tokens", json={"name": scope, "scopes": [scope]})[1]["secret"]
    assert api.get(f"{one}/status", Authorization=tokens["write"])[0] == 404
    assert api.delete(one, Authorization=tokens["write"])[0] == 404
    assert api.delete(one, Authorization=tokens["admin"])[0] == 200


def test_an_upload_in_parts_needs_the_right_at_both_ends(api: Api, folder: str, free: str) -> None:
    wanted = {"fileName": "a", "folderId": free, "totalSize": 5}
    for level, status in (("none", 404), ("read", 403)):
        give(api, free, level, user="other")
        assert api.post("/files/multipart/initiate", json=wanted, user="other")[0] == status
    give(api, free, "write", user="other")
    session = api.post("/files/multipart/initiate", json=wanted, user="other")[1]["sessionId"]
    one = f"/files/multipart/{session}"
    assert api.ask("PUT", f"{one}/parts/1", body=b"bytes", user="other").status == 200
    give(api, free, "read", user="other")
    assert api.post(f"{one}/complete", json={}, user="other")[0] == 403
    assert api.get(f"{one}/status", user="viewer")[0] == 404
    give(api, free, "write", user="other")
    assert api.post(f"{one}/complete", json={}, user="other")[0] in (200, 201)
    assert api.read(f"{folder}/a") == b"bytes"
