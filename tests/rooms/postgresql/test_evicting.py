"""Objects that leave the cache, while people go on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from tests.rooms.postgresql.racing import Nodes
from vfs.metadata.evicting import Evicting
from vfs.operations import evicting, trashing


@pytest.mark.parametrize("look", [1, 2], ids=["before it is marked", "before it goes"])
def test_what_is_purged_between_two_looks_is_left_alone(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """The next statement of the round no longer sees that anybody has it; the round goes on with the others."""
    nodes.a.put("gone", b"of the purged file")
    nodes.a.put("stays", b"of the other")
    nodes.a.mirror()
    holders = Evicting.holders
    looks = count(1)

    def purged_meanwhile(self: Evicting, keys: Sequence[str]) -> dict[str, list[str]]:
        if next(looks) == look:
            nodes.b.remove("gone")
            trashing.empty_trash(nodes.b.kelp, nodes.b.admin)
        return holders(self, keys)

    monkeypatch.setattr(Evicting, "holders", purged_meanwhile)
    done = evicting.evict(nodes.a.kelp, 1 << 20)
    assert done.count == 1
    assert nodes.b.read("stays") == b"of the other"
