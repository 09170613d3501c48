"""Seed 002, sections 1-2 to 1-6: uploads in parts, each branch of the diagrams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faces.api.conftest import Api
from tests.faces.api.flows import ANY, Branch, Flow, cases, check, opened
from vfs.operations import session_expiry

_PARTS = (b"a" * 70_000, b"b" * 5)
_SIZE = sum(map(len, _PARTS))
_INITIATE = "/files/multipart/initiate"


@pytest.fixture
def flow(api: Api) -> Iterator[Flow]:
    yield from opened(api)


def nothing(flow: Flow) -> None:
    """The flow's folder alone."""


def taken(flow: Flow) -> None:
    flow.file("big.bin")
    flow.carry()


def begun(flow: Flow, **more: Any) -> None:
    body = {"fileName": "big.bin", "folderId": flow.ids["folder"], "totalSize": _SIZE, **more}
    status, answer = flow.ask("POST", _INITIATE, body)
    assert status == 200, answer
    flow.ids["session"] = answer["sessionId"]


def uploading(flow: Flow) -> None:
    begun(flow)
    assert flow.put_part(1, _PARTS[0])[0] == 200


def all_sent(flow: Flow) -> None:
    uploading(flow)
    assert flow.put_part(2, _PARTS[1])[0] == 200


def completed(flow: Flow) -> None:
    all_sent(flow)
    status, answer = flow.ask("POST", "/files/multipart/{session}/complete", {})
    assert status == 200, answer
    flow.ids["file"] = answer["fileId"]


def aborted(flow: Flow) -> None:
    uploading(flow)
    assert flow.ask("DELETE", "/files/multipart/{session}")[0] == 200


def too_late(flow: Flow) -> None:
    """Its time is over; the batch has not come yet."""
    uploading(flow)
    with flow.api.drive.kelp.database.write() as tx:
        tx.run("UPDATE upload_sessions SET expires_ns = 1 WHERE uuid = :id", id=flow.ids["session"])


def expired(flow: Flow) -> None:
    too_late(flow)
    session_expiry.expire(flow.api.drive.kelp)


def _begin(**more: Any) -> tuple[Any, ...]:
    return "POST", _INITIATE, {"fileName": "big.bin", "folderId": "{folder}", "totalSize": _SIZE, **more}


def no_file(flow: Flow, _answer: Any) -> None:
    assert flow.names() == []


def the_other_name_is_kept(flow: Flow, answer: Any) -> None:
    flow.ids["session"] = answer["sessionId"]
    for number, part in enumerate(_PARTS, 1):
        flow.put_part(number, part)
    status, answer = flow.ask("POST", "/files/multipart/{session}/complete", {})
    assert (status, answer["name"]) == (200, "big (1).bin")


INITIATE = cases(
    "002-1-2",
    Branch("folder not found", nothing, _begin(folderId="{nobody}"), 404, {"error": "FOLDER_NOT_FOUND"}),
    Branch("duplicate and ERROR", taken, _begin(), 409,
           {"error": "DUPLICATE_FILE_EXISTS", "existingFile": {"id": "{file}"}}),
    Branch("duplicate and RENAME", taken, _begin(conflictStrategy="RENAME"), 200, None, the_other_name_is_kept),
    Branch("success", nothing, _begin(), 200,
           {"sessionId": ANY, "uploadId": ANY, "partSize": ANY, "totalParts": 1, "expiresAt": ANY, "status": "INIT"},
           no_file),
)  # fmt: skip


def part(number: int) -> tuple[Any]:
    return (lambda flow: flow.put_part(number, _PARTS[number - 1]),)


def unknown(flow: Flow) -> None:
    flow.ids["session"] = flow.ids["nobody"]


def it_runs(flow: Flow, _answer: Any) -> None:
    assert flow.ask("GET", "/files/multipart/{session}/status")[1]["status"] == "UPLOADING"


PARTS = cases(
    "002-1-3",
    Branch("session not found", unknown, part(1), 404, {"error": "UPLOAD_SESSION_NOT_FOUND"}),
    Branch("session expired", too_late, part(2), 400, {"error": "UPLOAD_SESSION_EXPIRED"}),
    Branch("session expired by the batch", expired, part(2), 400, {"error": "UPLOAD_SESSION_EXPIRED"}),
    Branch("session completed", completed, part(1), 409, {"error": "UPLOAD_SESSION_COMPLETED"}),
    Branch("success", begun, part(1), 200, {"partNumber": 1, "etag": ANY, "size": len(_PARTS[0])}, it_runs),
    Branch("again", uploading, part(1), 200, {"partNumber": 1, "size": len(_PARTS[0])}, it_runs),
)


def it_is_a_file(flow: Flow, answer: Any) -> None:
    flow.ids["file"] = answer["fileId"]
    assert flow.ask("GET", "/files/{file}/download")[1] == b"".join(_PARTS)
    event = flow.event(flow.ids["file"])
    assert (event["eventType"], event["status"], event["id"]) == ("SYNC", "PENDING", answer["syncEventId"])
    flow.carry()
    assert flow.nas_status("file", flow.ids["file"]) == "AVAILABLE"
    assert [name.partition("__")[2] for name in flow.on_nas()] == ["big.bin"]


def it_may_be_completed_again(flow: Flow, _answer: Any) -> None:
    again = {"conflictStrategy": "RENAME"}
    status, answer = flow.ask("POST", "/files/multipart/{session}/complete", again)
    assert (status, answer["name"]) == (200, "big (1).bin")


def taken_meanwhile(flow: Flow) -> None:
    all_sent(flow)
    flow.file("big.bin")


_COMPLETE = ("POST", "/files/multipart/{session}/complete", {})

COMPLETE = cases(
    "002-1-4",
    Branch("session not found", unknown, _COMPLETE, 404, {"error": "UPLOAD_SESSION_NOT_FOUND"}),
    Branch("incomplete parts", uploading, _COMPLETE, 400, {"error": "PARTS_INCOMPLETE"}, no_file),
    Branch("duplicate meanwhile", taken_meanwhile, _COMPLETE, 409, {"error": "DUPLICATE_FILE_EXISTS"},
           it_may_be_completed_again),
    Branch("success", all_sent, _COMPLETE, 200,
           {"fileId": ANY, "name": "big.bin", "path": ANY, "file": {"size": _SIZE}}, it_is_a_file),
)  # fmt: skip

_STATUS = ("GET", "/files/multipart/{session}/status")

STATUS = cases(
    "002-1-5",
    Branch("session not found", unknown, _STATUS, 404, {"error": "UPLOAD_SESSION_NOT_FOUND"}),
    Branch("COMPLETED", completed, _STATUS, 200, {"status": "COMPLETED", "fileId": "{file}"}),
    Branch("ABORTED", aborted, _STATUS, 200, {"status": "ABORTED", "uploadedParts": [], "message": ANY}),
    Branch("EXPIRED", expired, _STATUS, 200, {"status": "EXPIRED", "uploadedParts": [], "message": ANY}),
    Branch("INIT", begun, _STATUS, 200,
           {"status": "INIT", "uploadedParts": [], "nextPartNumber": 1, "remainingBytes": _SIZE, "expiresAt": ANY}),
    Branch("UPLOADING", uploading, _STATUS, 200,
           {"status": "UPLOADING", "uploadedParts": [{"partNumber": 1, "etag": ANY, "bytes": len(_PARTS[0])}],
            "nextPartNumber": 2, "uploadedBytes": len(_PARTS[0]), "remainingBytes": len(_PARTS[1])}),
)  # fmt: skip


def it_is_cleaned_up(flow: Flow, _answer: Any) -> None:
    kelp = flow.api.drive.kelp
    with kelp.database.read() as tx:
        content, parts = tx.one(
            """SELECT content_id, (SELECT COUNT(*) FROM upload_parts p WHERE p.session_id = s.id)
               FROM upload_sessions s WHERE uuid = :id""",
            id=flow.ids["session"],
        )
    assert (parts, list(kelp.cache.list(content))) == (0, [])
    assert flow.ask(*_ABORT)[0] == 200


_ABORT = ("DELETE", "/files/multipart/{session}")

ABORT = cases(
    "002-1-6",
    Branch("session not found", unknown, _ABORT, 404, {"error": "UPLOAD_SESSION_NOT_FOUND"}),
    Branch("COMPLETED", completed, _ABORT, 409, {"error": "UPLOAD_SESSION_COMPLETED"}),
    Branch("ABORTED", aborted, _ABORT, 200, {"status": "ABORTED"}),
    Branch("EXPIRED", expired, _ABORT, 200, {"status": "EXPIRED"}),
    Branch("INIT", begun, _ABORT, 200, {"sessionId": "{session}", "status": "ABORTED", "message": ANY}),
    Branch("UPLOADING", uploading, _ABORT, 200, {"status": "ABORTED"}, it_is_cleaned_up),
)


@pytest.mark.parametrize("branch", [*INITIATE, *PARTS, *COMPLETE, *STATUS, *ABORT])
def test_flow(flow: Flow, branch: Branch) -> None:
    check(flow, branch)
