"""The NAS as a mounted folder (NFS, SMB, a local disk): system calls relative to its opened root."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from blake3 import blake3

from vfs.errors import ContentCorrupt, KelpError, ObjectMissing
from vfs.model import ByteRange
from vfs.storage import beneath, bundles, nas_together, renaming
from vfs.storage.faults import Faults
from vfs.storage.files import Pieces, forget, no_progress, set_time, span, write_all
from vfs.storage.nas_listing import Listing, Survey, info_of
from vfs.storage.nas_marker import MarkedRoot, PlainRoot
from vfs.storage.nas_opening import Opened
from vfs.storage.nas_store import (
    OWN_FOLDERS,
    NasFile,
    NasInfo,
    NasListed,
    NasNotEmpty,
    NasProperties,
    NasSeen,
    SeenFile,
    SmallFile,
)
from vfs.storage.object_store import Usage

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = tuple((name,) for name in OWN_FOLDERS)
# What a file system says that has no hard links (or no more of them), and one that cannot sync a folder.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
# What rename(2) says when a folder is to take the place of a file, or of one that holds something; or the other way.
_NOT_ALIKE = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)


class FolderNasStore:
    """A NasStore in a folder of this machine, usually a mount point."""

    def __init__(self, root: Path, installation_id: str, properties: NasProperties | None = None) -> None:
        """Touches nothing yet: the NAS may be away. `properties`: the refused characters, and case folding as last
        recorded, for the time until the NAS answers and shows it."""
        self.on_progress: Callable[[], None] = no_progress
        self.on_flush: Callable[[], None] = no_progress
        self._marked = MarkedRoot(root, installation_id, properties or NasProperties())

    @property
    def properties(self) -> NasProperties:
        return self._marked.properties

    def prepare(self, first_run: bool) -> None:
        """At the start of a process: on the first run claim an empty root (made if missing), else `verify`.

        Raises NasDown, and on the first run ConfigurationError (the root holds something, or cannot be made).
        """
        self._marked.prepare(first_run)

    @classmethod
    def unmarked(cls, root: Path, properties: NasProperties) -> FolderNasStore:
        """To look at a folder that nobody has marked. Raises NasDown when it cannot be opened."""
        store = cls(root, "", properties)
        store._marked = PlainRoot(root, "", properties)
        store._marked.verify()
        return store

    def claim(self) -> None:
        """Mark the root as this installation's, whatever it holds; again is fine. Raises NasDown, ConfigurationError
        (it is another installation's, or cannot be marked)."""
        self._marked.claim(whatever_it_holds=True)

    def verify(self) -> None:
        self._marked.verify()
        self.on_progress()

    def probe(self) -> None:
        self._marked.verify()
        path = f".kelp/tmp/probe-{os.urandom(8).hex()}.temp"
        content = b"kelp\n"
        try:
            self.write(path, [content], len(content), blake3(content).hexdigest(), parents=True)
        finally:
            self.remove(path)

    def write(
        self,
        path: str,
        chunks: Iterable[bytes | memoryview],
        size: int,
        checksum: str | None,
        *,
        mtime_ns: int | None = None,
        parents: bool = False,
    ) -> NasFile:
        with self._target(path, parents) as (folder, name):
            with self._faults(path):
                fd = os.open(name, _NEW, 0o666, dir_fd=folder)
            try:
                self._fill(fd, path, chunks, size, checksum)
                info = self._flush(fd, path, mtime_ns)
                if info.size != size:
                    raise ContentCorrupt(f"NAS: {path}: holds {info.size} of {size} bytes written")
            except BaseException:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise
            finally:
                os.close(fd)
            return info

    def write_together(self, folder: str, files: Iterable[SmallFile]) -> dict[str, NasFile]:
        with self._opened(beneath.split(folder), folder, make=True) as (opened, _), self._faults(folder):
            return nas_together.write_together(opened, files, self.on_flush, self._progress)

    def place_together(self, source: str, target: str, names: Iterable[tuple[str, str]]) -> set[str]:
        try:
            with (
                self._opened(beneath.split(source), source) as (old, _),
                self._opened(beneath.split(target), target) as (new, _),
            ):
                return nas_together.place_together(old, new, names, partial(self._faults, target), self._progress)
        except ObjectMissing:
            return set()

    def remove_together(self, folder: str, files: Iterable[SeenFile]) -> set[str]:
        try:
            with self._opened(beneath.split(folder), folder) as (opened, _):
                return nas_together.remove_together(opened, files, partial(self._faults, folder), self._progress)
        except ObjectMissing:
            return {file.name for file in files}

    def read(self, path: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        with self._parent(path) as (folder, name), self._faults(path):
            fd, info = beneath.open_file(folder, name)
        try:
            start, stop = span(info.st_size, byte_range, f"NAS: {path}")
        except BaseException:
            os.close(fd)
            raise
        return Pieces(fd, start, stop, partial(self._faults, path), self._progress)

    def stat(self, path: str) -> NasInfo | None:
        if not path:
            with self._faults(path):
                return info_of(os.fstat(self._marked.root().fd))
        try:
            with self._parent(path) as (folder, name), self._faults(path):
                info = info_of(os.stat(name, dir_fd=folder, follow_symlinks=False))
                return (self._bundle(path, folder) if info.kind == "folder" else None) or info
        except ObjectMissing:
            return None

    def checksum(self, path: str) -> str:
        digest = blake3()
        for piece in self.read(path):
            digest.update(piece)
        return digest.hexdigest()

    def touch(self, path: str, mtime_ns: int) -> NasFile:
        with self._parent(path) as (folder, name):
            with self._faults(path):
                try:
                    fd, _ = beneath.open_file(folder, name)
                except IsADirectoryError:
                    bundle = self._bundle(path, folder)
                    if bundle is None:
                        raise
                    return self.touch(f"{path}/{bundles.MANIFEST}", mtime_ns)._replace(size=bundle.size)
            try:
                return self._flush(fd, path, mtime_ns)
            finally:
                os.close(fd)

    def move(self, old: str, new: str, *, replace: bool = False, parents: bool = False) -> None:
        way = f"{old} to {new}"
        with (
            self._parent(old) as (source, old_name),
            self._target(new, parents) as (target, new_name),
            self._faults(way),
        ):
            if not replace:
                renaming.rename_new(source, old_name, target, new_name)
                return
            try:
                renaming.rename_over(source, old_name, target, new_name)
                return
            except OSError as error:
                if error.errno not in _NOT_ALIKE or not (self._bundle(old, source) or self._bundle(new, target)):
                    raise
            self._replace(old, source, new, target)

    def link(self, old: str, new: str, *, parents: bool = False) -> bool:
        way = f"{old} to {new}"
        with (
            self._parent(old) as (source, old_name),
            self._target(new, parents) as (target, new_name),
            self._faults(way),
        ):
            if not stat.S_ISREG(os.stat(old_name, dir_fd=source, follow_symlinks=False).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            try:
                os.link(old_name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    return False
                raise
            return True

    def remove(self, path: str) -> None:
        with suppress(ObjectMissing), self._parent(path) as (folder, name), self._faults(path):
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):  # POSIX has EPERM for a folder
                if not (bundles.is_unfinished(beneath.split(path)[:-1], name) or self._bundle(path, folder)):
                    raise
                self._discard(path, folder)

    def remove_folder(self, path: str) -> None:
        with suppress(ObjectMissing), self._parent(path) as (folder, name), self._faults(path):
            try:
                os.rmdir(name, dir_fd=folder)
            except FileExistsError as error:  # POSIX allows this for ENOTEMPTY
                raise NasNotEmpty(f"NAS: {path}: not empty") from error

    def make_folder(self, path: str, exist_ok: bool = True) -> None:
        with self._target(path) as (folder, name), self._faults(path):
            try:
                os.mkdir(name, dir_fd=folder)
            except FileExistsError:
                info = beneath.look(folder, name)
                if not exist_ok or info is None or not stat.S_ISDIR(info.st_mode) or self._bundle(path, folder):
                    raise

    def list(self, path: str) -> Iterator[NasListed]:
        segments = beneath.split(path)
        with self._opened(segments, path) as (folder, _), self._faults(path):
            return Listing(folder, segments, partial(self._faults, path), self._progress)

    def survey(self, path: str) -> Iterator[NasSeen]:
        segments = beneath.split(path)
        with self._opened(segments, path) as (folder, _), self._faults(path):
            return Survey(folder, segments, partial(self._faults, path), self._progress)

    def sync(self, paths: Iterable[str]) -> None:
        for path in dict.fromkeys(paths):
            with self._opened(beneath.split(path), path) as (folder, _), self._faults(path):
                try:
                    os.fsync(folder)
                except OSError as error:
                    if error.errno not in _NO_FOLDER_SYNC:  # these do it on the server, unasked
                        raise

    def forget(self, name: str) -> None:
        with suppress(OSError, KelpError), self._parent(name) as (folder, last):
            fd, _ = beneath.open_file(folder, last)
            try:
                forget(fd)
            finally:
                os.close(fd)

    def usage(self) -> Usage:
        with self._faults("space"):
            disk = shutil.disk_usage(self._marked.root().fd)
        self._progress()
        return Usage(disk.total, disk.free)

    # --- bundles ---

    def _bundle(self, path: str, folder: int) -> NasInfo | None:
        """What is at `path`, in the opened `folder`, when it is one."""
        above, name = _name_apart(path)
        return bundles.look(folder, name) if bundles.may_be(above, name) else None

    def _replace(self, old: str, source: int, new: str, target: int) -> None:
        """`old` takes the place of `new`, one of them being a bundle, and neither a plain folder."""
        for path, folder in ((old, source), (new, target)):
            info = beneath.look(folder, _name_apart(path)[1])
            if info is not None and stat.S_ISDIR(info.st_mode) and not self._bundle(path, folder):
                raise OSError(errno.ENOTEMPTY, "a folder is in the way")
        (_, old_name), (_, new_name) = _name_apart(old), _name_apart(new)
        if renaming.exchange(source, old_name, target, new_name):
            self._discard(old, source)
            return
        aside = f"{bundles.ASIDE}{os.urandom(8).hex()}"
        with self._target(aside, parents=True) as (folder, name):
            os.rename(new_name, name, src_dir_fd=target, dst_dir_fd=folder)
            renaming.rename_new(source, old_name, target, new_name)
            self._discard(aside, folder)

    def _discard(self, path: str, folder: int) -> None:
        """Delete a bundle, or what came out of its place. What somebody put into one is kept, put aside."""
        above, name = _name_apart(path)
        info = beneath.look(folder, name)
        if info is not None and not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=folder)
        elif not bundles.is_unfinished(above, name):
            aside = f"{bundles.ASIDE}{os.urandom(8).hex()}"
            with self._target(aside, parents=True) as (temporary, new_name):
                os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=temporary)
                self._discard(aside, temporary)
        elif not bundles.empty(folder, name):
            with self._target(f".kelp/foreign/{name}-{os.urandom(4).hex()}", parents=True) as (foreign, new_name):
                os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=foreign)

    # --- what the above share ---

    def _progress(self) -> None:
        self.on_progress()  # looked up at each call: it may be set while an iterator is under way

    def _faults(self, path: str) -> Faults:
        return self._marked.faults(path)

    def _opened(self, folders: beneath.Segments, path: str, *, make: bool = False) -> Opened:
        """The folder itself; with `make` it is made, as something shall go in."""
        return Opened(self._marked, folders, "", path, self._progress, fill=make, make=make)

    def _parent(self, path: str) -> Opened:
        """The folder that holds `path`, opened, and the name in it."""
        return Opened(self._marked, *_name_apart(path), path, self._progress)

    def _target(self, path: str, parents: bool = False) -> Opened:
        """The folder that shall hold `path`, opened, and the name to be."""
        folders, name = _name_apart(path)
        make = parents and folders[:1] in _OWN
        return Opened(self._marked, folders, name, path, self._progress, fill=True, make=make)

    def _fill(self, fd: int, path: str, chunks: Iterable[bytes | memoryview], size: int, checksum: str | None) -> None:
        """Write the chunks, fetched outside `Faults`: their errors are not the NAS's."""
        digest = None if checksum is None else blake3()
        written = 0
        for chunk in chunks:
            with self._faults(path):
                written += write_all(fd, chunk, self._progress)
            if digest is not None:
                digest.update(chunk)
            if written > size:
                break
        if written != size:
            raise ContentCorrupt(
                f"NAS: {path}: got {'over ' if written > size else ''}{min(written, size)} of {size} bytes"
            )
        if digest is not None and digest.hexdigest() != checksum:
            raise ContentCorrupt(f"NAS: {path}: the bytes do not match their checksum")

    def _flush(self, fd: int, path: str, mtime_ns: int | None) -> NasFile:
        with self._faults(path):
            if mtime_ns is not None:
                set_time(fd, mtime_ns)
            self.on_flush()
            os.fsync(fd)
            info = os.fstat(fd)
        self._progress()
        return NasFile(info.st_size, info.st_mtime_ns, beneath.inode_of(info))


def _name_apart(path: str) -> tuple[beneath.Segments, str]:
    segments = beneath.split(path)
    if not segments:
        raise ValueError("the root itself cannot be written, moved or removed")
    return segments[:-1], segments[-1]
