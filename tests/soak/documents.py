"""What people write: bytes that a number gives, every block of them unlike any other, so that none can be mistaken."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from tests.crash.ledger import Body

Path = tuple[str, ...]


@dataclass(frozen=True)
class Document:
    number: int
    size: int

    def data(self, start: int = 0, stop: int | None = None) -> bytes:
        """Its bytes from `start` up to `stop`, without those before them."""
        stop = self.size if stop is None else min(stop, self.size)
        return blake3(b"%d" % self.number).digest(length=stop - start, seek=start) if stop > start else b""

    def body(self) -> Body:
        return Body.of(self.data())
