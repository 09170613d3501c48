"""One inode that is open: what all its descriptors see, its draft, and how that is committed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from fuse_mount.draft_file import DraftFile, Header
from fuse_mount.merging import ContentBelow, merged
from fuse_mount.owner import Owner
from fuse_mount.spans import gap
from vfs.errors import AlreadyExists, Forbidden, KelpError, Locked, NotFound, PreconditionFailed, TooLarge
from vfs.model import PIECE_SIZE, Caller, Entry, Place
from vfs.operations import at_hand, committing, drafting, logged, posix, reading
from vfs.operations.at_hand import AtHand, SealedAtHand
from vfs.operations.drafting import Expected, Opened
from vfs.operations.storing_ahead import Ahead
from vfs.operations.writing import Birth

log = logging.getLogger(__name__)

_REFUSED = (Locked, Forbidden, NotFound, PreconditionFailed)  # it can never be committed to its file
_LEAP = 1 << 30  # bytes; a file that grows by more at once is looked at: the NAS has no holes
_FARTHEST = 4 << 40  # bytes of a leap, where nobody knows how much the NAS has room for


class OpenInode:
    """One inode that is open.

    `writing` is held by whoever changes it or commits, for as long as that takes; `_lock`, inside of it, while the
    fields below change or are looked at. So a long commit keeps writers waiting, and no reader.
    """

    def __init__(self, files: Owner, inode: int) -> None:
        self.files = files
        self.inode = inode
        self.users = 0
        self.writing = threading.RLock()
        self.unlinked = False
        self.ended = False
        self.mtime_ns = 0
        self._kelp = files.kelp
        self._lock = threading.Lock()
        self._shown: Opened | None = None  # what the drive shows, as far as is known
        self._at_hand: AtHand | SealedAtHand | None = None  # what of that can be read at once
        self._just_made = False  # by us: so nobody else can have written to it
        self.unsynced = False  # … and nobody has closed or synced it: perhaps it is not on the disk
        self._draft: DraftFile | None = None
        self._told = False  # `mtime_ns` is what somebody set
        self._kernel_end = -1  # where the kernel believes that the last write ended, if it was elsewhere
        self._own: set[str] = set()
        self.said: Mapping[str, int] = {}  # mode, uid, gid that come with the draft
        self._caller: Caller | None = None  # who wrote last
        self._coming: tuple[Caller, Birth] | None = None  # who made it, and what its row shall have that is missing yet
        self._unclaim: Callable[[], None] = lambda: None  # then its name is not kept for it any more

    # --- what it is ---

    @property
    def _base(self) -> Opened:
        if self._shown is None:
            raise AssertionError("it was not opened")
        return self._shown

    @property
    def size(self) -> int:
        draft = self._draft
        return self._base.entry.size if draft is None else draft.written.size

    @property
    def limit(self) -> int:
        draft = self._draft
        return self._base.entry.size if draft is None else draft.written.limit

    @property
    def entry(self) -> Entry:
        """The row as it was opened, or committed last."""
        return self._base.entry

    def attributes(self) -> tuple[int, int] | None:
        draft = self._draft
        return None if draft is None else (draft.written.size, self.mtime_ns)

    def set_mtime(self, mtime_ns: int) -> bool:
        with self.writing:
            if self._draft is None:
                return False
            self.mtime_ns, self._told = mtime_ns, True
            return True

    def say(self, said: Mapping[str, int], mtime_ns: int | None) -> bool:
        """The attributes of what is being written; they come with it. Never waits. False: nothing is, or it is just
        being committed."""
        if not self.writing.acquire(blocking=False):
            return False
        try:
            if self._draft is None:
                return False
            self.said = {**self.said, **said}
            if mtime_ns is not None:
                self.mtime_ns, self._told = mtime_ns, True
            return True
        finally:
            self.writing.release()

    def opened(self, caller: Caller, *, write: bool, made: Opened | None = None) -> None:
        """Look at what the drive shows now; `made`: the caller has just made it. Raises as `drafting.open_file`."""
        if self.unlinked:
            return
        found = made or drafting.open_file(self._kelp, caller, self.inode, write=write)
        with self._lock:
            if self._draft is None and (self._shown is None or self._shown.entry.version <= found.entry.version):
                self._just_made = made is not None
                self.unsynced = self.unsynced or self._just_made
                self._show(found)
                return
        found.hold.release()

    # --- without a row (`coming`) ---

    def expected(self, caller: Caller, made: Expected) -> None:
        """The caller makes it, and has it open; a row it gets later."""
        self._coming, self._unclaim = (caller, made.birth), made.claim.give_back
        self.opened(caller, write=True, made=made.opened)

    @property
    def has_row(self) -> bool:
        return self._coming is None

    def settle(self) -> None:
        """It has a row. When somebody else has made one of its name by now, it is as if that had been opened. Raises as
        `drafting.create`, but for that; of one that nobody else may make for that too."""
        with self.writing:
            if self._coming is None or self.unlinked:
                return
            caller, birth = self._coming
            try:
                with self._kelp.database.deferring(makes=True):
                    made = drafting.create(self._kelp, caller, self.entry.place, birth=birth)
            except AlreadyExists as error:
                found = error.existing
                if found is None or found.is_folder or (birth.alone and found.id != self.inode):
                    self._unclaim()  # when that one goes the name is free, however long this one stays open
                    raise
                self._came(found.id)
                if self._draft is None:
                    self.opened(caller, write=True)
                return
            self._came(self.inode)
            with self._lock:
                if self._draft is None:
                    self._show(made)
                else:
                    self._shown, before = made, self._base
                    before.hold.release()

    def _came(self, inode: int) -> None:
        """It has that row."""
        before, self._coming = self.inode, None
        self._unclaim()
        self.files.came(before)
        if inode != before:
            self.files.renumber(self, inode)
            self.files.changed(before)

    def _show(self, opened: Opened) -> None:
        before, self._shown = self._shown, opened
        self._let_go()
        self.mtime_ns = opened.entry.mtime_ns
        if before is not None:
            before.hold.release()

    def _let_go(self) -> None:
        held, self._at_hand = self._at_hand, None
        if held is not None:
            held.close()

    # --- bytes ---

    def read_at_once(self, offset: int, size: int, buffer: memoryview) -> bytes | memoryview | None:
        """As `read`, but it never waits: for a store, a disk, or another thread. None: then `read` has to be asked.
        `buffer`: as for `AtHand.read`."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            stop, draft = min(offset + size, self.size), self._draft
            if offset >= stop:
                return b""
            if draft is not None:
                return draft.read(offset, stop) if draft.written.spans.missing(offset, stop) == 0 else None
            if self._at_hand is None:
                self._at_hand = at_hand.opened(self._kelp, self._base.content)
            if self._at_hand is None:
                return None
            return self._at_hand.read(offset, stop, buffer)
        finally:
            self._lock.release()

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            content = ContentBelow(self._kelp, self._base.content)
            found = list(self._looked_up(offset, min(offset + size, self.size)))
        return b"".join(piece if isinstance(piece, bytes) else b"".join(content.stream(*piece)) for piece in found)

    def _looked_up(self, start: int, stop: int) -> Iterator[bytes | tuple[int, int]]:
        """Bytes of the draft, and ranges of the content below it."""
        at, limit, draft = start, self.limit, self._draft
        for first, last in () if draft is None else draft.written.spans.within(start, stop):
            yield from gap(at, first, limit)
            for piece in range(first, last, PIECE_SIZE):
                assert draft is not None
                yield draft.read(piece, min(piece + PIECE_SIZE, last))
            at = last
        yield from gap(at, stop, limit)

    def write(self, caller: Caller, at: int | None, data: bytes | memoryview, kernel: int) -> int:
        """`at` None: at the end; `kernel`: where the kernel believes that it is."""
        with self.writing:
            if at is None and self._is_of_mapping(kernel):
                at = kernel
            self._require_room(0 if at is None else at)
            with self._changing(caller) as draft:
                offset = draft.written.size if at is None else at
                draft.write(offset, data)
            self._kernel_end = -1 if offset == kernel else kernel + len(data)
        if offset != kernel:
            self.files.changed(self.inode)
        return len(data)

    def write_at_once(self, caller: Caller, at: int | None, data: bytes | memoryview, kernel: int) -> int | None:
        """As `write`, but it waits for nothing but the disk of the drafts, which the kernel writes to in its own time.
        None: then `write` has to be asked."""
        if (self._draft is None and not self._kelp.database.is_near) or (at or 0) - self.size > _LEAP:
            return None
        if not self.writing.acquire(blocking=False):
            return None
        try:
            return self.write(caller, at, data, kernel)
        finally:
            self.writing.release()

    def _is_of_mapping(self, kernel: int) -> bool:
        """A page of a mapping is written back by any descriptor, also by one that appends, and goes where it belongs.
        What is appended comes with the end of the file as the kernel knows it, or goes on with what came last."""
        return kernel < self.size and kernel != self._kernel_end

    def truncate(self, caller: Caller, size: int) -> None:
        with self.writing:
            if size == self.size and self._draft is None:
                return
            self._require_room(size)
            with self._changing(caller) as draft:
                draft.cut(size)

    def touch(self, caller: Caller) -> None:
        """It was cut to the size that it has: a change all the same (ftruncate(3p))."""
        with self.writing:
            if self._draft is not None:
                with self._lock:
                    self._touched(caller)
            elif not self.unlinked:
                self.settle()
                posix.set_attributes(self._kelp, caller, self.inode, mtime_ns=self._kelp.clock.now_ns())

    def _require_room(self, size: int) -> None:
        """What nobody wrote costs nothing here, and is bytes like others on the NAS. Raises TooLarge."""
        hole = size - self.size
        if hole > _LEAP and hole > min(reading.usage(self._kelp).free, _FARTHEST):
            raise TooLarge(f"a file of {size} bytes does not fit into the drive")

    def _touched(self, caller: Caller) -> None:
        self.mtime_ns, self._told, self._caller = self._kelp.clock.now_ns(), False, caller

    @contextmanager
    def _changing(self, caller: Caller) -> Iterator[DraftFile]:
        """A change of the draft. One that was begun for a change that fails is none: its close stores nothing."""
        is_first = self._draft is None
        draft = self._begun(caller)
        with self._lock:
            try:
                yield draft
            except BaseException:
                if is_first:
                    self._draft = None
                    draft.end()
                raise
            self._touched(caller)

    def _begun(self, caller: Caller) -> DraftFile:
        """The draft; a new one is made of what the drive shows now."""
        if self._draft is not None:
            return self._draft
        if not self._just_made:
            self.opened(caller, write=True)
        entry, content = self._base.entry, self._base.content
        folder_id, now = entry.parent_id or 0, self._kelp.clock.now_ns()
        header = Header(self.inode, folder_id, entry.name, content.id, entry.size, caller.name, now, entry.vault_id)
        ahead = partial(Ahead, self._kelp, self.files.storing) if entry.vault_id is None else None
        draft = self.files.disk.new(header, ahead)
        with self._lock:
            self._draft, self._own = draft, set()
        return draft

    # --- commit: what `drafting.Source` asks for, then ---

    def is_written(self, start: int, stop: int) -> bool:
        return self._draft is not None and self._draft.written.spans.touch(start, stop)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        if self._draft is None:
            raise AssertionError("there is nothing to commit")
        return merged(self._draft, ContentBelow(self._kelp, self._base.content), start, stop)

    def commit(self, caller: Caller) -> None:
        with self.writing:
            if self._draft is None or self.unlinked:
                self.settle()
                if self.unsynced and not self.unlinked:
                    self._kelp.database.sync()
                    self.unsynced = False
                return
            entry, content = self._base.entry, self._base.content
            birth = self._coming[1] if self._coming else None
            what = drafting.Draft(
                *(self.inode, entry.place, content, self, self.mtime_ns, self._told, self._own, birth, self.said),
                ahead=self._draft.ahead,
            )
            try:
                done = committing.commit(self._kelp, caller, what)
            except _REFUSED as error:
                self._keep_beside(caller, what, error)
                raise
            self._committed(done)
            if birth is not None:
                self._came(done.entry.id)

    def _committed(self, done: drafting.Committed) -> None:
        hold = self._kelp.holds.hold(done.content.id)
        with self._lock:
            draft, self._draft = self._draft, None
            self._just_made = self.unsynced = False
            self.said = {}
            self._show(Opened(done.entry, done.content, hold))
        if draft is not None:
            draft.end()

    def _keep_beside(self, caller: Caller, what: drafting.Draft, error: KelpError) -> None:
        """From then on its descriptors are those of the copy: nothing of what they write is lost or mixed."""
        entry, inode = self._base.entry, self.inode
        beside = drafting.place_of(self._kelp, inode) or Place(entry.parent_id or 0, entry.name)
        try:
            done = committing.keep_beside(self._kelp, caller, what, beside)
        except KelpError as other:
            why, either = logged.fault(error, entry), logged.fault(other, entry)
            log.warning("%s is refused (%s), and cannot be kept beside it either: %s", logged.name(entry), why, either)
            return
        copy, why = logged.name(done.entry), logged.fault(error, entry)
        log.warning("%s is refused (%s): kept as %s", logged.name(entry), why, copy)
        self._committed(done)
        self._came(done.entry.id)

    def end(self, *, forced: bool = False, wait: bool = True) -> bool:
        """Commit it, and let go of everything when nobody has it open. False, only without `wait`: somebody is at work
        on it."""
        if self.users and not forced:
            return True
        if not self.writing.acquire(blocking=wait):
            return False
        try:
            if not self.ended and (forced or not self.users):
                self._end(forced=forced)
        finally:
            self.writing.release()
        return True

    def _end(self, *, forced: bool) -> None:
        try:
            if self._caller is not None:
                self.commit(self._caller)
            self.settle()
        except KelpError as error:
            name, why = logged.name(self._base.entry), logged.fault(error, self._base.entry)
            log.warning("%s could not be committed when it was closed: %s", name, why)
        if not self.files.forget(self, forced=forced):
            return
        self._unclaim()
        draft, self._draft = self._draft, None
        if draft is not None and self.unlinked:
            draft.end()
        elif draft is not None:
            entry = self._base.entry
            log.warning("a draft of %s is kept: `kelp mount --recover` brings it back", logged.name(entry))
            draft.keep()
        with self._lock:
            self._let_go()
            if self._shown is not None:
                self._shown.hold.release()
