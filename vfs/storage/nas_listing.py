"""What a file system says about names, in the words of the NasStore."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from vfs.storage.nas_store import NasInfo, NasKind, NasListed


class Listing(Iterator[NasListed]):
    """The names of one folder; owns the open listing, also when it is dropped unread."""

    def __init__(
        self,
        entries: os._ScandirIterator[str],
        faults: Callable[[], AbstractContextManager[None]],
        progress: Callable[[], None],
    ) -> None:
        self._entries, self._faults, self._progress = entries, faults, progress

    def __next__(self) -> NasListed:
        with self._faults():
            entry = next(self._entries, None)
            found = None if entry is None else NasListed(entry.name, _kind_of(entry))
        self._progress()
        if found is None:
            raise StopIteration
        return found

    def close(self) -> None:
        self._entries.close()

    def __del__(self) -> None:
        self.close()


def info_of(info: os.stat_result) -> NasInfo:
    kind: NasKind = "file" if stat.S_ISREG(info.st_mode) else "folder" if stat.S_ISDIR(info.st_mode) else "other"
    return NasInfo(kind, info.st_size, info.st_mtime_ns, inode_of(info))


def inode_of(info: os.stat_result) -> int:
    """As a signed number of 64 bits, which is what a row can hold: servers of SMB give any of 64."""
    return info.st_ino if info.st_ino < 1 << 63 else info.st_ino - (1 << 64)


def _kind_of(entry: os.DirEntry[str]) -> NasKind:
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else "other"
