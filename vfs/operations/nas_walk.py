"""Through the folders of the NAS, making rows of what is there: for an adoption, and for the recovery of a database.

Folders are walked in the order of their ids, which is the order they were found in. The mark in the database, changed
in the same commits, says which was walked last, so a run that is killed goes on there; until the end no other program
opens the drive.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from vfs import trace
from vfs.core import Kelp
from vfs.errors import ConfigurationError, NasDown, NasFault, ObjectMissing
from vfs.metadata import taking as rows
from vfs.metadata.database import Tx
from vfs.model import EventType, Kind
from vfs.operations import nas_state, taking
from vfs.operations.taking import Found
from vfs.storage.nas_store import NasSeen

log = logging.getLogger(__name__)

_BATCH = 1000  # entries of one commit
_AHEAD = 200  # folders asked for at a time
_MOST_LEFT = 1000  # things left alone that are told one by one


@dataclass(slots=True)
class Taken:
    """How far it is: entries that are rows now, folders that were walked of those known so far; `left`: (path, why)."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    walked: int = 0
    known: int = 1
    left: list[tuple[str, str]] = field(default_factory=list)
    left_count: int = 0

    def leave(self, path: str, why: str) -> None:
        if (path, why) in self.left:  # told before the run was interrupted
            return
        self.left_count += 1
        if len(self.left) < _MOST_LEFT:
            self.left.append((path, why))

    def count(self, found: Found) -> None:
        if found.kind is Kind.FOLDER:
            self.folders += 1
            self.known += 1
        else:
            self.files += 1
            self.bytes += found.info.size


Report = Callable[[Taken], None]
# In which order what a folder holds is looked at: any, or such that the one who shall have a name comes first.
Order = Callable[[Iterator[NasSeen]], Iterable[NasSeen]]
# What something seen in a folder (by its id, and path on the NAS) is on the drive: None where it is passed over, or why
# it is left alone.
Judge = Callable[[int, str, NasSeen], Found | str | None]


def no_report(taken: Taken) -> None:
    return


def fresh_mark(how: str, root: str) -> dict[str, Any]:
    return {"how": how, "root": root, "at": 0, "taken": asdict(Taken())}


class Walk:
    """One run of an adoption. A batch of rows is a commit."""

    def __init__(self, kelp: Kelp, report: Report, judge: Judge, order: Order = iter) -> None:
        with kelp.database.read() as tx:
            noted = rows.progress(tx)
        if noted is None:
            raise AssertionError("who begins marks the drive first")
        self.kelp, self._report, self._judge, self._order = kelp, report, judge, order
        self._noted = noted
        self.taken = Taken(**{**noted["taken"], "left": [(path, why) for path, why in noted["taken"]["left"]]})
        self._at = int(noted["at"])  # the last folder that is done
        self.batch: list[Found] = []
        self.twins: list[tuple[Found, str]] = []  # and the NAS name of who has its name
        self._paths: dict[int, str] = {}  # of the folders that the batch is of
        self._keys: dict[tuple[int, str], str] = {}  # (folder, key) → NAS name that has it in this batch
        self._begun: set[int] = set()  # folders of which a part is committed

    def run(self) -> None:
        """Raises NasDown, NoSpace, StoreUnavailable; ConfigurationError when another run has taken over."""
        resumed = True  # a part of the first folder may be committed
        while folders := self._next():
            for id, path in folders:
                if resumed:
                    self._begun.add(id)
                resumed = False
                self._folder(id, path)
                self._at = id
                self.taken.walked += 1
                self._report(self.taken)
        self.flush()

    def _next(self) -> list[tuple[int, str]]:
        with self.kelp.database.scan() as tx:
            found = rows.next_folders(tx, self._at, _AHEAD)
        if found or not (self.batch or self.twins):
            return found
        self.flush()
        return self._next()

    def _folder(self, id: int, path: str) -> None:
        self._paths[id] = path
        try:
            for seen in self._order(self.kelp.nas.survey(path)):
                self._take(id, path, seen)
        except ObjectMissing:
            self.taken.leave(path, "it vanished meanwhile")
        except NasFault as error:
            if not path:
                raise
            self.taken.leave(path, f"it cannot be looked into ({error})")

    def _take(self, id: int, path: str, seen: NasSeen) -> None:
        judged = self._judge(id, path, seen)
        if isinstance(judged, str):
            self.taken.leave(below(path, seen.name), judged)
        elif judged is not None:
            self.add(judged)
        if self.is_full:
            self.flush()
            self._begun, self._paths = {id}, {id: path}

    @property
    def is_full(self) -> bool:
        return len(self.batch) + len(self.twins) >= _BATCH

    def add(self, found: Found) -> None:
        """Into the batch, unless something there has its name."""
        if found.is_named:
            for key in (wanted := taking.keys(self.kelp, found)):
                if (found.parent_id, key) in self._keys:
                    self.twins.append((found, self._keys[found.parent_id, key]))
                    return
            self._keys |= {(found.parent_id, key): found.nas_name for key in wanted}
        self.batch.append(found)

    def take_twin(self, tx: Tx, found: Found, other: str) -> None:
        """For the drive, `found` has the name that `other`, in the same folder on the NAS, has got."""
        path = below(self._paths.get(found.parent_id, ""), found.nas_name)
        self.taken.leave(path, f"for the drive it has the same name as {other!r} beside it")

    def flush(self) -> None:
        """Commit what is in the batch, with the mark."""
        with self.change() as tx:
            batch = [found for found in self.batch if found.parent_id not in self._begun or not found.is_named]
            for folder_id in self._begun:
                batch += self._without_taken(tx, folder_id)
            for found in batch:
                self.taken.count(found)
            taking.insert(self.kelp, tx, batch)
            self.inserted(tx, batch)
            for found, other in self.twins:
                self.take_twin(tx, found, other)
            self._ask_for_notes(tx, [found for found in batch if taking.needs_note(found)])
        self.batch, self.twins, self._keys, self._paths, self._begun = [], [], {}, {}, set()
        self._report(self.taken)

    def inserted(self, tx: Tx, batch: list[Found]) -> None:
        """What else is to be written of these, whose rows are there now."""

    def _without_taken(self, tx: Tx, folder_id: int) -> list[Found]:
        """Of the batch what is in a folder of which a part is committed already, without what that part has."""
        doubtful = [found for found in self.batch if found.parent_id == folder_id and found.is_named]
        there = rows.taken(tx, folder_id, {key for found in doubtful for key in taking.keys(self.kelp, found)})
        kept = []
        for found in doubtful:
            names = {there[key] for key in taking.keys(self.kelp, found) if key in there}
            if not names:
                kept.append(found)
            elif found.nas_name not in names:
                self.twins.append((found, min(names)))
        return kept

    def _ask_for_notes(self, tx: Tx, found: list[Found]) -> None:
        """The mirror writes what these names cannot tell."""
        now = self.kelp.clock.now_ns()
        for each in found:
            id = rows.id_at(tx, each.parent_id, each.nas_name)
            tx.events.add(
                id, each.kind, EventType.SYNC, source=None, target=None,
                trace_id=trace.current(), now_ns=now, scheduled_ns=now, litter=False,
            )  # fmt: skip

    @contextmanager
    def change(self) -> Iterator[Tx]:
        """A transaction that is this run's alone, and notes how far it came."""
        with self.kelp.database.write() as tx:
            tx.lock_mirror()
            yield tx
            noted = {**self._noted, "at": self._at, "taken": asdict(self.taken)}
            if not rows.advance(tx, self._noted, noted):
                raise ConfigurationError("another `kelp nas` command is at work on this drive")
        self._noted = json.loads(json.dumps(noted))

    def finish(self) -> None:
        """All is there: what was seen of the NAS is noted, and the drive may be used."""
        properties = json.dumps({"folds_case": self.kelp.nas.properties.folds_case})
        with self.change() as tx:
            tx.accounts.set_value("nas_properties", properties)
        with self.kelp.database.write() as tx:
            rows.finish(tx)
        try:
            nas_state.measure(self.kelp)
        except NasDown as error:
            log.warning("the room on the NAS is not known yet: %s", error)


def below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
