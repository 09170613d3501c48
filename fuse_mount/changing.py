"""What a handler does in a worker thread when that is more than one call of the core.

A name that comes or goes, and attributes, need not be durable before somebody syncs the file or its folder (POSIX): so
they do not wait for the disk; a close or fsync brings them there with what it commits. A rename does wait: it is how
programs that sync nothing end a save. On SQLite a sync was most of the time of mkdir, chmod and unlink, and a third of
that of a new small file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from fuse_mount.drafts import OpenFile, OpenFiles
from fuse_mount.inodes import Inodes
from fuse_mount.links import Links
from vfs.core import Kelp
from vfs.errors import NotFound, StoreUnavailable
from vfs.model import Caller, Entry, Kind, Level, OnConflict, Outcome, Place
from vfs.operations import folders, linking, moving, posix, trashing
from vfs.operations.posix import Node


class Wanted(NamedTuple):
    """Attributes that an entry is to have; None: as it is, or as it is shown while nobody has set it."""

    mode: int | None = None  # permission bits
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None

    @property
    def columns(self) -> dict[str, int]:
        """Those that a row has, but for the time."""
        found = (("mode", self.mode), ("uid", self.uid), ("gid", self.gid))
        return {name: value for name, value in found if value is not None}


def make_folder(kelp: Kelp, caller: Caller, place: Place) -> Node:
    """Raises as `folders.make_folder`."""
    with kelp.database.deferring(makes=True):
        return _made(folders.make_folder(kelp, caller, place))


def make_folder_at_once(kelp: Kelp, caller: Caller, place: Place) -> Node | None:
    """As `make_folder`, where nothing has to be waited for; None: then that has to be asked."""
    if not _needs_no_key(kelp, place.folder_id):
        return None
    done = kelp.database.at_once(partial(make_folder, kelp, caller, place))
    return None if done is None else done[0]


def make_link(
    kelp: Kelp, known: Links, caller: Caller, place: Place, target: bytes, uid: int | None, gid: int | None
) -> Node:
    """Raises as `linking.make_link`."""
    with kelp.database.deferring(makes=True):
        entry = linking.make_link(kelp, caller, place, target)
    if entry.content_id is not None:
        known.learned(entry.content_id, target)
    node = _made(entry)._replace(is_link=True)
    if uid is None and gid is None:
        return node
    return _set(kelp, caller, node.id, Wanted(uid=uid, gid=gid))


def make_file(files: OpenFiles, caller: Caller, place: Place, wanted: Wanted, flags: int) -> tuple[Node, OpenFile]:
    """Raises as `OpenFiles.create`."""
    with files.kelp.database.deferring(makes=True):
        entry, file = files.create(place, wanted.mode, caller, uid=wanted.uid, gid=wanted.gid, flags=flags)
    return _made(entry)._replace(mode=wanted.mode, uid=wanted.uid, gid=wanted.gid), file


def make_file_at_once(
    files: OpenFiles, caller: Caller, place: Place, wanted: Wanted, flags: int
) -> tuple[Node, OpenFile] | None:
    """As `make_file`, where nothing has to be waited for; None: then that has to be asked."""
    if files.coming or not _needs_no_key(files.kelp, place.folder_id):
        return None
    done = files.kelp.database.at_once(partial(make_file, files, caller, place, wanted, flags))
    return None if done is None else done[0]


def expect_file(
    files: OpenFiles, caller: Caller, place: Place, wanted: Wanted, flags: int
) -> tuple[Node, OpenFile] | None:
    """As `make_file`, of a file whose row comes later (`OpenFiles.expect`)."""
    made = files.expect(place, wanted.mode, caller, uid=wanted.uid, gid=wanted.gid, flags=flags)
    if made is None:
        return None
    return _made(made[0])._replace(mode=wanted.mode, uid=wanted.uid, gid=wanted.gid), made[1]


def _made(entry: Entry) -> Node:
    """Who could make it may write to it."""
    return Node(
        *(entry.id, entry.parent_id, entry.name, entry.kind, entry.size, entry.mtime_ns, entry.created_ns),
        *(None, None, None, entry.version, entry.state, entry.content_id, Level.WRITE),
    )


def set_attributes(files: OpenFiles, caller: Caller, inode: int, wanted: Wanted) -> Node | None:
    """What it is afterwards; None: a file that has no name any more. Raises NotFound, Forbidden, Locked."""
    if wanted.mtime_ns is not None and files.set_mtime(inode, wanted.mtime_ns):
        wanted = wanted._replace(mtime_ns=None)
        if wanted == Wanted():
            return None
    return _set(files.kelp, caller, inode, wanted)


def set_at_once(files: OpenFiles, caller: Caller, inode: int, wanted: Wanted) -> tuple[Node | None] | None:
    """As `set_attributes`, where nothing has to be waited for; None: then that has to be asked."""
    if files.knows(inode) or not _needs_no_key(files.kelp, inode):
        return None
    return files.kelp.database.at_once(partial(set_attributes, files, caller, inode, wanted))


def _set(kelp: Kelp, caller: Caller, inode: int, wanted: Wanted) -> Node:
    with kelp.database.deferring():
        return posix.set_attributes(
            kelp, caller, inode, mode=wanted.mode, uid=wanted.uid, gid=wanted.gid, mtime_ns=wanted.mtime_ns
        )


def remove(files: OpenFiles, inodes: Inodes, caller: Caller, place: Place, kind: Kind) -> None:
    """Raises as `trashing.remove`."""
    if kind == Kind.FILE and not files.any_open:  # so it need not be known before which one it is
        with files.kelp.database.deferring():
            inodes.removed(trashing.remove(files.kelp, caller, place, only=kind))
        return
    inode = _file_at(files.kelp, caller, place) if kind == Kind.FILE else None
    with files.removing(inode), inodes.removing(inode), files.kelp.database.deferring():
        trashing.remove(files.kelp, caller, place, only=kind)


def remove_at_once(files: OpenFiles, inodes: Inodes, caller: Caller, place: Place, kind: Kind) -> bool:
    """As `remove`, where nothing has to be waited for; False: then that has to be asked."""
    kelp = files.kelp
    if not kelp.database.is_near or not _needs_no_key(kelp, place.folder_id):
        return False
    if kind == Kind.FOLDER and kelp.database.has_vaults:
        return False
    if kind == Kind.FILE and files.any_open:
        try:
            inode = _file_at(kelp, caller, place)
        except StoreUnavailable:  # it may be waited for
            return False
        if inode is not None and files.knows(inode):
            return False  # it may just be committed
    done = kelp.database.at_once(partial(trashing.remove, kelp, caller, place, only=kind))
    if done is not None and kind == Kind.FILE:
        inodes.removed(*done)
    return done is not None


def _needs_no_key(kelp: Kelp, folder_id: int) -> bool:
    """Those of vaults may have to be read from somewhere."""
    return not kelp.database.has_vaults or kelp.database.knows_as_plain(folder_id)


def with_columns(node: Node, said: Mapping[str, int]) -> Node:
    """As it will be once `said`, as `Wanted.columns` gives it, has come to its row."""
    mode, uid, gid = (said.get("mode", node.mode), said.get("uid", node.uid), said.get("gid", node.gid))
    return node._replace(mode=mode, uid=uid, gid=gid)


def rename(files: OpenFiles, caller: Caller, source: Place, target: Place, on_conflict: OnConflict) -> Outcome:
    """As rename(2). Raises as `moving.move`."""
    given_way = _file_at(files.kelp, caller, target)
    if given_way is not None and given_way == _file_at(files.kelp, caller, source):
        given_way = None  # it gets another form of its own name
    with files.removing(given_way):
        return moving.move(files.kelp, caller, source, target, on_conflict=on_conflict, may_stay=True, alike=True)


def _file_at(kelp: Kelp, caller: Caller, place: Place) -> int | None:
    """The inode of the file that is to lose its name, which may be open."""
    with suppress(NotFound):
        node = posix.child(kelp, caller, place.folder_id, place.name)
        if node is not None and not node.is_folder:
            return node.id
    return None


def close(file: OpenFile) -> None:
    """Raises what `flush` raises."""
    try:
        file.flush()
    finally:
        file.release()
