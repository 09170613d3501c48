"""The rest of a long listing, put aside so that no connection to the database waits for a slow client."""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice

from vfs.model import Row

_PIECE = 500  # rows written at once
_IN_MEMORY = 1024 * 1024  # bytes of one listing, some 7,000 rows; more of it is in a file without a name


class SetAside:
    """All of `rows`, read at once; then they can be had one by one, and are gone."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed when they are read
        waiting = iter(rows)
        self._sizes = []  # of the pieces: marshal's own reading from a file takes twenty times as long
        while piece := [tuple(row) for row in islice(waiting, _PIECE)]:
            self._sizes.append(self._file.write(marshal.dumps(piece)))
        self._file.seek(0)

    def __iter__(self) -> Iterator[Row]:
        with self._file:
            for size in self._sizes:
                yield from map(Row._make, marshal.loads(self._file.read(size)))
