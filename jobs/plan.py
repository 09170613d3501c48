"""The steps from what the NAS has to what it shall have. Pure: no clock, no database, no NAS."""

from __future__ import annotations

from vfs.model import ROOT_ID, Kind
from vfs.nas_model import (
    GONE,
    MANIFEST,
    TEMPORARY,
    VAULT_FILE,
    Describe,
    DropVersion,
    Keep,
    MakeFolder,
    Move,
    MoveVersion,
    NasVersion,
    Note,
    Remove,
    Situation,
    Spot,
    Step,
    Touch,
    Write,
    WriteVersion,
    is_private,
    is_sealed,
)

_SECOND = 1_000_000_000


def plan(situation: Situation, fence: int) -> list[Step]:
    """Steps in order; none when recorded equals desired.

    A moved file is renamed before it is overwritten, and the content that an overwrite replaces becomes its
    version first, so at every instant each content has a place (design §1.4).
    """
    note = [Note(situation.entry_id, None)] if situation.recorded.note and situation.desired.note is None else []
    if situation.kind == Kind.FOLDER:
        return [*note, *_folder(situation, fence), *_described(situation, fence), *_noted(situation)]
    aside = _aside(situation, fence)
    keeper = _keeper(situation)
    writes = {v.uuid: _written(v, fence, n) for n, v in enumerate(situation.versions, 1) if v is not keeper}
    missing = [v for v in situation.versions if v.spot is None and v.wanted is not None and v is not keeper]
    # What can be had from the file that is there, perhaps from nowhere else, is written before that one goes.
    first = [v for v in missing if keeper is not None and v.content_id == situation.recorded.content_id]
    return [
        *note,
        *(MoveVersion(v.uuid, v.spot, aside[v.uuid]) for v in situation.versions if v.uuid in aside and v.spot),
        *_file(situation, keeper, [writes[v.uuid] for v in first], fence),
        *_noted(situation),
        *_moved(situation, aside),
        *(writes[v.uuid] for v in missing if v not in first),
        *_versions_described(situation, fence),
        *(DropVersion(v.uuid, aside.get(v.uuid, v.spot)) for v in situation.versions if v.spot and v.wanted is None),
    ]


def _noted(situation: Situation) -> list[Step]:
    if situation.desired.note in (None, situation.recorded.note):
        return []
    return [Note(situation.entry_id, situation.desired.note)]


def _described(situation: Situation, fence: int) -> list[Step]:
    """The manifest of what is in a vault, where only that is another."""
    desired = situation.desired
    if desired.spot is None or desired.manifest in (None, situation.recorded.manifest):
        return []
    # Only the root of a vault has a plain name.
    file = MANIFEST if is_sealed(situation.name) else VAULT_FILE
    temp = f"{TEMPORARY}/{fence}-manifest"
    return [Describe(desired.spot, file, desired.manifest or "", desired.mtime_ns, temp)]


def _versions_described(situation: Situation, fence: int) -> list[Step]:
    """Of versions that the NAS has, wherever they are by now."""
    return [
        Describe(v.wanted, MANIFEST, v.manifest, v.mtime_ns, f"{TEMPORARY}/{fence}-manifest", v.uuid)
        for v in situation.versions
        if v.spot is not None and v.wanted is not None and v.manifest not in (None, v.recorded.manifest)
    ]


def _folder(situation: Situation, fence: int) -> list[Step]:
    spot, wanted = situation.recorded.spot, situation.desired.spot
    if wanted is not None:
        return [MakeFolder(wanted)] if spot is None else [Move(spot, wanted)] if spot != wanted else []
    if spot is None:
        return []
    # Out of the tree in one step; what is in it goes afterwards, however much it is.
    gone = Spot(ROOT_ID, f"{GONE}{situation.entry_id}-{fence}")
    return [Move(spot, gone), Remove(gone, folder=True)]


def _file(situation: Situation, keeper: NasVersion | None, first: list[Step], fence: int) -> list[Step]:
    desired, recorded = situation.desired, situation.recorded
    spot, wanted = recorded.spot, desired.spot
    keeps: list[Step] = []
    if keeper is not None and keeper.wanted is not None and spot is not None:
        if not is_private(keeper.wanted):
            return [*first, Keep(keeper.uuid, spot, keeper.wanted), *_content(situation, None, fence)]
        keeps = [Keep(keeper.uuid, wanted or spot, keeper.wanted)]
    if wanted is None:
        return [*first, *keeps, Remove(spot, folder=False)] if spot is not None else []
    moved: list[Step] = [Move(spot, wanted)] if spot is not None and spot != wanted else []
    return [*first, *moved, *keeps, *_content(situation, spot, fence)]


def _content(situation: Situation, spot: Spot | None, fence: int) -> list[Step]:
    """`spot`: where its file is, or was until a moment ago; None: there is none."""
    desired, recorded = situation.desired, situation.recorded
    if desired.spot is None or desired.content_id is None:
        return []
    if spot is not None and recorded.content_id == desired.content_id:
        if described := _described(situation, fence):
            return described  # which shows the time too
        shown = recorded.mtime_ns is not None and recorded.mtime_ns // _SECOND == desired.mtime_ns // _SECOND
        return [] if shown else [Touch(desired.spot, desired.mtime_ns)]
    temp = f"{TEMPORARY}/{fence}-0"
    return [Write(desired.spot, desired.content_id, desired.mtime_ns, temp, replace=spot is not None)]


def _keeper(situation: Situation) -> NasVersion | None:
    """The version that the file becomes which is about to be replaced or removed, without copying."""
    recorded, desired = situation.recorded, situation.desired
    if recorded.spot is None or (desired.spot is not None and desired.content_id in (None, recorded.content_id)):
        return None
    found = [
        v for v in situation.versions if v.wanted is not None and v.spot is None and v.content_id == recorded.content_id
    ]
    return next((v for v in found if v.wanted == recorded.spot), found[0] if found else None)


def _aside(situation: Situation, fence: int) -> dict[str, Spot]:
    """Versions that stand where something else of the entry shall come, and where they wait meanwhile."""
    aimed: dict[tuple[int, str], str] = {}
    if situation.desired.spot is not None and situation.desired.spot != situation.recorded.spot:
        aimed[_key(situation.desired.spot)] = ""
    aimed |= {_key(v.wanted): v.uuid for v in situation.versions if v.wanted is not None and v.wanted != v.spot}
    return {
        v.uuid: Spot(ROOT_ID, f"{TEMPORARY}/held-{v.uuid}-{fence}")
        for v in situation.versions
        if v.spot is not None and aimed.get(_key(v.spot), v.uuid) != v.uuid
    }


def _key(spot: Spot) -> tuple[int, str]:
    """Rather one too many is moved aside than one too few, on a NAS that ignores case."""
    return spot.parent_id, spot.name.casefold()


def _moved(situation: Situation, aside: dict[str, Spot]) -> list[Step]:
    steps: list[Step] = []
    for v in situation.versions:
        spot = aside.get(v.uuid, v.spot)
        if spot is not None and v.wanted is not None and spot != v.wanted:
            steps.append(MoveVersion(v.uuid, spot, v.wanted))
    return steps


def _written(version: NasVersion, fence: int, number: int) -> Step:
    target = version.wanted or Spot(ROOT_ID, "")
    return WriteVersion(version.uuid, version.content_id, version.mtime_ns, f"{TEMPORARY}/{fence}-{number}", target)
