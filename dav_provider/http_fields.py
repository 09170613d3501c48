"""Header fields of a request, read strictly: what two servers could understand differently is refused.

Pure. Names are in cheroot's form (`Content-Length`, as bytes), since it makes WSGI's names of them.
"""

from __future__ import annotations

from typing import Protocol

# Repeating one of these is a mistake or an attack; joined by commas they would mean something else.
_SINGLE = frozenset(
    (
        *(b"Authorization", b"Content-Length", b"Content-Range", b"Depth", b"Destination", b"Host", b"If"),
        *(b"Lock-Token", b"Overwrite", b"Range", b"Timeout", b"Transfer-Encoding"),
    )
)
_MOST_FIELDS = 200
_TOKEN = frozenset(b"!#$%&'*+-.^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Lines(Protocol):
    def readline(self, size: int | None = None, /) -> bytes: ...


class FieldReader:
    """Reads up to the empty line (RFC 9112 §5)."""

    def __call__(self, stream: Lines, fields: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """Raises ValueError for what is malformed, folded over lines, or repeated where that has no meaning."""
        fields = {} if fields is None else fields
        for _ in range(_MOST_FIELDS):
            line = stream.readline()
            if line == b"\r\n":
                return fields
            if not line.endswith(b"\r\n"):
                raise ValueError("the header is cut or a line does not end in CRLF")
            name, colon, value = line[:-2].partition(b":")
            if not colon or not name or not _TOKEN.issuperset(name):  # also catches folded lines
                raise ValueError("malformed header field")
            if b"\0" in value or b"\r" in value:
                raise ValueError("control characters in a header field")
            # A name with "_" never matches ours: WSGI could not tell `Content_Length` from `Content-Length`.
            self._add(fields, name.title(), value.strip(b" \t"))
        raise ValueError("too many header fields")

    @staticmethod
    def _add(fields: dict[bytes, bytes], name: bytes, value: bytes) -> None:
        if name not in fields:
            fields[name] = value
        elif name in _SINGLE:
            raise ValueError(f"{name.decode()} is given twice")
        else:
            fields[name] += b", " + value


def body_framing(fields: dict[bytes, bytes]) -> tuple[int, bool]:
    """Length in bytes and whether the body is chunked (RFC 9112 §6).

    Raises ValueError for a wrong or contradictory framing, NotImplementedError for an unknown transfer coding.
    """
    coding = fields.get(b"Transfer-Encoding")
    length = fields.get(b"Content-Length")
    if coding is not None:
        if length is not None:
            raise ValueError("Content-Length beside Transfer-Encoding")
        if coding.strip().lower() != b"chunked":
            raise NotImplementedError("the only transfer coding is chunked")
        return 0, True
    if length is None:
        return 0, False
    if not length.isdigit() or len(length) > 18:  # bytes.isdigit knows ASCII digits only
        raise ValueError("malformed Content-Length")
    return int(length), False
