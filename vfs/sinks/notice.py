"""What a sink is given, what it does, and how it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

SECONDS = 15.0  # for each answer of a sink that is waited for
_ALTOGETHER = 60.0  # … and for all of them


class Untold(Exception):
    """A sink could not be told; the text says why, in one line, without a password or a secret path."""


@dataclass(frozen=True, slots=True)
class Notice:
    """News of one alert. `what`: "begin", "end", "both" (it began and ended before it could be told) or "test"."""

    what: str
    id: str
    kind: str
    subject: str
    severity: str
    message: str  # one line
    count: int
    opened_ns: int
    closed_ns: int | None
    trace_id: str = ""

    @property
    def title(self) -> str:
        about = f" ({self.subject})" if self.subject else ""
        over = {"end": " is over", "both": " came and is over"}.get(self.what, "")
        return f"{self.kind}{about}{over}: {self.message}"


class Sink(Protocol):
    name: str  # in the column `untold`
    at_once: int  # notices that one message can hold

    @property
    def target(self) -> str:
        """Who is told, for people; no secret."""

    def check(self) -> None:
        """Raises Untold when the settings are such that nobody can ever be told."""

    def send(self, notices: Sequence[Notice]) -> None:
        """Tell all of them in one message. Raises Untold; it may have arrived nevertheless."""


def time_in_words(ns: int) -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def one_line(text: object, limit: int = 200) -> str:
    """What a stranger's server said, harmless in a log."""
    return "".join(c if c.isprintable() else " " for c in " ".join(str(text).split()))[:limit]


def in_time(send: Callable[[], None]) -> None:
    """Give up after a minute: a name that is looked up has no limit of time, nor a server that drips.

    Raises Untold, or what `send` raises. It goes on by itself, and may still succeed.
    """
    failures: list[BaseException | None] = []

    def run() -> None:
        try:
            send()
            failures.append(None)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="kelp-sink", daemon=True)
    thread.start()
    thread.join(_ALTOGETHER)
    if not failures:
        raise Untold(f"no end after {_ALTOGETHER:g} s")
    if failures[0] is not None:
        raise failures[0]
