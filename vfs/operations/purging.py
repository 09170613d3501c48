"""What follows when something was deleted for good: the rows below it.

Each is safe to run twice and to be killed in: every step is one small transaction (spec §6).
"""

from __future__ import annotations

from vfs.core import Kelp
from vfs.model import Done

_LIMIT = 500


def spread_deletion(kelp: Kelp) -> Done:
    """A purge marks one row; what was below it, and is not a trash item of its own, follows here."""
    count = 0
    while True:
        with kelp.database.scan() as tx:  # the search looks at every folder: not while others wait to write
            below = tx.entries.left_below_deleted(_LIMIT)
        if not below:
            return Done(count)
        with kelp.database.write() as tx:
            tx.entries.delete_below_deleted(below)
            tx.versions.expire_of_deleted()
        count += len(below)
