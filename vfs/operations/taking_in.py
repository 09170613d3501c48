"""The drive follows what was changed on the NAS (`scanning`): the NAS is right, where somebody says so.

What is new becomes an entry where it is. What was changed is the file's content from now on, and the one before a
version, as far as the cache has it. What was moved is moved on the drive. What is missing goes to the trash, while its
bytes are in the cache; or, where the drive shall be right, it is written again from there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vfs import links, names, trace
from vfs.core import Kelp
from vfs.errors import InvalidName, KeyMissing, Locked
from vfs.locks import table
from vfs.metadata import scanning as rows
from vfs.metadata import taking as taking_rows
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Entry, EventType, Kind, State
from vfs.nas_model import Recorded, Spot
from vfs.operations import changes, scanning, sealing, taking, trashing
from vfs.operations.guard import Standing
from vfs.operations.nas_names import unstamp
from vfs.operations.scanning import Difference, Finding
from vfs.operations.taking import Found

_BATCH = 100  # findings of one commit
_ORDER = (
    Difference.RENUMBERED, Difference.NEW, Difference.MOVED, Difference.CHANGED, Difference.MISSING,
    Difference.OTHER_KIND, Difference.LEFT_ALONE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a finding. `why`: it was left as it is."""

    finding: Finding
    done: bool
    why: str = ""


class _Left(Exception):
    """It stays as it is, for this reason."""


def take_in(
    kelp: Kelp,
    caller: Caller,
    findings: Sequence[Finding],
    *,
    restore: bool = False,
    report: Callable[[int], None] = lambda done: None,
) -> list[Outcome]:
    """Let the drive follow the NAS. `restore`: what is missing there is written again instead, from the cache.

    Each finding is looked at again in the transaction; what is another by now is left for the next scan.
    """
    taking_in = _TakingIn(kelp, caller, restore)
    # A folder comes before what is in it.
    wanted = sorted(findings, key=lambda each: (_ORDER.index(each.what), each.path.count("/")))
    outcomes: list[Outcome] = []
    for at in range(0, len(wanted), _BATCH):
        outcomes += taking_in.several(wanted[at : at + _BATCH])
        report(len(outcomes))
    return outcomes


class _TakingIn:
    def __init__(self, kelp: Kelp, caller: Caller, restore: bool) -> None:
        self._kelp, self._caller, self._restore = kelp, caller, restore
        self._folders: dict[str, int] = {}  # NAS path → id, of folders that were new
        self._gone: set[int] = set()  # entries that went with a folder
        self._now = 0

    def several(self, findings: Sequence[Finding]) -> list[Outcome]:
        # Looked at before the transaction, which holds locks: the NAS may be slow.
        seen = [each.why == "" and scanning.still_so(self._kelp, each) for each in findings]
        return self._commit(list(zip(findings, seen, strict=True)))

    @retried
    def _commit(self, findings: list[tuple[Finding, bool]]) -> list[Outcome]:
        made: dict[str, int] = {}
        with self._kelp.database.write() as tx:
            tx.lock_mirror()
            tx.lock_tree(exclusive=True)
            tx.lock_rows(sorted({each.id for each, _ in findings if each.id}))
            self._now = self._kelp.clock.now_ns()
            outcomes = [self._one(tx, finding, is_so, made) for finding, is_so in findings]
        self._folders |= made
        return outcomes

    def _one(self, tx: Tx, finding: Finding, is_so: bool, made: dict[str, int]) -> Outcome:
        if finding.why:
            return Outcome(finding, False, finding.why)
        try:
            folder_id = finding.folder_id or {**self._folders, **made}.get(finding.path.rpartition("/")[0])
            if folder_id is None:
                raise _Left("its folder was not taken in")
            finding = replace(finding, folder_id=folder_id)
            if finding.id in self._gone:
                return Outcome(finding, True)
            if not is_so or not scanning.is_free_to_take(self._kelp, tx, finding):
                raise _Left("it is changing just now")
            self._refuse_sealed(tx, finding)
            _TAKE[finding.what](self, tx, finding, made)
        except (_Left, Locked, KeyMissing) as error:
            return Outcome(finding, False, str(error))
        return Outcome(finding, True)

    @staticmethod
    def _refuse_sealed(tx: Tx, finding: Finding) -> None:
        """Whoever changes a vault on the NAS has not sealed what he brings, nor for that place."""
        own = tx.seals.of(finding.id) if finding.id else None
        inside = tx.seals.of(finding.folder_id) is not None or (own is not None and not own.is_root)
        if inside and finding.what not in (Difference.MISSING, Difference.RENUMBERED):
            raise _Left("it is in a vault, or was: nothing comes into one from the NAS")

    # --- each kind of difference ---

    def _new(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        if finding.info is None:
            raise AssertionError("something new was seen")
        here = self._place(tx, finding.folder_id, finding.nas_name, is_folder=finding.is_folder)
        found = Found(finding.folder_id, finding.nas_name, finding.info, here.name)
        row = taking.entry_row(self._kelp, found, self._now)
        if not finding.is_folder:
            content_id = str(row["content_id"])
            self._insert_content(tx, content_id, finding.info.size)
        id = tx.entries.insert(**{name: value for name, value in row.items() if name != "id"})
        if finding.is_folder:
            made[finding.path] = id
        self._tell(tx, id, found.kind, EventType.SYNC, here.path_of(), "adopt")

    def _changed(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        entry, here = self._entry(tx, finding)
        info = finding.info
        if info is None or entry.content_id is None:
            raise AssertionError("a file that was changed has a content, and was seen")
        if tx.contents.cached(entry.content_id):
            somebody = replace(self._caller, user_id=0)  # not who wrote it, however soon after
            changes.keep_version(self._kelp, tx, somebody, entry, entry.id, self._now)
        content_id = str(uuid.uuid4())
        self._insert_content(tx, content_id, info.size)
        tx.entries.update(
            entry.id,
            content_id=content_id,
            content_user_id=None,
            content_ns=info.mtime_ns,
            size=info.size,
            mime_type=changes.mime_type(entry.name, entry.mime_type if info.size == links.SIZE else ""),
            mtime_ns=info.mtime_ns,
            shown_mtime=changes.shown_mtime(tx, here, info.mtime_ns, self._now, by_client=False),
            nas_verified_ns=None,
        )
        note = tx.mirror.row(entry.id)[-3]
        spot = Spot(finding.folder_id, finding.nas_name)
        seen = Recorded(spot, content_id, info.size, info.mtime_ns, info.inode, note)
        tx.mirror.record(entry.id, seen, self._kelp.nas.properties.folds_case)
        self._tell(tx, entry.id, Kind.FILE, EventType.SYNC, here.path_of(entry.name), "write")

    def _moved(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        entry, before = self._entry(tx, finding)
        stamp, name = self._name_after(tx, entry, finding.nas_name)
        if finding.info is None or taking.refusal(name, finding.info):
            raise _Left("the name that it has now cannot be shown on the drive")
        same = (before.folder_id, entry.name) == (finding.folder_id, name)
        here = before if same else self._place(tx, finding.folder_id, name, is_folder=entry.is_folder)
        if entry.id in here.chain:
            raise _Left("a folder cannot be in itself")
        row = tx.mirror.row(entry.id)
        found = Found(finding.folder_id, finding.nas_name, finding.info, here.name)
        name_key, nas_key = taking.keys(self._kelp, found)
        changes.drop_locks(tx, entry, self._now)
        tx.changed_folders.add(before.folder_id)
        tx.entries.update(
            entry.id, parent_id=finding.folder_id, name=here.name, name_key=name_key, nas_stamp=stamp,
            nas_desired_name=finding.nas_name, nas_desired_key=nas_key,
            mime_type="" if entry.is_folder else changes.mime_type(here.name, entry.mime_type),
        )  # fmt: skip
        seen = Recorded(Spot(finding.folder_id, finding.nas_name), *row[11:-1])
        tx.mirror.record(entry.id, seen, self._kelp.nas.properties.folds_case)
        self._tell(tx, entry.id, entry.kind, EventType.MOVE, here.path_of(here.name), "move")

    def _missing(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        """With all that was in it."""
        entry = tx.entries.as_stored(finding.id)
        if entry is None:
            raise _Left("it is changing just now")
        below = [id for id, _ in tx.mirror.recorded_below(entry.id)] if entry.is_folder else []
        lost = self._not_cached(tx, [entry.id, *below])
        if lost and not (self._restore and entry.is_folder):
            what = f"the bytes of {lost} files in it are" if entry.is_folder else "its bytes are"
            raise _Left(f"{what} in the cache no more: they are lost, unless somebody puts them back")
        if finding.sealed and not self._restore:
            raise _Left("it is sealed: with --restore what the cache has is written again")
        if self._restore or entry.state is not State.ACTIVE:
            self._forget(tx, entry, below)
            self._tell(tx, entry.id, entry.kind, EventType.SYNC, None, "restore")
            return
        entry, here = self._entry(tx, finding)
        self._forget(tx, entry, below)
        changes.leave_name(tx, here, entry, self._now)
        trashing.put_in_trash(self._kelp, tx, self._caller, here, entry, self._now)

    def _not_cached(self, tx: Tx, ids: list[int]) -> int:
        contents = [entry.content_id for id in ids if (entry := tx.entries.as_stored(id)) is not None]
        return sum(content is not None and not tx.contents.cached(content) for content in contents)

    def _forget(self, tx: Tx, entry: Entry, below: list[int]) -> None:
        """The NAS has none of it: all is due again, wherever it shall be."""
        note = tx.mirror.row(entry.id)[-3]
        tx.mirror.unrecord_below(entry.id)
        tx.mirror.record(entry.id, Recorded(note=note), self._kelp.nas.properties.folds_case)
        for id in below:
            inner = tx.entries.as_stored(id)
            if inner is not None:
                tx.events.add(
                    id, inner.kind, EventType.SYNC, source=None, target=None,
                    trace_id=trace.current(), now_ns=self._now, scheduled_ns=self._now, litter=False,
                )  # fmt: skip
        self._gone |= {entry.id, *below}

    def _renumbered(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        if finding.info is not None:
            rows.renumber(tx, finding.id, finding.info.inode)

    def _other_kind(self, tx: Tx, finding: Finding, made: dict[str, int]) -> None:
        raise _Left(finding.why)

    # --- what they share ---

    def _entry(self, tx: Tx, finding: Finding) -> tuple[Entry, Standing]:
        """The entry, and where it is on the drive: shown there, and not locked."""
        entry = tx.entries.get(finding.id)
        ancestors = tx.entries.ancestors(finding.id)
        if entry is None or any(state != State.ACTIVE for _, state, _ in ancestors):
            raise _Left("it is in the trash")
        chain = tuple(id for id, _, _ in ancestors[1:])
        table.confirm(tx, self._caller, (entry.id, *chain), self._now)
        key = sealing.key_in(self._kelp, tx, chain[0], entry.name)
        return entry, Standing(chain, tx.entries.path(chain[0]), entry.name, key, entry, tx.seals.of(chain[0]))

    def _place(self, tx: Tx, folder_id: int, name: str, *, is_folder: bool) -> Standing:
        """A free name in a folder that is shown."""
        way = tx.entries.way_to_folder(folder_id)
        if way is None:
            raise _Left("its folder is in the trash")
        table.confirm(tx, self._caller, way.chain, self._now)
        key = sealing.key_in(self._kelp, tx, folder_id, name)
        here = Standing(way.chain, way.path, name, key, None)
        taken = tx.entries.child(folder_id, key)
        return here if taken is None else changes.renamed(here, self._kelp, tx, is_folder)

    def _name_after(self, tx: Tx, entry: Entry, nas_name: str) -> tuple[str | None, str]:
        """(stamp, name on the drive) of what is called `nas_name` on the NAS by now."""
        stamp, _, _, desired = tx.entries.placing(entry.id)
        if nas_name == desired:
            return stamp, entry.name
        stamped = unstamp(nas_name) if stamp is not None else None
        if stamped is not None and stamped[0] == stamp:
            try:
                return stamp, names.check_segment(stamped[1])
            except InvalidName:
                return None, nas_name
        return None, nas_name

    def _insert_content(self, tx: Tx, id: str, size: int) -> None:
        taking_rows.insert_contents(tx, [taking.content_row(id, size, self._now)], taking.part_rows(id, size))

    def _tell(self, tx: Tx, id: int, kind: Kind, event: EventType, path: str | None, what: str) -> None:
        """The mirror writes what is left to write: a note of the full name, a version, all of it."""
        changes.announce(self._kelp, tx, self._caller, id, kind, event, self._now, target=path, what=what)


_TAKE: dict[Difference, Callable[[_TakingIn, Tx, Finding, dict[str, int]], None]] = {
    Difference.NEW: _TakingIn._new,
    Difference.LEFT_ALONE: _TakingIn._new,  # which says why not
    Difference.CHANGED: _TakingIn._changed,
    Difference.MOVED: _TakingIn._moved,
    Difference.MISSING: _TakingIn._missing,
    Difference.RENUMBERED: _TakingIn._renumbered,
    Difference.OTHER_KIND: _TakingIn._other_kind,
}
