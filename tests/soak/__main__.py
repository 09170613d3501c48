"""`python -m tests.soak`: exit code 1 when anything was wrong. Settings: SOAK_SECONDS, SOAK_PEOPLE …, see `Plan`.

SOAK_FOLDER: where the drive is made (a new one below the folder for temporary files when unset). SOAK_JSON: where the
report goes (soak.json). Engines as for all tests: KELP_TEST_ENGINES=production, see tests/engines.py.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests import engines
from tests.soak.running import Plan, soak


def main() -> int:
    if reason := engines.missing():
        print(reason)
        return 1
    plan = Plan.of_environment()
    folder = Path(os.environ.get("SOAK_FOLDER") or tempfile.mkdtemp(prefix="kelp-soak-"))
    print(f"{', '.join(engines.CHOSEN)}: {plan.seconds:.0f} s in {folder}, SOAK_SEED={plan.seed}", flush=True)
    report = soak(plan, folder, say=lambda line: print(line, flush=True))
    place = Path(os.environ.get("SOAK_JSON", "soak.json"))
    place.write_text(report.as_json())
    print(f"\n{report.as_text()}\n\nmore in {place}")
    if report.ok:
        shutil.rmtree(folder)
    else:
        print(f"the drive is kept in {folder}, its log is {folder / 'server.log'}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
