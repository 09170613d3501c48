"""What one claiming transaction has taken so far, and what it has seen of the ways on the NAS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID
from vfs.nas_model import Job, Situation, Spot, Step
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

    def ways_of(self, spots: Iterable[Spot]) -> tuple[dict[int, str], set[int]]:
        """Recorded paths of the folders that these spots are in, and all folders on the ways there."""
        places: dict[int, str] = {ROOT_ID: ""}
        shared: set[int] = set()
        for parent_id in {spot.parent_id for spot in spots}:
            chain = self.ways.chain(parent_id)
            if chain is not None:
                shared |= set(chain[0])
                places[parent_id] = chain[1]
        return places, shared

    def waits_before(self, tx: Tx, folders: list[int], event_id: int) -> bool:
        """One of these folders has an older change of its own place: it goes first, else steady writing below it would
        keep it from ever moving."""
        key = tuple(folders)
        if key not in self._waiting:
            self._waiting[key] = tx.mirror.waits_to_move(folders) if folders else None
        oldest = self._waiting[key]
        return oldest is not None and oldest < event_id

    def is_blocked(self, tx: Tx, shared: set[int], exclusive: list[int]) -> bool:
        """What nobody blocks stays so until this transaction itself takes something for one alone."""
        key = tuple(sorted(shared))
        if not exclusive and key in self._free:
            return False
        blocked = tx.leases.blocked(key, exclusive)
        if not blocked and not exclusive:
            self._free.add(key)
        return blocked


def goal_of(kelp: Kelp, situation: Situation) -> Goal | None:
    """Where the entry shall be."""
    spot = situation.desired.spot
    return None if spot is None else (spot.parent_id, key_of(kelp, spot))
