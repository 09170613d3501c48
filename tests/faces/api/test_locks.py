"""Locks of WebDAV and changes by REST meet in one place: each stops the other."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.faces.api.conftest import Api, race
from tests.faces.conftest import ServedDrive
from tests.faces.rules.requests import lock


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


_CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("put", "/files/{file}/rename", {"newName": "new"}),
    ("post", "/files/{file}/move", {"targetFolderId": "{target}"}),
    ("post", "/files/{file}/versions/{version}/restore", None),
    ("delete", "/files/{file}", None),
    ("put", "/folders/{inner}/rename", {"newName": "new"}),
    ("post", "/folders/{inner}/move", {"targetParentId": "{target}"}),
    ("delete", "/folders/{inner}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), _CHANGES)
def test_a_lock_stops_who_has_not_its_token(
    api: Api, folder: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    ids = {"inner": api.make_folder(f"{folder}/a"), "target": api.make_folder(f"{folder}/to")}
    ids["file"] = api.make_file(f"{folder}/a/x", b"first")
    assert api.drive.ask("PUT", f"/dav/{folder}/a/x", b"second", user="other").status == 204
    ids["version"] = api.get(f"/files/{ids['file']}/versions")[1]["versions"][0]["id"]
    path = path.format(**ids)
    sent = None if body is None else {name: value.format(**ids) for name, value in body.items()}
    reply, token = lock(api.drive, f"/dav/{folder}/a/x", user="other")
    assert reply.status == 200
    ask = getattr(api, method)
    status, answer = ask(path, json=sent)
    assert (status, answer["error"]) == (423, "LOCKED")
    assert (answer["lockedBy"], answer["lockPath"]) == ("other", f"/{folder}/a/x")
    assert ask(path, json=sent, Lock_Token=f"<{token}>")[0] == 423  # a token is not a secret: it is the other's
    assert ask(path, json=sent, user="other", Lock_Token="<urn:uuid:nobody>")[0] == 423
    assert ask(path, json=sent, user="other", Lock_Token=f"<{token}>")[0] == 200
    assert api.get(f"/files/{ids['file']}")[0] in (200, 400)  # reading is free


def test_a_lock_of_the_folder_stops_what_comes_into_it(api: Api, folder: str) -> None:
    target = api.make_folder(f"{folder}/to")
    id = api.make_file(f"{folder}/x")
    _, token = lock(api.drive, f"/dav/{folder}/to", Depth="0")
    body = {"targetFolderId": target}
    for what in ("move", "copy"):
        assert api.post(f"/files/{id}/{what}", json=body)[1]["error"] == "LOCKED"
    assert api.post("/folders", json={"name": "x", "parentId": target})[1]["error"] == "LOCKED"
    assert api.post(f"/files/{id}/move", json=body, Lock_Token=token)[0] == 200


def test_what_was_renamed_is_locked_no_more(api: Api, folder: str) -> None:
    """The lock died with the move (RFC 4918 §9.9): the client's next save by its token fails, and loses nothing."""
    id = api.make_file(f"{folder}/x", b"content")
    _, token = lock(api.drive, f"/dav/{folder}/x")
    assert api.put(f"/files/{id}/rename", json={"newName": "y"}, Lock_Token=token)[0] == 200
    assert [each for each in api.get("/locks")[1]["locks"] if each["id"] == token] == []
    assert api.drive.ask("PUT", f"/dav/{folder}/x", b"late", If=f"(<{token}>)").status == 412
    assert api.read(f"{folder}/y") == b"content" and not api.exists(f"{folder}/x")


def test_list_and_break(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/x")
    _, token = lock(api.drive, f"/dav/{folder}/x", owner=b"Office", user="other")
    for user, sees in ((None, True), ("other", True), ("viewer", False)):
        status, body = api.get("/locks", user=user)
        found = [each for each in body["locks"] if each["id"] == token]
        assert status == 200 and bool(found) == sees
    shown = next(each for each in api.get("/locks")[1]["locks"] if each["id"] == token)
    assert shown.pop("expiresAt") and "Office" in shown.pop("owner")
    assert shown == {"id": token, "path": f"/{folder}/x", "user": "other", "scope": "exclusive", "deep": False}
    assert api.delete(f"/locks/{token}", user="viewer")[0] == 403
    for wrong in ("nobody", "%00"):
        assert api.delete(f"/locks/{wrong}")[1]["error"] == "NOT_FOUND"
    assert api.delete(f"/locks/{token}")[0] == 200
    assert api.delete(f"/locks/{token}")[0] == 404
    assert api.put(f"/files/{id}/rename", json={"newName": "y"})[0] == 200


def test_a_lock_and_a_rename_never_cross(api: Api, folder: str) -> None:
    """Whichever is first holds: the file is locked where it is and the rename refused, or the lock is of a new, empty
    file under the old name."""
    for number in range(6):
        id = api.make_file(f"{folder}/{number}", b"content")
        (status, _), (reply, token) = race(
            partial(api.put, f"/files/{id}/rename", json={"newName": f"{number}-new"}, user="other"),
            partial(lock, api.drive, f"/dav/{folder}/{number}"),
        )
        locked = [each["path"] for each in api.get("/locks")[1]["locks"] if each["id"] == token]
        assert locked == [f"/{folder}/{number}"]
        if status == 200:
            assert (reply.status, api.read(f"{folder}/{number}")) == (201, b"")
            assert api.read(f"{folder}/{number}-new") == b"content"
        else:
            assert (status, reply.status) == (423, 200)
            assert api.read(f"{folder}/{number}") == b"content" and not api.exists(f"{folder}/{number}-new")
