"""Two who change at once what neither of them has under the name it asked for."""

from __future__ import annotations

from functools import partial

from tests.rooms.postgresql.racing import Nodes, outcome, race
from tests.rooms.postgresql.test_waiting import listing_held
from vfs.errors import InvalidRequest
from vfs.model import OnConflict, Role, State
from vfs.operations import access, trashing


def test_a_document_keeps_its_public_id_when_two_successions_meet(nodes: Nodes) -> None:
    """What left `doc` a moment ago replaces `p`, while a new `doc` is about to succeed it."""
    nodes.a.put("doc", b"1")
    document = nodes.a.put("p", b"2")
    nodes.a.move("doc", "doc.bak")
    with race(nodes.url) as at_once:
        with listing_held(nodes.url):
            move = at_once.start_waiting(nodes.a.move, "doc.bak", "p", OnConflict.OVERWRITE)
            put = at_once.start_waiting(nodes.b.put, "doc", b"3")
        for one in (move, put):
            assert not isinstance(outcome(one), BaseException)
    with nodes.a.kelp.database.read() as tx:
        found = tx.entries.by_uuid(document.uuid)
    assert found is not None and found.state == State.ACTIVE


def test_two_admins_who_remove_each_other(nodes: Nodes) -> None:
    access.add_user(nodes.a.kelp, "second", "password-2", Role.ADMIN)
    with race(nodes.url) as at_once:
        found = at_once.all_at_once(
            [
                partial(access.remove_user, nodes.a.kelp, "admin"),
                partial(access.remove_user, nodes.b.kelp, "second"),
            ]
        )
    assert [type(one) for one in found].count(InvalidRequest) == 1, found


def test_a_trash_emptied_by_two(nodes: Nodes) -> None:
    for n in range(10):
        nodes.a.put(f"n{n}")
    nodes.a.clock.advance(3600)
    for n in range(10):
        nodes.a.remove(f"n{n}")
    with race(nodes.url) as at_once:
        found = at_once.all_at_once(
            [partial(trashing.empty_trash, each.kelp, each.admin) for each in (nodes.a, nodes.b)]
        )
    assert sum(count for count in found if isinstance(count, int)) == 10, found
