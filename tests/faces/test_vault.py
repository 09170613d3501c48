"""A vault over HTTP: made by REST, worked in by WebDAV, shown by both, closed for a server without the key."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.faces.conftest import ServedDrive, serve
from tests.rooms.vault.drive import close
from vfs.operations import server_keys

_PROPERTY = b'<D:propfind xmlns:D="DAV:" xmlns:K="urn:kelp:dav"><D:prop><K:vault/></D:prop></D:propfind>'


@pytest.fixture
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    for served in serve(tmp_path_factory.mktemp("drive")):
        server_keys.init(served.kelp, bits=3072)
        yield served


def rest(drive: ServedDrive, method: str, path: str, user: str | None = None, **body: object) -> tuple[int, Any]:
    sent = json.dumps(body).encode() if body else None
    headers = {"Prefer": "respond-async", "Content_Type": "application/json"}
    reply = drive.ask(method, f"/api{path}", sent, user=user, **headers)
    return reply.status, json.loads(reply.body)


def dav(drive: ServedDrive, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    reply = drive.ask(method, f"/dav/{quote(path)}", body, **headers)
    return reply.status, reply.body.decode()


def test_a_vault_on_every_face(drive: ServedDrive) -> None:
    status, answer = rest(drive, "POST", "/vaults", name="Täler", parentId=None)
    assert (status, answer["folder"]["vault"], answer["folder"]["path"]) == (201, {"root": True}, "/Täler")
    vault_id = answer["folder"]["id"]
    assert rest(drive, "POST", "/vaults", name="Täler")[1]["error"] == "DUPLICATE_FOLDER_EXISTS"
    assert rest(drive, "POST", "/vaults", name="x", parentId=vault_id)[1]["error"] == "CROSSES_VAULT"
    assert rest(drive, "POST", "/vaults", user="other", name="mine")[0] == 403
    status, answer = rest(drive, "GET", f"/folders/{vault_id}/vault")
    assert (status, answer["vault"]["generation"], answer["vault"]["folderId"]) == (200, 1, vault_id)
    assert [each["role"] for each in answer["vault"]["recipients"]] == ["server"]
    assert rest(drive, "GET", "/folders/root/vault")[1]["error"] == "INVALID_REQUEST"
    _worked_in_by_webdav(drive)
    _shown_by_rest(drive, vault_id)
    _no_folder_crosses(drive, vault_id)
    _closed(drive, vault_id)


def _worked_in_by_webdav(drive: ServedDrive) -> None:
    assert dav(drive, "MKCOL", "Täler/Bäche")[0] == 201
    for path in ("Täler/Bäche/Ahr.txt", "Täler/b.txt", "plain.txt"):
        assert dav(drive, "PUT", path, path.encode())[0] == 201
    assert dav(drive, "GET", "Täler/Bäche/Ahr.txt") == (200, "Täler/Bäche/Ahr.txt")
    assert dav(drive, "MOVE", "Täler/b.txt", Destination=drive.url + quote("Täler/Bäche/ä.txt"))[0] == 201
    assert dav(drive, "COPY", "Täler/Bäche", Destination=drive.url + quote("Täler/Copy"))[0] == 201
    listed = dav(drive, "PROPFIND", "Täler/Copy/", Depth="1")[1]
    assert all(f"<D:displayname>{name}</D:displayname>" in listed for name in ("Copy", "Ahr.txt", "ä.txt"))
    for path, depth, said in (("", "1", ["root"]), ("Täler/", "1", ["root", "inside", "inside"])):
        shown = dav(drive, "PROPFIND", path, _PROPERTY, Depth=depth)[1]
        found = [part.split("</K:vault>")[0] for part in shown.split('<K:vault xmlns:K="urn:kelp:dav">')[1:]]
        assert sorted(found) == sorted(said), shown


def _shown_by_rest(drive: ServedDrive, vault_id: str) -> None:
    for sort in ("name", "type", "size", "createdAt"):
        _, page = rest(drive, "GET", f"/folders/{vault_id}/children?sort={sort}&limit=1")
        _, more = rest(drive, "GET", f"/folders/{vault_id}/children?sort={sort}&limit=1&cursor={page['nextCursor']}")
        assert {each["name"] for each in (*page["folders"], *more["folders"])} == {"Bäche", "Copy"}
        assert page["folders"][0]["vault"] == {"root": False}
        _cursor_is_sealed(drive, vault_id, sort, page["nextCursor"])


def _cursor_is_sealed(drive: ServedDrive, vault_id: str, sort: str, cursor: str) -> None:
    """It tells no name where it is kept, and nobody opens by it what he has found elsewhere."""
    inside = base64.urlsafe_b64decode(cursor + "==")
    assert not any(each in inside.lower() for each in (b"b\\u00e4che", "bäche".encode(), b"copy"))
    assert rest(drive, "GET", f"/folders/{vault_id}/children?sort={sort}&limit=1")[1]["nextCursor"] != cursor
    changed = base64.urlsafe_b64encode(inside[:50] + bytes([inside[50] ^ 1]) + inside[51:]).decode().rstrip("=")
    _, page = rest(drive, "GET", f"/folders/{vault_id}/children?limit=500")
    copy = next(each["id"] for each in page["folders"] if each["name"] == "Copy")
    value = "0" if sort in ("size", "createdAt") else '""'
    plain = base64.urlsafe_b64encode(f'[0, {value}, "b"]'.encode()).decode().rstrip("=")
    order = "updatedAt" if sort == "name" else "name"
    for folder, by, wrong in (
        (vault_id, sort, changed), (vault_id, sort, plain), (vault_id, sort, "IiI"), (vault_id, order, cursor),
        (copy, sort, cursor), ("root", sort, cursor),
    ):  # fmt: skip
        status, answer = rest(drive, "GET", f"/folders/{folder}/children?sort={by}&cursor={wrong}")
        assert (status, answer["error"]) == (400, "INVALID_REQUEST"), (folder, by, wrong)


def _no_folder_crosses(drive: ServedDrive, vault_id: str) -> None:
    assert dav(drive, "MOVE", "Täler/Copy", Destination=drive.url + "out")[0] == 409
    _, made = rest(drive, "POST", "/folders", name="plain", parentId=None)
    assert made["folder"]["vault"] is None
    moved = rest(drive, "POST", f"/folders/{made['folder']['id']}/move", targetParentId=vault_id)
    assert (moved[0], moved[1]["error"]) == (409, "CROSSES_VAULT")


def _closed(drive: ServedDrive, vault_id: str) -> None:
    close(drive.kelp)
    assert dav(drive, "PUT", "plain2.txt", b"x")[0] == 201  # nothing is remembered any more
    assert dav(drive, "GET", "Täler/Bäche/Ahr.txt")[0] == 503
    assert dav(drive, "PUT", "Täler/new", b"x")[0] == 503
    assert dav(drive, "PROPFIND", "Täler/", Depth="1")[0] == 503
    assert dav(drive, "PROPFIND", "", Depth="1")[0] == 207
    status, answer = rest(drive, "GET", f"/folders/{vault_id}/children")
    assert (status, answer["error"]) == (503, "VAULT_KEY_MISSING")
    assert rest(drive, "GET", "/sync-events")[0] == 200
    assert dav(drive, "MOVE", "Täler", Destination=drive.url + "renamed")[0] == 201
    assert dav(drive, "DELETE", "renamed")[0] == 204
