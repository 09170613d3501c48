"""An upload that rested for an hour, at the moment when the orphan batch comes for its objects."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import INSIDE, Held, Nodes, outcome, race
from vfs.operations import housekeeping

_HOUR = 3600


def rested(drive: Drive) -> None:
    """What is in the cache now is old, by the clock of its disk."""
    then = time.time() - 2 * _HOUR
    for file in Path(drive.kelp.settings.cache.url).rglob("*"):
        if file.is_file():
            os.utime(file, (then, then))


def test_orphans_do_not_go_while_their_upload_commits(nodes: Nodes) -> None:
    """The PUT has seen that its objects are there, and has not committed: the batch waits, and then they are known."""
    nodes.a.put("before")
    held = Held(INSIDE)
    with race(nodes.url) as at_once:
        put = at_once.start(nodes.a.put, "new", b"rested", condition=held)
        held.wait()
        rested(nodes.b)
        batch = at_once.start_waiting(housekeeping.remove_orphans, nodes.b.kelp)
        held.release()
        assert outcome(batch) == 0
        assert not isinstance(outcome(put), BaseException)
    assert nodes.b.read("new") == b"rested"
