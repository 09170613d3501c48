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
from contextlib import AbstractContextManager, contextmanager, nullcontext

from blake3 import blake3

from vfs import trace, turns
from vfs.core import Kelp
from vfs.errors import UploadIncomplete
from vfs.model import BLOCK_SIZE, Content, Expected, Part
from vfs.operations import contents, layouts, part_uploads, writing
from vfs.operations.drafting import Draft
from vfs.operations.layouts import Fresh, Layout, Shared, Unit, Zeros
from vfs.operations.reserving import Reservation
from vfs.operations.storing_ahead import Claimed
from vfs.storage.object_store import Begun, early, new_key

_THREADS = 3  # that store one draft; whoever commits is one of them

_MANY = 4  # parts of one draft; what is stored of so many at once leaves the memory of the machine alone


def claimed(draft: Draft, layout: Layout) -> AbstractContextManager[Claimed]:
    """What is stored already of that layout, for the length of the block; nothing else is from then on."""
    if draft.ahead is None:
        return nullcontext(Claimed())
    return draft.ahead.claimed(layouts.units_of(layout))


def begun(kelp: Kelp, draft: Draft) -> tuple[Content, Begun] | None:
    """A small draft as a content of one object, which is on its way to the disk while the commit goes on; None: it is
    stored in other ways. Not for vaults. Raises as `store`.

    A content of one part, or none, is never shared in part (`layouts.lay_out`), so there is nothing to lay out.
    """
    store, size = early(kelp.cache), draft.source.size
    if store is None or not 0 < size <= BLOCK_SIZE or len(draft.base.parts) > 1 or draft.ahead is not None:
        return None
    data = b"".join([bytes(piece) for piece in draft.source.pieces(0, size)])
    if len(data) != size:
        raise UploadIncomplete(f"{len(data)} bytes came instead of {size}")
    key = new_key(kelp.cache)
    begun = store.begin(key, data)
    checksum = blake3(data).hexdigest()
    return Content(key, size, checksum, None, (Part(key, size, checksum),)), begun


def store(
    kelp: Kelp, draft: Draft, layout: Layout, room: Reservation, early: Claimed
) -> tuple[Content, tuple[Part, ...]]:
    """The content, and those of its parts that are new. Nothing is left when it fails. Raises as `contents.store`, and
    what the draft raises."""
    fresh: list[Part] = []
    with undone(kelp, fresh):
        units = layouts.units_of(layout)
        if early or (len(units) > 1 and kelp.cache.at_once == 1):
            content = _Storing(kelp, draft, room, fresh, early).content(layout, units)
        else:
            content = _stored_in_turn(kelp, draft, layout, room, fresh)
        return content, tuple(fresh)


@contextmanager
def undone(kelp: Kelp, fresh: list[Part]) -> Iterator[None]:
    """Parts that are removed again when the block fails."""
    try:
        yield
    except BaseException:
        contents.remove(kelp, (part.key for part in fresh))
        raise


def new(draft: Draft, piece: Fresh | Zeros) -> tuple[Iterator[bytes], Expected]:
    """The bytes of what is stored anew."""
    if isinstance(piece, Zeros):
        return layouts.zeros(piece.unit), Expected(length=piece.unit)
    return draft.source.pieces(piece.start, piece.stop), Expected(length=piece.stop - piece.start)


def _stored_in_turn(kelp: Kelp, draft: Draft, layout: Layout, room: Reservation, fresh: list[Part]) -> Content:
    """Piece by piece; a store far away has several parts of one under way."""
    puts_first = bool(layout) and not isinstance(layout[0], Shared)
    id = new_key(kelp.cache) if puts_first else str(uuid.uuid4())
    parts: list[Part] = []
    checksum = writing.EMPTY_CHECKSUM if not layout else ""
    for number, piece in enumerate(layout):
        if isinstance(piece, Shared):
            parts.append(piece.part)
            continue
        chunks, expected = new(draft, piece)
        stored = contents.store(kelp, room.counted(chunks), expected, id=f"{id}.r{number}" if number else id)
        fresh += stored.parts
        parts += layouts.repeated(stored.parts, piece)
        checksum = stored.checksum if len(layout) == 1 and isinstance(piece, Fresh) else ""
    return Content(id, draft.source.size, checksum, None, tuple(parts))


class _Storing:
    """Of a draft that becomes several objects. `fresh`: what is stored, or just being stored."""

    def __init__(self, kelp: Kelp, draft: Draft, room: Reservation, fresh: list[Part], early: Claimed) -> None:
        self._kelp, self._draft, self._room, self._fresh, self._early = kelp, draft, room, fresh, early
        self._id = early.id or str(uuid.uuid4())
        self._counting = threading.Lock()
        self._waiting: deque[Unit] = deque()
        self._found: dict[Unit, Part] = {}

    def content(self, layout: Layout, units: Sequence[Unit]) -> Content:
        self._store_together([unit for unit in units if unit not in self._early])
        late = [unit for unit in units if unit in self._early and not self._take(unit)]
        if late and not self._fresh:  # the first object has the content's name, and who failed is about to remove his
            self._id = str(uuid.uuid4())
        self._store_together(late)
        parts: list[Part] = []
        for number, piece in enumerate(layout):
            if isinstance(piece, Shared):
                parts.append(piece.part)
            elif isinstance(piece, Fresh):
                parts += (self._found[unit] for unit in layouts.units(piece))
            else:
                parts += self._zeros(piece, number)
        checksum = parts[0].checksum if len(parts) == 1 else ""
        return Content(self._id, self._draft.source.size, checksum, None, tuple(parts))

    def _take(self, unit: Unit) -> bool:
        """What was stored ahead; False: it could not be."""
        part = self._early.take(unit, self._room)
        if part is not None:
            self._fresh.append(part)
            self._found[unit] = part
        return part is not None

    def _zeros(self, piece: Zeros, number: int) -> list[Part]:
        chunks, expected = new(self._draft, piece)
        stored = contents.store(self._kelp, self._room.counted(chunks), expected, id=f"{self._id}.z{number}").parts
        self._fresh += stored
        return layouts.repeated(stored, piece)

    def _store_together(self, units: Sequence[Unit]) -> None:
        """Raises what any of the threads raised; by then none of them is at work."""
        self._waiting.extend(units)
        directly = len(units) >= _MANY
        helpers = min(_THREADS, len(units)) - 1
        with turns.waiting():
            if helpers <= 0:
                return self._work(directly)
            with ThreadPoolExecutor(helpers, thread_name_prefix="draft") as threads:
                running = [threads.submit(trace.carried(self._work), directly) for _ in range(helpers)]
                self._work(directly)
            for each in running:
                each.result()

    def _work(self, directly: bool) -> None:
        try:
            while (unit := self._next()) is not None:
                index, key = self._registered(unit)
                chunks = self._counted(self._draft.source.pieces(*unit))
                part = part_uploads.put_part(self._kelp.cache, key, chunks, unit.stop - unit.start, directly=directly)
                self._fresh[index] = self._found[unit] = part
        except BaseException:
            self._waiting.clear()
            raise

    def _next(self) -> Unit | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _registered(self, unit: Unit) -> tuple[int, str]:
        """So that it is undone too, should it be half done."""
        with self._counting:
            index = len(self._fresh)
            key = f"{self._id}.{index:06d}" if index or self._id == self._early.id else self._id
            self._fresh.append(Part(key, 0, ""))
        return index, key

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            with self._counting:
                self._room.count(len(chunk))
            yield chunk
