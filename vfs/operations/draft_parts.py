"""What is new of a draft becomes objects of the cache: those of a local cache by a few threads, since of two that hash,
copy and wait for the disk one is done while the other goes on (256 MiB: 0.5 s by one, 0.27 s by two).

A content whose objects were stored so has no checksum of the whole, as one that was uploaded in parts: to make it, all
bytes would have to be hashed once more, one after the other. The mirror learns it when it carries the content.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from vfs import trace, turns
from vfs.core import Kelp
from vfs.errors import UploadIncomplete
from vfs.model import Content, Expected, Part
from vfs.operations import contents, layouts, writing
from vfs.operations.drafting import Draft
from vfs.operations.layouts import Fresh, Layout, Shared, Zeros
from vfs.operations.reserving import Reservation
from vfs.storage.block_sums import BlockSums

_THREADS = 3  # that store one draft; whoever commits is one of them


class Unit(NamedTuple):
    """Bytes of the file that become one object."""

    start: int
    stop: int


def units_of(layout: Layout) -> list[Unit]:
    """Of what is stored anew, in order."""
    return [
        Unit(at, min(at + piece.unit, piece.stop))
        for piece in layout
        if isinstance(piece, Fresh)
        for at in range(piece.start, piece.stop, piece.unit)
    ]


def store(kelp: Kelp, draft: Draft, layout: Layout, room: Reservation) -> tuple[Content, tuple[Part, ...]]:
    """The content, and those of its parts that are new. Nothing is left when it fails. Raises as `contents.store`, and
    what the draft raises."""
    storing = _Storing(kelp, draft, room)
    units = units_of(layout)
    with undone(kelp, storing.fresh):
        if len(units) == 1 or kelp.cache.at_once > 1:
            return storing.in_turn(layout)
        return storing.together(layout, units)


@contextmanager
def undone(kelp: Kelp, fresh: list[Part]) -> Iterator[None]:
    """Parts that are removed again when the block fails."""
    try:
        yield
    except BaseException:
        contents.remove(kelp, (part.key for part in fresh))
        raise


@dataclass
class _Storing:
    """`fresh`: what is stored, or just being stored."""

    kelp: Kelp
    draft: Draft
    room: Reservation
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    fresh: list[Part] = field(default_factory=list)

    def in_turn(self, layout: Layout) -> tuple[Content, tuple[Part, ...]]:
        parts: list[Part] = []
        checksum = writing.EMPTY_CHECKSUM if not layout else ""
        for number, piece in enumerate(layout):
            if isinstance(piece, Shared):
                parts.append(piece.part)
                continue
            chunks, expected = new(self.draft, piece)
            id = f"{self.id}.r{number}" if number else self.id
            stored = contents.store(self.kelp, self.room.counted(chunks), expected, id=id)
            self.fresh += stored.parts
            parts += layouts.repeated(stored.parts, piece)
            checksum = stored.checksum if len(layout) == 1 and isinstance(piece, Fresh) else ""
        return self._content(parts, checksum)

    def together(self, layout: Layout, units: Sequence[Unit]) -> tuple[Content, tuple[Part, ...]]:
        stored = iter(self._stored(units))
        parts: list[Part] = []
        for number, piece in enumerate(layout):
            if isinstance(piece, Shared):
                parts.append(piece.part)
            elif isinstance(piece, Fresh):
                parts += (next(stored) for _ in range(piece.start, piece.stop, piece.unit))
            else:
                zeros = self._zeros(piece, number)
                self.fresh += zeros
                parts += layouts.repeated(zeros, piece)
        return self._content(parts, "")

    def _zeros(self, piece: Zeros, number: int) -> Sequence[Part]:
        chunks, expected = new(self.draft, piece)
        return contents.store(self.kelp, self.room.counted(chunks), expected, id=f"{self.id}.z{number}").parts

    def _content(self, parts: list[Part], checksum: str) -> tuple[Content, tuple[Part, ...]]:
        return Content(self.id, self.draft.source.size, checksum, None, tuple(parts)), tuple(self.fresh)

    def _stored(self, units: Sequence[Unit]) -> list[Part]:
        """In the order of `units`."""
        keys = (f"{self.id}.{number:06d}" if number else self.id for number in count())
        self.fresh += (Part(key, 0, "") for key, _ in zip(keys, units, strict=False))
        several = _Several(self.kelp, self.draft, self.room, deque(enumerate(units)), self.fresh)
        several.run(min(_THREADS, len(units)))
        return list(self.fresh)


class _Several:
    """Units that wait, and threads that store them."""

    def __init__(
        self, kelp: Kelp, draft: Draft, room: Reservation, waiting: deque[tuple[int, Unit]], parts: list[Part]
    ) -> None:
        self._kelp, self._draft, self._room = kelp, draft, room
        self._waiting, self._parts = waiting, parts
        self._counting = threading.Lock()

    def run(self, threads: int) -> None:
        """Raises what any of them raised; by then none of them is at work."""
        with turns.waiting(), ThreadPoolExecutor(threads - 1, thread_name_prefix="draft") as others:
            running = [others.submit(trace.carried(self._work)) for _ in range(threads - 1)]
            self._work()
            for each in running:
                each.result()

    def _work(self) -> None:
        try:
            while self._waiting:
                try:
                    number, unit = self._waiting.popleft()
                except IndexError:
                    return
                chunks = self._counted(self._draft.source.pieces(*unit))
                self._parts[number] = stored_part(self._kelp, self._parts[number].key, chunks, unit)
        except BaseException:
            self._waiting.clear()
            raise

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            with self._counting:
                self._room.count(len(chunk))
            yield chunk


def stored_part(kelp: Kelp, key: str, chunks: Iterable[bytes], unit: Unit) -> Part:
    """Raises as `ObjectStore.put`, and what `chunks` raises."""
    sums = BlockSums()
    stored = kelp.cache.put(key, _summed(chunks, sums))
    if stored.size != unit.stop - unit.start:
        raise UploadIncomplete(f"{stored.size} bytes of a draft came instead of {unit.stop - unit.start}")
    return Part(key, stored.size, stored.checksum, sums.finish())


def _summed(chunks: Iterable[bytes], sums: BlockSums) -> Iterator[bytes]:
    for chunk in chunks:
        sums.update(chunk)
        yield chunk


def new(draft: Draft, piece: Fresh | Zeros) -> tuple[Iterator[bytes], Expected]:
    """The bytes of what is stored anew."""
    if isinstance(piece, Zeros):
        return layouts.zeros(piece.unit), Expected(length=piece.unit)
    return draft.source.pieces(piece.start, piece.stop), Expected(length=piece.stop - piece.start)
