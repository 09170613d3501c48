"""Seed 002, sections 5-1 and 6: what a worker does with each kind of change, and how files are called on the NAS."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faces.api.conftest import Api
from tests.faces.api.flows import Flow, opened
from tests.faces.conftest import ServedDrive

Act = Callable[[Flow], Any]


@pytest.fixture
def flow(api: Api) -> Iterator[Flow]:
    yield from opened(api)


def _ask(method: str, path: str, body: Any = None) -> Act:
    def act(flow: Flow) -> Any:
        status, answer = flow.ask(method, path, body)
        assert status == 200, answer
        return answer

    return act


def _same_name(flow: Flow) -> Any:
    return flow.upload(conflictStrategy="OVERWRITE")[1]


# Each kind of change, how it is made, and what the NAS shows of the file then; `@` stands for its stamp.
EVENTS: dict[str, tuple[Act, list[str]]] = {
    "SYNC": (_same_name, ["@__test.txt"]),
    "RENAME": (_ask("PUT", "/files/{file}/rename", {"newName": "document.txt"}), ["@__document.txt"]),
    "MOVE": (_ask("POST", "/files/{file}/move", {"targetFolderId": "{target}"}), ["target/@__test.txt"]),
    "TRASH": (_ask("DELETE", "/files/{file}"), []),
}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("outcome", ["success", "fail, retryable", "fail, max retries"])
def test_worker(flow: Flow, kind: str, outcome: str) -> None:
    """002-5-1."""
    flow.file()
    flow.make()
    flow.carry()
    stamp = _stamp(flow)
    act, expected = EVENTS[kind]
    act(flow)
    event = flow.event(flow.ids["file"])
    assert (event["eventType"], event["status"]) == (kind, "PENDING")
    if outcome == "fail, retryable":
        flow.carry_badly(3600)
        event = flow.event(flow.ids["file"])
        assert (event["status"], event["retryCount"]) == ("PENDING", 1)
        assert event["errorMessage"] == "this name cannot be"
        flow.retry_now()
    elif outcome == "fail, max retries":
        flow.carry_badly()
        event = flow.event(flow.ids["file"])
        assert (event["status"], event["errorMessage"]) == ("FAILED", "this name cannot be")
        assert "MIRROR_FAILED" in [alert["kind"] for alert in flow.ask("GET", "/alerts")[1]["alerts"]]
        assert flow.ask("POST", f"/sync-events/{event['id']}/retry")[0] == 200
    flow.carry()
    event = flow.event(flow.ids["file"])
    assert (event["status"], event["processedAt"] is not None) == ("DONE", True)
    shown = [name.replace(stamp, "@") for name in flow.on_nas() if "__" in name]
    assert shown == expected


def _stamp(flow: Flow) -> str:
    (name,) = (name for name in flow.on_nas() if "__" in name)
    found = re.match(r"(\d{14})__", name)
    assert found is not None, name
    return found[1]


def test_a_copy_has_a_stamp_of_its_own(flow: Flow) -> None:
    """002-6-7."""
    flow.file()
    flow.make()
    flow.carry()
    with flow.api.drive.kelp.database.write() as tx:  # as if it were older
        sql = """UPDATE entries SET nas_stamp = '20260121100000', nas_desired_name = '20260121100000__test.txt',
                        nas_desired_key = '20260121100000__test.txt' WHERE uuid = :id"""
        tx.run(sql, id=flow.ids["file"])
    status, answer = flow.ask("POST", "/files/{file}/copy", {"targetFolderId": "{target}"})
    assert (status, answer["file"]["name"]) == (201, "test.txt")
    assert _ask("PUT", "/files/{file}/rename", {"newName": "document.txt"})(flow)["file"]["name"] == "document.txt"
    flow.carry()
    copy = next(name for name in flow.on_nas() if name.startswith("target/"))
    assert re.fullmatch(r"target/\d{14}__test\.txt", copy)
    assert "20260121100000__document.txt" in flow.on_nas()
    assert not copy.startswith("target/20260121100000")


def test_the_same_name_may_be_registered_twice(served_with: Callable[..., ServedDrive]) -> None:
    """002-6-1 to 6-4, with `drive.duplicates = "keep-dated"`: none is refused, and each stays a file on the NAS."""
    flow = Flow(Api(served_with(drive_duplicates="keep-dated")), uuid.uuid4().hex[:8])
    status, first = flow.upload(body=b"first")
    assert status == 200
    flow.carry()
    status, second = flow.upload(body=b"second")
    assert (status, second["name"]) == (200, "test.txt")
    flow.carry()
    found = flow.on_nas()
    assert len(found) == 2 and all(re.fullmatch(r"\d{14}__test\.txt", name) for name in found)
    contents = {(flow.api.drive.nas / flow.path / name).read_bytes() for name in found}
    assert contents == {b"first", b"second"}
    assert flow.ask("GET", f"/files/{first['file']['id']}/download")[1] == b"second"
