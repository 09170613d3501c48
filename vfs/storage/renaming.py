"""Renames that do what they say: one that never replaces, and one after which the old name is gone.

Names are relative to opened folders. Plain OSErrors; who calls translates them.
"""

from __future__ import annotations

import ctypes
import errno
import os

from vfs.names import nas_key
from vfs.storage.beneath import identity, look
from vfs.storage.libc import find

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2  # linux/fs.h
_REFUSED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system says that knows no flags


def rename_new(source: int, old: str, target: int, new: str) -> None:
    """Rename to a free name, else FileExistsError; a change of only case or normal form is a rename too.

    Atomic where the file system has RENAME_NOREPLACE (NFS, for one, has not); elsewhere the name is looked at right
    before, which is good enough since only Kelp's path leases give out NAS names.
    """
    try:
        _rename_free(source, old, target, new)
    except FileExistsError:
        if old == new or not _is_one_entry(source, old, target, new):
            raise
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)


def rename_over(source: int, old: str, target: int, new: str) -> None:
    """Rename, replacing a file there. rename(2) does nothing when both names are links to one file: then unlink."""
    os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
    left = look(source, old)
    if left and _is_file_at(left, target, new) and not _is_one_entry(source, old, target, new):
        os.unlink(old, dir_fd=source)


def exchange(source: int, old: str, target: int, new: str) -> bool:
    """Each gets the other's name, in one step; False where the file system cannot (NFS, for one)."""
    if _renameat2 is None:
        return False
    if _renameat2(source, os.fsencode(old), target, os.fsencode(new), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _REFUSED:
        return False
    raise OSError(number, os.strerror(number))


def _is_one_entry(source: int, old: str, target: int, new: str) -> bool:
    """Whether both names may be one entry, on a NAS that folds case or normalizes: to unlink one would lose all."""
    if nas_key(old, True) != nas_key(new, True):
        return False
    if identity(os.fstat(source)) != identity(os.fstat(target)):
        return False
    left = look(source, old)
    return left is not None and _is_file_at(left, target, new)


def _is_file_at(info: os.stat_result, folder: int, name: str) -> bool:
    there = look(folder, name)
    return there is not None and identity(there) == identity(info)


# Linux, glibc 2.28
_renameat2 = find("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def _rename_free(source: int, old: str, target: int, new: str) -> None:
    number = errno.ENOSYS
    if _renameat2 is not None:
        if _renameat2(source, os.fsencode(old), target, os.fsencode(new), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
    if number not in _REFUSED:
        raise OSError(number, os.strerror(number))
    if look(target, new) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
