"""Open files: one state for each inode, whatever the number of descriptors; what was written is a draft until it is
committed (`vfs/operations/drafting.py`).

All methods block, and may be called from any thread. Errors are the core's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fuse_mount.draft_disk import DraftDisk, DraftFile, Header
from vfs.core import Kelp
from vfs.errors import Forbidden, KelpError, Locked, NotFound, PreconditionFailed
from vfs.model import PIECE_SIZE, ByteRange, Caller, Entry, Place
from vfs.operations import drafting
from vfs.operations.contents import Reader
from vfs.operations.drafting import Opened

log = logging.getLogger(__name__)

_REFUSED = (Locked, Forbidden, NotFound, PreconditionFailed)  # it can never be committed to its file
_ZEROS = bytes(PIECE_SIZE)


class OpenFiles:
    """The open files of a mount. `changed` is told of inodes whose bytes are not what the kernel believes."""

    def __init__(
        self, kelp: Kelp, *, changed: Callable[[int], None] = lambda inode: None, kernel_appends: bool = False
    ) -> None:
        """`kernel_appends`: the kernel keeps what is written for a while, and knows where files end (writeback cache).

        Raises StoreUnavailable when there is no place for drafts.
        """
        self.kelp = kelp
        self.changed = changed
        self.kernel_appends = kernel_appends
        self.disk = DraftDisk(kelp.settings.data / "drafts", kelp.settings.fuse.draft_limit)
        self._guard = threading.Lock()
        self._files: dict[int, _File] = {}

    def open(self, entry: Entry, flags: int, caller: Caller) -> OpenFile:
        """Raises NotFound, WrongKind (a folder), Forbidden, Locked, StoreUnavailable."""
        write = flags & os.O_ACCMODE != os.O_RDONLY
        file = self._attach(entry.id)
        try:
            file.opened(caller, write=write)
            handle = OpenFile(file, caller, append=bool(flags & os.O_APPEND) and not self.kernel_appends)
            if flags & os.O_TRUNC and write:
                handle.truncate(0)
        except BaseException:
            self._detach(file)
            raise
        return handle

    def create(
        self, place: Place, mode: int | None, caller: Caller, *, uid: int | None = None, gid: int | None = None,
        flags: int = os.O_RDWR,
    ) -> tuple[Entry, OpenFile]:  # fmt: skip
        """Make an empty file and open it. Raises AlreadyExists, ParentNotFound, InvalidName, Locked, Forbidden."""
        entry = drafting.create(self.kelp, caller, place, mode=mode, uid=uid, gid=gid)
        file = self._attach(entry.id)
        try:
            file.opened(caller, write=True, made=entry)
        except BaseException:
            self._detach(file)
            raise
        return entry, OpenFile(file, caller, append=bool(flags & os.O_APPEND) and not self.kernel_appends)

    def truncate(self, entry: Entry, size: int, caller: Caller) -> None:
        """Of a file that may be open or not; durable on return unless it is open for writing. Raises as `open`, and
        what a commit raises."""
        handle = self.open(entry, os.O_WRONLY, caller)
        try:
            handle.truncate(size)
            handle.flush()
        finally:
            handle.release()

    def attributes(self, inode: int) -> tuple[int, int] | None:
        """(size, mtime_ns) of a file with a draft; None: it is as the drive has it."""
        file = self._files.get(inode)
        return file.attributes() if file is not None else None

    def set_mtime(self, inode: int, mtime_ns: int) -> bool:
        """The time that a draft shall have when it is committed; False when there is none, so the row has to change."""
        file = self._files.get(inode)
        return file is not None and file.set_mtime(mtime_ns)

    @contextmanager
    def removing(self, inode: int | None) -> Iterator[None]:
        """Around what takes a file's name away (unlink, rename over it): afterwards it has no name here, and is there
        until the last descriptor is closed. It stays as it is when the block raises."""
        file = self._files.get(inode) if inode is not None else None
        if file is None:
            yield
            return
        with file.lock:
            yield
            file.unlinked = True

    def close(self) -> None:
        """Commit what is open; what cannot be committed stays, to be recovered."""
        for file in list(self._files.values()):
            file.end(forced=True)
        self.disk.close()

    def _attach(self, inode: int) -> _File:
        with self._guard:
            file = self._files.get(inode)
            if file is None:
                file = self._files[inode] = _File(self, inode)
            file.users += 1
            return file

    def _detach(self, file: _File) -> None:
        with self._guard:
            file.users -= 1
        file.end()

    def forget(self, file: _File, *, forced: bool) -> bool:
        """Nobody finds it any more; False when somebody has it open."""
        with self._guard:
            if file.users and not forced:
                return False
            file.ended = True
            if self._files.get(file.inode) is file:
                del self._files[file.inode]
            return True

    def renumber(self, file: _File, inode: int) -> None:
        """Its descriptors go on with another inode."""
        with self._guard:
            if self._files.get(file.inode) is file:
                del self._files[file.inode]
            file.inode = inode
            self._files.setdefault(inode, file)


class OpenFile:
    """One descriptor."""

    def __init__(self, file: _File, caller: Caller, *, append: bool) -> None:
        self._file = file
        self._caller = caller
        self._append = append
        self._released = False

    @property
    def inode(self) -> int:
        return self._file.inode

    @property
    def size(self) -> int:
        return self._file.size

    @property
    def mtime_ns(self) -> int:
        return self._file.mtime_ns

    def read(self, offset: int, size: int) -> bytes:
        """Fewer bytes at the end of the file. Raises ContentLost, StoreUnavailable."""
        return self._file.read(offset, size)

    def write(self, offset: int, data: bytes | memoryview) -> int:
        """How many bytes: all. Raises NoSpace, StoreUnavailable; the first one as `OpenFiles.open`."""
        return self._file.write(self._caller, None if self._append else offset, data, offset)

    def truncate(self, size: int) -> None:
        self._file.truncate(self._caller, size)

    def flush(self) -> None:
        """What was written is durable, and everybody sees it; nothing happens when nothing was.

        Raises Locked, Forbidden, NotFound, PreconditionFailed: the file has a lock by now, or the caller no right, or
        it is gone, or somebody else changed it; then what was written is in a file beside it, and this descriptor is
        that one's. Raises NoSpace, StoreUnavailable, ContentLost: the draft stays, another flush tries again.
        """
        self._file.commit(self._caller)

    fsync = flush

    def release(self) -> None:
        """Once; never raises what cannot be told to anybody."""
        if not self._released:
            self._released = True
            self._file.files._detach(self._file)


class _File:
    """One inode that is open. `lock` is held over each call but reads of what nobody changes."""

    def __init__(self, files: OpenFiles, inode: int) -> None:
        self.files = files
        self.inode = inode
        self.users = 0
        self.lock = threading.RLock()
        self.ended = False
        self.unlinked = False
        self._kelp = files.kelp
        self._shown: Opened | None = None  # what the drive shows, as far as is known
        self._just_made = False
        self._draft: DraftFile | None = None
        self._told = False
        self._own: set[str] = set()
        self._caller: Caller | None = None  # who wrote last
        self.mtime_ns = 0

    # --- what it is ---

    @property
    def base(self) -> Opened:
        if self._shown is None:
            raise AssertionError("it was not opened")
        return self._shown

    @property
    def size(self) -> int:
        draft = self._draft
        return self.base.content.size if draft is None else draft.written.size

    @property
    def limit(self) -> int:
        return self.base.content.size if self._draft is None else self._draft.written.limit

    def attributes(self) -> tuple[int, int] | None:
        with self.lock:
            return None if self._draft is None or self._shown is None else (self.size, self.mtime_ns)

    def set_mtime(self, mtime_ns: int) -> bool:
        with self.lock:
            if self._draft is None:
                return False
            self.mtime_ns, self._told = mtime_ns, True
            return True

    def opened(self, caller: Caller, *, write: bool, made: Entry | None = None) -> None:
        """Look at what the drive shows now, unless there is a draft."""
        with self.lock:
            if self.unlinked:
                return
            found = drafting.open_file(self._kelp, caller, self.inode, write=write, made=made)
            self._just_made = made is not None
            if self._draft is None:
                self._show(found)
            else:
                found.hold.release()

    def _show(self, opened: Opened) -> None:
        before, self._shown = self._shown, opened
        self.mtime_ns = opened.entry.mtime_ns
        if before is not None:
            before.hold.release()

    # --- bytes ---

    def read(self, offset: int, size: int) -> bytes:
        with self.lock:
            if self._draft is not None:
                return b"".join(self.pieces(offset, min(offset + size, self.size)))
            content = self.base.content
        stop = min(offset + size, content.size)
        return b"".join(Reader(self._kelp, content).chunks(ByteRange(offset, stop))) if offset < stop else b""

    def write(self, caller: Caller, at: int | None, data: bytes | memoryview, kernel: int) -> int:
        """`at` None: at the end; `kernel`: where the kernel believes that it is."""
        with self.lock:
            draft = self._begun(caller)
            offset = draft.written.size if at is None else at
            draft.write(offset, data)
            self._touched(caller)
        if offset != kernel:
            self.files.changed(self.inode)
        return len(data)

    def truncate(self, caller: Caller, size: int) -> None:
        with self.lock:
            if size == self.size and self._draft is None:
                return
            self._begun(caller).cut(size)
            self._touched(caller)

    def _touched(self, caller: Caller) -> None:
        self.mtime_ns, self._told, self._caller = self._kelp.clock.now_ns(), False, caller

    def _begun(self, caller: Caller) -> DraftFile:
        """The draft; a new one is made of what the drive shows now."""
        if self._draft is None:
            if not self._just_made:
                self.opened(caller, write=True)
            entry, content = self.base.entry, self.base.content
            header = Header(
                self.inode,
                entry.parent_id or 0,
                entry.name,
                content.id,
                content.size,
                caller.name,
                self._kelp.clock.now_ns(),
            )
            self._draft = self.files.disk.new(header)
            self._own = set()
        return self._draft

    def is_written(self, start: int, stop: int) -> bool:
        return self._draft is not None and self._draft.written.spans.touch(start, stop)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        at = start
        spans = () if self._draft is None else self._draft.written.spans.within(start, stop)
        for first, last in spans:
            yield from self._unwritten(at, first)
            for piece in range(first, last, PIECE_SIZE):
                assert self._draft is not None
                yield self._draft.read(piece, min(piece + PIECE_SIZE, last))
            at = last
        yield from self._unwritten(at, stop)

    def _unwritten(self, start: int, stop: int) -> Iterator[bytes]:
        """As in the content; zero beyond that."""
        shown = min(stop, self.limit)
        if start < shown:
            yield from Reader(self._kelp, self.base.content).chunks(ByteRange(start, shown))
        for at in range(max(start, shown), stop, PIECE_SIZE):
            yield _ZEROS[: stop - at]

    # --- commit ---

    def commit(self, caller: Caller) -> None:
        with self.lock:
            if self._draft is None or self.unlinked:
                return
            what = self._as_draft()
            try:
                done = drafting.commit(self._kelp, caller, what)
            except _REFUSED as error:
                self._keep_beside(caller, what, error)
                raise
            self._committed(done)

    def _as_draft(self) -> drafting.Draft:
        return drafting.Draft(self.inode, self.base.content, self, self.mtime_ns, self._told, self._own)

    def _committed(self, done: drafting.Committed) -> None:
        self._just_made = False
        draft, self._draft = self._draft, None
        self._show(Opened(done.entry, done.content, self._kelp.holds.hold(done.content.id)))
        if draft is not None:
            draft.end()

    def _keep_beside(self, caller: Caller, what: drafting.Draft, error: KelpError) -> None:
        """From then on its descriptors are those of the copy: nothing of what they write is lost or mixed."""
        entry, inode = self.base.entry, self.inode
        beside = drafting.place_of(self._kelp, inode) or Place(entry.parent_id or 0, entry.name)
        try:
            done = drafting.keep_beside(self._kelp, caller, what, beside)
        except KelpError as other:
            log.warning(
                "what was written to %r is refused (%s), and cannot be kept beside it: %s", entry.name, error, other
            )
            return
        log.warning("what was written to %r is refused (%s): kept as %r", entry.name, error, done.entry.name)
        self._committed(done)
        self.files.renumber(self, done.entry.id)
        self.files.changed(inode)

    def end(self, *, forced: bool = False) -> None:
        """Commit it, and let go of everything when nobody has it open."""
        with self.lock:
            if self.ended or (self.users and not forced):
                return
            try:
                if self._caller is not None:
                    self.commit(self._caller)
            except KelpError as error:
                log.warning("%r could not be committed when it was closed: %s", self.base.entry.name, error)
            if not self.files.forget(self, forced=forced):
                return
            draft, self._draft = self._draft, None
            if draft is not None and self.unlinked:
                draft.end()
            elif draft is not None:
                log.warning("a draft of %r is kept: `kelp mount --recover` brings it back", self.base.entry.name)
                draft.keep()
            if self._shown is not None:
                self._shown.hold.release()
