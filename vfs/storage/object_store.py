"""The cache of objects: immutable runs of bytes under keys that are used once.

A key is a random UUID, alone or followed by a part number ("….000001"). Nothing is ever overwritten but what is bad,
by what it should have been, so a reader needs no lock. Implementations: `folder.py`, `s3.py`. Trying again
(`retrying.py`) and failing on purpose (`wrappers.py`) are wrappers with the same interface. All stores may be used by
many threads; an iterator that one returned, by one.
"""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, cast, runtime_checkable

from vfs.errors import AlreadyExists, KelpError, NoSpace, ObjectMissing, StoreUnavailable
from vfs.model import ByteRange, Stored

_KEY = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")


class ObjectInfo(NamedTuple):
    """One object of a listing. `modified_ns` tells its age by the store's own clock, as time of this machine."""

    key: str
    size: int
    modified_ns: int


class Usage(NamedTuple):
    """Bytes of the disk that a store lives on; `free` is what may still be written. 2**50: nobody can tell (S3)."""

    total: int
    free: int


class ObjectStore(Protocol):
    """Every method raises StoreUnavailable while the store is away, and ValueError for a key that is none."""

    at_once: int  # transfers of one content at a time that are faster than one after the other; 1: none

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        """Store `chunks` under the new `key`; on return they survive a power cut.

        A chunk is used up before the next is asked for, so the caller may reuse one buffer. Whatever `chunks`
        raises is passed on as it is. After any exception nothing is left behind, except that a store which went away
        meanwhile may have taken the object all the same: who puts deletes. What such a put or a SIGKILL leaves, the
        orphan batch finds by `list`.
        Raises NoSpace, AlreadyExists (the key was used before; what it holds is untouched).

        `replace`: whatever the key holds gives way, in one step: who reads finds the old object or the new one, whole,
        at every moment and after a SIGKILL. So he does after an exception; it is the new one only when the store went
        away at the very end. Never AlreadyExists. A read that began before may end in the new one when it is cut and
        goes on (`retrying.py`): whoever replaces has the same bytes, or readers who verify.
        """
        ...

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        """The object's bytes in pieces of at most PIECE_SIZE; dropping the iterator ends the read.

        An object that is deleted meanwhile may still be read to its end, or raise ObjectMissing.
        Raises ObjectMissing and ValueError (a range that runs backwards) at the call itself, ContentCorrupt when
        the object ends before `byte_range.stop`. Checksums are for the caller to compare: only he knows them.
        """
        ...

    def stat(self, key: str) -> int:
        """Size in bytes. Raises ObjectMissing."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; an absent one is fine. A power cut may bring it back, as an orphan."""
        ...

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix` and is greater than `after`, in the order of their keys.

        Objects that are being put may show, with the size they have so far.
        """
        ...

    def usage(self) -> Usage:
        """Space on the store's disk."""
        ...

    def close(self) -> None:
        """Let go of connections that rest. Reads under way go on, and a later call opens new ones."""
        ...


class Near(Protocol):
    """A store whose objects are files of this machine."""

    def open(self, key: str) -> int:
        """A descriptor to read the object with, which the caller closes. Raises ObjectMissing, StoreUnavailable."""
        ...


class Ready(Protocol):
    """A store that prepares for the next objects."""

    def spare_key(self) -> str | None:
        """A key to be used once, as any new one, and soon; `put` of it is quicker. None: there is none just now.

        Who does not use it may `delete` it, or leave it to the orphan batch: it may show in listings, with size 0.
        """
        ...


class Direct(Protocol):
    """A store that can leave the memory of this machine alone: what it writes is not kept there for who reads next."""

    def put_directly(self, key: str, chunks: Iterable[bytes | memoryview]) -> Stored:
        """As `ObjectStore.put`. It gains by chunks of whole pages, in memory that begins with a page; others do too."""
        ...


class Begun(Protocol):
    """An object all of whose bytes were written, for a block; nothing is left behind when that ends before `finish`."""

    def finish(self) -> None:
        """On return it survives a power cut. Once. Raises NoSpace, StoreUnavailable; then nothing is left behind."""
        ...

    def __enter__(self) -> Begun: ...

    def __exit__(self, *_: object) -> None: ...


class Early(Protocol):
    """A store that can be at work on an object while its caller goes on."""

    def begin(self, key: str, data: bytes) -> Begun:
        """The first half of `ObjectStore.put`, of bytes that are all here. Raises as that."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A store, of either side, whose bytes this machine keeps in memory when they were read or written."""

    def forget(self, name: str) -> None:
        """Let go of what is in memory of one object or file: the next read comes from the disk. Never raises."""
        ...


@runtime_checkable
class Presigner(Protocol):
    """A store that others may write to without its keys."""

    def presign_put(self, key: str, seconds: int) -> str:
        """A URL to which anybody may PUT the bytes of this one object for so long; again too, which `put` refuses."""
        ...


def presigner_of(store: ObjectStore) -> Presigner | None:
    """The store itself or the one inside its wrappers, when it can presign."""
    inner: object = store
    while inner is not None and not isinstance(inner, Presigner):
        inner = getattr(inner, "inner", None)
    return inner


def near(store: ObjectStore) -> Near | None:
    """The store, when its objects are files of this machine. To ask `isinstance` takes 20 µs."""
    return cast(Near, store) if hasattr(store, "open") else None


def new_key(store: ObjectStore) -> str:
    """For an object that is to be put at once: a random UUID, of the store's choice where that is quicker."""
    inner: object = store
    while inner is not None and not hasattr(inner, "spare_key"):
        inner = getattr(inner, "inner", None)
    return (cast(Ready, inner).spare_key() if inner is not None else None) or str(uuid.uuid4())


def direct(store: ObjectStore) -> Direct | None:
    """The store, when it can do so."""
    return cast(Direct, store) if hasattr(store, "put_directly") else None


def early(store: ObjectStore) -> Early | None:
    """The store, when it can do so."""
    return cast(Early, store) if hasattr(store, "begin") else None


def check_key(key: str) -> str:
    """Return `key` when it can name an object (so also a file); raises ValueError."""
    if not is_key(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


def is_key(key: str) -> bool:
    """At most 200 of the characters A-Z a-z 0-9 . _ - and neither "." nor ".."."""
    return _KEY.match(key) is not None and key not in (".", "..")


# What a file system says about one object; all else (EIO, EACCES, EMFILE …) is the store being away.
_FAULTS: dict[int, type[KelpError]] = {
    errno.ENOENT: ObjectMissing,
    errno.EEXIST: AlreadyExists,
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
}


def fault_of(subject: str, error: OSError) -> KelpError:
    """What an OSError of a file system means in the words of the core."""
    fault = _FAULTS.get(error.errno or 0, StoreUnavailable)
    return fault(f"cache: {subject}: {error.strerror or error}")
