"""The block that every step on the NAS in a folder is: it is opened, and closed (a class, as `faults`)."""

from __future__ import annotations

import os

from vfs.errors import NasFault, ObjectMissing
from vfs.storage import beneath
from vfs.storage.files import Progress
from vfs.storage.nas_marker import MarkedRoot


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
            with self._marked.faults(self._path):
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
