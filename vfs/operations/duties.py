"""Who does what only one process should do: a row that says who, until when. The others look again later."""

from __future__ import annotations

import logging
import math
import time

from vfs.core import Kelp
from vfs.errors import KelpError

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000


def take(kelp: Kelp, duty: str, owner: str, seconds: float) -> bool:
    """Take `duty`, or keep it, for so long from now; False when another has it.

    It spares work that is done already and protects nothing: what is done under it must be safe when two do it, since
    clocks of two machines differ.
    """
    name, now = f"duty:{duty}", kelp.clock.now_ns()
    with kelp.database.read() as tx:
        held = tx.accounts.value(name)
    if held is not None:
        holder, _, until = held.rpartition(" ")
        if holder != owner and now < int(until) <= now + 2 * int(seconds * _SECOND):
            return False  # later still was written by a clock that was wrong, and could keep all away for years
    mine = f"{owner} {now + int(seconds * _SECOND)}"
    with kelp.database.write() as tx:
        if held is None:
            sql = "INSERT INTO installation (name, value) VALUES (:name, :mine) ON CONFLICT (name) DO NOTHING"
            return tx.count(sql, name=name, mine=mine) == 1
        sql = "UPDATE installation SET value = :mine WHERE name = :name AND value = :held"
        return tx.count(sql, name=name, mine=mine, held=held) == 1


def lay_down(kelp: Kelp, duty: str, owner: str) -> None:
    """Let another take it at once."""
    name = f"duty:{duty}"
    with kelp.database.read() as tx:
        held = tx.accounts.value(name)
    if held is not None and held.rpartition(" ")[0] == owner:
        with kelp.database.write() as tx:
            tx.run("DELETE FROM installation WHERE name = :name AND value = :held", name=name, held=held)


class Duty:
    """A duty as one process sees it: taken when it is free, renewed now and then, so that few commits tell of it."""

    def __init__(self, kelp: Kelp, name: str, owner: str, look: float, *, alone: bool) -> None:
        """`look`: seconds between two looks at the row; it ends by itself after 2.5 of them. `alone`: nobody else can
        have it, so there is no row."""
        self._kelp, self._name, self._owner, self._look = kelp, name, owner, look
        self._alone = alone
        self._mine = False
        self._looked = -math.inf  # monotonic

    def has(self) -> bool:
        """Whose it is by the last look, which is not long ago. Does not raise: without a database, it is not ours."""
        if self._alone:
            return True
        if time.monotonic() >= self._looked + self._look:
            try:
                self._mine = take(self._kelp, self._name, self._owner, 2.5 * self._look)
            except KelpError as error:
                log.debug("duty %s: %s", self._name, error)
                self._mine = False
            self._looked = time.monotonic()
        return self._mine

    def lay_down(self) -> None:
        """Raises KelpError."""
        if self._mine:
            self._mine = False
            lay_down(self._kelp, self._name, self._owner)
