"""How an answer to GET or HEAD tells of the content of a file (RFC 9110 §8, §14), and the body that goes with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeAlias

from vfs.model import PIECE_SIZE, ByteRange, Entry
from vfs.web.conditions import etag_of
from vfs.web.dates import http_date

Headers: TypeAlias = list[tuple[str, str]]

_BINARY = "application/octet-stream"
# Files are other people's: a page among them must not run as part of this site, nor be guessed to be one.
NOSNIFF = ("X-Content-Type-Options", "nosniff")
SANDBOX = ("Content-Security-Policy", "sandbox")


def validators(entry: Entry) -> Headers:
    """ETag and Last-Modified (R7, R8); only the date for a folder."""
    etag = etag_of(entry.content_id)
    date = ("Last-Modified", http_date(entry.shown_mtime))
    return [("ETag", etag), date] if etag else [date]


def content_type(mime_type: str) -> str:
    return mime_type or _BINARY


def span_of(entry: Entry, part: ByteRange | None) -> tuple[int, Headers]:
    """The status, and the headers that say which bytes of the file come; `part` None: all."""
    if part is None:
        return 200, [("Content-Length", str(entry.size))]
    length = ("Content-Length", str(part.stop - part.start))
    return 206, [length, ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{entry.size}")]


def body_of(pieces: Iterator[bytes], entry: Entry, part: ByteRange | None) -> bytes | Iterator[bytes]:
    """Little as a whole, much piece by piece; what the first piece has to say against it is raised here."""
    size = entry.size if part is None else part.stop - part.start
    return b"".join(pieces) if size <= PIECE_SIZE else started(pieces)


def started(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first already made: its errors come now, while there is still a status to choose."""
    first = next(pieces, None)

    def resumed() -> Iterator[bytes]:
        try:
            if first is not None:
                yield first
            yield from pieces
        finally:
            close(pieces)

    return _Closing(resumed(), pieces)


class _Closing(Iterator[bytes]):
    """A generator that was never begun skips its `finally`; this closes the source in every case."""

    def __init__(self, pieces: Iterator[bytes], source: object) -> None:
        self._pieces, self._source = pieces, source

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        close(self._source)
        close(self._pieces)


def close(body: object) -> None:
    """Close what can be closed, so that a reader's lease or a cursor is given back at once."""
    closing = getattr(body, "close", None)
    if closing is not None:
        with contextlib.suppress(Exception):
            closing()
