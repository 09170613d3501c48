"""What every operation gets as its first argument: the drive, joined by `bootstrap.build`, frozen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vfs.background import Background
from vfs.crypto.attempts import Attempts
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.opened_lists import OpenedLists
from vfs.crypto.passwords import Passwords
from vfs.escrow import Allowance, Ample, Escrow, Seen
from vfs.gate import Gate
from vfs.holds import Holds
from vfs.metadata.database import Database
from vfs.settings import Settings
from vfs.storage.nas_store import NasStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.small_contents import SmallContents
from vfs.token_uses import TokenUses


class Clock(Protocol):
    def now_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()


@dataclass(frozen=True, slots=True)
class QueueState:
    """`away`: why the queue cannot be reached, in a few words, "" while it answers; `since_ns`: since when."""

    away: str = ""
    since_ns: int = 0


class JobQueue(Protocol):
    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        """Ask for `job` on row `id`. Only a nudge: the database holds what is to be done, a lost one costs time.

        Called by requests after their commit: it neither waits nor raises.
        """

    def state(self) -> QueueState:
        """As last seen; does not wait."""


class NoQueue:
    """For a process that only commits (a command line call): the sweep of the serving process picks it up."""

    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        return

    def state(self) -> QueueState:
        return QueueState()


@dataclass(frozen=True, slots=True)
class Kelp:
    settings: Settings
    database: Database
    cache: ObjectStore
    nas: NasStore
    queue: JobQueue
    passwords: Passwords
    small: SmallContents  # of sealed ones what they show
    opened_lists: OpenedLists  # what opens the parts of sealed ones
    attempts: Attempts
    keys: KeyRing  # the private keys that this process has, and the keys of vaults that they open
    token_uses: TokenUses
    gate: Gate  # who may come, by network address
    clock: Clock
    holds: Holds  # what this process reads just now
    background: Background  # work that nobody waits for
    escrow: Escrow  # bytes that this process may bring in
    allowance: Allowance  # … and that its restores may bring back
    nas_ample: Ample  # the NAS had room a moment ago
    within_limits: Seen  # the cache was, as far as this process saw
    close: Callable[[], None]
