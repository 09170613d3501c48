"""Seed 002, sections 1 to 4: each flow of files, with each branch of its diagram. The specification decides where the
seeds differ: 409 FILE_SYNCING is its FILE_BUSY, FOLDER_SYNCING its FOLDER_SYNC_IN_PROGRESS."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.faces.api.conftest import Api
from tests.faces.api.flows import ANY, Branch, Flow, cache_away, cases, check, opened
from vfs.operations import evicting, restoring


@pytest.fixture
def flow(api: Api) -> Iterator[Flow]:
    yield from opened(api)


def nothing(flow: Flow) -> None:
    """The flow's folder alone."""


def carried(flow: Flow) -> None:
    flow.file()
    flow.carry()


def on_its_way(flow: Flow) -> None:
    flow.file()


# --- 1-1 POST /files/upload ---


def folder_on_its_way(flow: Flow) -> None:
    flow.make("sub", "sub")


def folder_failed(flow: Flow) -> None:
    flow.make("sub", "sub")
    flow.carry_badly()
    assert flow.nas_status("folder", flow.ids["sub"]) == "ERROR"


def upload(name: str = "test.txt", folder: str = "{folder}", **query: str) -> tuple[Any]:
    return (lambda flow: flow.upload(name, folder, **query),)


def upload_without_cache(flow: Flow) -> Any:
    with cache_away(flow):
        return flow.upload()


def nothing_was_made(flow: Flow, _answer: Any) -> None:
    assert flow.names() == []


def it_is_on_its_way(flow: Flow, answer: Any) -> None:
    event = flow.event(answer["fileId"])
    assert (event["id"], event["eventType"], event["status"]) == (answer["syncEventId"], "SYNC", "PENDING")


def then_the_nas_has_it(flow: Flow, answer: Any) -> None:
    flow.carry()
    event = flow.event(answer["fileId"])
    assert (event["status"], event["errorMessage"]) == ("DONE", None)
    assert event["processedAt"] is not None
    assert flow.nas_status("file", answer["fileId"]) == "AVAILABLE"
    assert [name.partition("__")[2] for name in flow.on_nas()] == ["test.txt"]


def then_the_nas_refuses_once(flow: Flow, answer: Any) -> None:
    id = _id(answer)
    flow.carry_badly(3600)
    event = flow.event(id)
    assert (event["status"], event["retryCount"], event["errorMessage"]) == ("PENDING", 1, "this name cannot be")
    assert flow.nas_status("file", id) == "SYNCING"
    flow.retry_now()
    flow.carry()
    assert flow.nas_status("file", id) == "AVAILABLE"


def then_the_nas_refuses_for_good(flow: Flow, answer: Any) -> None:
    id = _id(answer)
    flow.carry_badly(0)
    flow.carry_badly(0)
    event = flow.event(id)
    assert (event["status"], event["errorMessage"]) == ("FAILED", "this name cannot be")
    assert flow.nas_status("file", id) == "ERROR"
    assert "MIRROR_FAILED" in [alert["kind"] for alert in flow.ask("GET", "/alerts")[1]["alerts"]]
    assert flow.ask("POST", f"/sync-events/{event['id']}/retry")[1]["retried"] == 1
    flow.carry()
    assert flow.nas_status("file", id) == "AVAILABLE"


def _id(answer: Any) -> str:
    return str(answer.get("fileId") or answer["file"]["id"])


UPLOAD = cases(
    "002-1-1",
    Branch("folder not found", nothing, upload(folder="{nobody}"), 404, {"error": "FOLDER_NOT_FOUND"}),
    Branch("folder syncing", folder_on_its_way, upload(folder="{sub}"), 409, {"error": "FOLDER_SYNCING"}),
    Branch("folder error", folder_failed, upload(folder="{sub}"), 500, {"error": "FOLDER_SYNC_FAILED"}),
    Branch(
        *("duplicate and ERROR", carried, upload(), 409),
        {"error": "DUPLICATE_FILE_EXISTS", "existingFile": {"id": "{file}", "name": "test.txt"}},
    ),
    Branch("duplicate and RENAME", carried, upload(conflictStrategy="RENAME"), 200, {"name": "test (1).txt"}),
    Branch("duplicate and OVERWRITE", carried, upload(conflictStrategy="OVERWRITE"), 200, {"fileId": "{file}"}),
    Branch(
        *("cache fails", nothing, (upload_without_cache,), 503),
        *({"error": "CACHE_UNAVAILABLE"}, nothing_was_made),
    ),
    Branch(
        *("success", nothing, upload(), 200),
        {
            "fileId": ANY, "name": "test.txt", "path": ANY, "syncEventId": ANY,
            "file": {"storageStatus": {"cache": "AVAILABLE", "nas": "SYNCING"}},
        },
        it_is_on_its_way,
    ),
    Branch("NAS success", nothing, upload(), 200, None, then_the_nas_has_it),
    Branch("NAS fail, retryable", nothing, upload(), 200, None, then_the_nas_refuses_once),
    Branch("NAS fail, max retries", nothing, upload(), 200, None, then_the_nas_refuses_for_good),
)  # fmt: skip


# --- 2-1 GET /files/{fileId}, 2-2 download ---


def trashed(flow: Flow) -> None:
    carried(flow)
    assert flow.ask("DELETE", "/files/{file}")[0] == 200
    flow.carry()


def deleted(flow: Flow) -> None:
    trashed(flow)
    assert flow.ask("DELETE", "/trash/{file}")[0] == 200


def evicted(flow: Flow) -> None:
    carried(flow)
    kelp = flow.api.drive.kelp
    for _ in range(100):
        evicting.evict(kelp, 1 << 40)
        if flow.ask("GET", "/files/{file}")[1]["file"]["storageStatus"]["cache"] == "MISSING":
            return
    raise AssertionError("the object does not leave the cache")


def lost(flow: Flow) -> None:
    """Neither the cache nor the NAS has it: not that anything of Kelp could do that."""
    evicted(flow)
    for path in (flow.api.drive.nas / flow.path).iterdir():
        path.unlink()


def it_is_counted(flow: Flow, _answer: Any) -> None:
    """Access statistics are written in batches."""
    flow.api.drive.kelp.holds.flush()


def it_is_back(flow: Flow, _answer: Any) -> None:
    restoring.give_up_stale(flow.api.drive.kelp)
    assert flow.api.drive.kelp.background.wait(60)
    assert flow.ask("GET", "/files/{file}")[1]["file"]["storageStatus"]["cache"] == "AVAILABLE"


def an_admin_is_told(flow: Flow, _answer: Any) -> None:
    assert flow.api.drive.kelp.background.wait(20)
    assert "CONTENT_LOST" in [alert["kind"] for alert in flow.ask("GET", "/alerts")[1]["alerts"]]


_GET, _DOWNLOAD = ("GET", "/files/{file}"), ("GET", "/files/{file}/download")

LOOK = cases(
    "002-2-1",
    Branch("file not found", nothing, ("GET", "/files/{nobody}"), 404, {"error": "FILE_NOT_FOUND"}),
    Branch(
        *("file exists", carried, _GET, 200),
        {
            "file": {
                "id": "{file}", "name": "test.txt", "path": ANY, "size": 5, "mimeType": "text/plain",
                "storageStatus": {"cache": "AVAILABLE", "nas": "AVAILABLE"},
            }
        },
    ),
    Branch(
        *("on its way", on_its_way, _GET, 200),
        {"file": {"storageStatus": {"nas": "SYNCING"}, "nasSyncMessage": "on its way to the NAS"}},
    ),
)  # fmt: skip

DOWNLOAD = cases(
    "002-2-2",
    Branch("TRASHED", trashed, _DOWNLOAD, 400, {"error": "FILE_IN_TRASH"}),
    Branch("DELETED", deleted, _DOWNLOAD, 404, {"error": "FILE_DELETED"}),
    Branch("cache hit", carried, _DOWNLOAD, 200, b"bytes"),
    Branch("cache miss, NAS available", evicted, _DOWNLOAD, 200, b"bytes", it_is_back),
    Branch(
        *("no cache and no NAS", lost, _DOWNLOAD, 500),
        *({"error": "FILE_NOT_FOUND_IN_STORAGE"}, an_admin_is_told),
    ),
)


# --- 3-1 rename, 3-2 move ---


def taken(flow: Flow) -> None:
    flow.make()
    flow.file()
    flow.file("target/test.txt", "taken", b"other")
    flow.file("taken.txt", "sibling")
    flow.carry()


def with_target(flow: Flow) -> None:
    flow.make()
    carried(flow)


def on_its_way_with_target(flow: Flow) -> None:
    flow.make()
    flow.carry()
    on_its_way(flow)


def _rename(to: str, **more: str) -> tuple[Any, ...]:
    return "PUT", "/files/{file}/rename", {"newName": to, **more}


def _move(to: str = "{target}", **more: str) -> tuple[Any, ...]:
    return "POST", "/files/{file}/move", {"targetFolderId": to, **more}


def still_there(flow: Flow, _answer: Any) -> None:
    assert "test.txt" in flow.names()


def the_event(kind: str) -> Any:
    def look(flow: Flow, answer: Any) -> None:
        event = flow.event(flow.ids["file"])
        assert (event["eventType"], event["status"]) == (kind, "PENDING")
        assert event["id"] == answer["file"]["syncEventId"]
        assert event["sourcePath"] == f"/{flow.path}/test.txt"

    return look


def the_other_is_in_the_trash(flow: Flow, _answer: Any) -> None:
    items = {item["id"]: item for item in flow.ask("GET", "/trash?limit=500")[1]["items"]}
    assert items[flow.ids["taken"]]["originalPath"] == f"/{flow.path}/target/test.txt"
    flow.carry()
    assert flow.api.read(f"{flow.path}/target/test.txt") == b"bytes"


def the_nas_has_moved_it(flow: Flow, _answer: Any) -> None:
    before = [name for name in flow.on_nas() if name.endswith("__test.txt")]
    flow.carry()
    assert flow.event(flow.ids["file"])["status"] == "DONE"
    assert [name for name in flow.on_nas() if name.endswith("__test.txt")] == [f"target/{name}" for name in before]


def the_target_goes(flow: Flow, _answer: Any) -> None:
    """Trashed afterwards: carried out inside the trash (spec §5, second defence)."""
    patient = replace(flow, api=replace(flow.api, patient=True), ids=flow.ids, path=f"{flow.path}-")
    assert patient.ask("DELETE", "/folders/{target}")[0] == 200
    flow.carry()
    assert flow.event(flow.ids["file"])["status"] == "DONE"
    assert flow.names() == []


RENAME = cases(
    "002-3-1",
    Branch("file not found", nothing, ("PUT", "/files/{nobody}/rename", {"newName": "b"}), 404,
           {"error": "FILE_NOT_FOUND"}),
    Branch("BUSY", on_its_way, _rename("b.txt"), 409, {"error": "FILE_SYNCING"}, still_there),
    Branch("duplicate and ERROR", taken, _rename("taken.txt"), 409,
           {"error": "DUPLICATE_FILE_EXISTS", "existingFile": {"id": "{sibling}"}}, still_there),
    Branch("duplicate and RENAME", taken, _rename("taken.txt", conflictStrategy="RENAME"), 200,
           {"file": {"name": "taken (1).txt"}}),
    Branch("success", carried, _rename("b.txt"), 200,
           {"file": {"id": "{file}", "name": "b.txt", "path": ANY, "syncEventId": ANY}}, the_event("RENAME")),
    Branch("NAS fail, retryable", carried, _rename("b.txt"), 200, None, then_the_nas_refuses_once),
    Branch("NAS fail, max retries", carried, _rename("b.txt"), 200, None, then_the_nas_refuses_for_good),
)  # fmt: skip

MOVE = cases(
    "002-3-2",
    Branch("target not found", carried, _move("{nobody}"), 404, {"error": "TARGET_FOLDER_NOT_FOUND"}, still_there),
    Branch("BUSY", on_its_way_with_target, _move(), 409, {"error": "FILE_SYNCING"}, still_there),
    Branch("duplicate and ERROR", taken, _move(), 409,
           {"error": "DUPLICATE_FILE_EXISTS", "existingFile": {"id": "{taken}"},
            "availableActions": ["OVERWRITE", "RENAME", "SKIP"]}, still_there),
    Branch("duplicate and OVERWRITE", taken, _move(conflictStrategy="OVERWRITE"), 200, {"file": {"id": "{file}"}},
           the_other_is_in_the_trash),
    Branch("duplicate and RENAME", taken, _move(conflictStrategy="RENAME"), 200,
           {"file": {"name": "test (1).txt", "folderId": "{target}"}}),
    Branch("duplicate and SKIP", taken, _move(conflictStrategy="SKIP"), 200,
           {"success": True, "skipped": True, "reason": "DUPLICATE_FILE_EXISTS"}, still_there),
    Branch("success", with_target, _move(), 200,
           {"file": {"id": "{file}", "name": "test.txt", "folderId": "{target}", "path": ANY, "syncEventId": ANY}},
           the_event("MOVE")),
    Branch("NAS success", with_target, _move(), 200, None, the_nas_has_moved_it),
    Branch("target trashed before the NAS has it", with_target, _move(), 200, None, the_target_goes),
    Branch("NAS fail, retryable", with_target, _move(), 200, None, then_the_nas_refuses_once),
    Branch("NAS fail, max retries", with_target, _move(), 200, None, then_the_nas_refuses_for_good),
)  # fmt: skip


# --- 4-1 DELETE /files/{fileId} ---


def read_just_now(flow: Flow) -> None:
    """A download that its client does not take further."""
    flow.file("test.txt", content=bytes(24 * 1024 * 1024))
    flow.carry()
    drive = flow.api.drive
    connection = drive.connect()
    connection.request("GET", f"/api/files/{flow.ids['file']}/download", headers={"Authorization": drive.basic()})
    response = connection.getresponse()
    response.read(1)
    drive.kelp.holds.flush()
    _READING[flow.path] = (connection, response)


_READING: dict[str, tuple[http.client.HTTPConnection, http.client.HTTPResponse]] = {}


@pytest.fixture(autouse=True)
def _nobody_reads_on() -> Iterator[None]:
    yield
    for connection, response in _READING.values():
        response.close()
        connection.close()
    _READING.clear()


def it_is_in_the_trash(flow: Flow, answer: Any) -> None:
    assert flow.ask("GET", "/files/{file}")[1]["error"] == "FILE_IN_TRASH"
    item = next(each for each in flow.ask("GET", "/trash")[1]["items"] if each["id"] == flow.ids["file"])
    assert item["originalPath"] == f"/{flow.path}/test.txt"
    event = flow.event(flow.ids["file"])
    assert (event["id"], event["eventType"]) == (answer["file"]["syncEventId"], "TRASH")


def the_nas_has_trashed_it(flow: Flow, _answer: Any) -> None:
    flow.carry()
    assert flow.on_nas() == []
    found = [path for path in (flow.api.drive.nas / ".trash").rglob("*__test.txt") if flow.ids["file"] in str(path)]
    assert len(found) == 1


_DELETE = ("DELETE", "/files/{file}")

DELETE = cases(
    "002-4-1",
    Branch("file not found", nothing, ("DELETE", "/files/{nobody}"), 404, {"error": "FILE_NOT_FOUND"}),
    Branch("already TRASHED", trashed, _DELETE, 400, {"error": "FILE_ALREADY_TRASHED"}),
    Branch("BUSY", on_its_way, _DELETE, 409, {"error": "FILE_SYNCING"}, still_there),
    Branch("lease_count > 0", read_just_now, _DELETE, 409, {"error": "FILE_IN_USE"}, still_there),
    Branch("success", carried, _DELETE, 200,
           {"file": {"id": "{file}", "name": "test.txt", "state": "TRASHED", "syncEventId": ANY}}, it_is_in_the_trash),
    Branch("NAS success", carried, _DELETE, 200, None, the_nas_has_trashed_it),
)  # fmt: skip


# --- 5-2 what is asked about the way to the NAS ---


def get_event(flow: Flow) -> Any:
    return flow.ask("GET", f"/sync-events/{flow.event(flow.ids['file'])['id']}")


STATUS = cases(
    "002-5-2",
    Branch(
        *("GET /sync-events/{syncEventId}", carried, (get_event,), 200),
        {
            "syncEvent": {
                "id": ANY, "eventType": "SYNC", "status": "DONE", "retryCount": 0, "errorMessage": None,
                "createdAt": ANY, "processedAt": ANY,
            }
        },
    ),
    Branch("unknown", nothing, ("GET", "/sync-events/{nobody}"), 404, {"error": "SYNC_EVENT_NOT_FOUND"}),
    Branch(
        *("GET /files/{fileId}/sync-status", on_its_way, ("GET", "/files/{file}/sync-status"), 200),
        {"storageStatus": {"nas": "SYNCING"}, "syncEvent": {"eventType": "SYNC", "status": "PENDING"}},
    ),
)  # fmt: skip


@pytest.mark.parametrize("branch", [*UPLOAD, *LOOK, *DOWNLOAD, *RENAME, *MOVE, *DELETE, *STATUS])
def test_flow(flow: Flow, branch: Branch) -> None:
    check(flow, branch)
