"""Several small files are written into one opened folder, and made durable together.

All are written, and on their way to the disk, before the first is waited for: its sync brings the others along as far
as the file system works so (on ext4 one commit of the journal instead of one for each; half of the processor's time).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from vfs.storage import beneath, renaming
from vfs.storage.files import Progress, forget, set_time, write_all
from vfs.storage.nas_store import NasFile, SeenFile, SmallFile, is_down

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Met sooner by many files at a time than by one: those that came before it go, and so may what makes room.
_SCARCE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


def write_together(
    folder: int, files: Iterable[SmallFile], on_flush: Callable[[], None], progress: Progress
) -> dict[str, NasFile]:
    """See `Together.write_together`; an OSError that is the NAS's own is raised as it is."""
    opened: dict[str, int] = {}
    filled: dict[str, int] = {}  # sizes
    done: dict[str, NasFile] = {}
    try:
        for file in files:
            try:
                with _own_fault():
                    opened[file.name] = os.open(file.name, _NEW, 0o666, dir_fd=folder)
                    _fill(opened[file.name], file, progress)
                    filled[file.name] = len(file.data)
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                break
        for name, size in filled.items():
            with _own_fault(_SCARCE):
                done[name] = _flushed(opened[name], size, on_flush)
            progress()
    finally:
        for name, fd in opened.items():
            with suppress(OSError):
                os.close(fd)
            if name not in done:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
    return done


def place_together(
    source: int,
    target: int,
    names: Iterable[tuple[str, str]],
    faults: Callable[[], AbstractContextManager[object]],
    progress: Progress,
) -> set[str]:
    """See `Together.place_together`. `faults`: as for `remove_together`."""
    placed = set[str]()
    for old, new in names:
        try:
            renaming.rename_new(source, old, target, new)
        except OSError as error:
            if is_down(error):
                with faults():
                    raise
            progress()
            continue  # it is met again by who renames it alone
        placed.add(new)
        progress()
    return placed


def remove_together(
    folder: int, files: Iterable[SeenFile], faults: Callable[[], AbstractContextManager[object]], progress: Progress
) -> set[str]:
    """See `Together.remove_together`. `faults`: around what is asked of the NAS, not around what `files` does."""
    gone = set[str]()
    for file in files:
        is_gone = True
        try:
            info = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            progress()
            is_gone = stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) == (file.size, file.mtime_ns)
            if is_gone:
                os.unlink(file.name, dir_fd=folder)
        except FileNotFoundError:
            is_gone = True
        except OSError as error:
            if is_down(error):
                with faults():
                    raise
            is_gone = False  # it is met again by who removes it alone
        if is_gone:
            gone.add(file.name)
        progress()  # whatever it was: it answered
    return gone


@contextmanager
def _own_fault(also: frozenset[int] = frozenset()) -> Iterator[None]:
    """What is wrong with one file alone is met again by who writes it alone."""
    try:
        yield
    except OSError as error:
        if is_down(error) and error.errno not in also:
            raise


def _fill(fd: int, file: SmallFile, progress: Progress) -> None:
    write_all(fd, file.data, progress)
    set_time(fd, file.mtime_ns)
    with suppress(OSError):
        forget(fd)  # which sends what was written on its way


def _flushed(fd: int, size: int, on_flush: Callable[[], None]) -> NasFile:
    on_flush()
    os.fsync(fd)
    info = os.fstat(fd)
    if info.st_size != size:
        raise OSError(errno.EINVAL, "other bytes are there than were written")
    return NasFile(info.st_size, info.st_mtime_ns, beneath.inode_of(info))
