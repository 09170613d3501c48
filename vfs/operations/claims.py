"""What one claiming transaction has taken so far, and what it has seen of the ways on the NAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID
from vfs.nas_model import Job, Situation, Step
from vfs.operations.mirroring import Ways
from vfs.operations.under_way import VersionsUnderWay, key_of

Goal = tuple[int, str]  # folder, NAS key


@dataclass(slots=True)
class Claims:
    owner: str
    expires_ns: int
    now_ns: int
    ways: Ways
    jobs: list[Job] = field(default_factory=list)
    covered: int = 0  # entries that needed no work at all
    taken: set[int] = field(default_factory=set)
    homeless: set[int] = field(default_factory=set)
    fence: int = 0  # the last one given
    _ways_of: dict[frozenset[int], tuple[dict[int, str], tuple[int, ...]]] = field(default_factory=dict)
    _versions: VersionsUnderWay | None = None
    _waiting: dict[tuple[int, ...], int | None] = field(default_factory=dict)  # see `Mirror.waits_to_move`
    _free: set[tuple[int, ...]] = field(default_factory=set)  # ways that nobody blocks

    def add(self, job: Job, *, exclusive: bool = False) -> None:
        self.fence = job.fence
        self.taken.add(job.situation.entry_id)
        self.jobs.append(job)
        if exclusive:
            self._free.clear()

    def versions(self, kelp: Kelp, tx: Tx) -> VersionsUnderWay:
        """In the plans of all leases."""
        if self._versions is None:
            self._versions = VersionsUnderWay.of_all_leases(kelp, tx)
        return self._versions

    def add_versions(self, kelp: Kelp, steps: Sequence[Step]) -> None:
        if self._versions is not None:
            self._versions.add(kelp, steps)

    def ways_of(self, folders: frozenset[int]) -> tuple[dict[int, str], tuple[int, ...]]:
        """Recorded paths of these folders, and all folders on the ways there, by ascending id; but for the root, which
        never moves."""
        if folders not in self._ways_of:
            places: dict[int, str] = {ROOT_ID: ""}
            shared: set[int] = set()
            for id in folders:
                chain = self.ways.chain(id)
                if chain is not None:
                    shared |= set(chain[0])
                    places[id] = chain[1]
            self._ways_of[folders] = places, tuple(sorted(shared - {ROOT_ID}))
        return self._ways_of[folders]

    def waits_before(self, tx: Tx, entry_id: int, ways: tuple[int, ...], event_id: int) -> bool:
        """A folder on the ways of an entry has an older change of its own place: it goes first, else steady writing
        below it would keep it from ever moving."""
        key = tuple(id for id in ways if id != entry_id)
        if key not in self._waiting:
            self._waiting[key] = tx.mirror.waits_to_move(key) if key else None
        oldest = self._waiting[key]
        return oldest is not None and oldest < event_id

    def is_blocked(self, tx: Tx, ways: tuple[int, ...], exclusive: list[int]) -> bool:
        """What nobody blocks stays so until this transaction itself takes something for one alone."""
        if not exclusive and ways in self._free:
            return False
        blocked = tx.leases.blocked(ways, exclusive)
        if not blocked and not exclusive:
            self._free.add(ways)
        return blocked


def goal_of(kelp: Kelp, situation: Situation) -> Goal | None:
    """Where the entry shall be."""
    spot = situation.desired.spot
    return None if spot is None else (spot.parent_id, key_of(kelp, spot))
