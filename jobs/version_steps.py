"""Steps of older contents: below .kelp, or in the tree beside their file (keep-dated)."""

from __future__ import annotations

from dataclasses import replace

from jobs.footing import (
    Progress,
    fence,
    holds,
    is_ours,
    is_own,
    leave,
    manifest_for,
    put_aside,
    rename,
    write_content,
)
from vfs import metrics
from vfs.core import Kelp
from vfs.errors import NasFault, ObjectMissing
from vfs.nas_model import MANIFEST, TEMPORARY, DropVersion, Keep, MoveVersion, Recorded, WriteVersion, is_private
from vfs.operations import mirroring, sealed_copies
from vfs.operations.sealed_copies import Kept


def keep(kelp: Kelp, step: Keep, at: Progress) -> None:
    """What someone changed on the NAS is not the older content: that will be written from the cache."""
    source, target = at.job.path(step.spot), at.job.path(step.target)
    if kelp.nas.stat(source) is None:
        raise ObjectMissing(f"{source} is not on the NAS")
    ours = is_ours(kelp, source, at.recorded)
    fence(kelp, at)
    manifest = _manifest(kelp, step.version, at.recorded.content_id, at)
    before = at.recorded
    if ours and is_private(step.target):
        _give_second_name(kelp, source, target, at, manifest, before.mtime_ns or 0)
    elif not is_private(step.target):
        if not ours:
            put_aside(kelp, source)
        elif source != target:
            rename(kelp, source, target, parents=is_own(step.target))
            leave(kelp, step.spot, source)
        at.recorded = Recorded(note=at.recorded.note)
    if ours:
        at.touched(source, target)
        at.versions[step.version] = _as_version(kelp, step, before, manifest, target, at)


def _manifest(kelp: Kelp, version: str, content_id: str | None, at: Progress) -> Kept | None:
    """Of a version; None: it is plain."""
    if not any(v.manifest is not None for v in at.job.situation.versions if v.uuid == version):
        return None
    return manifest_for(kelp, version, content_id)


def _give_second_name(kelp: Kelp, source: str, target: str, at: Progress, manifest: Kept | None, mtime_ns: int) -> None:
    """So that the file's own name never disappears; where the NAS has no links, it moves."""
    kelp.nas.remove(target)  # of a job that died before it could record it
    if manifest is None:
        linked = kelp.nas.link(source, target, parents=True)
    else:
        temp = f"{TEMPORARY}/{at.job.fence}-kept"
        linked = sealed_copies.link(kelp, source, target, temp, manifest.sealed, mtime_ns)
    if not linked:
        kelp.nas.move(source, target, parents=True)
        at.recorded = Recorded(note=at.recorded.note)


def _as_version(kelp: Kelp, step: Keep, before: Recorded, manifest: Kept | None, target: str, at: Progress) -> Recorded:
    """What is recorded of a version that was the file. Where it moved, its manifest still says so."""
    after = replace(before, spot=step.target, note=None)
    if manifest is None:
        return after
    if sealed_copies.manifest_digest(kelp, target) != manifest.digest:
        temp = f"{TEMPORARY}/{at.job.fence}-manifest"
        sealed_copies.describe(kelp, target, MANIFEST, manifest.sealed, temp, before.mtime_ns or 0)
    seen = kelp.nas.stat(target)
    if seen is None:
        raise NasFault(f"{target} on the NAS went away while it was kept")
    return replace(after, mtime_ns=seen.mtime_ns, inode=seen.inode, manifest=manifest.digest)


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
    manifest = _manifest(kelp, step.version, step.content_id, at)
    if not holds(kelp, target, content) or (
        manifest is not None and sealed_copies.manifest_digest(kelp, target) != manifest.digest
    ):
        subject = step.version if manifest is not None else None
        written = write_content(kelp, at, step.content_id, subject, step.temp, step.mtime_ns)
        metrics.MIRRORED_BYTES.inc(written.seen.size)
        manifest = manifest and manifest._replace(digest=written.manifest or "")
        fence(kelp, at)
        if is_private(step.target):
            kelp.nas.move(step.temp, target, replace=True, parents=True)
        else:
            rename(kelp, step.temp, target, parents=is_own(step.target))
    at.touched(target)
    seen = kelp.nas.stat(target)
    if seen is None:
        raise NasFault(f"{target} on the NAS went away while it was written")
    at.versions[step.version] = Recorded(
        step.target, content.id, seen.size, seen.mtime_ns, seen.inode, manifest=manifest and manifest.digest
    )


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
