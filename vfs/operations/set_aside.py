"""The rest of a long listing, put aside so that no connection to the database waits for a slow client."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator
from itertools import islice

from vfs.crypto.spools import Spool
from vfs.model import Row

__all__ = ["SetAside", "Spool"]

_PIECE = 500  # rows written at once
_IN_MEMORY = 1024 * 1024  # bytes of one listing, some 7,000 rows; more of it is in a file without a name, sealed


class SetAside:
    """All of `rows`, read at once; then they can be had one by one, and are gone."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._pieces = Spool(_IN_MEMORY)
        waiting = iter(rows)
        try:
            while piece := [tuple(row) for row in islice(waiting, _PIECE)]:
                self._pieces.add(marshal.dumps(piece))
        except BaseException:
            self._pieces.close()
            raise

    def __iter__(self) -> Iterator[Row]:
        with self._pieces:
            for piece in self._pieces:
                yield from map(Row._make, marshal.loads(piece))
