"""How far a long copy or move across the border of a vault is: told to the log, and to whoever asks for the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic as _now
from types import TracebackType
from typing import NamedTuple

from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.metadata.retrying import retried

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_STEP = 100 * _MIB  # between two lines of the log
_PAUSE = 2.0  # seconds between two notes; what is through before the first is never noted
_STALE_NS = 120 * 1_000_000_000  # a note that nobody renewed for so long is of a process that died
_NAME = "crossings"  # row of `installation`: uuid → [bytes done, bytes in all, when]


class Crossing(NamedTuple):
    """Plain bytes that were sealed anew (or opened) so far, and in all."""

    done: int
    size: int


class Progress:
    """Of one copy or move. `uuid`: of its source."""

    def __init__(self, kelp: Kelp, uuid: str, size: int) -> None:
        self._kelp, self._uuid, self._size = kelp, uuid, size
        self._done = self._logged = 0
        self._began = self._noted = _now()
        self._is_noted = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._logged:
            outcome = "failed after" if kind else "done,"
            took = _now() - self._began
            log.info("%s goes across the border of a vault: %s %d MiB, %.1f s", *self._facts(outcome), took)
        if self._is_noted:
            self._note(None)

    def _facts(self, outcome: str) -> tuple[str, str, int]:
        return self._uuid, outcome, self._done // _MIB

    def counted(self, chunks: Iterable[bytes], tick: Callable[[], None]) -> Iterator[bytes]:
        """The same chunks. `tick` is called now and then."""
        for chunk in chunks:
            self._done += len(chunk)
            if self._done - self._logged >= _STEP:
                self._logged = self._done
                facts = self._uuid, self._done // _MIB, self._size // _MIB
                log.info("%s goes across the border of a vault: %d of %d MiB", *facts)
            if _now() - self._noted >= _PAUSE:
                self._note(Crossing(self._done, self._size))
                self._noted, self._is_noted = _now(), True
                tick()
            yield chunk

    def _note(self, now: Crossing | None) -> None:
        with suppress(KelpError):  # nothing depends on it
            _swap(self._kelp, self._uuid, now)


def of(kelp: Kelp, uuid: str) -> Crossing | None:
    """Of the entry that is just being moved or copied; None: it is not, or not for long."""
    with kelp.database.read() as tx:
        found = _known(tx.accounts.value(_NAME)).get(uuid)
    if found is None or abs(kelp.clock.now_ns() - found[2]) > _STALE_NS:
        return None
    return Crossing(found[0], found[1])


@retried
def _swap(kelp: Kelp, uuid: str, crossing: Crossing | None) -> None:
    now_ns = kelp.clock.now_ns()
    with kelp.database.write(quiet=True) as tx:
        seen = tx.accounts.value(_NAME)
        known = {id: each for id, each in _known(seen).items() if abs(now_ns - each[2]) <= _STALE_NS and id != uuid}
        if crossing is not None:
            known[uuid] = (*crossing, now_ns)
        tx.accounts.swap(_NAME, seen, json.dumps(known))


def _known(value: str | None) -> dict[str, tuple[int, int, int]]:
    return {uuid: (each[0], each[1], each[2]) for uuid, each in json.loads(value or "{}").items()}
