"""Names that somebody has to himself before a row has them.

A mount makes files whose rows come later (`fuse_mount/coming.py`). Of one that must be made here and nowhere else it
first claims the name, alone, and then looks whether that is free. Who makes something in one change, under a name that
nobody may have, claims it too while the change is made, together with others of his kind: those see each other's rows,
so they need not keep each other out. The two kinds do: who comes second is told that the name is taken.

A claim is one byte of a file beside the database, locked for an open file description (fcntl(2), F_OFD_SETLK): one
call of the system, which sees to it that a claim ends with its process. Where the byte lies follows from the name and
from a secret at the file's beginning, since everybody may look at the locks of a system.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_SECRET = 16  # bytes
_FARTHEST = 1 << 62  # bytes; an offset is a number with a sign
_TAKEN = (errno.EAGAIN, errno.EACCES)
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # to this system: then to all processes that it has

Name = tuple[int, str]  # folder id, name key, which is never sealed here


class Claim:
    """A name that this process has to itself until it is given back, or the process ends; or none at all."""

    __slots__ = ("_claims", "_name")

    def __init__(self, claims: NameClaims | None = None, name: Name = (0, "")) -> None:
        self._claims, self._name = claims, name

    def give_back(self) -> None:
        """Once its row can be seen, or there will be none. The second time nothing happens."""
        claims, self._claims = self._claims, None
        if claims is not None:
            claims.give_back(self._name)


class NameClaims:
    """Of one SQLite database, whose users are all on one machine. Safe to use from many threads."""

    def __init__(self, file: Path, like: Path | None = None) -> None:
        """`like`: as for a ChangeCount. Raises OSError."""
        self._path = os.fspath(file)
        self._like = like
        self._guard = threading.Lock()
        self._alone: set[Name] = set()
        self._together: Counter[Name] = Counter()
        self._files = [_File(self._path, like)]  # the last one is where others look; see `_follow`
        self._is_unknown = False

    def take(self, name: Name) -> Claim | None:
        """Nobody else has it, nor will; None: somebody has, or that cannot be known."""
        with self._guard:
            if name in self._alone or name in self._together:
                return None
            try:
                granted = self._lock(name, fcntl.F_WRLCK)
            except OSError as error:
                log.warning("%s: no name can be claimed: %s", self._path, error)
                return None
            if not granted or self._is_unknown:
                return None
            self._alone.add(name)
        return Claim(self, name)

    def share(self, name: Name) -> bool:
        """Nobody has it to himself until `unshare`; False: somebody has. Raises OSError: that cannot be known."""
        with self._guard:
            if name in self._alone:
                return False
            if not self._together[name] and not self._lock(name, fcntl.F_RDLCK):
                del self._together[name]
                return False
            self._together[name] += 1
            return True

    def unshare(self, names: Sequence[Name]) -> None:
        with self._guard:
            for name in names:
                self._together[name] -= 1
                if not self._together[name]:
                    del self._together[name]
                    self._unlock(name)

    def give_back(self, name: Name) -> None:
        with self._guard:
            self._alone.discard(name)
            self._unlock(name)

    def look_after(self) -> None:
        """What is claimed is claimed where others look: somebody may have removed the file."""
        with self._guard:
            if self._alone:
                try:
                    self._follow()
                except OSError as error:
                    log.warning("%s: %s", self._path, error)

    def close(self) -> None:
        with self._guard:
            for file in self._files:
                file.close()
            self._files.clear()
            self._alone.clear()

    def __len__(self) -> int:
        """Names that this process has to itself."""
        return len(self._alone)

    def _lock(self, name: Name, kind: int) -> bool:
        if self._is_unknown:
            return True
        try:
            for file in self._files:
                if not file.lock(name, kind):
                    self._unlock(name)
                    return False
            # Now: who opens another file from here on, and knows this one, finds this claim in it.
            while self._follow():
                if not self._files[-1].lock(name, kind):
                    self._unlock(name)
                    return False
        except OSError as error:
            if error.errno not in _UNKNOWN:
                self._unlock(name)
                raise
            log.info("this system has no locks of open files: a file that must be new has its row at once")
            self._is_unknown = True
        return True

    def _unlock(self, name: Name) -> None:
        for file in self._files:
            file.unlock(name)

    def _follow(self) -> bool:
        """Somebody may have removed the file, or put another in its place: what is claimed here is claimed there too,
        and who has claimed something in the one before has it as long as he is there. False: nothing of that is so.

        Only who comes later, or missed one of two removals, knows nothing of the one before, until `look_after` of the
        others. So a file that must be new is shown only where its name is free after all (`committing`).
        """
        for old in self._files[:-1]:
            if not self._alone and not old.is_used():
                self._files.remove(old)
                old.close()
        if self._files and self._files[-1].is_at(self._path):
            return False
        file = _File(self._path, self._like)
        log.warning("%s was removed or replaced while it was in use", self._path)
        self._files.append(file)
        for name in (*self._alone, *self._together):
            if not file.lock(name, fcntl.F_WRLCK if name in self._alone else fcntl.F_RDLCK):
                log.error("a name was claimed twice, since %s was removed", self._path)
        return True


class _File:
    def __init__(self, path: str, like: Path | None) -> None:
        """Raises OSError."""
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._secret = self._opened(like)
            found = os.fstat(self.handle)
        except BaseException:
            self.close()
            raise
        self._identity = found.st_ino, found.st_dev

    def _opened(self, like: Path | None) -> bytes:
        fcntl.flock(self.handle, fcntl.LOCK_EX)  # for a moment: who comes first writes it
        try:
            secret = os.pread(self.handle, _SECRET, 0)
            if len(secret) == _SECRET:
                return secret
            if like is not None and os.geteuid() == 0:
                owner = os.stat(like)
                os.fchown(self.handle, owner.st_uid, owner.st_gid)
            secret = os.urandom(_SECRET)
            os.pwrite(self.handle, secret, 0)
            return secret
        finally:
            fcntl.flock(self.handle, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self.handle)
        self.handle = -1

    def is_at(self, path: str) -> bool:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return False
        return (found.st_ino, found.st_dev) == self._identity

    def is_used(self) -> bool:
        """Somebody else has a claim in it."""
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(_LOCK.unpack(fcntl.fcntl(self.handle, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)

    def lock(self, name: Name, kind: int) -> bool:
        try:
            fcntl.fcntl(self.handle, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, self._place(name), 1, 0))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True

    def unlock(self, name: Name) -> None:
        fcntl.fcntl(self.handle, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, self._place(name), 1, 0))

    def _place(self, name: Name) -> int:
        text = f"{name[0]}/{name[1]}".encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "big") % _FARTHEST
