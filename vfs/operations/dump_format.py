"""The file that `kelp dump` writes and `kelp load` reads: a tar that any tar can list, checked at every step.

    manifest.json               what this is: format, revision of the schema, drive, dump
    rows/000001.users.jsonl …   rows of one table: a line {"table", "columns"}, then one JSON array a row
    objects.json                how many objects follow, and their bytes
    objects/{key} …             objects of the cache, as they are there
    trailer.json                counts of all that came, and the BLAKE3 of every byte before

Each text ends with a line that has the BLAKE3 of what is before it in that text, so that rows are proved before they
are committed; the checksums of objects are in the rows. Members are plain ustar (POSIX.1-1988: none is large, no name
is long) and are held in memory one at a time: at most an object of the cache or a few MiB of rows.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from blake3 import blake3

from vfs.errors import ContentCorrupt, InvalidRequest

FORMAT = 1
MANIFEST, OBJECTS, TRAILER = "manifest.json", "objects.json", "trailer.json"
ROWS_FOLDER, OBJECTS_FOLDER = "rows/", "objects/"

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_LARGEST = 1 << 30  # bytes of one member; a single row may be long, but not so long


class Writer:
    """Writes a dump to `write`, which gets runs of bytes in order."""

    def __init__(self, write: Callable[[bytes], object], made_s: int) -> None:
        """`made_s`: seconds since 1970 that all members show."""
        self._write = write
        self._made_s = made_s
        self._digest = blake3()

    def member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o600, self._made_s
        for run in (info.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % _BLOCK)):
            if run:
                self._digest.update(run)
                self._write(run)

    def text(self, name: str, lines: Iterable[str]) -> None:
        body = "".join(f"{line}\n" for line in lines).encode()
        self.member(name, body + f'{{"blake3":"{blake3(body).hexdigest()}"}}\n'.encode())

    def end(self, facts: dict[str, Any]) -> None:
        """The trailer, and the end of the tar."""
        self.text(TRAILER, [as_json({**facts, "blake3": self._digest.hexdigest()})])
        self._write(_END)


class Member(NamedTuple):
    name: str
    data: bytes
    digest: str  # of the trailer: BLAKE3 of every byte before it, hex; "" of all others


class Reader:
    """Reads a dump from `stream`, strictly: what is cut or was changed raises ContentCorrupt, when it is met."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = blake3()

    def members(self) -> Iterator[Member]:
        """Members in order; the trailer is the last one, and comes only when the tar ends after it.

        Raises InvalidRequest for what is no dump.
        """
        name = ""
        while name != TRAILER:
            block = self._take(_BLOCK)
            info = _header(block, is_first=not name)
            name = info.name
            digest = self._digest.hexdigest() if name == TRAILER else ""
            padded = info.size + -info.size % _BLOCK
            run = self._take(padded)
            if run.count(0, info.size) != padded - info.size:
                raise ContentCorrupt(f"the dump is damaged: {name} is followed by what does not belong there")
            self._digest.update(block)
            self._digest.update(run)
            if name == TRAILER and self._take(len(_END)) != _END:
                raise ContentCorrupt("the dump is damaged: it goes on after its end")
            yield Member(name, run[: info.size], digest)

    def _take(self, size: int) -> bytes:
        """Exactly so many bytes: a pipe gives fewer at a time."""
        found = self._stream.read(size)
        if len(found) == size:
            return found
        runs = [found]
        left = size - len(found)
        while left:
            run = self._stream.read(left)
            if not run:
                raise ContentCorrupt("the dump is cut: it ends before its trailer")
            runs.append(run)
            left -= len(run)
        return b"".join(runs)


def _header(block: bytes, *, is_first: bool) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeError) as error:
        if is_first:
            raise InvalidRequest("this is not a dump of Kelp") from error
        raise ContentCorrupt("the dump is damaged: a header cannot be read") from error
    if is_first and info.name != MANIFEST:
        raise InvalidRequest("this is not a dump of Kelp")
    if not info.isreg() or not 0 <= info.size <= _LARGEST:
        raise ContentCorrupt(f"the dump is damaged: {info.name} is no member of a dump")
    return info


def text_lines(member: Member) -> list[bytes]:
    """The lines of a text, without the last, which proves them. Raises ContentCorrupt."""
    body, _, last = member.data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if last != f'{{"blake3":"{blake3(body).hexdigest()}"}}'.encode() or not member.data.endswith(b"\n"):
        raise ContentCorrupt(f"the dump is damaged: {member.name} does not have its checksum")
    return body.splitlines()


def document(member: Member) -> dict[str, Any]:
    """A text of one line."""
    return dict(json.loads(text_lines(member)[0]))


def as_json(value: object) -> str:
    """In ASCII: names may hold whatever breaks lines elsewhere."""
    return json.dumps(value, separators=(",", ":"))
