"""The invariants, checked: database ↔ cache ↔ NAS (design §1). `kelp check`, and the end of every test.

It may run beside everything else, and holds no more than a page of rows in memory, however many there are. With
`repair` it sets right at once what the good side allows (`repairing`); else it changes nothing.
"""

from __future__ import annotations

from vfs.core import Kelp
from vfs.operations.checks import cache, nas, rows
from vfs.operations.checks.findings import Look, Problem, Progress, Report

__all__ = ["Problem", "Report", "check"]


def check(
    kelp: Kelp,
    *,
    mirrored: bool = False,
    deep: bool = True,
    repair: bool = False,
    progress: Progress = lambda what, count: None,
) -> Report:
    """Check every invariant that holds at rest.

    `mirrored`: also that nothing is left to be carried to the NAS and nothing foreign is on it. `deep`: read every
    byte of cache and NAS and compare checksums. Raises NasDown only for `mirrored`; else a NAS that is away is a
    problem in the report, as a cache is that is away.
    """
    look = Look(kelp, mirrored=mirrored, deep=deep, repairs=repair, progress=progress)
    entries = rows.look(look)
    objects = cache.look(look)
    nas_files = nas.look(look)
    return look.report(entries, objects, nas_files)
