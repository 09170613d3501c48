"""Bundles: what is sealed lies on the NAS as a folder, with a file for each part of its content, the sealed list of
these (`parts`), and a `manifest` (docs/vault-format.md, "On the NAS").

A NasStore shows a bundle as one file: its size is that of all part files together, time and inode are those of its
manifest. A folder is one by its place or name, and by the manifest in it, which is written last: so no plain folder of
somebody's is taken for one, and looking at those costs nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from blake3 import blake3

from vfs.errors import KelpError
from vfs.storage import beneath
from vfs.storage.nas_store import NasFile, NasInfo, NasStore

MANIFEST, PART_LIST = "manifest", "parts"
ASIDE = ".kelp/tmp/bundle-"  # … random: one that gave way, until its files are deleted

_NAME = re.compile(r"[0-9]{14}__[a-z2-7]{26}")  # stamp, 16 random bytes in base32
_PART = re.compile(r"[a-z2-7]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAKING = re.compile(r"[0-9]+-[0-9a-z]+|bundle-[0-9a-f]+")  # on its way in, or out
_HELD = "held-"  # in .kelp/tmp: out of somebody's way, be it a bundle or a folder
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BundlePart(NamedTuple):
    """`checksum`: BLAKE3, hex."""

    name: str
    size: int
    checksum: str
    chunks: Iterable[bytes | memoryview]


# --- which folder is one ---


def may_be(folders: beneath.Segments, name: str) -> bool:
    """By its place and name it may be a bundle."""
    if _NAME.fullmatch(name):
        return True
    own = folders[:2]
    return (own == (".kelp", "tmp") and len(folders) == 2) or (own == (".kelp", "versions") and len(folders) == 3)


def is_unfinished(folders: beneath.Segments, name: str) -> bool:
    """A place where bundles are made and unmade: whatever it holds, it is Kelp's."""
    return folders == (".kelp", "tmp") and _MAKING.fullmatch(name) is not None


def look(folder: int, name: str) -> NasInfo | None:
    """The folder `name`, as the bundle that it is; None: it is none, or gone. Raises OSError."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = beneath.look(fd, MANIFEST)
        if manifest is None or not stat.S_ISREG(manifest.st_mode):
            return None
        size = 0
        with os.scandir(fd) as found:
            entries = list(found)
        if name.startswith(_HELD) and not _holds_only_parts(entries):
            return None
        for entry in entries:
            if _PART.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_size
    finally:
        os.close(fd)
    return NasInfo("file", size, manifest.st_mtime_ns, beneath.inode_of(manifest), True)


def _holds_only_parts(entries: Collection[os.DirEntry[str]]) -> bool:
    """And their list, as a bundle does, even one without parts. A folder of a vault has a manifest too, but no list,
    and folders in it are named as parts are."""
    names = {entry.name for entry in entries}
    return PART_LIST in names and all(
        entry.name in (MANIFEST, PART_LIST) or (_PART.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False))
        for entry in entries
    )


def empty(folder: int, name: str) -> bool:
    """Delete a bundle, which nobody knows by this name any more; again is fine. False: something is in it that Kelp did
    not put there. Raises OSError."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        return True
    try:
        found = os.listdir(fd)
        for inner in sorted(found, key=lambda inner: inner != MANIFEST):
            if inner in (MANIFEST, PART_LIST) or _PART.fullmatch(inner):
                with suppress(FileNotFoundError):
                    os.unlink(inner, dir_fd=fd)
        if os.listdir(fd):
            return False
    finally:
        os.close(fd)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=folder)
    return True


# --- made of steps of the store ---


def write(
    nas: NasStore, path: str, parts: Iterable[BundlePart], part_list: bytes, manifest: bytes, mtime_ns: int
) -> NasFile:
    """The new bundle `path`, in a folder for temporary files; all of it is durable but its name, which a move gives it.

    Raises as `NasStore.write`; after any exception it is gone again.
    """
    try:
        size = 0
        for part in parts:
            nas.write(f"{path}/{part.name}", part.chunks, part.size, part.checksum, parents=True)
            size += part.size
        write_small(nas, f"{path}/{PART_LIST}", part_list)
        written = write_small(nas, f"{path}/{MANIFEST}", manifest, mtime_ns)
        nas.sync([path])
    except BaseException:
        with suppress(KelpError):
            nas.remove(path)
        raise
    return written._replace(size=size)


def link(nas: NasStore, old: str, new: str, temp: str, manifest: bytes, mtime_ns: int) -> bool:
    """Give all that the bundle `old` holds a second name, in the bundle `new`, which has this manifest; it is made as
    `temp`. False when the NAS cannot. Raises ObjectMissing, NasTargetExists."""
    nas.remove(temp)
    try:
        for name, kind in nas.list(old):
            known = name == PART_LIST or _PART.fullmatch(name)
            if known and kind == "file" and not nas.link(f"{old}/{name}", f"{temp}/{name}", parents=True):
                nas.remove(temp)
                return False
        write_small(nas, f"{temp}/{MANIFEST}", manifest, mtime_ns)
        nas.sync([temp])
        nas.move(temp, new, parents=True)
    except BaseException:
        with suppress(KelpError):
            nas.remove(temp)
        raise
    return True


def replace_file(nas: NasStore, path: str, data: bytes, temp: str, mtime_ns: int | None = None) -> NasFile:
    """Write a small file, such as a manifest, in one step for who reads it."""
    nas.remove(temp)
    written = write_small(nas, temp, data, mtime_ns)
    nas.move(temp, path, replace=True)
    return written


def write_small(nas: NasStore, path: str, data: bytes, mtime_ns: int | None = None) -> NasFile:
    return nas.write(path, [data], len(data), blake3(data).hexdigest(), mtime_ns=mtime_ns, parents=True)


def is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None
