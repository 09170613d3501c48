"""Whole files that programs send, named by ids: into a folder, or in the place of what a file holds."""

from __future__ import annotations

from collections.abc import Iterable

from vfs.core import Kelp
from vfs.model import Caller, Condition, Content, Entry, Expected, Kind, OnConflict, Place, Written
from vfs.operations import busy, by_id, guard, writing


def strategy(kelp: Kelp, wanted: OnConflict | None) -> OnConflict:
    """ERROR unless something else is wished; where each registration stays a file of its own, a name that is taken is
    no reason to refuse (`drive.duplicates`)."""
    if wanted is not None and wanted != OnConflict.ERROR:
        return wanted
    return OnConflict.OVERWRITE if kelp.settings.drive.duplicates == "keep-dated" else OnConflict.ERROR


def upload(
    kelp: Kelp,
    caller: Caller,
    folder_uuid: str | None,
    name: str,
    chunks: Iterable[bytes],
    *,
    expected: Expected,
    mime_type: str | None = None,
    mtime_ns: int | None = None,
    on_conflict: OnConflict | None = None,
) -> Written:
    """A file into the folder of that id; None is the drive itself.

    Raises what `folder_of` and `writing.put_file` raise.
    """
    folder = folder_of(kelp, caller, folder_uuid)
    place, wanted = Place(folder.id, name), strategy(kelp, on_conflict)
    put = writing.Put(caller, place, mime_type, mtime_ns, wanted, None, kelp.clock.now_ns(), with_facts=True)
    return writing.carry_out(kelp, put, chunks, expected)


def folder_of(kelp: Kelp, caller: Caller, uuid: str | None) -> Entry:
    """Where something is to be uploaded. Raises NotFound, Deleted, InTrash, StillSyncing, FolderFailed."""
    folder = by_id.find(kelp, caller, uuid or by_id.ROOT, Kind.FOLDER)
    busy.refuse_into(kelp, caller, folder)
    return folder


def replace(
    kelp: Kelp,
    caller: Caller,
    uuid: str,
    chunks: Iterable[bytes],
    *,
    expected: Expected,
    mime_type: str | None = None,
    mtime_ns: int | None = None,
    condition: Condition | None = None,
) -> Written:
    """Another content for the file of that id, wherever it lies by the time that its body has come.

    A short upload looks where the file is once, and tells what its own commit saw: with a look before the body, one
    after it and one after the commit (5 transactions instead of 3) it took a third more of a CPU than by WebDAV.

    Raises NotFound, Deleted, InTrash, and what `writing.put_file` raises.
    """
    guard.check_time(mtime_ns)
    entry = by_id.find(kelp, caller, uuid, Kind.FILE)
    began, overwrite = kelp.clock.now_ns(), OnConflict.OVERWRITE
    put = writing.Put(caller, entry.place, mime_type, mtime_ns, overwrite, condition, began, entry, with_facts=True)
    is_short = writing.is_short(put, expected)
    if not is_short:
        writing.refuse_early(kelp, put)

    def show(content: Content) -> Written:
        def act(now: Entry, same: Condition) -> Written:
            put.place, put.seen, put.condition = now.place, now, _both(same, condition)
            return writing.change(kelp, put, content)

        return by_id.change(kelp, caller, uuid, Kind.FILE, act, entry if is_short else None)

    return writing.bring(kelp, put, chunks, expected, show)


def _both(first: Condition, second: Condition | None) -> Condition:
    def check(entry: Entry | None, tokens: frozenset[str]) -> None:
        first(entry, tokens)
        if second is not None:
            second(entry, tokens)

    return check
