"""What a file system says about names, in the words of the NasStore."""

from __future__ import annotations

import os
import stat
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from vfs.storage import beneath, bundles
from vfs.storage.nas_store import NasInfo, NasKind, NasListed, NasSeen

T = TypeVar("T")


class _Open(Iterator[T]):
    """The names of one folder; owns the open folder, also when it is dropped unread."""

    def __init__(
        self,
        folder: int,
        path: beneath.Segments,
        faults: Callable[[], AbstractContextManager[None]],
        progress: Callable[[], None],
    ) -> None:
        """`folder` stays open, and the caller's: who looks at an entry does so by this very descriptor."""
        self._folder = -1
        self._path, self._faults, self._progress = path, faults, progress
        self._folder = os.dup(folder)
        self._entries = os.scandir(self._folder)

    def __next__(self) -> T:
        while True:
            with self._faults():
                entry = next(self._entries, None)
                found = None if entry is None else self._look(entry)
            self._progress()
            if entry is None:
                raise StopIteration
            if found is not None:
                return found

    @abstractmethod
    def _look(self, entry: os.DirEntry[str]) -> T | None: ...

    def _bundle(self, entry: os.DirEntry[str]) -> NasInfo | None:
        is_folder = entry.is_dir(follow_symlinks=False)
        return bundles.look(self._folder, entry.name) if is_folder and bundles.may_be(self._path, entry.name) else None

    def close(self) -> None:
        if self._folder >= 0:
            folder, self._folder = self._folder, -1
            self._entries.close()
            os.close(folder)

    def __del__(self) -> None:
        self.close()


class Listing(_Open[NasListed]):
    def _look(self, entry: os.DirEntry[str]) -> NasListed:
        bundle = self._bundle(entry)
        return NasListed(entry.name, _kind_of(entry) if bundle is None else bundle.kind)


class Survey(_Open[NasSeen]):
    """Each name with what is there; what is gone again when it is looked at is left out."""

    def _look(self, entry: os.DirEntry[str]) -> NasSeen | None:
        info = _info_at(entry, self._bundle)
        return None if info is None else NasSeen(entry.name, info)


def _info_at(entry: os.DirEntry[str], bundle: Callable[[os.DirEntry[str]], NasInfo | None]) -> NasInfo | None:
    try:
        return bundle(entry) or info_of(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None
    except PermissionError:  # a folder that may be listed, but not entered
        return NasInfo("other", 0, 0, 0)


def info_of(info: os.stat_result) -> NasInfo:
    kind: NasKind = "file" if stat.S_ISREG(info.st_mode) else "folder" if stat.S_ISDIR(info.st_mode) else "other"
    return NasInfo(kind, info.st_size, info.st_mtime_ns, beneath.inode_of(info))


def _kind_of(entry: os.DirEntry[str]) -> NasKind:
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else "other"
