"""Many small changes are claimed and recorded together: few statements, none of them missed, whatever comes between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobs import mirror
from jobs.shares import BATCH
from tests.mirror_drive import Killed, MirrorDrive
from vfs.errors import NasFault
from vfs.metadata.database import Tx
from vfs.operations import plain_claims, trashing

NAMES = [f"f{number:02}" for number in range(BATCH + 8)]
embedded = pytest.mark.engine(database="sqlite", reason="it is looked at before the lock where one lock is for all")


def _fill(drive: MirrorDrive) -> None:
    drive.mkdir("d")
    for name in NAMES:
        drive.put(f"d/{name}", name.encode())
    drive.settle_down()


def _remove_all(drive: MirrorDrive) -> None:
    for name in NAMES:
        drive.remove(f"d/{name}")


def _left(drive: MirrorDrive) -> set[str]:
    folder = next(path for path in drive.root.iterdir() if path.name == "d")
    return {path.name.partition("__")[2] for path in folder.iterdir()}


def _whole(drive: MirrorDrive) -> None:
    drive.check_mirrored()
    assert not drive.raw_nas(".kelp").get("foreign"), "nothing of Kelp's own was taken for a stranger's"
    assert drive.raw_nas(".kelp/tmp") == {}


@embedded
def test_removals_share_their_statements(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    from vfs.metadata.sqlite_tx import SqliteTx

    _fill(drive)
    _remove_all(drive)
    statements: list[str] = []
    for method in ("all", "one", "run", "count", "many"):
        real = getattr(SqliteTx, method)

        def counted(tx: Tx, sql: str, *rows: object, _real: Callable[..., Any] = real, **values: object) -> Any:
            statements.append(sql)
            return _real(tx, sql, *rows, **values)

        monkeypatch.setattr(SqliteTx, method, counted)
    assert drive.drain() == len(NAMES)
    assert len(statements) < 4 * len(NAMES), "it was 13 for each"
    monkeypatch.undo()
    assert _left(drive) == set()
    _whole(drive)


@embedded
def test_nothing_is_seen_on_the_nas_before_its_plan_is_on_the_disk(drive: MirrorDrive) -> None:
    """After a power cut nobody else would know whose it is."""
    writing = drive.kelp.database._engine._writing  # type: ignore[attr-defined]
    early: list[str] = []

    def look(method: str, arguments: tuple[Any, ...]) -> None:
        if writing.unsynced and method in ("move", "remove", "remove_together", "make_folder", "link", "touch"):
            early.append(method)

    drive.nas.before = look
    _fill(drive)
    drive.move("d/f01", "d/moved")
    drive.trash("d/f02")
    drive.remove("d/f03")
    drive.settle_down()
    assert early == []


def test_one_that_cannot_be_removed_keeps_none_of_the_others(drive: MirrorDrive) -> None:
    _fill(drive)

    def refuse(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "remove_together" or (method == "remove" and arguments[0].endswith("__f07")):
            raise NasFault("NAS: not permitted")

    drive.nas.before = refuse
    _remove_all(drive)
    drive.drain()
    assert _left(drive) == {"f07"}
    drive.nas.calm()
    drive.pass_time(60)
    drive.settle_down()
    assert _left(drive) == set()
    _whole(drive)


@pytest.mark.parametrize("number", [1, 2, BATCH // 2, BATCH, BATCH + 1])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_a_batch_of_removals(drive: MirrorDrive, when: str, number: int) -> None:
    """The last one dies between the NAS and what is recorded of it."""
    _fill(drive)
    _remove_all(drive)
    drive.put("d/f01", b"another one of that name")
    left = number

    def die(method: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        left -= method in ("remove", "remove_together", "sync")
        if not left:
            raise Killed

    setattr(drive.nas, when, die)
    alone = drive.nas.inner.remove_together
    drive.nas.inner.remove_together = lambda folder, files: set()
    with pytest.raises(Killed):
        drive.drain()
    drive.nas.inner.remove_together = alone
    drive.die()
    drive.settle_down()
    assert _left(drive) == {"f01"}
    _whole(drive)


def test_two_at_once(drive: MirrorDrive) -> None:
    _fill(drive)
    _remove_all(drive)
    for name in NAMES[::3]:
        drive.put(f"d/{name}", b"again " + name.encode())
    workers = [threading.Thread(target=drive.drain, args=(f"worker {number}",)) for number in range(3)]
    for worker in workers:
        worker.start()
    for name in NAMES[1::3]:
        drive.put(f"d/{name}", b"once more " + name.encode())
    for worker in workers:
        worker.join(60)
    drive.settle_down()
    assert _left(drive) == {*NAMES[::3], *NAMES[1::3]}
    _whole(drive)


def _rename(drive: MirrorDrive) -> None:
    drive.move("d/f00", "d/renamed")


def _remove_again(drive: MirrorDrive) -> None:
    drive.trash("d/f00")


def _take_its_name(drive: MirrorDrive) -> None:
    drive.move("d/f00", "d/else")
    drive.put("d/f00", b"another")


def _rename_folder(drive: MirrorDrive) -> None:
    drive.move("d", "e")
    drive.mkdir("d")


def _purge_folder(drive: MirrorDrive) -> None:
    drive.purge(drive.trash("d"))
    drive.mkdir("d")


def _restore(drive: MirrorDrive) -> None:
    drive.restore(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)


def _purge(drive: MirrorDrive) -> None:
    drive.purge(trashing.list_trash(drive.kelp, drive.caller)[0].entry.uuid)


def _carry(drive: MirrorDrive) -> None:
    mirror.drain(drive.kelp, "another")


def _copy(drive: MirrorDrive) -> None:
    drive.copy("d/f00", "copy")


COMES_BETWEEN: dict[str, tuple[Callable[[MirrorDrive], object], Callable[[MirrorDrive], object]]] = {
    "made, renamed": (lambda drive: drive.put("d/f00", b"new"), _rename),
    "made, written": (lambda drive: drive.put("d/f00", b"new"), lambda drive: drive.put("d/f00", b"newer")),
    "made, copied": (lambda drive: drive.put("d/f00", b"new"), _copy),
    "made, trashed": (lambda drive: drive.put("d/f00", b"new"), _remove_again),
    "made, name taken": (lambda drive: drive.put("d/f00", b"new"), _take_its_name),
    "made, folder renamed": (lambda drive: drive.put("d/f00", b"new"), _rename_folder),
    "made, folder purged": (lambda drive: drive.put("d/f00", b"new"), _purge_folder),
    "made, carried": (lambda drive: drive.put("d/f00", b"new"), _carry),
    "trashed, restored": (lambda drive: drive.trash("d/old"), _restore),
    "trashed, purged": (lambda drive: drive.trash("d/old"), _purge),
    "trashed, folder renamed": (lambda drive: drive.trash("d/old"), _rename_folder),
    "trashed, carried": (lambda drive: drive.trash("d/old"), _carry),
    "trashed, made anew": (lambda drive: drive.trash("d/old"), lambda drive: drive.put("d/old", b"anew")),
    "copied, original written": (
        lambda drive: drive.copy("d/old", "d/f00"),
        lambda drive: drive.put("d/old", b"other bytes"),
    ),
    "written, copied": (lambda drive: drive.put("d/old", b"newer"), lambda drive: drive.copy("d/old", "copy")),
    "renamed, folder renamed": (lambda drive: drive.move("d/old", "d/f00"), _rename_folder),
}


@embedded
@pytest.mark.parametrize("change", COMES_BETWEEN)
def test_what_changes_between_the_look_and_the_lock(
    drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    first, second = COMES_BETWEEN[change]
    drive.mkdir("d")
    drive.put("d/old", b"old")
    drive.settle_down()
    drive.pass_time(70)
    first(drive)
    real = plain_claims.foresee

    def look(*arguments: Any) -> plain_claims.Foreseen:
        monkeypatch.undo()
        seen = real(*arguments)
        second(drive)
        return seen

    monkeypatch.setattr(plain_claims, "foresee", look)
    drive.settle_down()
    _whole(drive)


@embedded
def test_the_only_copy_that_somebody_else_came_to_need(drive: MirrorDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache has lost it, and when the removal was planned nobody else had it."""
    kept = drive.put("old", b"only there")
    drive.settle_down()
    drive.purge(drive.trash("old"))
    real = plain_claims.foresee

    def look(*arguments: Any) -> plain_claims.Foreseen:
        monkeypatch.undo()
        seen = real(*arguments)
        made = drive.put("other", b"something")
        with drive.kelp.database.write() as tx:  # what a copy that began before the removal commits
            tx.entries.update(made.id, content_id=kept.content_id, size=kept.size)
        assert kept.content_id is not None
        drive.kelp.cache.delete(kept.content_id)
        return seen

    monkeypatch.setattr(plain_claims, "foresee", look)
    drive.settle_down()
    assert drive.read("other") == b"only there"
    drive.check_mirrored()
