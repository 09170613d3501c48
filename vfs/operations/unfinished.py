"""Objects of uploads into vaults that take long: their keys say nothing of each other, so the orphan batch could not
tell that the oldest of them belong to what still grows. From some minutes on they have rows.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.metadata.retrying import retried
from vfs.model import Part
from vfs.operations.incoming import Held, Incoming

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_QUIET_NS = 10 * 60 * _SECOND  # an upload is not noted before, and then as often: what rests for an hour is an orphan
_LASTING_NS = 3 * 3600 * _SECOND  # for which a row protects: an upload of a process that died is cleared away then


class Unfinished:
    """One upload. For one thread."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._id = str(uuid.uuid4())
        self._noted_ns = kelp.clock.now_ns()
        self._waiting: list[str] = []

    def watched(self, body: Incoming, parts: list[Part]) -> Incoming:
        """The same body; the objects of its parts are noted while it comes. `parts`: those that were begun."""
        return _Watched(self, body, parts)

    def add(self, keys: list[str]) -> None:
        self._waiting += keys
        now = self._kelp.clock.now_ns()
        if abs(now - self._noted_ns) <= _QUIET_NS:
            return
        try:
            self._note(now)
        except KelpError as error:
            log.warning("a long upload is not noted yet: %s", error)
        else:
            self._noted_ns = now

    @retried
    def _note(self, now_ns: int) -> None:
        with self._kelp.database.write(quiet=True) as tx:
            tx.unfinished.note(self._id, self._waiting, now_ns + _LASTING_NS)
        self._waiting = []


class _Watched:
    def __init__(self, unfinished: Unfinished, body: Incoming, parts: list[Part]) -> None:
        self._unfinished, self._body, self._parts = unfinished, body, parts
        self._told = 0

    @property
    def blocks(self) -> bytes | None:
        return self._body.blocks

    def more(self) -> bool:
        if len(self._parts) > self._told:
            begun, self._told = self._parts[self._told :], len(self._parts)
            self._unfinished.add([part.key for part in begun])
        return self._body.more()

    def next_key(self) -> str:
        return self._body.next_key()

    def part(self) -> Iterator[bytes]:
        return self._body.part()

    def held_part(self) -> Held:
        return self._body.held_part()
