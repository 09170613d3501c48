"""`kelp status`: the drive on one screen, and all that is known of one path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kelp as command_line
from tests import engines
from tests.mirror_drive import MirrorDrive
from vfs import model
from vfs.errors import NasDown, NasFault
from vfs.model import Scope
from vfs.operations import alerts, cache_limits, locking, nas_health, nas_outage
from vfs.operations.alerts import AlertKind

Run = Callable[..., str]
SECOND = 1_000_000_000


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    drive = MirrorDrive(tmp_path, mirror_delay=0)
    yield drive
    drive.close()


@pytest.fixture
def run(drive: MirrorDrive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """What `kelp status` says, on the drive's data folder."""
    for name, value in engines.environ_of(tmp_path / "data").items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        place = ["--data", str(tmp_path / "data"), "--nas", str(tmp_path / "nas")]
        assert command_line.run(["status", *arguments, *place]) == 0
        return capsys.readouterr().out

    return run


def told(run: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return found


def test_a_file_on_its_way_to_the_nas(drive: MirrorDrive, run: Run) -> None:
    drive.mkdir("Docs")
    drive.caller = replace(drive.caller, trace_id="dav-0123456789ab")
    entry = drive.put("Docs/a.txt", b"12345")
    facts = told(run, "/Docs/a.txt")
    assert (facts["path"], facts["kind"], facts["size"], facts["id"]) == ("/Docs/a.txt", "file", 5, entry.uuid)
    assert (facts["nas"], facts["nasPath"], facts["cache"]) == (
        "SYNCING", None, {"AVAILABLE": {"objects": 1, "bytes": 5}},
    )  # fmt: skip
    change = facts["change"]
    assert (change["type"], change["status"], change["trace"], change["retries"]) == (
        "SYNC", "PENDING", "dav-0123456789ab", 0,
    )  # fmt: skip
    drive.settle_down()
    facts = told(run, "/Docs/a.txt")
    assert (facts["nas"], facts["change"]["status"]) == ("AVAILABLE", "DONE")
    assert (drive.root / facts["nasPath"]).read_bytes() == b"12345"
    assert "dav-0123456789ab" in run("Docs/a.txt") and "AVAILABLE" in run("Docs/a.txt")
    assert told(run, "/Docs")["nasPath"] == "Docs" and told(run, "/Docs")["cache"] == {}
    assert told(run, "/")["nasPath"] == ""


def test_what_holds_a_file_up_is_told(drive: MirrorDrive, run: Run) -> None:
    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "write":
            raise NasFault("the NAS refuses this name")

    drive.nas.before = fail
    drive.put("a.txt")
    drive.drain()
    change = told(run, "a.txt")["change"]
    assert (change["status"], change["retries"], change["error"]) == ("PENDING", 1, "the NAS refuses this name")
    assert "the NAS refuses this name" in run("a.txt") and "retries" in run("a.txt")


def test_parts_in_every_state(drive: MirrorDrive, run: Run) -> None:
    drive.put("big", b"x" * (2 * model.PART_SIZE + 1))
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE objects SET status = 'MISSING' WHERE size = 1")
    facts = told(run, "big")
    assert facts["cache"] == {
        "AVAILABLE": {"objects": 2, "bytes": 2 * model.PART_SIZE},
        "MISSING": {"objects": 1, "bytes": 1},
    }
    assert "16.0 MiB AVAILABLE" in run("big") or "16 MiB AVAILABLE" in run("big")
    drive.put("empty", b"")
    assert told(run, "empty")["cache"] == {}
    assert "nothing to hold" in run("empty")


def test_versions_locks_and_readers(drive: MirrorDrive, run: Run) -> None:
    entry = drive.put("a.txt", b"1")
    drive.pass_time(60)
    entry = drive.put("a.txt", b"22")
    locking.lock(drive.kelp, drive.caller, entry.place, scope=Scope.EXCLUSIVE, infinite=False, owner="", timeout=600)
    assert entry.content_id is not None
    with drive.kelp.database.write() as tx:
        tx.reading.publish("host:17:abc", [entry.content_id], drive.kelp.clock.now_ns() + 10**9 * SECOND)
    facts = told(run, "a.txt")
    assert [one["size"] for one in facts["versions"]] == [1]
    assert facts["readers"] == ["host:17"]
    screen = run("a.txt")
    assert "host:17" in screen and "`kelp versions` lists them" in screen


def test_the_drive_on_one_screen(drive: MirrorDrive, run: Run) -> None:
    for n in range(30):
        drive.put(f"{n}.txt", b"x" * 1000)
    kelp = drive.kelp
    cache_limits.look(kelp)
    nas_health.check(kelp)
    alerts.open_(kelp, AlertKind.CACHE_NEARLY_FULL, "make room")
    facts = told(run)
    assert facts["mirror"]["pending"] == 30
    assert facts["cache"]["onlyHere"] == 30_000 and facts["cache"]["onNas"] == 0
    assert facts["nas"]["state"] == "healthy" and facts["nas"]["seconds"] > 0
    assert [each["message"] for each in facts["alerts"]] == ["make room"]
    screen = run()
    assert "CACHE_NEARLY_FULL: make room" in screen
    assert len(screen.splitlines()) < 24
    nas_outage.declare(kelp, NasDown("Stale file handle", "ESTALE"))
    assert told(run)["nas"]["up"] is False
    assert "down since" in run()


def test_that_nobody_runs_the_jobs_is_told(drive: MirrorDrive, run: Run) -> None:
    """The clock of these tests is ahead of that of the command, so it is set back for the measurement."""
    drive.clock.advance(-(10**9))
    nas_health.check(drive.kelp)
    assert told(run)["jobs"]["silentNs"] > 0
    assert "nobody runs them since" in run()
