"""What `kelp doctor` finds: one line each, with the measured fact and, when it is wrong, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from vfs.vault_model import ClosedVault, Recipient


class Mark(StrEnum):
    OK = "ok"
    NOTE = "note"  # neither right nor wrong, or could not be looked at
    WARNING = "warning"  # works, and will be regretted
    ERROR = "error"  # must be put right


@dataclass(frozen=True, slots=True)
class Finding:
    """`area` and `check` are names that programs may rely on; `advice` is "" where nothing is to be done."""

    mark: Mark
    area: str
    check: str
    fact: str
    advice: str = ""


class Area:
    """Makes the findings of one part of the drive."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ok(self, check: str, fact: str) -> Finding:
        return Finding(Mark.OK, self.name, check, fact)

    def note(self, check: str, fact: str, advice: str = "") -> Finding:
        return Finding(Mark.NOTE, self.name, check, fact, advice)

    def warning(self, check: str, fact: str, advice: str) -> Finding:
        return Finding(Mark.WARNING, self.name, check, fact, advice)

    def error(self, check: str, fact: str, advice: str) -> Finding:
        return Finding(Mark.ERROR, self.name, check, fact, advice)


@dataclass(frozen=True, slots=True)
class Check:
    """`find` yields findings as they are made, and cleans up in its `finally` blocks when it is closed early."""

    area: str
    find: Callable[[], Iterator[Finding]]
    when_silent: str = ""  # advice when no answer comes


class ClockReading(NamedTuple):
    """How far the clock of `whose` is ahead of this machine's, and how exact that is; seconds."""

    whose: str
    ahead: float
    within: float


@dataclass(slots=True)
class Waiting:
    """What is not on the NAS yet. `away_ns`: since when the queue cannot be reached, 0: it can."""

    open: int
    failed: int
    bytes: int
    oldest_ns: int | None
    nas_up: bool
    nas_reason: str
    queue_away_ns: int


@dataclass(slots=True)
class Sealing:
    """Who may open vaults, retired ones too; the vaults; and how many of these are not wrapped for all who may."""

    recipients: list[Recipient]
    vaults: list[ClosedVault]
    behind: int


@dataclass(slots=True)
class Readings:
    """What one check learns and a later one needs; None: nobody could tell."""

    installation: str | None = None
    waiting: Waiting | None = None
    sealing: Sealing | None = None
    clocks: list[ClockReading] = field(default_factory=list)
