"""Run checks one after another, so that none can hang the whole and none leaves anything behind.

A system call on a dead NFS mount does not return and cannot be interrupted, so each check has a thread of its own. One
that is left alone stops at its next finding and cleans up, if it ever comes that far.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

from vfs.errors import KelpError
from vfs.operations.diagnosis.findings import Area, Check, Finding

log = logging.getLogger(__name__)

_MORE = "--log-level debug shows more"
_GRACE = 2.0  # seconds at the end for checks that were left alone


def run(checks: Iterable[Check], patience: float = 10.0) -> Generator[Finding, None, None]:
    """Findings as they are made. A check that makes none for `patience` seconds is left alone.

    Closing the generator, or an exception such as KeyboardInterrupt in it, waits until the check at work has cleaned
    up, `patience` seconds at most.
    """
    left: list[_Run] = []
    for check in checks:
        at_work = _Run(check)
        try:
            yield from at_work.findings(patience)
        except queue.Empty:
            left.append(at_work)
            advice = check.when_silent or "find out what it waits for; the rest of this part was not looked at"
            yield Area(check.area).error("answer", f"none within {patience:.0f} s", advice)
        except BaseException:
            at_work.leave(patience)
            raise
    for each in left:
        each.leave(_GRACE)


class _Run:
    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"kelp-doctor-{check.area}", daemon=True)

    def findings(self, patience: float) -> Iterator[Finding]:
        """Raises queue.Empty when none came in time."""
        self._thread.start()
        try:
            while (finding := self._found.get(timeout=patience)) is not None:
                yield finding
        except queue.Empty:
            self._left.set()
            raise

    def leave(self, patience: float) -> None:
        self._left.set()
        self._thread.join(patience)

    def _work(self) -> None:
        found = self._check.find()
        try:
            for finding in found:
                self._found.put(finding)
                if self._left.is_set():
                    break
        except (KelpError, OSError) as error:
            self._found.put(self._failed(str(error), self._check.when_silent or _MORE))
        except Exception as error:
            log.debug("%s", self._check.area, exc_info=True)
            self._found.put(self._failed(f"{type(error).__name__}: {error}", _MORE))
        finally:
            if isinstance(found, Generator):
                with suppress(Exception):
                    found.close()
            self._found.put(None)

    def _failed(self, why: str, advice: str) -> Finding:
        return Area(self._check.area).error("check", why, advice)
