"""`python -m tests.outages [WAY …]`: what clients feel while the NAS is away, by Kelp's own times. Needs root.

KELP_OUTAGE_SECONDS: how long it is away (120); before and after it the load goes on for a quarter of that. Exit code 1
when anything failed; that a request took more than twice as long is told, and up to whoever reads it: it depends on the
machine.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

from tests.outages.nas_places import WAYS
from tests.outages.outage import alerts_of, drive_on, suffer, verify
from tests.services import hanging_disk


def main() -> int:
    if reason := hanging_disk.missing():
        print(reason)
        return 1
    seconds = float(os.environ.get("KELP_OUTAGE_SECONDS", "120"))
    failed = 0
    for way in sys.argv[1:] or WAYS:
        with tempfile.TemporaryDirectory(prefix="kelp-outage-") as folder:
            try:
                _report(way, Path(folder), seconds)
            except AssertionError as error:
                print(f"{way}: FAILED: {error}\n", flush=True)
                failed += 1
    return int(failed > 0)


def _report(way: str, folder: Path, seconds: float) -> None:
    with drive_on(way, folder, seed=random.randrange(1, 1_000_000)) as drive:
        course = suffer(drive, way, seconds, around=max(seconds / 4, 2), limit=60)
        print(course.report())
        verify(drive)
        alerts = alerts_of(drive, "NAS_DOWN")
        assert alerts == [True], f"alerts of the outage, and whether each is over: {alerts}"
        print(
            "no request failed, no retry was used up, one alert came and went, and the NAS shows the drive\n",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
