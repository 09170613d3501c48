"""The NAS: plain folders and files that people also read without Kelp.

A path is text, relative to the NAS root, its segments parted by "/" (".kelp/tmp/12-abc"). Every segment is walked
from the opened root and no symlink is ever followed. Which names, in which order, is decided by the mirror
(design §5); this room does single steps, each safe to look at afterwards. Implementation: `nas_folder.py`.

Errors of a file system are split by whose fault they are:

    NasDown           the NAS as a whole: it is away, full, read-only, or not the one we know (`reason`)
    NasFault          this one entry: its name, its rights, something else in its place
    ├── NasTargetExists   the name is taken
    └── NasNotEmpty       the folder still holds something
    ObjectMissing     what the step was to be done with is not there
    ContentCorrupt    bytes that are not the ones announced
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast

from vfs.errors import KelpError, NasDown, NasFault, ObjectMissing
from vfs.model import ByteRange
from vfs.storage.object_store import Usage

ROOT = ""  # the root itself, where a method takes a folder that exists: `list`, `stat`, `sync`
OWN_FOLDERS = (".kelp", ".trash")  # at the root; the only places where `parents=True` makes folders

NasKind = Literal["file", "folder", "other"]


class NasTargetExists(NasFault):
    pass


class NasNotEmpty(NasFault):
    pass


class NasFile(NamedTuple):
    """A file as the NAS shows it right after it was written; to be recorded, and compared later."""

    size: int
    mtime_ns: int
    inode: int


class NasInfo(NamedTuple):
    """What is at a path. A symlink, device or pipe is "other"; a bundle, which is sealed, is a file (`bundles`)."""

    kind: NasKind
    size: int
    mtime_ns: int
    inode: int
    is_bundle: bool = False


class NasListed(NamedTuple):
    """One name of a folder; bytes that are no UTF-8 appear as lone surrogates (os.fsdecode)."""

    name: str
    kind: NasKind


class NasSeen(NamedTuple):
    """One name of a folder, and what is there."""

    name: str  # as in NasListed
    info: NasInfo


@dataclass(frozen=True, slots=True)
class NasProperties:
    """How the NAS treats names; the mirror chooses NAS names accordingly (`vfs.names`)."""

    refused: frozenset[str] = frozenset()  # characters that cannot be in a name
    folds_case: bool = False  # "A" and "a" are one name
    max_name_bytes: int = 255


class NasStore(Protocol):
    """Every method raises NasDown and NasFault, and ValueError for a path that is none.

    Durability: only `write` syncs, and only the file's data. Names (of written, moved, linked, removed, made
    entries) survive a power cut after `sync` of the folders concerned, once for a batch, before it is recorded.
    Parents must exist (NasFault); with `parents=True` missing ones are made, durably, within OWN_FOLDERS.

    A bundle counts as a file, but for `write`, `read`, `checksum` and `link`: these are for the files in it.
    """

    on_progress: Callable[[], None]  # called, in the thread at work, whenever a system call of a step has returned
    on_flush: Callable[[], None]  # called right before the final fsync of a write, which may take long (design §5)

    @property
    def properties(self) -> NasProperties:
        """As last seen; needs no NAS."""
        ...

    def verify(self) -> None:
        """See that the root is still the NAS we know, opening it again when it was mounted anew. Cheap: call it
        before each job. Until it succeeds again after a failure, every method raises NasDown."""
        ...

    def probe(self) -> None:
        """`verify`, then write, sync and delete a small file."""
        ...

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
        """Make the new file `path` of exactly `size` bytes whose BLAKE3 (hex) is `checksum`; its data are synced. None:
        who gives the chunks has verified them.

        `mtime_ns` is the time it shall show; a NAS that cannot show it shows its own, see the answer.
        Whatever `chunks` raises is passed on as it is. After any exception the file is gone again.
        Raises NasTargetExists, ContentCorrupt.
        """
        ...

    def read(self, path: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        """The file's bytes in pieces of at most PIECE_SIZE; dropping the iterator ends the read.

        Raises ObjectMissing, NasFault (no regular file) at the call itself, ContentCorrupt when the file ends
        before `byte_range.stop`, or is cut while it is read.
        """
        ...

    def stat(self, path: str) -> NasInfo | None:
        """What is at `path`; None when nothing is, or when a folder on the way is missing."""
        ...

    def checksum(self, path: str) -> str:
        """BLAKE3 (hex) of the file's bytes, read from the NAS. Raises as `read`."""
        ...

    def touch(self, path: str, mtime_ns: int) -> NasFile:
        """Let the file show this time, as far as the NAS can; synced. Raises as `read`."""
        ...

    def move(self, old: str, new: str, *, replace: bool = False, parents: bool = False) -> None:
        """Rename a file or folder in one atomic step; with `replace` a file at `new` gives way.

        Where a bundle is put over something, or gives way, and the NAS cannot exchange two names, there is nothing at
        `new` for a moment; when it ends there, `old` is still in its place.

        Raises ObjectMissing (nothing at `old`), NasTargetExists (without `replace`), NasNotEmpty (a folder over
        one that holds something).
        """
        ...

    def link(self, old: str, new: str, *, parents: bool = False) -> bool:
        """Give the file `old` the second name `new`; False when the NAS cannot.

        Raises ObjectMissing, NasTargetExists.
        """
        ...

    def remove(self, path: str) -> None:
        """Delete a file (or symlink); an absent one is fine. Raises NasFault for a folder.

        Of a bundle, first its name, in one step; also one that was not finished, in the folder for temporary files.
        """
        ...

    def remove_folder(self, path: str) -> None:
        """Delete an empty folder; an absent one is fine. Raises NasNotEmpty."""
        ...

    def make_folder(self, path: str, exist_ok: bool = True) -> None:
        """Make a folder. Raises NasTargetExists for anything there but (with `exist_ok`) a real folder."""
        ...

    def list(self, path: str) -> Iterator[NasListed]:
        """What a folder holds, in no order. Raises ObjectMissing at the call itself."""
        ...

    def survey(self, path: str) -> Iterator[NasSeen]:
        """As `list`, with size, time and inode: one look at each name, never through a symlink."""
        ...

    def sync(self, paths: Iterable[str]) -> None:
        """Make the names in these folders survive a power cut. Raises ObjectMissing."""
        ...

    def usage(self) -> Usage:
        """Space on the NAS."""
        ...


class SmallFile(NamedTuple):
    """To be written. `name`: in the folder."""

    name: str
    data: bytes
    mtime_ns: int


class SeenFile(NamedTuple):
    """As it was recorded. `name`: in the folder."""

    name: str
    size: int
    mtime_ns: int


class Together(Protocol):
    """A NAS that gains by several files at a time."""

    def write_together(self, folder: str, files: Iterable[SmallFile]) -> dict[str, NasFile]:
        """Write new files into a folder below OWN_FOLDERS, made if missing; their bytes are durable on return.

        Names of those that could not be written are left out, and nothing is left of them: `write` would say why. What
        comes after one for which there was no room is left out too. Raises NasDown; then some may be there.
        """
        ...

    def place_together(self, source: str, target: str, names: Iterable[tuple[str, str]]) -> set[str]:
        """Rename files of one folder (old name, new name) into another that exists; the new names of those that are
        there now. A name that is taken is never replaced.

        Each is taken from `names` right before. All else stays: `move` would say why. Raises NasDown, and what
        `names` raises; then some may have moved.
        """
        ...

    def remove_together(self, folder: str, files: Iterable[SeenFile]) -> set[str]:
        """Delete files of a folder that look as they were recorded; the names of those that are not there any more.

        Each is taken from `files` right before. All else stays: `remove` would say why. Raises NasDown, and what
        `files` raises; then some may be gone.
        """
        ...


def together(store: NasStore) -> Together | None:
    """The store, when it can do so."""
    return cast(Together, store) if hasattr(store, "write_together") else None


# Faults of the NAS, or of this machine: they would meet every entry alike.
_DOWN = frozenset(
    {
        *(errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.EPIPE, errno.ENOLINK),
        *(errno.EREMOTEIO, errno.ECOMM, errno.EPROTO, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EUCLEAN),
        *(errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED, errno.EKEYREJECTED),  # credentials of the mount
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS),
    }
)
_FAULTS: dict[int, type[NasFault] | type[ObjectMissing]] = {
    errno.ENOENT: ObjectMissing,
    errno.EEXIST: NasTargetExists,
    errno.ENOTEMPTY: NasNotEmpty,
}


def is_down(error: OSError) -> bool:
    """It is the NAS's, not one entry's."""
    return error.errno in _DOWN


def fault_of(subject: str, error: OSError) -> KelpError:
    """What an OSError means in the words of the core."""
    number = error.errno or 0
    message = f"NAS: {subject}: {error.strerror or error}"
    if number in _DOWN:
        return NasDown(message, errno.errorcode[number])
    return _FAULTS.get(number, NasFault)(message)
