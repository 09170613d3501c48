"""A body becomes objects, a part each: one after the other, or several at a time where the store gains by it.

Each part is registered in `parts` before its put, so that whoever undoes the upload removes a half-done one too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, MutableSequence
from concurrent.futures import Future, ThreadPoolExecutor

from vfs import trace, turns
from vfs.errors import UploadIncomplete
from vfs.model import Part
from vfs.operations.incoming import Held, Incoming
from vfs.storage.block_sums import BlockSums
from vfs.storage.object_store import ObjectStore, direct

_HELD = 8  # parts that wait in the memory of this process, of all uploads; one more for each upload that has none


class _Memory:
    """How many parts are held by the whole process."""

    def __init__(self) -> None:
        self._held = 0
        self._guard = threading.Lock()

    def take(self, *, first: bool) -> bool:
        """Room for one more part; who has none yet always gets it, so no upload waits for another's client."""
        with self._guard:
            if not first and self._held >= _HELD:
                return False
            self._held += 1
            return True

    def give(self) -> None:
        with self._guard:
            self._held -= 1


_memory = _Memory()


def put_part(cache: ObjectStore, key: str, chunks: Iterable[bytes], size: int, *, directly: bool = False) -> Part:
    """One part whose bytes are at hand. `directly`: as `Direct`, where the store can. Raises UploadIncomplete (they are
    not `size`), and what either raises."""
    sums = BlockSums()
    summed = _summed(chunks, sums)
    if directly and (store := direct(cache)) is not None:
        stored = store.put_directly(key, summed)
    else:  # a store that is far away may have to send it again, and the pieces are gone then
        stored = cache.put(key, [bytes(piece) for piece in summed] if cache.at_once > 1 else summed)
    if stored.size != size:
        raise UploadIncomplete(f"{stored.size} bytes came instead of {size}")
    return Part(key, stored.size, stored.checksum, sums.finish())


def _summed(chunks: Iterable[bytes], sums: BlockSums) -> Iterator[bytes]:
    for chunk in chunks:
        sums.update(chunk)
        yield chunk


def put_in_turn(cache: ObjectStore, body: Incoming, parts: list[Part]) -> None:
    """The client's pieces go straight to the store."""
    while body.more():
        key = body.next_key()
        parts.append(Part(key, 0, ""))
        with turns.waiting():  # for the client, and for the disk
            stored = cache.put(key, body.part())
        parts[-1] = Part(key, stored.size, stored.checksum, body.blocks)


def put_several(cache: ObjectStore, body: Incoming, parts: list[Part]) -> None:
    """Parts are read into memory whole, and stored by threads while the client sends the next."""
    with turns.waiting():
        if not body.more():
            return
        held = _hold(body, first=True)
        assert held is not None
        try:
            is_only = not body.more()
        except BaseException:
            _memory.give()
            raise
        if is_only:  # the usual case: no thread for it
            parts.append(Part(held.key, 0, ""))
            parts[-1] = _put(cache, held)
            return
        with ThreadPoolExecutor(cache.at_once, thread_name_prefix="parts") as threads:
            upload = _Upload(cache, threads, parts)
            try:
                upload.begin(held)
                upload.go_on(body)
            except BaseException:
                threads.shutdown(cancel_futures=True)  # and waits for those under way
                upload.forget()
                raise


class _Upload:
    """Parts of one content on their way to the store, oldest first."""

    def __init__(self, cache: ObjectStore, threads: ThreadPoolExecutor, parts: MutableSequence[Part]) -> None:
        self._cache, self._threads, self._parts = cache, threads, parts
        self._running: deque[tuple[int, Future[Part]]] = deque()

    def begin(self, held: Held) -> None:
        self._parts.append(Part(held.key, 0, ""))
        running = self._threads.submit(trace.carried(_put), self._cache, held)
        self._running.append((len(self._parts) - 1, running))

    def go_on(self, body: Incoming) -> None:
        """The rest of the body, and the end of all parts. Raises what any of them raised."""
        while body.more():
            while self._running and (len(self._running) >= self._cache.at_once or self._running[0][1].done()):
                self._end_oldest()
            held = _hold(body, first=not self._running)
            if held is None:  # memory is short: on with less at a time
                self._end_oldest()
            else:
                self.begin(held)
        while self._running:
            self._end_oldest()

    def _end_oldest(self) -> None:
        index, running = self._running[0]
        self._parts[index] = running.result()
        self._running.popleft()  # only now: who is interrupted while he waits forgets this one too

    def forget(self) -> None:
        """What was cancelled before it ran never gave its memory back."""
        for _, running in self._running:
            if running.cancelled():
                _memory.give()


def _hold(body: Incoming, *, first: bool) -> Held | None:
    """The next part, read into memory; None when there is no room for it just now."""
    if not _memory.take(first=first):
        return None
    try:
        return body.held_part()
    except BaseException:
        _memory.give()
        raise


def _put(cache: ObjectStore, held: Held) -> Part:
    pieces = list[bytes]()
    try:
        pieces, blocks = held.ready()
        stored = cache.put(held.key, pieces)
    finally:
        pieces.clear()
        _memory.give()
    return Part(held.key, stored.size, stored.checksum, blocks)
