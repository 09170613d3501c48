"""Where files of the NAS will be that the mirror is just moving: done there, perhaps, and not recorded yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import listed
from vfs.model import ROOT_ID
from vfs.nas_model import Keep, Move, MoveVersion, Spot, load_steps

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_DEEPEST = 1000


def paths(tx: Tx, entry_id: int, spot: Spot, folder_ids: Sequence[int]) -> list[str]:
    """Paths that plans of the mirror give to a file of `entry_id`, which is recorded at `spot` below these folders.

    A batch may have several of them under way: each alone, and all of them. What became an older content is at the
    path that its plan names.
    """
    targets, kept = _plans(tx, [entry_id, *folder_ids])
    sets = [{id: target} for id, target in targets.items()]
    if len(targets) > 1:
        sets.append(targets)
    places = [(moved.get(entry_id, spot), moved) for moved in sets]
    places += [(target, moved) for target in kept for moved in ({}, targets)]
    found = [_path(tx, place, moved) for place, moved in places]
    return list(dict.fromkeys(path for path in found if path is not None))


def _plans(tx: Tx, ids: Sequence[int]) -> tuple[dict[int, Spot], list[Spot]]:
    """Where each of these goes, and where older contents of the first one go."""
    marks, values = listed(ids)
    targets: dict[int, Spot] = {}
    kept: list[Spot] = []
    for id, plan in tx.all(f"SELECT entry_id, plan FROM mirror_leases WHERE entry_id IN ({marks})", **values):
        for step in load_steps(plan):
            if isinstance(step, Move):
                targets[id] = step.target
            elif isinstance(step, Keep | MoveVersion) and id == ids[0]:
                kept.append(step.target)
    return targets, kept


def _path(tx: Tx, spot: Spot, moved: Mapping[int, Spot]) -> str | None:
    """As if these moves of folders were done and no others; None when it leads nowhere."""
    parent_id, path = spot
    for _ in range(_DEEPEST):
        if parent_id == ROOT_ID:
            return path
        row = moved.get(parent_id) or tx.one(
            "SELECT nas_parent_id, nas_name FROM entries WHERE id = :id AND nas_name IS NOT NULL", id=parent_id
        )
        if row is None:
            return None
        parent_id, path = row[0], f"{row[1]}/{path}"
    return None
