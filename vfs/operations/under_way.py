"""What the plans of all leases do to versions: none is in two plans, and nothing comes where one of them will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vfs import names
from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.nas_model import Spot, Step, load_steps, version_targets


def key_of(kelp: Kelp, spot: Spot) -> str:
    """The form in which the name of a spot is compared on this NAS."""
    return names.nas_key(spot.name, kelp.nas.properties.folds_case)


@dataclass(slots=True)
class VersionsUnderWay:
    """Their uuids, and the places (parent id, NAS key) in the tree where they come. Read under the mirror's lock."""

    uuids: set[str] = field(default_factory=set)
    places: set[tuple[int, str]] = field(default_factory=set)

    @classmethod
    def of_all_leases(cls, kelp: Kelp, tx: Tx) -> VersionsUnderWay:
        found = cls()
        for plan in tx.leases.plans_with_versions():
            found.add(kelp, load_steps(plan))
        return found

    def add(self, kelp: Kelp, steps: Sequence[Step]) -> None:
        self.uuids |= _versions_in(steps)
        self.places |= _places_in(kelp, steps)

    def meets(self, kelp: Kelp, steps: Sequence[Step]) -> bool:
        """These steps are about one of them, or bring another version where one comes."""
        return not (self.uuids.isdisjoint(_versions_in(steps)) and self.places.isdisjoint(_places_in(kelp, steps)))


def _versions_in(steps: Sequence[Step]) -> set[str]:
    return {uuid for step in steps if (uuid := getattr(step, "version", None)) is not None}


def _places_in(kelp: Kelp, steps: Sequence[Step]) -> set[tuple[int, str]]:
    return {(spot.parent_id, key_of(kelp, spot)) for spot in version_targets(steps)}
