"""The steps of a plan on the NAS, one function each. `settling` sees afterwards whether one was done.

Bytes go to Kelp's temporary folder first, only the final rename touches the tree. Whatever stands in a place
without being recorded there (someone worked on the NAS directly) is put aside, never overwritten or deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from blake3 import blake3

from vfs import names
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, NasFault, ObjectMissing
from vfs.model import ROOT_ID, Content
from vfs.nas_model import (
    FOREIGN,
    NAMES,
    TEMPORARY,
    TRASH,
    DropVersion,
    Job,
    Keep,
    MakeFolder,
    Move,
    Note,
    Recorded,
    Remove,
    Result,
    Step,
    Touch,
    Write,
    WriteVersion,
)
from vfs.operations import contents, mirroring

log = logging.getLogger(__name__)


class LostLease(Exception):
    """Another worker took over: this one must not touch the tree any more."""


class Vanished(Exception):
    """What is recorded is not on the NAS any more (someone removed it there): the entry is planned as new."""


@dataclass(slots=True)
class Progress:
    """How far a job is: what the NAS has now, where its versions are, which folders must be synced."""

    job: Job
    recorded: Recorded
    version_paths: dict[str, str | None] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, job: Job) -> Progress:
        return cls(job, job.situation.recorded)

    def result(self, *, done: bool) -> Result:
        """A version that could not be kept from the file on the NAS is planned anew, from the cache."""
        kept = all(step.version in self.version_paths for step in self.job.steps if isinstance(step, Keep))
        return Result(self.job, self.recorded, self.version_paths, done and kept)

    def touched(self, *paths: str) -> None:
        self.folders |= {path.rpartition("/")[0] for path in paths}


def run(kelp: Kelp, step: Step, at: Progress) -> None:
    """Do one step. Raises NasDown, NasFault and its kin, ObjectMissing, LostLease, Vanished."""
    try:
        _RUN[type(step)](kelp, step, at)
    except ObjectMissing as error:
        spot = at.recorded.spot
        if spot is None or kelp.nas.stat(at.job.path(spot)) is not None:
            raise
        at.recorded = Recorded(note=at.recorded.note)
        raise Vanished(str(error)) from error


def _fence(kelp: Kelp, at: Progress) -> None:
    if not mirroring.still_mine(kelp, at.job):
        raise LostLease(f"entry {at.job.situation.entry_id}")


def _make_folder(kelp: Kelp, step: MakeFolder, at: Progress) -> None:
    path = at.job.path(step.spot)
    _fence(kelp, at)
    _make_way(kelp, path, at)
    try:
        kelp.nas.make_folder(path)
    except NasFault:
        if not _put_aside(kelp, path):
            raise
        kelp.nas.make_folder(path)
    at.touched(path)
    at.recorded = replace(at.recorded, spot=step.spot)


def _make_way(kelp: Kelp, path: str, at: Progress) -> None:
    """What was trashed before it was ever mirrored comes straight into the trash: make the folder of its item."""
    folder = path.rpartition("/")[0]
    if folder.startswith(f"{TRASH}/"):
        for made in (TRASH, folder):
            kelp.nas.make_folder(made)
            at.touched(made)


def _move(kelp: Kelp, step: Move, at: Progress) -> None:
    source, target = at.job.path(step.source), at.job.path(step.target)
    _fence(kelp, at)
    own = step.target.parent_id == ROOT_ID and step.target.name.startswith(".")
    _rename(kelp, source, target, parents=own)
    at.touched(source, target)
    if step.source.name.startswith(f"{TRASH}/"):
        _drop_empty(kelp, source.rpartition("/")[0])
    at.recorded = replace(at.recorded, spot=step.target)


def _rename(kelp: Kelp, source: str, target: str, *, parents: bool = False) -> None:
    try:
        kelp.nas.move(source, target, parents=parents)
    except NasFault:
        if not _put_aside(kelp, target):
            raise
        kelp.nas.move(source, target, parents=parents)


def _write(kelp: Kelp, step: Write, at: Progress) -> None:
    content = mirroring.content_of(kelp, step.content_id)
    target = at.job.path(step.spot)
    kelp.nas.remove(step.temp)
    written = contents.write_to_nas(kelp, content, step.temp, step.mtime_ns)
    _fence(kelp, at)
    if step.replace and not _is_ours(kelp, target, at.recorded):
        _put_aside(kelp, target)
    if step.replace:
        kelp.nas.move(step.temp, target, replace=True)
    else:
        _make_way(kelp, target, at)
        _rename(kelp, step.temp, target)
    at.touched(target)
    at.recorded = Recorded(step.spot, content.id, written.size, written.mtime_ns, written.inode, at.recorded.note)


def _touch(kelp: Kelp, step: Touch, at: Progress) -> None:
    path = at.job.path(step.spot)
    _fence(kelp, at)
    seen = kelp.nas.touch(path, step.mtime_ns)
    at.recorded = replace(at.recorded, mtime_ns=seen.mtime_ns)


def _keep(kelp: Kelp, step: Keep, at: Progress) -> None:
    """A second name for the file, so that its own never disappears; where the NAS has no links, it moves."""
    source = at.job.path(step.spot)
    if not _is_ours(kelp, source, at.recorded):
        return  # someone changed it on the NAS: the version will be written from the cache
    _fence(kelp, at)
    if kelp.nas.stat(step.path) is None and not kelp.nas.link(source, step.path, parents=True):
        kelp.nas.move(source, step.path, parents=True)
        at.recorded = Recorded(note=at.recorded.note)
    at.touched(source, step.path)
    at.version_paths[step.version] = step.path


def _write_version(kelp: Kelp, step: WriteVersion, at: Progress) -> None:
    if step.version in at.version_paths:
        return
    content = mirroring.content_of(kelp, step.content_id)
    if not holds(kelp, step.path, content):
        kelp.nas.remove(step.temp)
        contents.write_to_nas(kelp, content, step.temp, step.mtime_ns)
        _fence(kelp, at)
        _move_new(kelp, step.temp, step.path)
    at.touched(step.path)
    at.version_paths[step.version] = step.path


def _move_new(kelp: Kelp, temp: str, path: str) -> None:
    kelp.nas.move(temp, path, replace=True, parents=True)


def _drop_version(kelp: Kelp, step: DropVersion, at: Progress) -> None:
    _fence(kelp, at)
    kelp.nas.remove(step.path)
    _drop_empty(kelp, step.path.rpartition("/")[0])
    at.version_paths[step.version] = None


def _remove(kelp: Kelp, step: Remove, at: Progress) -> None:
    path = at.job.path(step.spot)
    _fence(kelp, at)
    if step.folder:
        _remove_tree(kelp, path, at.job.situation.entry_id)
    elif _is_ours(kelp, path, at.recorded):
        kelp.nas.remove(path)
    else:
        _put_aside(kelp, path)
    if step.spot.name.startswith(f"{TRASH}/"):
        _drop_empty(kelp, path.rpartition("/")[0])
    else:
        at.touched(path)
    at.recorded = Recorded()


def _remove_tree(kelp: Kelp, path: str, folder_id: int) -> None:
    """Delete what is recorded below; what someone else put there stays, put aside with its folders."""
    for name, kind, size, mtime_ns, noted in mirroring.tree_of(kelp, folder_id):
        inner = f"{path}/{name}"
        if noted is not None:
            kelp.nas.remove(f"{NAMES}/{noted}")
        if kind == "folder":
            _drop_empty(kelp, inner)
        elif _is_ours(kelp, inner, Recorded(size=size, mtime_ns=mtime_ns)):
            kelp.nas.remove(inner)
    _drop_empty(kelp, path)
    if kelp.nas.stat(path) is not None:
        _put_aside(kelp, path)


def _drop_empty(kelp: Kelp, path: str) -> None:
    try:
        kelp.nas.remove_folder(path)
    except NasFault:
        log.debug("the folder %s on the NAS is not empty", path)


def _is_ours(kelp: Kelp, path: str, recorded: Recorded) -> bool:
    """What is there looks as it was recorded; nothing there counts as ours too."""
    info = kelp.nas.stat(path)
    return info is None or (info.kind == "file" and (info.size, info.mtime_ns) == (recorded.size, recorded.mtime_ns))


def _put_aside(kelp: Kelp, path: str) -> bool:
    """Move what someone else put at `path` to Kelp's folder for that; False when nothing is there."""
    if kelp.nas.stat(path) is None:
        return False
    now = kelp.clock.now_ns()
    aside = f"{FOREIGN}/{names.stamp(now)}-{now % 1_000_000_000:09d}/{path.rpartition('/')[2]}"
    kelp.nas.move(path, aside, parents=True)
    log.warning("%s on the NAS was not written by Kelp (or changed since): kept as %s", path, aside)
    return True


def _note(kelp: Kelp, step: Note, at: Progress) -> None:
    path = f"{NAMES}/{step.entry_id}"
    _fence(kelp, at)
    if step.text is None:
        kelp.nas.remove(path)
    else:
        text = step.text.encode()
        temp = f"{TEMPORARY}/{at.job.fence}-name"
        kelp.nas.remove(temp)
        kelp.nas.write(temp, [text], len(text), blake3(text).hexdigest(), parents=True)
        kelp.nas.move(temp, path, replace=True, parents=True)
        at.touched(path)
    at.recorded = replace(at.recorded, note=step.text)


def holds(kelp: Kelp, path: str, content: Content) -> bool:
    """The file there has exactly these bytes."""
    info = kelp.nas.stat(path)
    if info is None or info.kind != "file" or info.size != content.size:
        return False
    try:
        return kelp.nas.checksum(path) == content.checksum
    except (ContentCorrupt, ObjectMissing):
        return False


_RUN: dict[type, Callable[[Kelp, Any, Progress], None]] = {
    MakeFolder: _make_folder,
    Move: _move,
    Write: _write,
    Touch: _touch,
    Keep: _keep,
    WriteVersion: _write_version,
    DropVersion: _drop_version,
    Remove: _remove,
    Note: _note,
}
