"""The steps from what the NAS has to what it shall have. Pure: no clock, no database, no NAS."""

from __future__ import annotations

from vfs.model import Kind
from vfs.nas_model import (
    GONE,
    TEMPORARY,
    DropVersion,
    Keep,
    MakeFolder,
    Move,
    NasVersion,
    Note,
    Remove,
    Situation,
    Spot,
    Step,
    Touch,
    Write,
    WriteVersion,
)

_SECOND = 1_000_000_000


def plan(situation: Situation, fence: int) -> list[Step]:
    """Steps in order; none when recorded equals desired.

    A moved file is renamed before it is overwritten, and the content that an overwrite replaces becomes its
    version first, so at every instant each content has a place (design §1.4).
    """
    kept = [version for version in situation.versions if version.wanted is not None]
    steps: list[Step] = []
    spot = situation.recorded.spot
    wanted = situation.desired.spot
    if wanted is not None and spot is not None and spot != wanted:
        steps.append(Move(spot, wanted))
        spot = wanted
    if situation.recorded.note is not None and situation.desired.note is None:
        steps.insert(0, Note(situation.entry_id, None))
    if wanted is None:
        steps += _removal(situation, kept, spot, fence)
    elif situation.kind == Kind.FOLDER:
        if spot is None:
            steps.append(MakeFolder(wanted))
    else:
        steps += _content(situation, kept, spot, wanted, fence)
    if situation.desired.note not in (None, situation.recorded.note):
        steps.append(Note(situation.entry_id, situation.desired.note))
    done = {step.version for step in steps if isinstance(step, Keep)}
    steps += [
        WriteVersion(v.uuid, v.content_id, v.mtime_ns, f"{TEMPORARY}/{fence}-{n}", v.wanted)
        for n, v in enumerate(kept, 1)
        if v.path is None and v.wanted is not None and v.uuid not in done
    ]
    steps += [DropVersion(v.uuid, v.path) for v in situation.versions if v.wanted is None and v.path is not None]
    return steps


def _content(situation: Situation, kept: list[NasVersion], spot: Spot | None, wanted: Spot, fence: int) -> list[Step]:
    desired, recorded = situation.desired, situation.recorded
    if desired.content_id is None:
        return []
    if spot is not None and recorded.content_id == desired.content_id:
        shown = recorded.mtime_ns is not None and recorded.mtime_ns // _SECOND == desired.mtime_ns // _SECOND
        return [] if shown else [Touch(wanted, desired.mtime_ns)]
    steps: list[Step] = []
    if spot is not None:
        steps += _keep(kept, recorded.content_id, wanted)
    temp = f"{TEMPORARY}/{fence}-0"
    steps.append(Write(wanted, desired.content_id, desired.mtime_ns, temp, replace=spot is not None))
    return steps


def _keep(kept: list[NasVersion], content_id: str | None, spot: Spot) -> list[Step]:
    """The file that is there holds an older content: it becomes the version's file, without copying."""
    for version in kept:
        if version.path is None and version.content_id == content_id and version.wanted is not None:
            return [Keep(version.uuid, spot, version.wanted)]
    return []


def _removal(situation: Situation, kept: list[NasVersion], spot: Spot | None, fence: int) -> list[Step]:
    if spot is None:
        return []
    if situation.kind == Kind.FOLDER:
        # Out of the tree in one step; what is in it goes afterwards, however much it is.
        gone = Spot(1, f"{GONE}{situation.entry_id}-{fence}")
        return [Move(spot, gone), Remove(gone, folder=True)]
    return [*_keep(kept, situation.recorded.content_id, spot), Remove(spot, folder=False)]
