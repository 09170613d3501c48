"""What steps on the NAS have in common: how far a job is, the fence, renames that put aside what is in the way.

Whatever stands in a place without being recorded there (someone worked on the NAS directly) is put aside, never
overwritten or deleted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import NamedTuple

from vfs import names
from vfs.core import Kelp
from vfs.errors import NasFault
from vfs.model import ROOT_ID, Content
from vfs.nas_model import FOREIGN, TRASH, VERSIONS, Job, Keep, Recorded, Result, Spot
from vfs.operations import contents, mirroring, sealed_copies
from vfs.operations.fences import Fences
from vfs.operations.sealed_copies import Kept, NasFile
from vfs.operations.together import Prepared

log = logging.getLogger(__name__)


class LostLease(Exception):
    """Another worker took over: this one must not touch the tree any more."""


class Vanished(Exception):
    """What is recorded is not on the NAS any more (someone removed it there): the entry is planned anew."""


class Overtaken(Vanished):
    """What is wanted was changed since it was planned, as anything may be at any time: nothing is wrong."""


class Written(NamedTuple):
    """`manifest`: the digest of the one that went with it; None: it is plain."""

    content: Content
    seen: NasFile
    manifest: str | None


@dataclass(slots=True)
class Progress:
    """How far a job is: what the NAS has now, also of versions, and which folders must be synced."""

    job: Job
    recorded: Recorded
    versions: dict[str, Recorded] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    prepared: Prepared = field(default_factory=Prepared)  # what was done already for its whole batch
    fences: Fences | None = None  # of that batch

    @classmethod
    def of(cls, job: Job, prepared: Prepared | None = None, fences: Fences | None = None) -> Progress:
        return cls(job, job.situation.recorded, prepared=prepared or Prepared(), fences=fences)

    def result(self, *, done: bool) -> Result:
        """A version that could not be kept from the file on the NAS is planned anew, from the cache."""
        kept = all(step.version in self.versions for step in self.job.steps if isinstance(step, Keep))
        return Result(self.job, self.recorded, self.versions, done and kept)

    def touched(self, *paths: str) -> None:
        self.folders |= {path.rpartition("/")[0] for path in paths}

    def version(self, uuid: str) -> Recorded:
        """What the NAS has of a version."""
        known = (version.recorded for version in self.job.situation.versions if version.uuid == uuid)
        return self.versions.get(uuid) or next(known, Recorded())


def fence(kelp: Kelp, at: Progress) -> None:
    if not (mirroring.still_mine(kelp, at.job) if at.fences is None else at.fences.hold(at.job)):
        raise LostLease(f"entry {at.job.situation.entry_id}")


def rename(kelp: Kelp, source: str, target: str, *, parents: bool = False) -> None:
    try:
        kelp.nas.move(source, target, parents=parents)
    except NasFault:
        if not put_aside(kelp, target):
            raise
        kelp.nas.move(source, target, parents=parents)


def is_own(spot: Spot) -> bool:
    """In the trash or below .kelp: folders there are made as they are needed."""
    return spot.parent_id == ROOT_ID and spot.name.startswith(".")


def leave(kelp: Kelp, spot: Spot, path: str) -> bool:
    """The folder of a trash item, or of an entry's versions, goes with the last thing in it; True for such a one."""
    if not spot.name.startswith((f"{TRASH}/", f"{VERSIONS}/")):
        return False
    drop_empty(kelp, path.rpartition("/")[0])
    return True


def drop_empty(kelp: Kelp, path: str) -> None:
    try:
        kelp.nas.remove_folder(path)
    except NasFault:
        log.debug("the folder %s on the NAS is not empty", path)


def is_ours(kelp: Kelp, path: str, recorded: Recorded) -> bool:
    """What is there looks as it was recorded; nothing there counts as ours too."""
    info = kelp.nas.stat(path)
    return info is None or (info.kind == "file" and (info.size, info.mtime_ns) == (recorded.size, recorded.mtime_ns))


def put_aside(kelp: Kelp, path: str) -> bool:
    """Move what someone else put at `path` to Kelp's folder for that; False when nothing is there."""
    if kelp.nas.stat(path) is None:
        return False
    now = kelp.clock.now_ns()
    aside = f"{FOREIGN}/{names.stamp(now)}-{now % 1_000_000_000:09d}/{path.rpartition('/')[2]}"
    kelp.nas.move(path, aside, parents=True)
    log.warning("%s on the NAS was not written by Kelp (or changed since): kept as %s", path, aside)
    return True


def holds(kelp: Kelp, path: str, content: Content) -> bool:
    """The file there has exactly these bytes."""
    return sealed_copies.is_whole(kelp, path, content)


def write_content(kelp: Kelp, at: Progress, content_id: str, subject: str | None, temp: str, mtime_ns: int) -> Written:
    """Bytes to a temporary file; of a sealed content all that the NAS shall have of it, with `subject`'s manifest."""
    content = at.job.contents.get(content_id) or mirroring.content_of(kelp, content_id)
    if (seen := at.prepared.written.get(temp)) is not None:
        return Written(content, seen, None)
    kelp.nas.remove(temp)
    if subject is None:
        return Written(content, contents.write_to_nas(kelp, content, temp, mtime_ns), None)
    manifest = manifest_for(kelp, subject, content_id)
    return Written(content, sealed_copies.write(kelp, content, temp, mtime_ns, manifest.sealed), manifest.digest)


def manifest_for(kelp: Kelp, subject: str, content_id: str | None) -> Kept:
    """As it shall be now. Raises Overtaken when it is of another content by now."""
    manifest = mirroring.manifest_of(kelp, subject)
    if manifest is None or manifest.content_id != content_id:
        raise Overtaken(f"what {subject} shall hold was changed meanwhile")
    return manifest
