"""What goes from where to where, as the transaction that moves it has found all of it."""

from __future__ import annotations

from dataclasses import dataclass

from vfs.model import Entry
from vfs.operations import sealing
from vfs.operations.guard import Standing
from vfs.operations.resealing import Border


@dataclass(frozen=True)
class Relocation:
    """`entry` stands at `here` and gets the place `there`. `mtime_ns`: the time that the client wishes it to have.
    `border`: what was sealed anew of it, where it goes into a vault or out of one."""

    here: Standing
    entry: Entry
    there: Standing
    now_ns: int
    border: Border
    mtime_ns: int | None = None

    @property
    def crosses(self) -> bool:
        return sealing.crosses(self.here.seal, self.there.seal)
