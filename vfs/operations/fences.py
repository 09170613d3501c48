"""The fence check of a batch: whose its jobs are is asked for all of them at once, and again every moment.

Where one machine has the database, its clock is everybody's: nobody takes over a lease before the time until which it
was seen to last. So what was seen holds for a moment, whatever others commit meanwhile; it was asked anew after each
commit of anybody. Not once that clock was set back: a lease that lasts absurdly long then is taken over at once.
Elsewhere clocks differ, and each check asks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from vfs.core import Kelp
from vfs.nas_model import Job
from vfs.operations import mirroring

_FRESH = 0.5  # seconds


class Fences:
    """Of one thread's jobs."""

    def __init__(self, kelp: Kelp, jobs: Iterable[Job]) -> None:
        self._kelp = kelp
        self._fences = [job.fence for job in jobs]
        self._expires: dict[int, int] = {}
        self._looked = -math.inf
        self._longest = int(kelp.settings.mirror.lease * mirroring.SECOND)

    def hold(self, job: Job) -> bool:
        """Right before a step touches the tree: nobody has taken it over."""
        if not self._kelp.database.is_near:
            return mirroring.still_mine(self._kelp, job)
        now = time.monotonic()
        if now - self._looked > _FRESH or not 0 < self._left(job) <= self._longest:
            self._looked = now
            with self._kelp.database.read() as tx:
                self._expires = tx.leases.expiries(self._fences)
        return self._left(job) > 0

    def _left(self, job: Job) -> int:
        """Nanoseconds that it lasts, as far as was seen."""
        return self._expires.get(job.fence, 0) - self._kelp.clock.now_ns()
