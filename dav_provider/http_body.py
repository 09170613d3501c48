"""Request bodies as streams: framing by RFC 9112 §6–7, in bounded memory, and never cut short in silence.

Pure: works on any buffered reader with `read` and `readline`. `read(size)` gives up to `size` bytes and b""
only at the proper end of the body; a body that ends early raises UploadIncomplete, its kind UploadTooSlow when the
client was given up, and StoreUnavailable when it is the server that ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from dav_provider.http_streams import SlowError, StoppingError
from vfs.errors import StoreUnavailable, UploadIncomplete

PIECE_SIZE = 1024 * 1024
_LONGEST_LINE = 4096  # bytes of a chunk's size line with its extensions, or of one trailer
_MOST_TRAILERS = 64
_MOST_JOINED = 1024  # chunks joined for one read; a million chunks of one byte would cost 40 times their size
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class UploadTooSlow(UploadIncomplete):
    """The client took too long over the body (RFC 9110 §15.5.9)."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


def _nothing() -> None:
    return None


class Body:
    """Base of the two framings. `before_first_read` answers `Expect: 100-continue` when somebody wants the body."""

    def __init__(self, stream: Stream, before_first_read: Callable[[], None] = _nothing) -> None:
        self._stream = stream
        self._before_first_read: Callable[[], None] | None = before_first_read
        self.complete = False  # all of it was read, so the connection is at the next request
        self.broken = False  # nothing sensible follows on this connection

    def read(self, size: int = PIECE_SIZE) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises UploadIncomplete where the body is cut or its framing broken."""
        if self.complete or size <= 0:
            return b""
        if self.broken:
            raise UploadIncomplete("the body ended early")
        try:
            if self._before_first_read is not None:
                start, self._before_first_read = self._before_first_read, None
                start()
            return self._next(size)
        except StoppingError as error:
            self.broken = True
            raise StoreUnavailable("the server is stopping") from error
        except SlowError as error:
            self.broken = True
            raise UploadTooSlow("the body came too slowly") from error
        except OSError as error:
            self.broken = True
            raise UploadIncomplete("the connection was lost while the body arrived") from error
        except UploadIncomplete:
            self.broken = True
            raise

    @property
    def was_asked_for(self) -> bool:
        return self._before_first_read is None

    def drain(self, limit: int) -> bool:
        """Read the rest and throw it away, in pieces, at most `limit` bytes. True when the body is complete."""
        try:
            while not self.complete and limit > 0:
                limit -= len(self.read(min(limit, 65536)))
        except UploadIncomplete:
            return False
        return self.complete

    def _next(self, size: int) -> bytes:
        raise NotImplementedError

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise UploadIncomplete("the body ended early")
        return data

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE)
        if not line.endswith(b"\r\n"):
            raise UploadIncomplete("the chunked body is cut or malformed")
        return line[:-2]


class SizedBody(Body):
    """A body with Content-Length."""

    def __init__(self, stream: Stream, length: int, before_first_read: Callable[[], None] = _nothing) -> None:
        super().__init__(stream, before_first_read)
        self.remaining = length
        self.complete = length == 0

    def _next(self, size: int) -> bytes:
        data = self._exactly(min(size, self.remaining))
        self.remaining -= len(data)
        self.complete = self.remaining == 0
        return data


class ChunkedBody(Body):
    """A body in chunks of any size (RFC 9112 §7.1). Complete only with the last chunk; trailers are ignored."""

    def __init__(self, stream: Stream, before_first_read: Callable[[], None] = _nothing) -> None:
        super().__init__(stream, before_first_read)
        self._chunk = 0  # bytes of the current chunk that are still to come

    def _next(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size > 0 and not self.complete and len(pieces) < _MOST_JOINED:
            if self._chunk == 0:
                self._begin_chunk()
                continue
            piece = self._exactly(min(size, self._chunk))
            self._chunk -= len(piece)
            size -= len(piece)
            pieces.append(piece)
            if self._chunk == 0 and self._line():
                raise UploadIncomplete("a chunk is longer than it said")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin_chunk(self) -> None:
        match = _CHUNK_SIZE.fullmatch(self._line())
        if not match:
            raise UploadIncomplete("the size of a chunk is malformed")
        self._chunk = int(match[1], 16)
        if self._chunk == 0:
            self._skip_trailers()
            self.complete = True

    def _skip_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                return
        raise UploadIncomplete("too many trailers after the body")
