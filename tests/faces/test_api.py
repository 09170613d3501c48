"""The REST face as a whole: who is let in, what errors look like, and the document that describes it."""

from __future__ import annotations

import json

import pytest
from falcon import Response, testing

from http_api.app import _failed
from tests.faces.conftest import ServedDrive


def test_a_file_put_by_webdav_is_shown_by_its_id(shared_drive: ServedDrive) -> None:
    shared_drive.ask("PUT", "/dav/shown.txt", b"content")
    entry = shared_drive.kelp.database.recall(("x",), lambda tx: tx.entries.child(1, "shown.txt"))
    assert entry is not None
    reply = shared_drive.ask("GET", f"/api/files/{entry.uuid}")
    assert reply.status == 200
    shown = json.loads(reply.body)["file"]
    assert shown["name"] == "shown.txt"
    assert shown["path"] == "/shown.txt"
    assert shown["folderId"] is None
    assert shown["storageStatus"]["cache"] == "AVAILABLE"


def test_the_root_is_a_folder(shared_drive: ServedDrive) -> None:
    folder = json.loads(shared_drive.ask("GET", "/api/folders/root").body)["folder"]
    assert folder["id"] is None
    assert folder["parentId"] is None


def test_the_way_in_leads_to_the_page(shared_drive: ServedDrive) -> None:
    reply = shared_drive.ask("GET", "/api")
    assert (reply.status, reply.headers["location"]) == (308, "/api/docs")


def test_what_is_not_there(shared_drive: ServedDrive) -> None:
    reply = shared_drive.ask("GET", "/api/files/nobody", Accept_Language="ko")
    assert reply.status == 404
    body = json.loads(reply.body)
    assert body["error"] == "FILE_NOT_FOUND"
    assert body["message"] == "파일이 존재하지 않습니다."
    assert body["traceId"] == reply.headers["x-request-id"]


def test_a_path_and_a_method_that_nobody_has(shared_drive: ServedDrive) -> None:
    assert json.loads(shared_drive.ask("GET", "/api/nothing").body)["error"] == "NOT_FOUND"
    assert json.loads(shared_drive.ask("PATCH", "/api/files/x").body)["error"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    "body",
    [
        b"{%b}" % b",".join(b'"%x":1' % n for n in range(31_000)),
        b'{"parts":[%b]}' % b",".join(b"{%b}" % b",".join(b'"%x":1' % n for n in range(99)) for _ in range(400)),
    ],
    ids=["one object", "many"],
)
def test_unknown_members_without_end_are_not_told_one_by_one(shared_drive: ServedDrive, body: bytes) -> None:
    """400,000 of them, which fit into 4 MiB, took twelve seconds and 400 MiB to complain about."""
    reply = shared_drive.ask("POST", "/api/files/multipart/x/complete", body)
    assert (reply.status, json.loads(reply.body)["message"]) == (400, "the body has too many members")


def test_a_long_body_is_understood_as_a_short_one(shared_drive: ServedDrive) -> None:
    parts = [{"partNumber": n, "etag": "e" * 32} for n in range(1, 10_001)]
    reply = shared_drive.ask("POST", "/api/files/multipart/x/complete", json.dumps({"parts": parts}).encode())
    assert json.loads(reply.body)["error"] == "UPLOAD_SESSION_NOT_FOUND"
    parts[-1]["partNumber"] = 0
    reply = shared_drive.ask("POST", "/api/files/multipart/x/complete", json.dumps({"parts": parts}).encode())
    assert (reply.status, json.loads(reply.body)["message"].partition(":")[0]) == (400, "parts.9999.partNumber")
    reply = shared_drive.ask("POST", "/api/files/multipart/x/complete", b"[" * 100_000)
    assert (reply.status, json.loads(reply.body)["error"]) == (400, "INVALID_REQUEST")


def test_a_target_may_be_a_whole_url(shared_drive: ServedDrive) -> None:
    """RFC 9112 §3.2.2; as a path it would be looked for below another root."""
    whole = f"http://127.0.0.1:{shared_drive.port}"
    assert json.loads(shared_drive.ask("GET", f"{whole}/api/folders/root?x").body)["folder"]["id"] is None
    assert shared_drive.ask("GET", "HTTP://other.example/api/f%6Flders/root").status == 200
    assert shared_drive.ask("GET", whole).status == 200
    assert shared_drive.ask("PROPFIND", f"{whole}/dav/", Depth="0").status == 207
    assert shared_drive.ask("GET", f"{whole}/healthz", Authorization="").status == 200


def test_a_path_writes_no_lines_of_its_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    request = testing.create_req(path="/api/files/x%0A2026-01-01%20INFO%20forged%1B[2J")
    _failed(request, Response(), ValueError("unforeseen"), {})
    lines = [record.getMessage() for record in caplog.records]
    assert lines and all(line.startswith("GET /api/files/x%0A2026-01-01%20INFO%20forged%1B%5B2J") for line in lines)


def test_nobody_is_let_in_without_a_password(shared_drive: ServedDrive) -> None:
    reply = shared_drive.ask("GET", "/api/folders/root", Authorization="Basic eDp5")
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Basic")


def test_the_document(shared_drive: ServedDrive) -> None:
    document = json.loads(shared_drive.ask("GET", "/api/openapi.json", Authorization="").body)
    assert document["openapi"] == "3.1.0"
    assert "/api/files/{id}" in document["paths"]
