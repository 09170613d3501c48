"""Second defences of the mirror (spec §5): targets that are gone, targets in the trash, files that are read."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import make_url

from tests.mirror_drive import MirrorDrive
from vfs.errors import NasFault
from vfs.operations import alerts, backlog


def without_row(drive: MirrorDrive, path: str) -> None:
    """As in a database that was restored in part: the row of a folder is missing, those in it are not."""
    folder = drive.entry(path).id
    engine = make_url(drive.kelp.settings.database.url).get_backend_name()
    if engine == "sqlite":
        with sqlite3.connect(make_url(drive.kelp.settings.database.url).database or "") as connection:
            for sql in _gone(folder):
                connection.execute(sql)
        with drive.kelp.database.write() as tx:  # other processes notice
            tx.accounts.set_value("noticed", "1")
        return
    with drive.kelp.database.write() as tx:
        tx.run("SET LOCAL session_replication_role = replica")
        for sql in _gone(folder):
            tx.run(sql)


def _gone(folder: int) -> list[str]:
    return [
        f"DELETE FROM sync_events WHERE aggregate_id = {folder}",
        f"DELETE FROM folder_versions WHERE folder_id = {folder}",
        f"DELETE FROM entries WHERE id = {folder}",
    ]


@pytest.mark.parametrize("mirrored", [True, False], ids=["the file was mirrored", "nothing was"])
@pytest.mark.parametrize("case", ["free", "name taken", "folder gone"])
def test_a_file_whose_target_folder_is_gone_comes_back_to_its_original_one(
    drive: MirrorDrive, case: str, mirrored: bool
) -> None:
    drive.mkdir("a")
    drive.put("a/f", b"f")
    if mirrored:
        drive.settle_down()
    drive.mkdir("b")
    file = drive.move("a/f", "b/f").entry
    if case == "name taken":
        drive.pass_time(70)
        drive.put("a/f", b"another")
    elif case == "folder gone":
        drive.move("a", "c")
    without_row(drive, "b")
    drive.pass_time(6)
    drive.settle_down()
    expected = {"free": "a/f", "name taken": "a/f (1)", "folder gone": "f"}[case]
    assert drive.entry(expected).id == file.id and drive.read(expected) == b"f"
    assert drive.statuses(file.id)[-2:] == ["FAILED", "DONE"]
    failed = backlog.events(drive.kelp, 9, "FAILED")[0]
    assert failed.error_message is not None and failed.error_message.startswith("TARGET_FOLDER_DELETED")
    (alert,) = alerts.listing(drive.kelp)
    assert (alert.kind, alert.subject) == ("TARGET_FOLDER_DELETED", file.uuid)
    backlog.retry_failed(drive.kelp)
    drive.settle_down()
    drive.check()
    assert drive.on_nas() == drive.shown()


def test_what_was_mirrored_below_a_folder_that_is_gone_is_written_anew(drive: MirrorDrive) -> None:
    drive.mkdir("b")
    drive.mkdir("b/x")
    drive.put("b/x/f", b"f")
    drive.settle_down()
    drive.put("b/x/f", b"newer")
    without_row(drive, "b")
    drive.settle_down()
    drive.pass_time(6)
    backlog.retry_failed(drive.kelp)
    drive.settle_down()
    assert drive.shown() == {"x": None, "x/f": b"newer"}
    assert drive.on_nas().items() >= drive.shown().items()


def test_a_later_change_of_the_file_replaces_the_failed_one(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.put("a/f", b"f")
    drive.mkdir("b")
    file = drive.move("a/f", "b/f").entry
    without_row(drive, "b")
    drive.pass_time(6)
    drive.settle_down()
    drive.move("a/f", "a/g")
    drive.check_mirrored()
    assert set(drive.statuses(file.id)) == {"DONE"}


def test_a_move_whose_target_was_trashed_afterwards_is_carried_out_in_the_trash(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    drive.mkdir("b")
    drive.put("a/f", b"f")
    drive.settle_down()
    file = drive.move("a/f", "b/f").entry
    drive.trash("b")
    drive.check_mirrored()
    (item,) = (drive.root / ".trash").iterdir()
    assert [path.name.split("__")[-1] for path in (item / "b").iterdir()] == ["f"]
    assert set(drive.statuses(file.id)) == {"DONE"} and drive.on_nas() == {"a": None}


@pytest.mark.parametrize("change", ["trash", "delete"])
def test_a_file_that_is_read_leaves_its_place_afterwards(drive: MirrorDrive, change: str) -> None:
    drive.put("f", b"f")
    drive.settle_down()
    drive.pass_time(70)
    file = drive.entry("f")
    assert file.content_id is not None
    with drive.kelp.database.write() as tx:
        tx.reading.publish("somebody", [file.content_id], drive.clock.now_ns() + 12 * 10**9)
    uuid = drive.trash("f")
    if change == "delete":
        drive.purge(uuid)
    tries = 0
    while drive.on_nas() and tries < 10:
        drive.drain()
        tries += 1
        drive.pass_time(5.1)
    assert tries == 4, "it was looked at after 0, 5, 10 and 15 seconds"
    assert {retries for _, _, retries in drive.events()} == {0}
    drive.check_mirrored()


def test_a_file_that_is_read_makes_way_for_another(drive: MirrorDrive) -> None:
    """A held name is never waited for."""
    drive.put("f", b"old")
    drive.settle_down()
    file = drive.entry("f")
    assert file.content_id is not None
    drive.pass_time(1)
    with drive.kelp.database.write() as tx:
        tx.reading.publish("somebody", [file.content_id], drive.clock.now_ns() + 3600 * 10**9)
    drive.trash("f")
    with drive.kelp.database.write() as tx:  # of the same second
        stamp = tx.one("SELECT nas_stamp FROM entries WHERE id = :id", id=file.id)[0]
    drive.pass_time(70)
    drive.put("f", b"new")
    with drive.kelp.database.write() as tx:
        tx.run(
            "UPDATE entries SET nas_stamp = :stamp, nas_desired_name = :name, nas_desired_key = :name WHERE id = :id",
            stamp=stamp, name=f"{stamp}__f", id=drive.entry("f").id,
        )  # fmt: skip
    for _ in range(10):
        drive.drain()
        drive.pass_time(0.3)
    assert drive.on_nas() == {"f": b"new"}
    with drive.kelp.database.write() as tx:
        tx.run("DELETE FROM reader_leases")
    drive.pass_time(6)
    drive.check_mirrored()


def test_a_fault_of_one_entry_does_not_hide_behind_an_outage(drive: MirrorDrive) -> None:
    drive.put("bad")

    def refuse(method: str, arguments: tuple[object, ...]) -> None:
        if method == "move":
            raise NasFault("this name cannot be")

    drive.nas.before = refuse
    drive.drain()
    assert drive.events("PENDING") == [("SYNC", "PENDING", 1)]
    drive.nas.calm()
    drive.pass_time(6)
    drive.check_mirrored()
