"""The steps of a plan on the NAS, one function each. `settling` sees afterwards whether one was done.

Bytes go to Kelp's temporary folder first, only the final rename touches the tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

from blake3 import blake3

from jobs import version_steps
from jobs.footing import (
    Progress,
    Vanished,
    drop_empty,
    fence,
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
from vfs.errors import NasFault, NoSpace, ObjectMissing, StoreUnavailable
from vfs.model import Kind
from vfs.nas_model import (
    MANIFEST,
    NAMES,
    TEMPORARY,
    TRASH,
    VAULT_FILE,
    Describe,
    DropVersion,
    Keep,
    MakeFolder,
    Move,
    MoveVersion,
    Note,
    Recorded,
    Remove,
    Secure,
    Step,
    Touch,
    Write,
    WriteVersion,
)
from vfs.operations import mirroring, restoring, sealed_copies


def run(kelp: Kelp, step: Step, at: Progress) -> None:
    """Do one step. Raises NasDown, NasFault and its kin, ObjectMissing, LostLease, Vanished."""
    try:
        _RUN[type(step)](kelp, step, at)
    except ObjectMissing as error:
        if isinstance(step, MoveVersion):
            if kelp.nas.stat(at.job.path(step.source)) is not None:
                raise
            at.versions[step.version] = Recorded()
        else:
            spot = at.recorded.spot
            if spot is None or kelp.nas.stat(at.job.path(spot)) is not None:
                raise
            at.recorded = Recorded(note=at.recorded.note)
        raise Vanished(str(error)) from error


def _make_folder(kelp: Kelp, step: MakeFolder, at: Progress) -> None:
    path = at.job.path(step.spot)
    fence(kelp, at)
    _make_way(kelp, path, at)
    try:
        kelp.nas.make_folder(path)
    except NasFault:
        if not put_aside(kelp, path):
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
    fence(kelp, at)
    rename(kelp, source, target, parents=is_own(step.target))
    at.touched(source, target)
    leave(kelp, step.source, source)
    at.recorded = replace(at.recorded, spot=step.target)


def _write(kelp: Kelp, step: Write, at: Progress) -> None:
    target = at.job.path(step.spot)
    subject = str(at.job.situation.entry_id) if at.job.situation.desired.manifest is not None else None
    content, written, manifest = write_content(kelp, at, step.content_id, subject, step.temp, step.mtime_ns)
    if target not in at.prepared.placed:
        _place(kelp, step, target, at)
    at.touched(target)
    metrics.MIRRORED_BYTES.inc(written.size)
    note = at.recorded.note
    at.recorded = Recorded(step.spot, content.id, written.size, written.mtime_ns, written.inode, note, manifest)


def _place(kelp: Kelp, step: Write, target: str, at: Progress) -> None:
    fence(kelp, at)
    if step.replace and not is_ours(kelp, target, at.recorded):
        put_aside(kelp, target)
    if step.replace:
        kelp.nas.move(step.temp, target, replace=True)
    else:
        _make_way(kelp, target, at)
        rename(kelp, step.temp, target)


def _touch(kelp: Kelp, step: Touch, at: Progress) -> None:
    path = at.job.path(step.spot)
    fence(kelp, at)
    seen = kelp.nas.touch(path, step.mtime_ns)
    at.recorded = replace(at.recorded, mtime_ns=seen.mtime_ns)


def _describe(kelp: Kelp, step: Describe, at: Progress) -> None:
    """What is there stays; only what is said of it is another."""
    path = at.job.path(step.spot)
    before = at.version(step.version) if step.version else at.recorded
    if before.spot != step.spot or before.manifest == step.digest:
        return
    manifest = manifest_for(kelp, step.version or str(at.job.situation.entry_id), before.content_id)
    fence(kelp, at)
    written = sealed_copies.describe(kelp, path, step.file, manifest.sealed, step.temp, step.mtime_ns)
    at.touched(f"{path}/{step.file}")
    after = replace(before, manifest=manifest.digest)
    if before.content_id is not None:
        after = replace(after, mtime_ns=written.mtime_ns, inode=written.inode)
    if step.version:
        at.versions[step.version] = after
    else:
        at.recorded = after


def _remove(kelp: Kelp, step: Remove, at: Progress) -> None:
    path = at.job.path(step.spot)
    if path in at.prepared.removed:
        at.touched(path)
        at.recorded = Recorded()
        return
    fence(kelp, at)
    if step.folder:
        _remove_tree(kelp, path, at.job.situation.entry_id, described=at.recorded.manifest is not None)
    elif is_ours(kelp, path, at.recorded):
        kelp.nas.remove(path)
    else:
        put_aside(kelp, path)
    if not leave(kelp, step.spot, path):
        at.touched(path)
    at.recorded = Recorded()


def _remove_tree(kelp: Kelp, path: str, folder_id: int, *, described: bool) -> None:
    """Delete what is recorded below; what someone else put there stays, put aside with its folders."""
    for name, kind, size, mtime_ns, noted, has_manifest in mirroring.tree_of(kelp, folder_id):
        inner = f"{path}/{name}"
        if noted is not None:
            kelp.nas.remove(f"{NAMES}/{noted}")
        if kind == "folder":
            _drop_folder(kelp, inner, described=has_manifest)
        elif is_ours(kelp, inner, Recorded(size=size, mtime_ns=mtime_ns)):
            kelp.nas.remove(inner)
    _drop_folder(kelp, path, described=described)
    if kelp.nas.stat(path) is not None:
        put_aside(kelp, path)


def _drop_folder(kelp: Kelp, path: str, *, described: bool) -> None:
    for file in (MANIFEST, VAULT_FILE) if described else ():
        kelp.nas.remove(f"{path}/{file}")
    drop_empty(kelp, path)


def _note(kelp: Kelp, step: Note, at: Progress) -> None:
    path = f"{NAMES}/{step.entry_id}"
    fence(kelp, at)
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


def _secure(kelp: Kelp, step: Secure, at: Progress) -> None:
    """Read in the cache itself, and brought back from the NAS where it is not there, or is bad."""
    lacking = (content_id for content_id in step.elsewhere if not _is_elsewhere(kelp, content_id, at))
    for content_id in chain(step.contents, lacking):
        try:
            content = mirroring.content_of(kelp, content_id)
            # Room may come bit by bit; what is there is read once, at last.
            left = restoring.restore(kelp, content).left or restoring.restore(kelp, content, doubted=True).left
        except NoSpace as error:
            raise StoreUnavailable(f"a content that is needed elsewhere has no room in the cache: {error}") from error
        if left:
            raise StoreUnavailable("a content that is needed elsewhere is not in the cache yet, and its file must go")


def _is_elsewhere(kelp: Kelp, content_id: str, at: Progress) -> bool:
    """A file that these steps leave alone looks as it was recorded."""
    entry_id, spot = at.job.situation.entry_id, at.job.situation.recorded.spot
    inside = f"{at.job.path(spot)}/" if spot is not None and at.job.situation.kind == Kind.FOLDER else None
    dropped = {step.version for step in at.job.steps if isinstance(step, DropVersion)}
    for copy in mirroring.copies_of(kelp, content_id):
        own = copy.entry_id == entry_id and (copy.version is None or copy.version in dropped)
        if own or (inside is not None and copy.path.startswith(inside)):
            continue
        info = kelp.nas.stat(copy.path)
        if info is not None and (info.kind, info.size, info.mtime_ns) == ("file", copy.size, copy.mtime_ns):
            return True
    return False


_RUN: dict[type, Callable[[Kelp, Any, Progress], None]] = {
    MakeFolder: _make_folder,
    Move: _move,
    Write: _write,
    Touch: _touch,
    Keep: version_steps.keep,
    MoveVersion: version_steps.move,
    WriteVersion: version_steps.write,
    DropVersion: version_steps.drop,
    Remove: _remove,
    Note: _note,
    Describe: _describe,
    Secure: _secure,
}
