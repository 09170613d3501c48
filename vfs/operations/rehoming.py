"""A drive whose NAS is lost for good gets another, empty one: all that the cache has is written there anew.

What only the old NAS had is lost, and told. The mark in the database (`nas_walk`) keeps every other program away until
all is due again, and says how far that came.
"""

from __future__ import annotations

from vfs import trace
from vfs.core import Kelp
from vfs.errors import ConfigurationError, ObjectMissing
from vfs.metadata import rehoming as homes
from vfs.metadata import taking as rows
from vfs.metadata.database import Database, Tx
from vfs.metadata.rehoming import Row
from vfs.model import EventType, Kind, State
from vfs.operations import alerts, nas_walk
from vfs.operations.adopting import mark, was_claimed
from vfs.operations.alerts import AlertKind
from vfs.operations.nas_walk import Report, Taken, Walk, no_report
from vfs.settings import Settings
from vfs.storage.nas_marker import Look

REHOME = "adopt --new-root"
_BATCH = 1000  # entries of one commit


def begin(database: Database, settings: Settings, look: Look, now_ns: int) -> None:
    """Mark a drive with files, or find that this goes on. Raises ConfigurationError."""
    root = settings.nas_root
    with database.read() as tx:
        noted, has_entries, busy = rows.progress(tx), rows.has_entries(tx), rows.busy_until(tx)
        installation = tx.accounts.value("id")
    if noted is not None and (noted["how"], noted["root"]) != (REHOME, str(root)):
        raise ConfigurationError(
            f"`kelp nas {noted['how']}` of {noted['root']} has not come to its end in this drive: run it again"
        )
    if noted is None:
        if not has_entries:
            raise ConfigurationError("this drive has no files: `kelp serve` or `kelp nas adopt` begins one")
        if look.installation == installation:
            raise ConfigurationError(f"{root} is the NAS of this drive: nothing is to be done")
        if look.installation is not None or not look.is_empty:
            raise ConfigurationError(f"a new NAS must be an empty folder, and {root} holds something")
        if busy > now_ns:
            raise ConfigurationError("a server of this drive is running, or was killed a moment ago: stop it first")
        noted = nas_walk.fresh_mark(REHOME, str(root))
    elif look.installation is None and was_claimed(noted):
        raise ConfigurationError(f"{root} is not what was begun with: is the NAS mounted?")
    mark(database, noted)


def rehome(kelp: Kelp, report: Report = no_report) -> Taken:
    """Make all due again that the cache has. `left` of the answer: files that are lost.

    Raises NasDown, StoreUnavailable: run it again. ConfigurationError: another run took over.
    """
    work = _Rehoming(kelp, report)
    work.go_through()
    work.finish()
    return work.taken


class _Rehoming(Walk):
    """Through the entries, not the NAS."""

    def __init__(self, kelp: Kelp, report: Report) -> None:
        super().__init__(kelp, report, lambda folder, path, seen: None)

    def go_through(self) -> None:
        while True:
            with self.kelp.database.scan() as tx:
                found = homes.entries_after(tx, self._at, _BATCH)
            if not found:
                break
            there = [key for row in found if row.absent for key in self._in_cache_all_the_same(row)]
            with self.change() as tx:
                homes.mark_there(tx, there)
                found = homes.entries_after(tx, self._at, _BATCH)
                self._unrecord(tx, found)
                self._at = found[-1].id
            self._report(self.taken)
        with self.change() as tx:
            homes.forget_jobs(tx)
            if self.taken.left_count:
                message = f"{self.taken.left_count} files were only on the old NAS: they are lost"
                alerts.open_in(self.kelp, tx, AlertKind.CONTENT_LOST, message, "the old NAS")

    def _in_cache_all_the_same(self, row: Row) -> list[str]:
        """Objects that an eviction, or a restoring, left in the cache when it was cut short.

        Should one not be good, its next reader finds out.
        """
        with self.kelp.database.read() as tx:
            entry = tx.entries.as_stored(row.id)
            content = tx.contents.get(entry.content_id) if entry is not None and entry.content_id else None
        found = []
        for part in content.parts if content is not None else ():
            try:
                if part.checksum and self.kelp.cache.stat(part.key) == part.size:
                    found.append(part.key)
            except ObjectMissing:
                continue
        return found

    def _unrecord(self, tx: Tx, found: list[Row]) -> None:
        homes.unrecord(tx, found[0].id, found[-1].id)
        now = self.kelp.clock.now_ns()
        for row in found:
            if row.state == State.DELETED:
                continue
            if row.absent:
                self.taken.leave(tx.entries.logged_path(row.id).strip("/"), "it was only on the old NAS")
                homes.mark_lost(tx, row.id, now)
                continue
            self.taken.folders += row.kind is Kind.FOLDER
            self.taken.files += row.kind is not Kind.FOLDER
            self.taken.bytes += row.size
            tx.events.add(
                row.id, row.kind, EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip
