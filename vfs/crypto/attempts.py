"""Failed log-ins: who tries too many passwords has to wait, longer each time, and disturbs nobody else (spec §10).

Three things are counted, in the memory of one process and for an hour after the last failure:

* **Pair** (address, account). Five failures are free, each one after that costs a wait that doubles, up to 15 minutes.
  This is what stops somebody who guesses one account from one place.
* **Address**, over all accounts. Twenty are free, then the same waits: who tries one password on many accounts never
  gets far with any pair.
* **Account**, over all addresses. When it is attacked from many places, a pair that never logged in gets one free
  failure instead of five, and its waits begin at a minute. It is never closed: whoever could close an account by
  guessing badly could lock its owner out. The owner's right password gets in from any address at the first try.

An address that logged in to an account before is known for it: only the pair's own count applies there, with waits
of a minute at most. So an attacker behind the same router, or a colleague with a stale password, can neither close
the address nor the account to those who are known. Credentials that were verified a short while ago, and those that are
known to be wrong, are not even asked about (`passwords.recall`): a program that repeats an old password for
days is no attack, costs nothing and blocks nobody.

While somebody waits, his attempts do not reach argon2. An address with failures has one verification at a time, and
only so many run for all strangers together, so the threads of a server are not all held by guesses.

An IPv6 address counts by its /64, which is what one customer has. An address is the peer of the connection, or what a
trusted proxy says of it: behind one that is not trusted all clients share the proxy's.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from vfs.errors import TooManyAttempts

_FREE_OF_PAIR = 5
_FREE_OF_ADDRESS = 20
_ATTACKED = 30  # failures from which an account counts as attacked
_LONGEST = 900.0  # seconds
_LONGEST_KNOWN = 60.0
_FIRST_ATTACKED = 60.0
_FORGOTTEN = 3600.0  # seconds after the last failure
_MOST_ENTRIES = 10_000  # of each kind; each is some 200 bytes
_MOST_STRANGERS = 12  # verifications that run or wait for their turn at the same time


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0  # no attempt before
    known: bool = False


class _Counts(OrderedDict[bytes, _Count]):
    """The most recent ones."""

    def of(self, key: bytes, now: float) -> _Count:
        """As it is now; not kept when nothing was counted."""
        count = self.get(key)
        if count is None:
            return _Count()
        if now - count.last > _FORGOTTEN:
            count.failures, count.until = 0, 0.0
        return count

    def keep(self, key: bytes, count: _Count) -> None:
        self[key] = count
        self.move_to_end(key)
        if len(self) > _MOST_ENTRIES:
            self.popitem(last=False)


class Attempts:
    """One per process. Safe to use from many threads; `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._pairs, self._addresses, self._accounts = _Counts(), _Counts(), _Counts()
        self._running: Counter[bytes] = Counter()  # verifications by address
        self._marks: Counter[bytes] = Counter()  # … and by credentials

    @contextmanager
    def admitted(self, address: str, account: str, mark: bytes) -> Iterator[None]:
        """For as long as credentials are verified; `mark` is the same for the same credentials.

        `address` "" is this machine itself, which is never refused. Raises TooManyAttempts.
        """
        if not address:
            yield
            return
        pair, place, _ = keys = _keys(address, account)
        with self._guard:
            wait = self._wait(keys, mark)
            if wait > 0:
                raise TooManyAttempts("too many failed log-ins, wait before the next", math.ceil(wait))
            self._running[place] += 1
            self._marks[pair + mark] += 1
        try:
            yield
        finally:
            with self._guard:
                for counter, key in ((self._running, place), (self._marks, pair + mark)):
                    counter[key] -= 1
                    if not counter[key]:
                        del counter[key]

    def note(self, address: str, account: str, right: bool) -> None:
        """The outcome of a verification."""
        if not address:
            return
        pair, place, name = _keys(address, account)
        now = self._now()
        with self._guard:
            count = self._pairs.of(pair, now)
            if right:
                self._pairs.keep(pair, _Count(last=now, known=True))
                return
            attacked = self._accounts.of(name, now).failures >= _ATTACKED
            if count.known:
                self._fail(self._pairs, pair, _FREE_OF_PAIR, 1.0, _LONGEST_KNOWN)
            elif attacked:
                self._fail(self._pairs, pair, 1, _FIRST_ATTACKED, _LONGEST)
            else:
                self._fail(self._pairs, pair, _FREE_OF_PAIR, 1.0, _LONGEST)
            self._fail(self._addresses, place, _FREE_OF_ADDRESS, 1.0, _LONGEST)
            self._fail(self._accounts, name, _ATTACKED, 0.0, 0.0)

    def _fail(self, counts: _Counts, key: bytes, free: int, first: float, longest: float) -> None:
        now = self._now()
        count = counts.of(key, now)
        count.failures += 1
        count.last = now
        beyond = count.failures - free
        if beyond >= 0:
            count.until = now + min(longest, first * 2.0 ** min(beyond, 30))
        counts.keep(key, count)

    def _wait(self, keys: tuple[bytes, bytes, bytes], mark: bytes) -> float:
        """Seconds until these credentials may be tried; 0 is now."""
        pair, place, _ = keys
        now = self._now()
        count = self._pairs.of(pair, now)
        wait = count.until - now
        if count.known or wait > 0:
            return wait
        address = self._addresses.of(place, now)
        if address.until > now:
            return address.until - now
        if self._marks[pair + mark]:  # the same client on several connections: it is verified once
            return 0.0
        if address.failures and self._running[place]:
            return 1.0
        return 1.0 if self._running.total() >= _MOST_STRANGERS else 0.0


def _keys(address: str, account: str) -> tuple[bytes, bytes, bytes]:
    """Of pair, address and account: of one size, however long a name somebody sends."""
    place, name = _network(address), account.encode("utf-8", "surrogatepass")
    return _digest(place + b"\0" + name), _digest(place), _digest(name)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


@lru_cache(maxsize=1024)
def _network(address: str) -> bytes:
    """What stands for one customer: an IPv4 address, the /64 of an IPv6 one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.encode("utf-8", "surrogatepass")
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.ipv4_mapped.packed if ip.ipv4_mapped else ip.packed[:8]
    return ip.packed
