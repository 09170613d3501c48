"""Files that programs have just made here, and that no row shows yet.

A new file that is written and closed within a moment is then one transaction instead of two. Its row comes with the
first commit; or before, by an empty file: when anybody asks this mount for what the row decides (the name, the folder,
another change of names), and a moment later in any case. So nobody on this mount can tell, and others see it when they
would see any change. Of a file that must be made here and nowhere else (O_EXCL) the name is claimed until it has a row
(`Database.claim`): who else must be the only one to make it is told that it is there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol

from vfs import names
from vfs.core import Kelp
from vfs.errors import KelpError, StoreUnavailable
from vfs.operations import drafting

log = logging.getLogger(__name__)

_RESERVED = 256  # ids at a time …
_FEW = 128  # … when so many are left
_YOUNG = 0.2  # seconds without a row
_AT_ONCE = 3  # files whose rows are made while the kernel's next request waits


class Made(Protocol):
    """A file that is coming."""

    @property
    def inode(self) -> int: ...

    @property
    def writing(self) -> threading.RLock: ...

    def settle(self) -> None:
        """Its row is there, and everybody sees it; nothing when it is already. Raises what keeps it from that."""


class Coming:
    """Of one mount. Safe to use from many threads."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._ids: deque[int] = deque()
        self._files: dict[int, tuple[int, str, float, Made]] = {}  # inode: folder, name key, since when, the file
        self._settling = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._files)

    def __contains__(self, inode: int) -> bool:
        return inode in self._files

    def take_id(self) -> int | None:
        """None: there is none, `prepare` has to be called. Never waits."""
        try:
            return self._ids.popleft()
        except IndexError:
            return None

    @property
    def needs_care(self) -> bool:
        """There is something for `look_after`."""
        return bool(self._files) or len(self._ids) < _FEW

    def look_after(self) -> None:
        """What was made a moment ago has its row, and there are ids. Raises StoreUnavailable."""
        self._kelp.database.look_after_claims()
        self.settle(_YOUNG)
        self.prepare()

    def prepare(self) -> None:
        """Raises StoreUnavailable."""
        if len(self._ids) < _FEW:
            self._ids.extend(drafting.reserve_ids(self._kelp, _RESERVED))

    def add(self, folder_id: int, name: str, file: Made) -> None:
        self._files[file.inode] = folder_id, self._key(name), time.monotonic(), file

    def drop(self, inode: int) -> None:
        self._files.pop(inode, None)

    def is_in(self, folder_id: int) -> bool:
        return any(folder == folder_id for folder, *_ in list(self._files.values()))

    def has(self, folder_id: int, name: str) -> bool:
        key = self._key(name)
        return any((folder, known) == (folder_id, key) for folder, known, *_ in list(self._files.values()))

    def _key(self, name: str) -> str:
        return names.key(name, self._kelp.settings.drive.case_sensitive)

    def settle(self, age: float = 0.0) -> None:
        """Nobody's row is missing any more, of those that are so old. What is refused is told to who closes the file.

        Raises StoreUnavailable: they are still coming.
        """
        with self._settling:
            before = time.monotonic() - age
            for inode, (_, _, since, file) in list(self._files.items()):
                if since > before:
                    continue
                try:
                    file.settle()
                except StoreUnavailable:
                    raise
                except KelpError as error:
                    log.debug("inode %s has no row until it is closed: %s", inode, type(error).__name__)
                self.drop(inode)

    def settle_at_once(self, only: int | None = None) -> bool:
        """As `settle`, of all or of one inode, where nothing has to be waited for; False: then that has to be asked."""
        if not self._settling.acquire(blocking=False):
            return False
        try:
            found = [(folder, file) for inode, (folder, _, _, file) in self._files.items() if only in (None, inode)]
            return len(found) <= _AT_ONCE and all(self._is_settled_at_once(folder, file) for folder, file in found)
        finally:
            self._settling.release()

    def _is_settled_at_once(self, folder_id: int, file: Made) -> bool:
        database = self._kelp.database
        if database.has_vaults and not database.knows_as_plain(folder_id):
            return False  # its keys may have to be read from somewhere
        if not file.writing.acquire(blocking=False):
            return False
        try:
            return database.at_once(file.settle) is not None
        except KelpError:
            return False
        finally:
            file.writing.release()
