"""Stores around stores, with the same interface, that fail on purpose: a test hands them in."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

from vfs.model import ByteRange, Stored
from vfs.storage.nas_store import NasFile, NasInfo, NasListed, NasProperties, NasSeen, NasStore
from vfs.storage.object_store import ObjectInfo, ObjectStore, Usage

T = TypeVar("T")


class When(Enum):
    BEFORE = auto()  # the store is never asked
    AFTER = auto()  # the store did it, but the caller does not get to know
    MIDSTREAM = auto()  # after the first chunk, piece or name; of an empty stream, at its end


@dataclass(frozen=True, slots=True)
class Failure:
    """`method` raises `error` at its `call`-th call from now (1 is the next), and at no other."""

    method: str
    error: BaseException
    call: int = 1
    when: When = When.BEFORE


_STREAMS = frozenset({"put", "get", "list", "write", "read"})


class Failures:
    """What shall fail next; a test may add to it while the store is in use. For many threads."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._planned: dict[tuple[str, int], Failure] = {}
        self._lock = threading.Lock()

    def plan(self, failure: Failure) -> None:
        """Raises ValueError for MIDSTREAM in a method without a stream."""
        if failure.when is When.MIDSTREAM and failure.method not in _STREAMS:
            raise ValueError(f"{failure.method} has no stream to fail in")
        with self._lock:
            self._planned[failure.method, self._calls[failure.method] + failure.call] = failure

    def calls(self, method: str) -> int:
        """How often `method` was called so far."""
        with self._lock:
            return self._calls[method]

    def due(self, method: str) -> Failure | None:
        """Count a call of `method`, and tell whether it fails."""
        with self._lock:
            self._calls[method] += 1
            return self._planned.pop((method, self._calls[method]), None)


def _around(failure: Failure | None, work: Callable[[], T]) -> T:
    if failure and failure.when is When.BEFORE:
        raise failure.error
    result = work()
    if failure and failure.when is When.AFTER:
        raise failure.error
    return result


def _through(failure: Failure | None, items: Iterable[T]) -> Iterable[T]:
    return _cut(items, failure.error) if failure and failure.when is When.MIDSTREAM else items


def _cut(items: Iterable[T], error: BaseException) -> Iterator[T]:
    for item in items:
        yield item
        break
    raise error


class FailingObjectStore:
    """An ObjectStore that does what `inner` does, except at the calls named in `failures`."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.at_once = inner.at_once
        self.failures = Failures()

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        failure = self.failures.due("put")
        return _around(failure, lambda: self._inner.put(key, _through(failure, chunks), replace=replace))

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        failure = self.failures.due("get")
        return iter(_through(failure, _around(failure, lambda: self._inner.get(key, byte_range))))

    def stat(self, key: str) -> int:
        return self._do("stat", lambda: self._inner.stat(key))

    def delete(self, key: str) -> None:
        self._do("delete", lambda: self._inner.delete(key))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        failure = self.failures.due("list")
        return iter(_through(failure, _around(failure, lambda: self._inner.list(prefix, after))))

    def usage(self) -> Usage:
        return self._do("usage", self._inner.usage)

    def close(self) -> None:
        self._inner.close()

    def _do(self, method: str, work: Callable[[], T]) -> T:
        return _around(self.failures.due(method), work)


class FailingNasStore:
    """A NasStore that does what `inner` does, except at the calls named in `failures`."""

    def __init__(self, inner: NasStore) -> None:
        self._inner = inner
        self.failures = Failures()

    @property
    def on_progress(self) -> Callable[[], None]:
        return self._inner.on_progress

    @on_progress.setter
    def on_progress(self, callback: Callable[[], None]) -> None:
        self._inner.on_progress = callback

    @property
    def on_flush(self) -> Callable[[], None]:
        return self._inner.on_flush

    @on_flush.setter
    def on_flush(self, callback: Callable[[], None]) -> None:
        self._inner.on_flush = callback

    @property
    def properties(self) -> NasProperties:
        return self._inner.properties

    def verify(self) -> None:
        self._do("verify", self._inner.verify)

    def probe(self) -> None:
        self._do("probe", self._inner.probe)

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
        failure = self.failures.due("write")
        pieces = _through(failure, chunks)
        return _around(
            failure, lambda: self._inner.write(path, pieces, size, checksum, mtime_ns=mtime_ns, parents=parents)
        )

    def read(self, path: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        failure = self.failures.due("read")
        return iter(_through(failure, _around(failure, lambda: self._inner.read(path, byte_range))))

    def stat(self, path: str) -> NasInfo | None:
        return self._do("stat", lambda: self._inner.stat(path))

    def checksum(self, path: str) -> str:
        return self._do("checksum", lambda: self._inner.checksum(path))

    def touch(self, path: str, mtime_ns: int) -> NasFile:
        return self._do("touch", lambda: self._inner.touch(path, mtime_ns))

    def move(self, old: str, new: str, *, replace: bool = False, parents: bool = False) -> None:
        self._do("move", lambda: self._inner.move(old, new, replace=replace, parents=parents))

    def link(self, old: str, new: str, *, parents: bool = False) -> bool:
        return self._do("link", lambda: self._inner.link(old, new, parents=parents))

    def remove(self, path: str) -> None:
        self._do("remove", lambda: self._inner.remove(path))

    def remove_folder(self, path: str) -> None:
        self._do("remove_folder", lambda: self._inner.remove_folder(path))

    def make_folder(self, path: str, exist_ok: bool = True) -> None:
        self._do("make_folder", lambda: self._inner.make_folder(path, exist_ok))

    def list(self, path: str) -> Iterator[NasListed]:
        failure = self.failures.due("list")
        return iter(_through(failure, _around(failure, lambda: self._inner.list(path))))

    def survey(self, path: str) -> Iterator[NasSeen]:
        failure = self.failures.due("survey")
        return iter(_through(failure, _around(failure, lambda: self._inner.survey(path))))

    def sync(self, paths: Iterable[str]) -> None:
        self._do("sync", lambda: self._inner.sync(paths))

    def usage(self) -> Usage:
        return self._do("usage", self._inner.usage)

    def _do(self, method: str, work: Callable[[], T]) -> T:
        return _around(self.failures.due(method), work)
