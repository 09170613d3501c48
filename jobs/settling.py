"""Was it done? How far a job came whose worker died, found by looking at the NAS (design §5).

Nothing is done here but removing the job's temporary files: what is missing is planned anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from jobs.footing import Progress, holds
from vfs.core import Kelp
from vfs.errors import ObjectMissing
from vfs.model import Kind
from vfs.nas_model import (
    NAMES,
    Describe,
    DropVersion,
    Job,
    Keep,
    MakeFolder,
    Move,
    MoveVersion,
    Note,
    Recorded,
    Remove,
    Secure,
    Spot,
    Touch,
    Write,
    WriteVersion,
)
from vfs.operations import mirroring, sealed_copies
from vfs.operations.sealed_copies import NasInfo

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
        if isinstance(step, Write | WriteVersion | Describe):
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
    if _is_still_there(kelp, source, at) or (kelp.nas.stat(target) is None and not goes_on):
        return False
    at.touched(source, target)
    at.recorded = replace(at.recorded, spot=step.target)
    return True


def _is_still_there(kelp: Kelp, path: str, at: Progress) -> bool:
    """A version of the same file may have come to its place since."""
    info = kelp.nas.stat(path)
    if info is None or at.job.situation.kind == Kind.FOLDER:
        return info is not None
    was = at.recorded
    comes = any(
        isinstance(step, MoveVersion | WriteVersion) and at.job.path(step.target) == path for step in at.job.steps
    )
    return not comes or (info.size, info.mtime_ns, info.inode) == (was.size, was.mtime_ns, was.inode)


def _was_written(kelp: Kelp, step: Write, at: Progress) -> bool:
    target = at.job.path(step.spot)
    temp = kelp.nas.stat(step.temp)
    if temp is not None and temp.kind == "file" and not temp.is_bundle:
        return False  # where a bundle was made, what is left of another may be, with which it changed places
    if not _holds(kelp, target, step.content_id):
        return False
    info = kelp.nas.stat(target)
    if info is None:
        return False
    at.touched(target)
    manifest = _manifest_at(kelp, target, info)
    at.recorded = Recorded(step.spot, step.content_id, info.size, info.mtime_ns, info.inode, at.recorded.note, manifest)
    return True


def _manifest_at(kelp: Kelp, path: str, info: NasInfo) -> str | None:
    return sealed_copies.manifest_digest(kelp, path) if info.is_bundle else None


def _holds(kelp: Kelp, path: str, content_id: str) -> bool:
    """False also for a content that was freed meanwhile: it is not wanted any more."""
    try:
        return holds(kelp, path, mirroring.content_of(kelp, content_id))
    except ObjectMissing:
        return False


def _content_of(at: Progress, version: str) -> str:
    return next((v.content_id for v in at.job.situation.versions if v.uuid == version), "")


def _has_come(kelp: Kelp, version: str, target: Spot, content_id: str, at: Progress) -> bool:
    """The version's file is there: noted, as it is seen."""
    path = at.job.path(target)
    info = kelp.nas.stat(path)
    if info is None or not content_id or not _holds(kelp, path, content_id):
        return False
    at.touched(path)
    manifest = _manifest_at(kelp, path, info)
    at.versions[version] = Recorded(target, content_id, info.size, info.mtime_ns, info.inode, manifest=manifest)
    return True


def _was_version_written(kelp: Kelp, step: WriteVersion, at: Progress) -> bool:
    return _has_come(kelp, step.version, step.target, step.content_id, at)


def _was_kept(kelp: Kelp, step: Keep, at: Progress) -> bool:
    source = at.job.path(step.spot)
    if not _has_come(kelp, step.version, step.target, _content_of(at, step.version), at):
        return False
    if step.spot == step.target or kelp.nas.stat(source) is None:
        at.touched(source)
        at.recorded = Recorded(note=at.recorded.note)  # it is the version's now; or this NAS has no links: it moved
    return True


def _was_version_moved(kelp: Kelp, step: MoveVersion, at: Progress) -> bool:
    """Also when it has gone on since, or its old place is another's already."""
    source, content_id = at.job.path(step.source), _content_of(at, step.version)
    before = at.version(step.version)
    info = kelp.nas.stat(source)
    if info is not None and info.inode == before.inode and _holds(kelp, source, content_id):
        return False
    if _has_come(kelp, step.version, step.target, content_id, at):
        at.touched(source)
        return True
    if not any(getattr(later, "source", getattr(later, "spot", None)) == step.target for later in at.job.steps):
        return False
    if info is not None and _holds(kelp, source, content_id):
        return False
    at.touched(source)
    at.versions[step.version] = replace(before, spot=step.target)
    return True


def _was_dropped(kelp: Kelp, step: DropVersion, at: Progress) -> bool:
    path = at.job.path(step.spot)
    if kelp.nas.stat(path) is not None:
        return False
    at.touched(path)
    at.versions[step.version] = Recorded()
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


def _was_described(kelp: Kelp, step: Describe, at: Progress) -> bool:
    path = at.job.path(step.spot)
    before = at.version(step.version) if step.version else at.recorded
    found = sealed_copies.manifest_digest(kelp, path, step.file)
    info = kelp.nas.stat(path)
    if before.spot != step.spot or found is None or info is None:
        return False
    at.touched(f"{path}/{step.file}")
    after = replace(before, manifest=found)
    if before.content_id is not None:
        after = replace(after, mtime_ns=info.mtime_ns, inode=info.inode)
    if step.version:
        at.versions[step.version] = after
    else:
        at.recorded = after
    return found == step.digest


def _was_secured(_kelp: Kelp, _step: Secure, _at: Progress) -> bool:
    """Nothing on the NAS tells; whether the next step was done does."""
    return True


_SETTLE: dict[type, Callable[[Kelp, Any, Progress], bool]] = {
    MakeFolder: _was_made,
    Move: _was_moved,
    Write: _was_written,
    Touch: _was_touched,
    Keep: _was_kept,
    MoveVersion: _was_version_moved,
    WriteVersion: _was_version_written,
    DropVersion: _was_dropped,
    Remove: _was_removed,
    Note: _was_noted,
    Describe: _was_described,
    Secure: _was_secured,
}
