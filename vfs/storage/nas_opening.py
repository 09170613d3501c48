"""Blocks that every step on the NAS in a folder is made of: errors translated, a folder opened and closed.

Classes: a batch goes through a dozen of them for each of its files, and generators took a tenth of its time.
"""

from __future__ import annotations

import errno
import os

from vfs.errors import NasFault, ObjectMissing
from vfs.storage import beneath
from vfs.storage.files import Progress
from vfs.storage.nas_marker import MarkedRoot
from vfs.storage.nas_store import fault_of


class Faults:
    """Turns an OSError of the block into an error of the core, and calls nothing missing when the root itself was
    deleted or unmounted. No foreign code (chunks) may run inside."""

    __slots__ = ("_marked", "_subject")

    def __init__(self, marked: MarkedRoot, subject: str) -> None:
        self._marked, self._subject = marked, subject

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if isinstance(error, FileNotFoundError) and not self._marked.is_in_place():
            gone = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            gone.__cause__ = error
            error = gone
        raise fault_of(self._subject or "root", error) from error


class Opened:
    """A folder, opened for the block, and a name in it. Missing, it raises ObjectMissing, or NasFault if something
    shall go in (`fill`); with `make` it is made."""

    __slots__ = ("_fd", "_fill", "_folders", "_make", "_marked", "_name", "_path", "_progress")

    def __init__(
        self,
        marked: MarkedRoot,
        folders: beneath.Segments,
        name: str,
        path: str,
        progress: Progress,
        *,
        fill: bool = False,
        make: bool = False,
    ) -> None:
        """`path`: what it is opened for, as an error names it."""
        self._marked, self._folders, self._name, self._path = marked, folders, name, path
        self._progress, self._fill, self._make = progress, fill, make

    def __enter__(self) -> tuple[int, str]:
        try:
            with Faults(self._marked, self._path):
                self._fd = self._marked.root().descend(self._folders, make=self._make, progress=self._progress)
        except ObjectMissing as error:
            if self._fill:
                raise NasFault(f"NAS: {self._path}: its folder is missing") from error
            raise
        return self._fd, self._name

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        os.close(self._fd)
        if error is None:
            self._progress()
