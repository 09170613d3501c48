"""Files by their ids: every strategy at every obstacle, what the answers say, and what is there afterwards."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from tests.faces.api.conftest import ADMIN, Api
from tests.faces.conftest import ServedDrive
from tests.symbolic_links import leads_to
from vfs import links
from vfs.model import Kind
from vfs.operations import by_id


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


# strategy, what has the name in the target folder → status, error or reason, names in the target folder afterwards
_MOVES = [
    ("ERROR", None, 200, None, {"a.txt": b"mine"}),
    ("ERROR", "file", 409, "DUPLICATE_FILE_EXISTS", {"a.txt": b"theirs"}),
    ("ERROR", "folder", 409, "DUPLICATE_FOLDER_EXISTS", {}),
    ("RENAME", "file", 200, None, {"a.txt": b"theirs", "a (1).txt": b"mine"}),
    ("OVERWRITE", "file", 200, None, {"a.txt": b"mine"}),
    ("SKIP", "file", 200, "DUPLICATE_FILE_EXISTS", {"a.txt": b"theirs"}),
    ("SKIP", "folder", 200, "DUPLICATE_FOLDER_EXISTS", {}),
    ("SKIP", None, 200, None, {"a.txt": b"mine"}),
]


@pytest.mark.parametrize("what", ["move", "copy"])
@pytest.mark.parametrize(("strategy", "obstacle", "status", "said", "after"), _MOVES)
def test_to_another_folder(
    api: Api, folder: str, what: str, strategy: str, obstacle: str | None, status: int, said: str | None, after: dict
) -> None:
    id, target = api.make_file(f"{folder}/a.txt", b"mine"), api.make_folder(f"{folder}/to")
    taken = {"file": api.make_file, "folder": api.make_folder}[obstacle](f"{folder}/to/a.txt") if obstacle else None
    if obstacle == "file":
        api.make_file(f"{folder}/to/a.txt", b"theirs")
    got, body = api.post(f"/files/{id}/{what}", json={"targetFolderId": target, "conflictStrategy": strategy})
    stayed = said is not None
    assert got == (201 if what == "copy" and not stayed else status), body
    if status == 409:
        assert body["error"] == said and body["availableActions"] == ["OVERWRITE", "RENAME", "SKIP"]
        assert body["existingFolder" if obstacle == "folder" else "existingFile"]["id"] == taken
    elif stayed:
        assert body == {"success": True, "skipped": True, "reason": said}
    else:
        assert (body["file"]["id"] == id) == (what == "move")
        assert body["file"]["folderId"] == target and body["file"]["path"].startswith(f"/{folder}/to/a")
    assert {name: api.read(f"{folder}/to/{name}") for name in after} == after
    assert api.exists(f"{folder}/a.txt") == (what == "copy" or stayed)
    if what == "move" and strategy == "OVERWRITE":
        assert api.get(f"/files/{taken}")[1]["error"] == "FILE_IN_TRASH"
    if what == "copy" and strategy == "OVERWRITE":
        assert body["file"]["id"] == taken and len(api.get(f"/files/{taken}/versions")[1]["versions"]) <= 1


@pytest.mark.parametrize(
    ("new", "strategy", "status", "code", "after"),
    [
        ("b.txt", "ERROR", 200, None, "b.txt"),
        ("a.txt", "ERROR", 200, None, "a.txt"),  # its own name
        ("A.TXT", "ERROR", 200, None, "A.TXT"),
        ("taken.txt", "ERROR", 409, "DUPLICATE_FILE_EXISTS", "a.txt"),
        ("taken.txt", "RENAME", 200, None, "taken (1).txt"),
        ("folder", "ERROR", 409, "DUPLICATE_FOLDER_EXISTS", "a.txt"),
        ("folder", "RENAME", 200, None, "folder (1)"),
        ("한글 이름.pdf", "ERROR", 200, None, "한글 이름.pdf"),
        ("", "ERROR", 400, "INVALID_NAME", "a.txt"),
        ("a/b", "ERROR", 400, "INVALID_NAME", "a.txt"),
        ("..", "ERROR", 400, "INVALID_NAME", "a.txt"),
        ("nul\0", "ERROR", 400, "INVALID_NAME", "a.txt"),
        ("가" * 100, "ERROR", 400, "INVALID_NAME", "a.txt"),
        ("b.txt", "OVERWRITE", 400, "INVALID_REQUEST", "a.txt"),
        (7, "ERROR", 400, "INVALID_REQUEST", "a.txt"),
    ],
)
def test_rename(api: Api, folder: str, new: object, strategy: str, status: int, code: str | None, after: str) -> None:
    id = api.make_file(f"{folder}/a.txt", b"content")
    api.make_file(f"{folder}/taken.txt")
    api.make_folder(f"{folder}/folder")
    got, body = api.put(f"/files/{id}/rename", json={"newName": new, "conflictStrategy": strategy})
    assert (got, body.get("error")) == (status, code), body
    assert api.get(f"/files/{id}")[1]["file"]["name"] == after
    assert api.read(f"{folder}/{after}") == b"content"
    if status == 409:
        assert body["availableActions"] == ["RENAME"]
    elif status == 200:
        assert body["file"]["name"] == after and body["file"]["mimeType"] != ""


def test_what_is_not_there(api: Api, folder: str) -> None:
    id, there = api.make_file(f"{folder}/a.txt"), api.make_folder(f"{folder}/to")
    gone = api.make_folder(f"{folder}/gone")
    assert api.delete(f"/folders/{gone}")[0] == 200
    for target in ("nobody", gone, id, "\0"):
        status, body = api.post(f"/files/{id}/move", json={"targetFolderId": target})
        assert (status, body["error"]) == (404, "TARGET_FOLDER_NOT_FOUND")
    for wrong in ("nobody", there, "%00", "%ff"):
        assert api.put(f"/files/{wrong}/rename", json={"newName": "x"})[1]["error"] == "FILE_NOT_FOUND"
        assert api.get(f"/files/{wrong}")[1]["error"] == "FILE_NOT_FOUND"
    assert api.put("/folders/root/rename", json={"newName": "x"})[0] == 403


def test_to_where_it_is(api: Api, folder: str) -> None:
    """Nothing happens, by no strategy: it is not its own obstacle."""
    id = api.make_file(f"{folder}/a.txt", b"content")
    parent = api.id_of(folder)
    for strategy in ("ERROR", "OVERWRITE", "RENAME", "SKIP"):
        status, body = api.post(f"/files/{id}/move", json={"targetFolderId": parent, "conflictStrategy": strategy})
        assert (status, body["file"]["name"]) == (200, "a.txt")
    assert api.read(f"{folder}/a.txt") == b"content"


def test_moved_to_the_drive_itself_under_a_new_name(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    status, body = api.post(f"/files/{id}/move", json={"targetFolderId": None, "newName": f"{folder}.txt"})
    assert (status, body["file"]["path"], body["file"]["folderId"]) == (200, f"/{folder}.txt", None)


def test_to_the_trash(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    status, body = api.delete(f"/files/{id}")
    assert status == 200
    event = body["file"].pop("syncEventId")
    assert body == {"success": True, "file": {"id": id, "name": "a.txt", "state": "TRASHED"}}
    assert api.get(f"/sync-events/{event}")[1]["syncEvent"]["eventType"] == "TRASH"
    assert api.delete(f"/files/{id}")[1]["error"] == "FILE_ALREADY_TRASHED"
    assert api.get(f"/files/{id}")[1]["error"] == "FILE_IN_TRASH"
    assert api.delete(f"/trash/{id}")[0] == 200
    assert api.delete(f"/files/{id}")[1]["error"] == "FILE_DELETED"


def test_who_may(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    assert api.get(f"/files/{id}", user="viewer")[0] == 200
    for method, path, body in (
        ("put", "rename", {"newName": "b"}),
        ("put", "rename", {"newName": "a.txt"}),
        ("post", "move", {"targetFolderId": None}),
        ("post", "copy", {"targetFolderId": None}),
    ):
        status, answer = getattr(api, method)(f"/files/{id}/{path}", json=body, user="viewer")
        assert (status, answer["error"]) == (403, "FORBIDDEN"), path
    assert api.delete(f"/files/{id}", user="viewer")[0] == 403


def test_history_and_sync_status(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    for name in ("b.txt", "c.txt"):
        assert api.put(f"/files/{id}/rename", json={"newName": name}, user="other")[0] == 200
    status, body = api.get(f"/files/{id}/history")
    lines = [(line["event"], line["user"], line["face"], line["detail"]) for line in body["history"]]
    assert status == 200 and lines == [
        ("rename", "other", "rest", f"/{folder}/c.txt"),
        ("rename", "other", "rest", f"/{folder}/b.txt"),
        ("create", "admin", "dav", f"/{folder}/a.txt"),
    ]
    status, first = api.get(f"/files/{id}/history?limit=2")
    status, rest = api.get(f"/files/{id}/history?limit=2&cursor={first['nextCursor']}")
    assert first["history"] + rest["history"] == body["history"] and rest["nextCursor"] is None
    assert api.get(f"/files/{id}/history?cursor=x")[1]["error"] == "INVALID_REQUEST"
    status, body = api.get(f"/files/{id}/sync-status")
    assert status == 200 and body["fileId"] == id and body["syncEvent"]["eventType"] == "RENAME"
    assert body["storageStatus"]["cache"] == "AVAILABLE" and body["storageStatus"]["nas"] in ("SYNCING", "AVAILABLE")


def test_versions(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt", b"first")
    reply = api.drive.ask("PUT", f"/dav/{folder}/a.txt", b"second", user="other")  # another user: worth a version
    assert reply.status == 204
    status, body = api.get(f"/files/{id}/versions")
    (version,) = body["versions"]
    assert (status, version["size"], version["createdBy"]) == (200, 5, "admin")
    reply = api.ask("GET", f"/files/{id}/versions/{version['id']}/download")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"first", "text/plain")
    assert "a.txt" in reply.headers["content-disposition"]
    reply = api.ask("GET", f"/files/{id}/versions/{version['id']}/download", Range="bytes=1-2")
    assert (reply.status, reply.body) == (206, b"ir")
    other = api.make_file(f"{folder}/b.txt")
    for wrong in (
        f"/files/{other}/versions/{version['id']}",
        f"/files/{id}/versions/nobody",
        f"/files/{id}/versions/%00",
    ):
        assert api.get(f"{wrong}/download")[1]["error"] == "FILE_NOT_FOUND"
        assert api.post(f"{wrong}/restore")[1]["error"] == "FILE_NOT_FOUND"
    assert api.post(f"/files/{id}/versions/{version['id']}/restore", user="viewer")[0] == 403
    status, body = api.post(f"/files/{id}/versions/{version['id']}/restore")
    assert (status, body["file"]["id"], body["file"]["size"]) == (200, id, 5)
    assert api.read(f"{folder}/a.txt") == b"first"


def test_a_symbolic_link_stays_one(api: Api, folder: str) -> None:
    """It is a file by its media type: uploaded, copied, moved, trashed and brought back by REST and by WebDAV."""
    data, there = links.packed(b"../there"), api.make_folder(f"{folder}/to")
    query = urlencode({"folderId": api.id_of(folder), "fileName": "a.txt"})
    assert api.ask("POST", f"/files/upload?{query}", body=data, Content_Type=links.TYPE).status == 200
    id = api.id_of(f"{folder}/a.txt")
    assert api.post(f"/files/{id}/copy", json={"targetFolderId": there})[0] == 201
    api.make_file(f"{folder}/to/taken.png")
    for method, source, target in (
        ("COPY", "a.txt", "to/copy.html"),
        ("COPY", "a.txt", "to/taken.png"),
        ("COPY", "to", "again"),
        ("MOVE", "again/a.txt", "moved"),
    ):
        reply = api.drive.ask(method, f"/dav/{folder}/{source}", Destination=f"/dav/{folder}/{target}")
        assert reply.status in (201, 204), (method, target, reply)
    paths = ("a.txt", "moved", *(f"{into}/{name}" for into in ("to", "again") for name in ("copy.html", "taken.png")))
    assert [target_of(api, f"{folder}/{path}") for path in paths] == [b"../there"] * 6
    for path in ("a.txt", "moved"):
        trashed = api.id_of(f"{folder}/{path}")
        assert api.delete(f"/files/{trashed}")[0] == api.post(f"/trash/{trashed}/restore", json={})[0] == 200
        assert target_of(api, f"{folder}/{path}") == b"../there"
    assert api.drive.ask("PUT", f"/dav/{folder}/a.txt", data, user="other").status == 204
    assert api.read(f"{folder}/a.txt") == data and target_of(api, f"{folder}/a.txt") is None
    (version,) = api.get(f"/files/{id}/versions")[1]["versions"]
    assert api.post(f"/files/{id}/versions/{version['id']}/restore")[1]["file"]["mimeType"] == links.TYPE
    assert target_of(api, f"{folder}/a.txt") == b"../there"


def target_of(api: Api, path: str) -> bytes | None:
    return leads_to(api.drive.kelp, by_id.find(api.drive.kelp, ADMIN, api.id_of(path), Kind.FILE))
