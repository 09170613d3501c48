"""Was it done? How far a job came whose worker died, found by looking at the NAS (design §5).

Nothing is done here but removing the job's temporary files: what is missing is planned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from jobs.steps import Progress, holds
from vfs.core import Kelp
from vfs.errors import ObjectMissing
from vfs.nas_model import (
    NAMES,
    DropVersion,
    Job,
    Keep,
    MakeFolder,
    Move,
    Note,
    Recorded,
    Remove,
    Touch,
    Write,
    WriteVersion,
)
from vfs.operations import mirroring

_SECOND = 1_000_000_000


def settle(kelp: Kelp, job: Job) -> Progress:
    """Look how far an interrupted job came."""
    at = Progress.of(job)
    for step in job.steps:
        if not _SETTLE[type(step)](kelp, step, at):
            break
    for temp in _temps(job):
        kelp.nas.remove(temp)
    return at


def _temps(job: Job) -> Iterator[str]:
    for step in job.steps:
        if isinstance(step, Write | WriteVersion):
            yield step.temp


def _was_made(kelp: Kelp, step: MakeFolder, at: Progress) -> bool:
    info = kelp.nas.stat(at.job.path(step.spot))
    if info is None or info.kind != "folder":
        return False
    at.recorded = replace(at.recorded, spot=step.spot)
    return True


def _was_moved(kelp: Kelp, step: Move, at: Progress) -> bool:
    source, target = at.job.path(step.source), at.job.path(step.target)
    goes_on = any(isinstance(later, Remove | Keep) and later.spot == step.target for later in at.job.steps)
    if kelp.nas.stat(source) is not None or (kelp.nas.stat(target) is None and not goes_on):
        return False
    at.touched(source, target)
    at.recorded = replace(at.recorded, spot=step.target)
    return True


def _was_written(kelp: Kelp, step: Write, at: Progress) -> bool:
    target = at.job.path(step.spot)
    if kelp.nas.stat(step.temp) is not None:
        return False
    if not _holds(kelp, target, step.content_id):
        return False
    info = kelp.nas.stat(target)
    if info is None:
        return False
    at.touched(target)
    at.recorded = Recorded(step.spot, step.content_id, info.size, info.mtime_ns, info.inode, at.recorded.note)
    return True


def _holds(kelp: Kelp, path: str, content_id: str) -> bool:
    """False also for a content that was freed meanwhile: it is not wanted any more."""
    try:
        return holds(kelp, path, mirroring.content_of(kelp, content_id))
    except ObjectMissing:
        return False


def _was_kept(kelp: Kelp, step: Keep | WriteVersion, at: Progress) -> bool:
    known = {version.uuid: version.content_id for version in at.job.situation.versions}
    content_id = step.content_id if isinstance(step, WriteVersion) else known.get(step.version)
    if content_id is None or not _holds(kelp, step.path, content_id):
        return False
    at.touched(step.path)
    at.version_paths[step.version] = step.path
    if isinstance(step, Keep) and kelp.nas.stat(at.job.path(step.spot)) is None:
        at.recorded = Recorded(note=at.recorded.note)  # it moved: this NAS has no links
    return True


def _was_dropped(kelp: Kelp, step: DropVersion, at: Progress) -> bool:
    if kelp.nas.stat(step.path) is not None:
        return False
    at.version_paths[step.version] = None
    return True


def _was_removed(kelp: Kelp, step: Remove, at: Progress) -> bool:
    path = at.job.path(step.spot)
    if kelp.nas.stat(path) is not None:
        return False
    at.recorded = Recorded()
    return True


def _was_touched(kelp: Kelp, step: Touch, at: Progress) -> bool:
    """Size and time are what Kelp knows its files by, so a time that was set must not go unrecorded."""
    info = kelp.nas.stat(at.job.path(step.spot))
    if info is None or info.size != at.recorded.size or info.mtime_ns // _SECOND != step.mtime_ns // _SECOND:
        return False
    at.recorded = replace(at.recorded, mtime_ns=info.mtime_ns)
    return True


def _was_noted(kelp: Kelp, step: Note, at: Progress) -> bool:
    path = f"{NAMES}/{step.entry_id}"
    found = None if kelp.nas.stat(path) is None else b"".join(kelp.nas.read(path)).decode("utf-8", "replace")
    if found != step.text:
        return False
    at.touched(path)
    at.recorded = replace(at.recorded, note=step.text)
    return True


_SETTLE: dict[type, Callable[[Kelp, Any, Progress], bool]] = {
    MakeFolder: _was_made,
    Move: _was_moved,
    Write: _was_written,
    Touch: _was_touched,
    Keep: _was_kept,
    WriteVersion: _was_kept,
    DropVersion: _was_dropped,
    Remove: _was_removed,
    Note: _was_noted,
}
