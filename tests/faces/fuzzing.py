"""Requests that no client sends, made from those that clients do send, and what a server may answer to them.

Each case is made from a seed and its number alone, so a failure is found again by both.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faces.fuzz_words import BYTES, FIELDS, METHODS, TARGETS, VALUES
from tests.faces.replay_format import Repeat, Step, parse

REPLAYS = Path(__file__).parent / "replay"
PATIENCE = 60.0  # seconds until a connection that says nothing counts as hanging
_LARGEST_BODY = 20_000  # bytes; a fuzz run is about many requests, not big ones
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+\r\n")  # in a multi-status no CRLF follows
# Not implemented, another server's Destination, an HTTP version we do not speak, a disk that is full.
_ALLOWED = frozenset((b"501", b"502", b"505", b"507"))


@dataclass(frozen=True)
class Shape:
    """A request before it is bytes. `body` None: none, and no Content-Length."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes | None = None
    chunked: bool = False

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.fields)]
        body = self.body or b""
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in _split(body, 4)) + b"0\r\n\r\n"
        elif self.body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def _split(data: bytes, parts: int) -> Iterator[bytes]:
    size = max(1, len(data) // parts)
    return (data[at : at + size] for at in range(0, len(data), size))


def shapes(basic: str, drive: str) -> list[Shape]:
    """What the replays send, below the folder `drive`."""
    known = {"drive": drive, "base": "http://localhost", "host": "localhost", "sha1": "0" * 40}
    found: dict[Shape, None] = {}
    for file in sorted(REPLAYS.glob("*.replay")):
        for part in parse(file):
            for step in part.steps if isinstance(part, Repeat) else (part,):
                if step.request:
                    found[_shape(step, basic, known)] = None
    return list(found)


def _shape(step: Step, basic: str, known: dict[str, str]) -> Shape:
    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\??\}", lambda match: known.get(match[1], f"urn:uuid:{match[1]}"), text)

    method, _, target = filled(step.request).partition(" ")
    fields = {"Host": "localhost", "Authorization": basic}
    for name, value in step.headers:
        if name.lower() not in ("content-length", "transfer-encoding"):
            fields[name] = filled(value)
    body = filled("".join(step.text)).encode() if step.text is not None else None
    if step.content is not None:
        size = min(step.content.stop - step.content.start, _LARGEST_BODY)
        body = random.Random(step.content.name).randbytes(size)
    latin = {name: value.encode().decode("latin-1") for name, value in fields.items()}
    return Shape(method, target.encode().decode("latin-1"), tuple(latin.items()), body, step.chunked)


class Cases:
    """The endless list of what is sent, each on a connection of its own."""

    def __init__(self, basic: str, drive: str, seed: int) -> None:
        self._shapes = shapes(basic, drive)
        self._seed = seed

    def __getitem__(self, number: int) -> bytes:
        dice = random.Random(f"{self._seed}/{number}")
        if dice.random() < 0.05:
            return dice.randbytes(dice.randrange(2000))
        several = dice.choices((1, 2, 5), (8, 2, 1))[0]
        return b"".join(self._one(dice) for _ in range(several))

    def _one(self, dice: random.Random) -> bytes:
        shape = dice.choice(self._shapes)
        for _ in range(dice.choices((0, 1, 2, 4), (2, 5, 3, 1))[0]):
            shape = dice.choice(_CHANGES)(dice, shape)
        data = shape.encode()
        if dice.random() < 0.3:
            data = _spoil(dice, data, dice.choices((1, 3, 20), (5, 3, 1))[0])
        return data


Change = Callable[[random.Random, Shape], Shape]


def _method(dice: random.Random, shape: Shape) -> Shape:
    return replace(shape, method=dice.choice(METHODS))


def _target(dice: random.Random, shape: Shape) -> Shape:
    if dice.random() < 0.5:
        return replace(shape, target=dice.choice(TARGETS))
    return replace(shape, target=_spoil(dice, shape.target.encode("latin-1"), 2).decode("latin-1"))


def _value(dice: random.Random, shape: Shape) -> Shape:
    fields = list(shape.fields)
    at = dice.randrange(len(fields))
    name, value = fields[at]
    spoilt = _spoil(dice, value.encode("latin-1"), 2).decode("latin-1")
    fields[at] = (name, dice.choice((spoilt, dice.choice(VALUES))))
    return replace(shape, fields=tuple(fields))


def _another_field(dice: random.Random, shape: Shape) -> Shape:
    field = (dice.choice(FIELDS), dice.choice(VALUES))
    at = dice.randrange(len(shape.fields) + 1)
    return replace(shape, fields=(*shape.fields[:at], *[field] * dice.choice((1, 1, 2, 300)), *shape.fields[at:]))


def _fewer_fields(dice: random.Random, shape: Shape) -> Shape:
    gone = dice.randrange(len(shape.fields))
    return replace(shape, fields=(*shape.fields[:gone], *shape.fields[gone + 1 :]) or (("Host", "localhost"),))


def _body(dice: random.Random, shape: Shape) -> Shape:
    body = shape.body or dice.randbytes(dice.randrange(100))
    return replace(shape, body=_spoil(dice, body, dice.choice((1, 3, 10))))


def _other_body(dice: random.Random, shape: Shape) -> Shape:
    return replace(shape, body=dice.choice((None, b"", b"x", b"<", b"<a/>", bytes(5000), dice.randbytes(3000))))


def _framing(_: random.Random, shape: Shape) -> Shape:
    return replace(shape, chunked=not shape.chunked)


_CHANGES: Sequence[Change] = (_method, _target, _value, _value, _value, _another_field, _another_field, _fewer_fields)
_CHANGES = (*_CHANGES, _body, _body, _body, _other_body, _framing)


def _spoil(dice: random.Random, data: bytes, times: int) -> bytes:
    """Change, insert, remove, repeat or cut something, `times` times."""
    spoilt = bytearray(data)
    for _ in range(times):
        at = dice.randrange(len(spoilt) + 1)
        end = min(len(spoilt), at + dice.choice((1, 1, 4, 30)))
        match dice.randrange(6):
            case 0:
                spoilt[at:end] = dice.randbytes(end - at)
            case 1:
                spoilt[at:at] = dice.choice(BYTES)
            case 2:
                del spoilt[at:end]
            case 3:
                spoilt[at:at] = spoilt[at:end] * dice.choice((1, 2, 50))
            case 4 if at < len(spoilt):
                spoilt[at] ^= 1 << dice.randrange(8)
            case 5 if dice.random() < 0.2:
                del spoilt[at:]
    return bytes(spoilt)


def converse(port: int, data: bytes, dice: random.Random) -> bytes:
    """Send a case, in some pieces, and say that this was all; everything that comes back until the connection ends.

    Raises TimeoutError when it does not end.
    """
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as connection:
        with contextlib.suppress(ConnectionError):  # it may have been refused already
            for piece in _split(data, dice.choices((1, 2, 7), (8, 3, 1))[0]):
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
        return bytes(received)


def statuses(answer: bytes) -> list[str]:
    return [status.decode() for status in _STATUS.findall(answer)] or ["none"]


def complaint(answer: bytes) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer and not _STATUS.match(answer):
        return "no HTTP"
    for status in _STATUS.findall(answer):
        if status[:1] == b"5" and status not in _ALLOWED:
            return status.decode()
    return "a traceback" if b"Traceback" in answer else None
