"""Files in one request: raw and in a form (spec §6, seed 002 §1-1), strategies, the size rule."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from jobs import mirror
from tests import cache_listing
from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive

Parts = list[tuple[str, str | None, bytes]]


def form(parts: Parts, boundary: str = "x7x") -> tuple[bytes, str]:
    """(body, Content-Type) of (name, file name or None, bytes)."""
    body = b""
    for name, file_name, data in parts:
        file = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def sent(api: Api, body: bytes, *, user: str | None = None, type_: str = "", **fields: str) -> tuple[int, Any]:
    headers = {"Content_Type": type_} if type_ else {}
    reply = api.ask("POST", f"/files/upload?{urlencode(fields)}", body=body, user=user, **headers)
    return reply.status, json.loads(reply.body)


def sent_form(api: Api, parts: Parts) -> tuple[int, Any]:
    body, type_ = form(parts)
    return sent(api, body, type_=type_)


def test_raw(api: Api, folder: str) -> None:
    status, answer = sent(api, b"content", folderId=api.id_of(folder), fileName="raw.txt")
    assert status == 200
    assert answer["fileId"] == answer["file"]["id"] == api.id_of(f"{folder}/raw.txt")
    assert (answer["name"], answer["path"]) == ("raw.txt", f"/{folder}/raw.txt")
    assert answer["file"]["mimeType"] == "text/plain"
    assert answer["file"]["storageStatus"]["cache"] == "AVAILABLE"
    assert answer["syncEventId"] == answer["file"]["syncEventId"]
    assert api.read(f"{folder}/raw.txt") == b"content"


@pytest.mark.parametrize("size", [0, 1, 262143, 262144, 3 * 1024 * 1024 + 7, 20 * 1024 * 1024])
def test_form(api: Api, folder: str, size: int) -> None:
    """Whatever the bytes are, also those that look like a boundary."""
    data = (b"\r\n--x7" + b"\r\n--" * 3 + b"-" * 999)[: min(size, 1000)] * (size // 1000 + 1)
    data = data[:size]
    status, answer = sent_form(api, [("folderId", None, api.id_of(folder).encode()), ("file", "한글 이름.bin", data)])
    assert status == 200, answer
    assert answer["name"] == "한글 이름.bin"
    assert api.read(f"{folder}/한글 이름.bin") == data


def test_fields_of_a_form(api: Api, folder: str) -> None:
    id = api.id_of(folder).encode()
    parts: Parts = [("folderId", None, id), ("fileName", None, b"other.txt"), ("file", "mine.txt", b"1")]
    assert sent_form(api, parts)[1]["name"] == "other.txt"
    assert sent_form(api, [("conflictStrategy", None, b"RENAME"), *parts])[1]["name"] == "other (1).txt"
    assert sent_form(api, [("modifiedAt", None, b"2020-02-03T04:05:06Z"), *parts[:1], ("file", "t", b"")])[1]["file"][
        "updatedAt"
    ].startswith("2020-02-03T04:05:06")


BAD_FORMS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "no file": lambda: form([("folderId", None, b"root")]),
    "fields after the file": lambda: form([("file", "x", b"1"), ("folderId", None, b"root")]),
    "two files": lambda: form([("file", "x", b"1"), ("file", "y", b"1")]),
    "unknown field": lambda: form([("colour", None, b"red"), ("file", "x", b"1")]),
    "the same field twice": lambda: form(
        [("folderId", None, b"root"), ("folderId", None, b"root"), ("file", "x", b"")]
    ),
    "no name": lambda: form([("file", "", b"1")]),
    "a long field": lambda: form([("folderId", None, b"r" * 100_000), ("file", "x", b"1")]),
    "no end": lambda: (form([("file", "x", b"1" * 100)])[0][:-9], "multipart/form-data; boundary=x7x"),
    "no end after a field": lambda: (b"--x7x\r\nContent-Dispo", "multipart/form-data; boundary=x7x"),
    "another boundary": lambda: (form([("file", "x", b"1")])[0], "multipart/form-data; boundary=other"),
    "no boundary": lambda: (form([("file", "x", b"1")])[0], "multipart/form-data"),
    "nothing": lambda: (b"", "multipart/form-data; boundary=x7x"),
    "a name of other bytes": lambda: (form([("file", "NAME", b"1")])[0].replace(b"NAME", b"\xff"), form([])[1]),
    "a strange strategy": lambda: form([("conflictStrategy", None, b"SKIP"), ("file", "x", b"1")]),
}


@pytest.mark.parametrize("bad", BAD_FORMS.values(), ids=BAD_FORMS)
def test_bad_forms(api: Api, bad: Callable[[], tuple[bytes, str]]) -> None:
    objects = stored(api)
    body, type_ = bad()
    status, answer = sent(api, body, type_=type_)
    assert (status, answer["error"]) == (400, "INVALID_REQUEST"), answer
    assert stored(api) == objects
    assert not api.exists("x")


def stored(api: Api) -> set[str]:
    return cache_listing.keys(api.drive.kelp.cache)


@pytest.mark.parametrize(
    ("charset", "sent_name", "name"),
    [
        ("", "ü", "ü"),
        ("; charset=UTF-8", "ü", "ü"),
        ("; charset=ISO-8859-1", "ü", "Ã¼"),
        ("; charset=us-ascii", "u", "u"),
        ("; charset=us-ascii", "ü", None),
        ("; charset=punycode", "u", None),
        ("; charset=nothing", "u", None),
    ],
)
def test_the_charset_of_a_field(api: Api, folder: str, charset: str, sent_name: str, name: str | None) -> None:
    """Of those that Python knows, some take a minute for what fits into a form."""
    text = api.id_of(folder).encode()
    body, type_ = form([("folderId", None, text), ("fileName", None, sent_name.encode()), ("file", "x", b"bytes")])
    body = body.replace(b'name="fileName"', f'name="fileName"\r\nContent-Type: text/plain{charset}'.encode())
    status, answer = sent(api, body, type_=type_)
    assert (status, answer.get("name")) == ((400, None) if name is None else (200, name)), answer


def test_strategies(api: Api, folder: str) -> None:
    id = api.id_of(folder)
    file_id = sent(api, b"first", folderId=id, fileName="a.txt")[1]["fileId"]
    status, answer = sent(api, b"other", folderId=id, fileName="a.txt")
    assert (status, answer["error"], answer["existingFile"]["id"]) == (409, "DUPLICATE_FILE_EXISTS", file_id)
    assert answer["availableActions"] == ["OVERWRITE", "RENAME"]
    status, answer = sent(api, b"second", folderId=id, fileName="a.txt", conflictStrategy="RENAME")
    assert (status, answer["name"]) == (200, "a (1).txt") and answer["fileId"] != file_id
    status, answer = sent(api, b"third", folderId=id, fileName="a.txt", conflictStrategy="OVERWRITE")
    assert (status, answer["fileId"]) == (200, file_id)
    assert (api.read(f"{folder}/a.txt"), api.read(f"{folder}/a (1).txt")) == (b"third", b"second")
    api.make_folder(f"{folder}/b")
    answer = sent(api, b"", folderId=id, fileName="b")[1]
    assert (answer["error"], answer["availableActions"]) == ("DUPLICATE_FOLDER_EXISTS", ["RENAME"])
    assert sent(api, b"", folderId=id, fileName="b", conflictStrategy="OVERWRITE")[0] == 409


@pytest.mark.parametrize("strategy", ["ERROR", "RENAME", "OVERWRITE"])
def test_two_callers_at_once(api: Api, folder: str, strategy: str) -> None:
    id = api.id_of(folder)
    answers: list[tuple[int, Any]] = []

    def put(content: bytes) -> None:
        answers.append(sent(api, content, folderId=id, fileName="same", conflictStrategy=strategy))

    threads = [threading.Thread(target=put, args=(b"%d" % n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = sorted(answer["name"] for status, answer in answers if status == 200)
    refused = [answer["error"] for status, answer in answers if status != 200]
    expected = {
        "ERROR": (["same"], ["DUPLICATE_FILE_EXISTS"] * 3),
        "RENAME": (["same", "same (1)", "same (2)", "same (3)"], []),
        "OVERWRITE": (["same"] * 4, []),
    }
    assert (names, refused) == expected[strategy]


def test_refused(api: Api, folder: str) -> None:
    id = api.id_of(folder)
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"fileName": "x", "folderId": "nobody"}, 404, "FOLDER_NOT_FOUND"),
        ({"folderId": id}, 400, "INVALID_REQUEST"),
        ({"folderId": id, "fileName": "a/b"}, 400, "INVALID_NAME"),
        ({"folderId": id, "fileName": "x" * 300}, 400, "INVALID_NAME"),
        ({"folderId": id, "fileName": "x", "conflictStrategy": "MERGE"}, 400, "INVALID_REQUEST"),
        ({"folderId": id, "fileName": "x", "modifiedAt": "2020-01-01T00:00:00"}, 400, "INVALID_REQUEST"),
        ({"folderId": id, "fileName": "x", "modifiedAt": "0001-01-01T00:00:00Z"}, 400, "INVALID_REQUEST"),
    ]
    for fields, status, code in cases:
        got, answer = sent(api, b"content", **fields)
        assert (got, answer["error"]) == (status, code), fields
    assert sent(api, b"", user="viewer", folderId=id, fileName="x")[1]["error"] == "FORBIDDEN"
    md5 = base64.b64encode(hashlib.md5(b"others").digest()).decode()
    reply = api.ask("POST", f"/files/upload?fileName=x&folderId={id}", body=b"mine", Content_MD5=md5)
    assert json.loads(reply.body)["error"] == "UPLOAD_INCOMPLETE"
    assert not api.exists(f"{folder}/x")


def test_content_of_a_file(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/doc.txt", b"before")
    reply = api.ask("PUT", f"/files/{id}/content", body=b"after")
    assert reply.status == 200
    answer = json.loads(reply.body)
    assert (answer["fileId"], answer["name"]) == (id, "doc.txt")
    assert api.read(f"{folder}/doc.txt") == b"after"
    etag = answer["file"]["etag"]
    assert api.ask("PUT", f"/files/{id}/content", body=b"lost", If_Match='"other"').status == 412
    assert api.ask("PUT", f"/files/{id}/content", body=b"kept", If_Match=f'"{etag}"').status == 200
    assert api.ask("PUT", f"/files/{id}/content", body=b"lost", If_Match=f'"{etag}"').status == 412
    assert api.read(f"{folder}/doc.txt") == b"kept"
    assert api.ask("PUT", "/files/nobody/content", body=b"").status == 404
    assert api.ask("PUT", f"/files/{id}/content", body=b"", user="viewer").status == 403
    api.drive.ask("DELETE", f"/dav/{folder}/doc.txt")
    assert json.loads(api.ask("PUT", f"/files/{id}/content", body=b"").body)["error"] == "FILE_DELETED"


def test_a_locked_name(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/locked", b"before")
    lock = b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
    token = api.drive.ask("LOCK", f"/dav/{folder}/locked", lock, user="other").headers["lock-token"]
    status, answer = sent(api, b"x", folderId=api.id_of(folder), fileName="locked", conflictStrategy="OVERWRITE")
    assert (status, answer["error"], answer["lockedBy"]) == (423, "LOCKED", "other")
    assert api.ask("PUT", f"/files/{id}/content", body=b"x").status == 423
    assert api.ask("PUT", f"/files/{id}/content", body=b"x", user="other", Lock_Token=token).status == 200


def test_the_size_rule(served_with: Callable[..., ServedDrive]) -> None:
    api = Api(served_with(upload_multipart_threshold=1000))
    assert sent(api, b"x" * 1000, fileName="fits")[0] == 200
    status, answer = sent(api, b"x" * 1001, fileName="large")
    assert (status, answer["error"], answer["maxSize"]) == (413, "FILE_TOO_LARGE_USE_MULTIPART", 1000)
    assert sent_form(api, [("file", "fits too", b"x" * 1000)])[0] == 200
    assert sent_form(api, [("file", "large", b"x" * 1001)])[0] == 413
    assert api.ask("PUT", f"/files/{api.id_of('fits')}/content", body=b"x" * 1001).status == 413
    assert not api.exists("large")
    with_expect = announced_only(api.drive, 50_000_000)
    assert b" 413 " in with_expect.partition(b"\r\n")[0] and b"100 Continue" not in with_expect


def announced_only(drive: ServedDrive, length: int) -> bytes:
    """The answer to a body that was announced and never sent."""
    connection = drive.connect()
    connection.connect()
    with connection.sock:
        head = f"POST /api/files/upload?fileName=large HTTP/1.1\r\nHost: x\r\nAuthorization: {drive.basic()}\r\n"
        connection.sock.sendall(f"{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode())
        return bytes(connection.sock.recv(65536))


def test_while_the_mirror_is_at_work(api: Api, folder: str) -> None:
    """002 §1-1: refused into a folder, and over a file, that are on their way; not who asks to be accepted."""
    kelp, impatient = api.drive.kelp, Api(api.drive, patient=False)
    id, root = api.id_of(folder), "root"
    assert sent(impatient, b"x", folderId=id, fileName="x")[1]["error"] == "FOLDER_SYNCING"
    begun = impatient.post("/files/multipart/initiate", json={"fileName": "x", "folderId": id})
    assert (begun[0], begun[1]["error"]) == (409, "FOLDER_SYNCING")
    name = f"busy {folder}"
    assert sent(impatient, b"x", folderId=root, fileName=name)[0] == 200
    assert (
        sent(impatient, b"x", folderId=root, fileName=name, conflictStrategy="OVERWRITE")[1]["error"] == "FILE_SYNCING"
    )
    assert impatient.ask("PUT", f"/files/{api.id_of(name)}/content", body=b"x").status == 409
    mirror.drain(kelp, "test")
    assert sent(impatient, b"x", folderId=id, fileName="x")[0] == 200
    assert sent(impatient, b"y", folderId=root, fileName=name, conflictStrategy="OVERWRITE")[0] == 200
    with kelp.database.write() as tx:
        tx.run("UPDATE entries SET nas_status = 'ERROR' WHERE uuid = :id", id=id)
    status, answer = sent(impatient, b"x", folderId=id, fileName="y")
    assert (status, answer["error"]) == (500, "FOLDER_SYNC_FAILED")
    assert sent(api, b"x", folderId=id, fileName="y")[0] == 200
