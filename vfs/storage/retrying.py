"""A store around a store that is away for a moment now and then: tries again, and reads on where a body was cut."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from blake3 import blake3

from vfs.errors import AlreadyExists, StoreUnavailable
from vfs.model import ByteRange, Stored
from vfs.storage.object_store import ObjectInfo, ObjectStore, Usage

T = TypeVar("T")


class RetryingObjectStore:
    """Tries again, a few times within some 1.5 seconds, when the store is away (StoreUnavailable).

    A read goes on at the byte, a listing after the key, where it was cut. A `put` is repeated only when its chunks are
    a list or tuple; others cannot be asked for twice. Without `replace` a further try may find what the one before it
    put; with it, that is overwritten by the same.
    """

    def __init__(
        self,
        inner: ObjectStore,
        delays: Sequence[float] = (0.05, 0.2, 0.4, 0.6),
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 1.5,
    ) -> None:
        """`delays`: seconds before each further try, varied by a half so that many callers do not come back at once.

        `patience`: seconds without progress after which no further try begins. A call that moves nothing thus ends
        after these and one time-out of the store.
        """
        self._inner = self.inner = inner
        self._delays, self._sleep, self._patience = delays, sleep, patience
        self.at_once = inner.at_once

    def _tries(self) -> _Tries:
        return _Tries(self._delays, self._sleep, self._patience)

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        if not isinstance(chunks, (list, tuple)):
            return self._inner.put(key, chunks, replace=replace)
        tries = self._tries()
        try:
            return tries.run(lambda: self._inner.put(key, chunks, replace=replace))
        except AlreadyExists:
            if not tries.failed:
                raise
        whole = b"".join(chunks)
        if not self._holds_all(key, whole):
            return self.put(key, chunks, replace=True)
        return Stored(len(whole), blake3(whole).hexdigest())

    def _holds_all(self, key: str, whole: bytes) -> bool:
        """After an earlier try that seemed to fail: whether it arrived, and only its answer did not.

        False when it was cut on its way and the endpoint kept what had come (moto does). Raises AlreadyExists when the
        key holds what no try of ours can have put there.
        """
        size = self.stat(key)
        if size > len(whole) or b"".join(self.get(key)) != whole[:size]:
            raise AlreadyExists(f"cache: {key}: another object has this key")
        return size == len(whole)

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        tries = self._tries()
        begun = tries.run(lambda: self._inner.get(key, byte_range))
        return self._read_on(tries, begun, key, byte_range)

    def _read_on(
        self, tries: _Tries, pieces: Iterator[bytes], key: str, byte_range: ByteRange | None
    ) -> Iterator[bytes]:
        at, stop = byte_range or (0, None)
        while True:
            try:
                for piece in pieces:
                    tries.progress()
                    at += len(piece)
                    yield piece
                return
            except StoreUnavailable:
                if not tries.again():
                    raise
            if stop is None:
                stop = tries.run(lambda: self._inner.stat(key))
            rest = ByteRange(at, stop)
            pieces = tries.run(lambda rest=rest: self._inner.get(key, rest))  # type: ignore[misc]

    def stat(self, key: str) -> int:
        return self._tries().run(lambda: self._inner.stat(key))

    def delete(self, key: str) -> None:
        """A store that was silent is not asked again: who undoes a put has waited for it before (10.6 s in all)."""
        self._tries().run(lambda: self._inner.delete(key), also_silent=False)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        tries = self._tries()
        begun = tries.run(lambda: self._inner.list(prefix, after))
        return self._list_on(tries, begun, prefix, after)

    def _list_on(self, tries: _Tries, infos: Iterator[ObjectInfo], prefix: str, after: str) -> Iterator[ObjectInfo]:
        while True:
            try:
                for info in infos:
                    tries.progress()
                    after = info.key
                    yield info
                return
            except StoreUnavailable:
                if not tries.again():
                    raise
            infos = tries.run(lambda last=after: self._inner.list(prefix, last))  # type: ignore[misc]

    def usage(self) -> Usage:
        return self._tries().run(self._inner.usage)

    def close(self) -> None:
        self._inner.close()


class _Tries:
    """How often and how long one call has failed since it last came on."""

    def __init__(self, delays: Sequence[float], sleep: Callable[[float], None], patience: float) -> None:
        self._delays, self._sleep, self._patience = delays, sleep, patience
        self.progress()

    def progress(self) -> None:
        self.failed = 0
        self._since = time.monotonic()

    def again(self) -> bool:
        """After a failure: wait, then True; False when it was one too many or took too long."""
        if self.failed >= len(self._delays):
            return False
        delay = self._delays[self.failed] * random.uniform(0.5, 1.5)
        if time.monotonic() - self._since + delay > self._patience:
            return False
        self.failed += 1
        self._sleep(delay)
        return True

    def run(self, work: Callable[[], T], also_silent: bool = True) -> T:
        """`also_silent`: try again also after a time-out."""
        while True:
            try:
                return work()
            except StoreUnavailable as error:
                silent = isinstance(error.__cause__, TimeoutError)
                if (silent and not also_silent) or not self.again():
                    raise
