"""An upload that rested for an hour, at the moment when the orphan batch comes for its objects."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import INSIDE, Held, Nodes, outcome, race
from vfs.model import Done, Entry, Expected
from vfs.operations import contents, orphans

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
        batch = at_once.start_waiting(orphans.remove_orphans, nodes.b.kelp)
        held.release()
        assert outcome(batch) == Done()
        assert not isinstance(outcome(put), BaseException)
    assert nodes.b.read("new") == b"rested"


def test_changes_come_in_between_while_a_slow_store_removes_orphans(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_HELD", 0.0)
    for _ in range(3):
        contents.store(nodes.b.kelp, [b"left by a kill"], Expected())
    rested(nodes.b)
    put: list[Future[Entry]] = []
    delete = nodes.b.kelp.cache.delete

    def slow(key: str) -> None:
        if key.startswith("clock"):
            pass
        elif not put:
            put.append(at_once.start_waiting(nodes.a.put, "new"))
        else:
            assert not isinstance(outcome(put[0]), BaseException)
        delete(key)

    monkeypatch.setattr(nodes.b.kelp.cache, "delete", slow)
    with race(nodes.url) as at_once:
        assert orphans.remove_orphans(nodes.b.kelp).count == 3
