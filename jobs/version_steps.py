"""Steps of older contents: below .kelp, or in the tree beside their file (keep-dated)."""

from __future__ import annotations

from dataclasses import replace

from jobs.footing import Progress, fence, holds, is_ours, is_own, leave, put_aside, rename
from vfs import metrics
from vfs.core import Kelp
from vfs.errors import NasFault, ObjectMissing
from vfs.nas_model import DropVersion, Keep, MoveVersion, Recorded, WriteVersion, is_private
from vfs.operations import contents, mirroring


def keep(kelp: Kelp, step: Keep, at: Progress) -> None:
    """What someone changed on the NAS is not the older content: that will be written from the cache."""
    source, target = at.job.path(step.spot), at.job.path(step.target)
    if kelp.nas.stat(source) is None:
        raise ObjectMissing(f"{source} is not on the NAS")
    seen = replace(at.recorded, spot=step.target, note=None)
    ours = is_ours(kelp, source, at.recorded)
    fence(kelp, at)
    if ours and is_private(step.target):
        _give_second_name(kelp, source, target, at)
    elif not is_private(step.target):
        if not ours:
            put_aside(kelp, source)
        elif source != target:
            rename(kelp, source, target, parents=is_own(step.target))
            leave(kelp, step.spot, source)
        at.recorded = Recorded(note=at.recorded.note)
    if ours:
        at.touched(source, target)
        at.versions[step.version] = seen


def _give_second_name(kelp: Kelp, source: str, target: str, at: Progress) -> None:
    """So that the file's own name never disappears; where the NAS has no links, it moves."""
    kelp.nas.remove(target)  # of a job that died before it could record it
    if not kelp.nas.link(source, target, parents=True):
        kelp.nas.move(source, target, parents=True)
        at.recorded = Recorded(note=at.recorded.note)


def move(kelp: Kelp, step: MoveVersion, at: Progress) -> None:
    source, target = at.job.path(step.source), at.job.path(step.target)
    fence(kelp, at)
    rename(kelp, source, target, parents=is_own(step.target))
    at.touched(source, target)
    leave(kelp, step.source, source)
    at.versions[step.version] = replace(at.version(step.version), spot=step.target)


def write(kelp: Kelp, step: WriteVersion, at: Progress) -> None:
    if step.version in at.versions:
        return
    content = mirroring.content_of(kelp, step.content_id)
    target = at.job.path(step.target)
    if not holds(kelp, target, content):
        kelp.nas.remove(step.temp)
        written = contents.write_to_nas(kelp, content, step.temp, step.mtime_ns)
        metrics.MIRRORED_BYTES.inc(written.size)
        fence(kelp, at)
        if is_private(step.target):
            kelp.nas.move(step.temp, target, replace=True, parents=True)
        else:
            rename(kelp, step.temp, target, parents=is_own(step.target))
    at.touched(target)
    seen = kelp.nas.stat(target)
    if seen is None:
        raise NasFault(f"{target} on the NAS went away while it was written")
    at.versions[step.version] = Recorded(step.target, content.id, seen.size, seen.mtime_ns, seen.inode)


def drop(kelp: Kelp, step: DropVersion, at: Progress) -> None:
    path = at.job.path(step.spot)
    fence(kelp, at)
    known = at.version(step.version)
    if known.size is None or is_ours(kelp, path, known):
        kelp.nas.remove(path)
    else:
        put_aside(kelp, path)
    if not leave(kelp, step.spot, path):
        at.touched(path)
    at.versions[step.version] = Recorded()
