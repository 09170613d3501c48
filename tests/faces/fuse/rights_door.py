"""A mount as a door of `rights_table`: what programs do, by the system calls that they do it with."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faces.rights_table import Got

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class MountDoor:
    mount: Path

    def read(self, path: str) -> Got:
        file = self.mount / path
        got = _got(file.read_bytes)
        assert _got(file.stat) is got
        assert os.access(file, os.R_OK) == (got is Got.DONE)
        return got

    def names(self, path: str) -> list[str] | Got:
        found: list[str] = []
        got = _got(lambda: found.extend(os.listdir(self.mount / path)))
        return found if got is Got.DONE else got

    def write(self, path: str) -> Got:
        """In each way that there is: none of them may be open where another is shut."""
        file = self.mount / path
        got = _got(lambda: _put(file, os.O_RDWR))
        assert _got(lambda: _put(file, os.O_WRONLY | os.O_APPEND)) is got
        assert _got(lambda: os.truncate(file, 3)) is got
        return got

    def create(self, path: str) -> Got:
        return _got(lambda: _put(self.mount / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))

    def make_folder(self, path: str) -> Got:
        return _got((self.mount / path).mkdir)

    def delete(self, path: str) -> Got:
        """As `rm -r` does it, but first the folder itself: where that may not go, what is in it still may."""
        place = self.mount / path
        try:
            place.rmdir()
        except NotADirectoryError:
            return _got(place.unlink)
        except OSError as error:
            return _got(lambda: shutil.rmtree(place)) if error.errno == errno.ENOTEMPTY else _class_of(error)
        return Got.DONE

    def move(self, source: str, target: str) -> Got:
        return _got(lambda: (self.mount / source).rename(self.mount / target))

    def copy(self, source: str, target: str) -> Got | None:
        return _got(lambda: _copy(self.mount / source, self.mount / target))

    def touch(self, path: str) -> Got | None:
        file = self.mount / path
        got = _got(lambda: os.utime(file, (1, 1)))
        assert _got(lambda: file.chmod(0o640)) is got
        return got

    def lock(self, path: str) -> Got | None:
        """What programs lock in a mount is locked for that machine only, whatever the account may do."""
        return None


def _got(step: Callable[[], object]) -> Got:
    try:
        step()
    except OSError as error:
        return _class_of(error)
    return Got.DONE


def _class_of(error: OSError) -> Got:
    if error.errno in _REFUSED:
        return Got.REFUSED
    assert error.errno == errno.ENOENT, error
    return Got.ABSENT


def _put(file: Path, flags: int) -> None:
    descriptor = os.open(file, flags, 0o644)
    try:
        os.write(descriptor, b"other")
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        names = os.listdir(source)
        target.mkdir()
        for name in names:
            _copy(source / name, target / name)
    else:
        target.write_bytes(source.read_bytes())
