"""Contents that nobody can reach, while somebody begins to refer to them."""

from __future__ import annotations

import contextlib

import pytest

from tests.rooms.postgresql.racing import Nodes, outcome, race
from tests.rooms.postgresql.test_waiting import listing_held
from vfs.errors import Conflict
from vfs.operations import freeing

_LONG = 3600.0


def test_a_copy_that_commits_while_its_content_is_freed_keeps_it(nodes: Nodes) -> None:
    """The copy took so long that its source was deleted, marked and found free meanwhile."""
    nodes.a.folder("f")
    content_id = nodes.a.put("f/x", b"still wanted").content_id
    assert content_id is not None
    with race(nodes.url) as at_once, contextlib.ExitStack() as last_lock:
        last_lock.enter_context(listing_held(nodes.url))
        copy = at_once.start_waiting(nodes.a.copy, "f", "g")
        nodes.b.remove("f/x")
        nodes.b.clock.advance(_LONG)
        freeing.free_contents(nodes.b.kelp)
        nodes.b.clock.advance(_LONG)
        with pytest.raises(Conflict), nodes.b.kelp.database.write() as tx:
            now = nodes.b.clock.now_ns()
            assert tx.freeing.still_freeable([content_id], now, now) == [content_id]
            last_lock.close()
            assert not isinstance(outcome(copy), BaseException)
            tx.freeing.forget([content_id], now)
    assert nodes.a.read("g/x") == b"still wanted"
    freeing.free_contents(nodes.b.kelp)
    nodes.b.clock.advance(_LONG)
    freeing.free_contents(nodes.b.kelp)
    assert nodes.a.read("g/x") == b"still wanted"
