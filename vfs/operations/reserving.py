"""Room for new bytes: `cache.hard_limit` is never passed by what only the cache has, however many processes write.

A process is granted bytes by a small transaction (64 MiB at a time, less near the limit), and gives them to its
uploads from memory. `base + granted`, two rows that every grant changes under one lock, are at every instant at least
what waits for the NAS plus all grants: granted bytes stay counted when they have become files. What was carried to the
NAS, or deleted, since then is found by adding up what waits, when the sum comes to the limit:

    base = what waits + all grants that hold - granted        (of one snapshot)

is true for ever, since whatever is committed after that snapshot was within a grant of the snapshot, or of a later one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from vfs import turns
from vfs.core import Kelp
from vfs.errors import NoSpace
from vfs.escrow import LIFETIME
from vfs.metadata.retrying import retried
from vfs.operations import cache_limits
from vfs.operations.sealed_contents import sealed_size

_SECOND = 1_000_000_000
_GRANT = 64 * 1024 * 1024
_PORTION = 16  # no more than this part of what is left is granted at once, beyond what is asked for
_STEP = 1024 * 1024  # what an upload of unknown length takes at a time, at most
_REFUSED = 0.2  # seconds in which nobody asks again for what was refused
_SHARE = 20  # adding up takes at most one of so many seconds


class Reservation:
    """Bytes of one upload. `stays`: what came is, or may be, in the drive; else it gives back its bytes."""

    def __init__(self, kelp: Kelp, limit: int | None, *, sealed: bool = False) -> None:
        """`sealed`: what comes is plain, and takes somewhat more in the cache."""
        self._kelp, self._limit = kelp, limit
        self._sealed, self._plain = sealed, 0
        self._size = 0  # reserved
        self._come = 0  # of those, what came
        self.stays = False

    def grow(self, size: int) -> None:
        """Raises NoSpace."""
        if self._limit is not None and size:
            _take(self._kelp, size, self._limit)
            self._size += size

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks; what goes beyond the reserved bytes is reserved as it comes. Raises NoSpace."""
        for chunk in chunks:
            self.count(len(chunk))
            yield chunk

    def count(self, size: int) -> None:
        """So many bytes more have come. By one thread at a time. Raises NoSpace."""
        self._count(size)
        if self._come > self._size:
            self._follow()
        if not self._kelp.escrow.is_fresh():  # a client may take hours
            self._renew()

    def adopt(self, other: Reservation) -> None:
        """What was reserved for a part of this upload is of this one; the other has nothing any more."""
        self._size, other._size = self._size + other._size, 0
        self._come, other._come = self._come + other._come, 0

    def _count(self, size: int) -> None:
        if self._sealed:
            self._plain += size
            self._come = sealed_size(self._plain)
        else:
            self._come += size

    def _follow(self) -> None:
        """Of an upload that does not tell its length: some bytes more than what came, where there are any."""
        short = self._come - self._size
        ahead = min(self._size, _STEP)
        if ahead > short:
            with suppress(NoSpace):
                return self.grow(ahead)
        self.grow(short)

    def confirm(self) -> None:
        """Right before the commit: there is room for all that came. Raises NoSpace when so much time has passed that
        others may have taken it."""
        if not self._kelp.escrow.holds():
            self._renew()

    def _renew(self) -> None:
        if self._limit is not None and self._size:
            _ask(self._kelp, 0, self._limit)

    def end(self) -> None:
        came = min(self._come, self._size) if self.stays else 0
        if came:
            self._kelp.escrow.settle(came)
        if self._size > came:
            self._kelp.escrow.give_back(self._size - came)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def reserve(kelp: Kelp, size: int, *, counted: bool = False, sealed: bool = False) -> Reservation:
    """Room for `size` bytes, for the length of the block that it is used for; 0: for what comes, as it comes. Raises
    NoSpace.

    `sealed`: as for `Reservation`; `size` is what they take in the cache. `counted`: they take the place of bytes that
    wait already, in the very commit that shows them, so they need none.
    """
    reservation = Reservation(kelp, None if counted else cache_limits.hard_limit(kelp), sealed=sealed)
    reservation.grow(size)
    return reservation


def _take(kelp: Kelp, size: int, limit: int) -> None:
    if not kelp.escrow.take(size):
        _ask(kelp, size, limit)


def _ask(kelp: Kelp, size: int, limit: int) -> None:
    """Be granted `size` more bytes, and what is held already again. Raises NoSpace."""
    escrow = kelp.escrow
    with _alone(escrow.asking):
        if escrow.take(size) if size else escrow.is_fresh():  # somebody else asked meanwhile
            return
        rest = escrow.take_rest(size)
        if escrow.is_refused(size - rest) or not _granted(kelp, size - rest, limit):
            escrow.give_back(rest)
            if size or not escrow.holds():
                raise NoSpace(f"{size} bytes do not fit beside what waits in the cache for the NAS")


def _granted(kelp: Kelp, size: int, limit: int) -> bool:
    if _grant(kelp, size, limit):
        return True
    if kelp.escrow.may_measure():
        began = time.monotonic()
        cache_limits.rebase(kelp)
        kelp.escrow.measured(_SHARE * (time.monotonic() - began))
        if _grant(kelp, size, limit):
            return True
    kelp.escrow.refused(size, _REFUSED)
    return False


@contextmanager
def _alone(lock: threading.Lock) -> Iterator[None]:
    if not lock.acquire(blocking=False):
        with turns.waiting():
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@retried
def _grant(kelp: Kelp, size: int, limit: int) -> bool:
    """False when it would pass the limit, as far as is known, or when nothing is known yet."""
    escrow = kelp.escrow
    began, now = time.monotonic(), kelp.clock.now_ns()
    held = escrow.held  # before the look: what is settled from here on was committed, and counts for a moment twice
    with kelp.database.write(quiet=True) as tx:
        tx.lock_grants()
        account = tx.holdings.account()
        if account is None:
            return False
        base, granted = account
        again = 0 if tx.holdings.grant_of(escrow.owner, now) is not None else held  # it is void, and not counted
        left = limit - base - granted
        fits = size + again <= left or not size + again
        if not fits and again:
            return False
        more = size if fits else 0
        spare = min(_GRANT, max(left - more - again, 0) // _PORTION) if more else 0
        if more + again:
            tx.holdings.set_granted(granted + more + spare + again)
        # Refused too: less than before, since what has become files is counted as such.
        tx.holdings.set_grant(escrow.owner, held + more + spare, now + int(LIFETIME * _SECOND))
    escrow.granted(more, spare, began)
    return fits
