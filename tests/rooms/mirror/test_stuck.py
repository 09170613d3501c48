"""What FAILED is told once for all; what nobody would ever carry is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.test_due import give_up, refuse
from vfs.operations import alerts, backlog, mirroring, stuck

DAY = 86_400 * 10**9


def told(drive: MirrorDrive) -> list[tuple[str, int]]:
    return [(alert.kind, alert.count) for alert in alerts.listing(drive.kelp)]


def test_all_that_failed_is_one_alert_and_ends_with_the_last(drive: MirrorDrive) -> None:
    drive.mkdir("a")
    for name in ("a/bad", "bad"):
        drive.put(name)
    refuse(drive, "__bad")
    give_up(drive)
    (alert,) = alerts.listing(drive.kelp)
    assert (alert.kind, alert.count) == ("MIRROR_FAILED", 2)
    assert "/bad: this name cannot be;" in alert.message and "kelp sync retry" in alert.message
    stuck.end_alert(drive.kelp)
    drive.move("bad", "good")
    drive.settle_down()
    stuck.end_alert(drive.kelp)
    assert told(drive) == [("MIRROR_FAILED", 2)]
    drive.nas.calm()
    backlog.retry_failed(drive.kelp)
    drive.settle_down()
    stuck.end_alert(drive.kelp)
    assert told(drive) == []
    drive.check_mirrored()


def test_each_failure_is_noted(drive: MirrorDrive) -> None:
    drive.put("bad")
    refuse(drive, "__bad")
    for tried, seconds in ((1, 5), (2, 10), (3, 20)):
        drive.drain()
        (event,) = backlog.events(drive.kelp, 10, "PENDING")
        assert (event.retry_count, event.error_message) == (tried, "this name cannot be")
        drive.pass_time(seconds)
    assert told(drive) == []
    drive.nas.calm()
    drive.check_mirrored()


BREAKAGES = {
    "PROCESSING without a lease": "UPDATE sync_events SET status = 'PROCESSING' WHERE status = 'DONE'",
    "SYNCING without an event": "UPDATE entries SET nas_status = 'SYNCING' WHERE parent_id IS NOT NULL",
    "not where it shall be": "UPDATE entries SET nas_desired_name = name, nas_desired_key = name WHERE name = 'f'",
    "another content": "UPDATE entries SET size = 1, content_id ="
    " (SELECT content_id FROM entries WHERE name = 'g' AND state = 'ACTIVE')"
    " WHERE name = 'f'",
    "a version that never came": "UPDATE versions SET nas_path = NULL, nas_parent_id = NULL, nas_key = NULL",
    "trashed, but still in the tree": "UPDATE entries SET nas_name = nas_desired_name, nas_key = nas_desired_key,"
    " nas_parent_id = parent_id WHERE state = 'TRASHED'",
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_what_would_stand_still_for_ever_is_queued_again(drive: MirrorDrive, what: str) -> None:
    drive.put("f", b"1")
    drive.put("g", b"2")
    drive.pass_time(10)
    drive.put("f", b"3")
    drive.trash("g")
    drive.put("g", b"4")
    drive.settle_down()
    drive.pass_time(100)
    before = drive.kelp.database.version()
    assert stuck.queue_again(drive.kelp).count == 0 and drive.kelp.database.version() == before
    with drive.kelp.database.write() as tx:
        if what.startswith("trashed"):
            ((source,),) = tx.all("SELECT nas_name FROM entries WHERE state = 'TRASHED'")
            (target,) = tx.one("SELECT nas_desired_name FROM entries WHERE state = 'TRASHED'")
            drive.kelp.nas.move(source, target)
        tx.run(BREAKAGES[what])
    if what != "PROCESSING without a lease":
        assert stuck.queue_again(drive.kelp).count > 0
        assert stuck.queue_again(drive.kelp).count == 0, "once is enough"
    else:
        assert mirroring.sweep(drive.kelp)
    drive.settle_down()
    drive.check()


def test_what_is_scheduled_absurdly_far_ahead_is_due_now(drive: MirrorDrive) -> None:
    drive.put("f")
    drive.put("x.tmp")
    with drive.kelp.database.write() as tx:
        tx.run("UPDATE sync_events SET scheduled_ns = scheduled_ns + :far WHERE NOT litter", far=400 * DAY)
    assert stuck.queue_again(drive.kelp).count == 1
    drive.settle_down()
    assert set(drive.on_nas()) == {"f"}
    drive.pass_time(61)
    drive.check_mirrored()


def test_what_is_under_way_is_left_alone(drive: MirrorDrive) -> None:
    drive.put("f")
    drive.pass_time(100)
    seen: list[int] = []

    def look(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "write" and not seen:
            seen.append(stuck.queue_again(drive.kelp).count)

    drive.nas.before = look
    drive.drain()
    drive.nas.calm()
    assert seen == [0]
    drive.check_mirrored()


def test_what_lies_far_below_a_purged_folder_is_not_queued_again(drive: MirrorDrive) -> None:
    """It went with the folder; that its row is marked too is a batch's work, later."""
    for path in ("a", "a/b", "a/b/c"):
        drive.mkdir(path)
    drive.put("a/b/c/f")
    drive.settle_down()
    drive.purge(drive.trash("a"))
    drive.settle_down()
    drive.clock.advance(120)
    assert stuck.queue_again(drive.kelp).count == 0
