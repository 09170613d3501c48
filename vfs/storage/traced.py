"""A cache whose calls are spans, in the seeds' words: between the drive and its store while somebody follows spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vfs import trace
from vfs.model import ByteRange, Stored
from vfs.storage.object_store import ObjectInfo, ObjectStore, Usage


class TracedObjectStore:
    """An ObjectStore. Keys are random and tell nothing; of a stream that is read, the beginning is timed."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = self.inner = inner
        self.at_once = inner.at_once

    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        with trace.span("seaweed.upload_part", object=key):
            return self._inner.put(key, chunks, replace=replace)

    def get(self, key: str, byte_range: ByteRange | None = None) -> Iterator[bytes]:
        with trace.span("seaweed.download", object=key):
            return self._inner.get(key, byte_range)

    def stat(self, key: str) -> int:
        with trace.span("seaweed.stat", object=key):
            return self._inner.stat(key)

    def delete(self, key: str) -> None:
        with trace.span("seaweed.delete", object=key):
            self._inner.delete(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return self._inner.list(prefix, after)

    def usage(self) -> Usage:
        return self._inner.usage()

    def close(self) -> None:
        self._inner.close()
