"""Dead properties and the times that clients set (clients.md R18)."""

from __future__ import annotations

import pytest

from tests.rooms.core.drive import SECOND, Drive
from vfs.errors import Forbidden, InvalidRequest, NotFound, PreconditionFailed
from vfs.model import Entry, OnConflict
from vfs.operations import properties, reading


def test_set_change_and_remove_on_every_kind(drive: Drive) -> None:
    for entry_id in (drive.root_id, drive.folder("f").id, drive.put("a").id):
        properties.patch(drive.kelp, drive.editor, entry_id, [("{n}a", "<a/>"), ("{n}b", "<b>한</b>")])
        properties.patch(drive.kelp, drive.editor, entry_id, [("{n}a", "<a>2</a>"), ("{n}b", None), ("{n}c", None)])
        assert reading.properties_of(drive.kelp, drive.viewer, entry_id) == {"{n}a": "<a>2</a>"}
    below = reading.properties_below(drive.kelp, drive.viewer, drive.root_id)
    assert below == {drive.entry(name).id: {"{n}a": "<a>2</a>"} for name in ("f", "a")}


def test_a_patch_is_no_content_change(drive: Drive) -> None:
    before = drive.put("a")
    drive.mirror()
    after = properties.patch(drive.kelp, drive.editor, before.id, [("{n}a", "<a/>")])
    assert after.content_id == before.content_id and drive.versions("a") == []
    assert drive.sql("SELECT 1 FROM sync_events WHERE status <> 'DONE'") == []


def test_times_are_set_and_carried_to_the_nas(drive: Drive) -> None:
    entry = drive.put("a")
    drive.mirror()
    patched = properties.patch(
        drive.kelp, drive.editor, entry.id, [], mtime_ns=1_500_000_000 * SECOND, created_ns=5 * SECOND
    )
    assert (patched.mtime_ns, patched.shown_mtime, patched.created_ns) == (
        1_500_000_000 * SECOND,
        1_500_000_000,
        5 * SECOND,
    )
    drive.mirror()
    assert next(drive.nas.glob("*__a")).stat().st_mtime_ns == 1_500_000_000 * SECOND


def test_all_or_nothing(drive: Drive) -> None:
    entry = drive.put("a")

    def never(_entry: Entry | None, _tokens: frozenset[str]) -> None:
        raise PreconditionFailed("no")

    with pytest.raises(InvalidRequest):
        properties.patch(drive.kelp, drive.editor, entry.id, [("{n}a", "<a/>"), ("{n}b", "x" * properties.MAX_BYTES)])
    with pytest.raises(PreconditionFailed):
        properties.patch(drive.kelp, drive.editor, entry.id, [("{n}a", "<a/>")], mtime_ns=1, condition=never)
    with pytest.raises(Forbidden):
        properties.patch(drive.kelp, drive.viewer, entry.id, [("{n}a", "<a/>")])
    with pytest.raises(NotFound):
        properties.patch(drive.kelp, drive.editor, 999, [])
    assert reading.properties_of(drive.kelp, drive.editor, entry.id) == {}
    assert drive.entry("a") == entry


def test_properties_travel_with_move_and_copy(drive: Drive) -> None:
    properties.patch(drive.kelp, drive.editor, drive.put("a").id, [("{n}a", "<a/>")])
    properties.patch(drive.kelp, drive.editor, drive.put("b").id, [("{n}b", "<b/>")])
    drive.move("a", "c")
    drive.copy("c", "b", OnConflict.OVERWRITE)
    for name in ("b", "c"):
        assert reading.properties_of(drive.kelp, drive.editor, drive.entry(name).id) == {"{n}a": "<a/>"}
