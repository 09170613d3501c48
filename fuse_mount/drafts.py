"""Open files: one state for each inode, whatever the number of descriptors; what was written is a draft until it is
committed (`vfs/operations/drafting.py`).

All methods block, and may be called from any thread. Errors are the core's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fuse_mount.coming import Coming
from fuse_mount.draft_disk import DraftDisk
from fuse_mount.open_inode import OpenInode
from vfs.background import Background
from vfs.core import Kelp
from vfs.model import Caller, Entry, Place
from vfs.operations import at_hand, drafting
from vfs.operations.posix import Node

log = logging.getLogger(__name__)

_UNDOING = 5.0  # seconds for removing what was stored ahead, and is not wanted


class OpenFiles:
    """The open files of a mount. `changed` is told of inodes whose bytes are not what the kernel believes."""

    def __init__(self, kelp: Kelp, *, changed: Callable[[int], None] = lambda inode: None) -> None:
        """Raises StoreUnavailable when there is no place for drafts."""
        self.kelp = kelp
        self._changed = changed
        settings = kelp.settings
        drafts = settings.data / "drafts"
        twice = _on_one_disk(drafts, settings.cache.url)
        self.disk = DraftDisk(drafts, settings.fuse.draft_limit, settings.cache.reserve, twice=twice)
        self.storing = Background()
        self.buffer = at_hand.room()  # for `OpenFile.read_at_once`
        self.coming = Coming(kelp)
        self._guard = threading.Lock()
        self._files: dict[int, OpenInode] = {}

    def open(self, entry: Entry | Node, flags: int, caller: Caller) -> OpenFile:
        """Raises NotFound, WrongKind (a folder), Forbidden, Locked, StoreUnavailable."""
        write = flags & os.O_ACCMODE != os.O_RDONLY
        file = self._attach(entry.id)
        try:
            file.opened(caller, write=write)
            handle = OpenFile(self, file, caller, flags)
            if flags & os.O_TRUNC and write:
                handle.truncate(0)
        except BaseException:
            self.let_go(file)
            file.end()
            raise
        return handle

    def create(
        self, place: Place, mode: int | None, caller: Caller, *, uid: int | None = None, gid: int | None = None,
        flags: int = os.O_RDWR,
    ) -> tuple[Entry, OpenFile]:  # fmt: skip
        """Make an empty file and open it. Raises AlreadyExists, ParentNotFound, InvalidName, Locked, Forbidden."""
        self.coming.settle()
        alone = bool(flags & os.O_EXCL)
        made = drafting.create(self.kelp, caller, place, _said(mode, uid, gid), alone=alone)
        entry = made.entry
        file = self._attach(entry.id)
        try:
            file.opened(caller, write=True, made=made)
        except BaseException:
            self.let_go(file)
            file.end()
            raise
        return entry, OpenFile(self, file, caller, flags)

    def expect(
        self, place: Place, mode: int | None, caller: Caller, *, uid: int | None = None, gid: int | None = None,
        flags: int = os.O_RDWR,
    ) -> tuple[Entry, OpenFile] | None:  # fmt: skip
        """As `create`, of a file whose row comes later, so nothing has to be waited for; None: then `create` has to be
        asked."""
        if self.coming.has(place.folder_id, place.name):
            return None
        id = self.coming.take_id()
        if id is None:
            return None
        alone = bool(flags & os.O_EXCL)
        made = drafting.expect(self.kelp, caller, place, id, _said(mode, uid, gid), alone=alone)
        if made is None:
            return None
        file = self._attach(id)
        file.expected(caller, made)
        self.coming.add(place.folder_id, place.name, file)
        return made.opened.entry, OpenFile(self, file, caller, flags)

    def truncate(self, entry: Entry | Node, size: int, caller: Caller) -> None:
        """Of a file that may be open or not; durable on return unless it is open for writing. Raises as `open`, and
        what a commit raises."""
        handle = self.open(entry, os.O_WRONLY, caller)
        try:
            if size != handle.size:
                handle.truncate(size)
            handle.flush()
        finally:
            handle.release()

    def attributes(self, inode: int) -> tuple[int, int] | None:
        """(size, mtime_ns) of a file with a draft; None: it is as the drive has it. Does not wait."""
        file = self._files.get(inode)
        return file.attributes() if file is not None else None

    def last(self, inode: int) -> tuple[int, int] | None:
        """(size, mtime_ns) of an open file as its descriptors see it, with a draft or without one."""
        file = self._files.get(inode)
        return (file.size, file.mtime_ns) if file is not None else None

    def set_mtime(self, inode: int, mtime_ns: int) -> bool:
        """The time that a draft shall have when it is committed; False when there is none, so the row has to change."""
        file = self._files.get(inode)
        return file is not None and file.set_mtime(mtime_ns)

    def say(self, inode: int, said: Mapping[str, int], mtime_ns: int | None) -> bool:
        """Attributes that come with what is being written to a file: as `OpenInode.say`."""
        file = self._files.get(inode)
        return file is not None and file.say(said, mtime_ns)

    def said(self, inode: int) -> Mapping[str, int] | None:
        """Of the file; nothing: it has those of its row."""
        file = self._files.get(inode)
        return file.said if file is not None else None

    @contextmanager
    def removing(self, inode: int | None) -> Iterator[None]:
        """Around what takes a file's name away (unlink, rename over it): afterwards it has no name here, and is there
        until the last descriptor is closed. It stays as it is when the block raises."""
        file = self._files.get(inode) if inode is not None else None
        if file is None:
            yield
            return
        with file.writing:
            yield
            file.unlinked = True

    @property
    def any_open(self) -> bool:
        """Some file is open, or was a moment ago and is being committed."""
        return bool(self._files)

    def knows(self, inode: int) -> bool:
        """It is open, or was a moment ago and is being committed."""
        return inode in self._files

    def close(self, seconds: float | None = None) -> None:
        """Commit what is open; what cannot be committed, or not in that time, stays, to be recovered."""
        ending = threading.Thread(target=self._end_all, name="ending", daemon=True)
        ending.start()
        ending.join(seconds)
        if ending.is_alive():
            log.error("what is open could not be committed within %s s: `kelp mount --recover` brings it back", seconds)

    def _end_all(self) -> None:
        for file in list(self._files.values()):
            try:
                file.end(forced=True)
            except Exception:
                log.exception("%r could not be committed", file.inode)
        self.storing.wait(_UNDOING)
        self.storing.close()
        self.disk.close()

    def changed(self, inode: int) -> None:
        self._changed(inode)

    def came(self, inode: int) -> None:
        """It has a row now."""
        self.coming.drop(inode)

    def _attach(self, inode: int) -> OpenInode:
        with self._guard:
            file = self._files.get(inode)
            if file is None:
                file = self._files[inode] = OpenInode(self, inode)
            file.users += 1
            return file

    def let_go(self, file: OpenInode) -> None:
        with self._guard:
            file.users -= 1

    def forget(self, file: OpenInode, *, forced: bool) -> bool:
        """Nobody finds it any more; False when somebody has it open."""
        with self._guard:
            if file.users and not forced:
                return False
            file.ended = True
            self.coming.drop(file.inode)
            if self._files.get(file.inode) is file:
                del self._files[file.inode]
            return True

    def renumber(self, file: OpenInode, inode: int) -> None:
        """Its descriptors go on with another inode."""
        with self._guard:
            if self._files.get(file.inode) is file:
                del self._files[file.inode]
            file.inode = inode
            self._files.setdefault(inode, file)


def _said(mode: int | None, uid: int | None, gid: int | None) -> dict[str, object]:
    return {name: value for name, value in (("mode", mode), ("uid", uid), ("gid", gid)) if value is not None}


def _on_one_disk(drafts: Path, cache: str) -> bool:
    """Not so a cache in S3, nor drafts with a disk of their own."""
    folder = drafts if drafts.exists() else drafts.parent
    try:
        return "://" not in cache and folder.stat().st_dev == Path(cache).stat().st_dev
    except OSError:
        return False


class OpenFile:
    """One descriptor."""

    def __init__(self, files: OpenFiles, file: OpenInode, caller: Caller, flags: int) -> None:
        self._files = files
        self._file = file
        self._caller = caller
        self._append = bool(flags & os.O_APPEND)
        self._may_write = flags & os.O_ACCMODE != os.O_RDONLY
        self._released = False

    @property
    def inode(self) -> int:
        return self._file.inode

    @property
    def unsynced(self) -> bool:
        """It was made here, and nobody has closed or synced it yet."""
        return self._file.unsynced

    @property
    def has_row(self) -> bool:
        """Else nobody finds it but who has it open (`coming`)."""
        return self._file.has_row

    @property
    def entry(self) -> Entry:
        """The row as it was opened, or committed last."""
        return self._file.entry

    @property
    def size(self) -> int:
        return self._file.size

    @property
    def mtime_ns(self) -> int:
        return self._file.mtime_ns

    def read(self, offset: int, size: int) -> bytes:
        """Fewer bytes at the end of the file. Raises ContentLost, StoreUnavailable."""
        return self._file.read(offset, size)

    def read_at_once(self, offset: int, size: int) -> bytes | memoryview | None:
        """As `read`, where nothing has to be waited for; else None. In one thread only, always the same: what it gives
        is true until it is asked again."""
        return self._file.read_at_once(offset, size, self._files.buffer)

    def write_at_once(self, offset: int, data: bytes | memoryview) -> int | None:
        """As `write`, where nothing has to be waited for; else None."""
        return self._file.write_at_once(self._caller, None if self._append else offset, data, offset)

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """How many bytes: all. Raises NoSpace, StoreUnavailable; the first one as `OpenFiles.open`."""
        return self._file.write(self._caller, None if self._append else offset, data, offset)

    def truncate(self, size: int) -> None:
        """Of an open file; a change also when it has the size. Raises TooLarge, and what `write` raises."""
        if size == self._file.size:
            self._file.touch(self._caller)
        else:
            self._file.truncate(self._caller, size)

    def flush(self) -> None:
        """A descriptor is closed: as `fsync`, unless it is one to read with, whose close shows nobody's half a save."""
        if self._may_write:
            self.fsync()

    def fsync(self) -> None:
        """What was written is durable, and everybody sees it; nothing happens when nothing was.

        Raises Locked, Forbidden, NotFound, PreconditionFailed: the file has a lock by now, or the caller no right, or
        it is gone, or somebody else changed it; then what was written is in a file beside it, and this descriptor is
        that one's. Raises NoSpace, StoreUnavailable, ContentLost: the draft stays, another flush tries again.
        """
        self._file.commit(self._caller)

    def release(self, *, wait: bool = True) -> bool:
        """It is not used any more; never raises what cannot be told to anybody. False, only without `wait`: a thread is
        at work on the file, so it has to be called again."""
        if not self._released:
            self._released = True
            self._files.let_go(self._file)
        return self._file.end(wait=wait)
