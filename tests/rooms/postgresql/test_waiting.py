"""Who waits for another's lock sees what the other did (design §7): in a second statement, after the locks."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import INSIDE, Held, Nodes, Race, eventually, outcome, race, raw
from vfs.errors import AlreadyExists, CircularMove, Locked, NotFound, ParentNotFound
from vfs.model import ROOT_ID, OnConflict, Scope
from vfs.operations import folders, locking, moving, trashing, writing


@contextlib.contextmanager
def listing_held(url: str) -> Iterator[None]:
    """Whoever changes what the root lists has done everything but its last lock, and waits."""
    with raw(url) as beside, beside.transaction():
        beside.execute("SELECT 1 FROM folder_versions WHERE folder_id = 1 FOR UPDATE")
        yield


def lock_held(race: Race, drive: Drive, path: str, *, deep: bool = False) -> tuple[Held, Callable[[], object]]:
    """A LOCK that has its locks in the database and has not committed; call the second to let it."""
    held = Held()
    place = drive.place(path) if path else None
    started = race.start(
        locking.lock, drive.kelp, drive.editor, place, scope=Scope.EXCLUSIVE, infinite=deep, owner="me", condition=held
    )
    held.wait()

    def finish() -> object:
        held.release()
        return outcome(started)

    return held, finish


def test_a_put_that_waits_behind_a_lock_does_not_overwrite(nodes: Nodes) -> None:
    nodes.a.put("a", b"old")
    with race(nodes.url) as at_once:
        _, commit = lock_held(at_once, nodes.a, "a")
        put = at_once.start_waiting(nodes.b.put, "a", b"new", nodes.b.other)
        commit()
        assert isinstance(outcome(put), Locked)
    assert nodes.b.read("a") == b"old"


def test_a_lock_that_anyone_else_commits_stops_a_put_that_waits(nodes: Nodes) -> None:
    """The same with a lock that is made by hand, under the row's lock alone."""
    entry = nodes.a.put("a", b"old")
    with race(nodes.url) as at_once, raw(nodes.url) as beside:
        with beside.transaction():
            beside.execute("SELECT 1 FROM entries WHERE id = %s FOR UPDATE", (entry.id,))
            put = at_once.start_waiting(nodes.b.put, "a", b"new", nodes.b.other)
            beside.execute(
                """INSERT INTO dav_locks (token, entry_id, infinite, scope, owner, user_id, timeout, expires_ns)
                   VALUES ('t', %s, false, 'exclusive', 'me', %s, 600, %s)""",
                (entry.id, nodes.a.editor.user_id, nodes.a.clock.now_ns() + 10**12),
            )
        assert isinstance(outcome(put), Locked)
    assert nodes.b.read("a") == b"old"


def test_a_put_to_a_name_that_a_lock_is_making(nodes: Nodes) -> None:
    """The LOCK has made its empty file and waits for its last lock. The PUT finds the name taken at its insert."""
    nodes.a.put("before")
    with race(nodes.url) as at_once:
        with listing_held(nodes.url):
            lock = at_once.start_waiting(nodes.a.lock, "new")
            put = at_once.start_waiting(nodes.b.put, "new", b"theirs", nodes.b.other)
        assert lock.result()
        assert isinstance(outcome(put), Locked)
    assert nodes.b.read("new") == b""


def test_a_lock_of_a_name_that_a_put_is_making(nodes: Nodes) -> None:
    """The other way round: the LOCK begins again, and locks what the PUT made."""
    nodes.a.put("before")
    with race(nodes.url) as at_once:
        with listing_held(nodes.url):
            put = at_once.start_waiting(nodes.a.put, "new", b"mine", nodes.a.other)
            lock = at_once.start_waiting(nodes.b.lock, "new")
        assert put.result().id == nodes.b.entry("new").id
        assert lock.result()
    assert nodes.b.read("new") == b"mine"


def test_a_put_into_a_folder_that_is_being_locked(nodes: Nodes) -> None:
    """Depth 0 locks a folder's membership (RFC 4918 §7.4)."""
    nodes.a.folder("f")
    with race(nodes.url) as at_once:
        _, commit = lock_held(at_once, nodes.a, "f")
        put = at_once.start_waiting(nodes.b.put, "f/new", b"x", nodes.b.other)
        commit()
        assert isinstance(outcome(put), Locked)
    assert nodes.b.names("f") == []


def test_a_put_into_the_root_that_is_being_locked(nodes: Nodes) -> None:
    with race(nodes.url) as at_once:
        _, commit = lock_held(at_once, nodes.a, "")
        put = at_once.start_waiting(nodes.b.put, "new", b"x", nodes.b.other)
        commit()
        assert isinstance(outcome(put), Locked)


def test_a_put_below_a_folder_that_is_being_locked_with_all_below_it(nodes: Nodes) -> None:
    for path in ("f", "f/g", "f/g/h"):
        nodes.a.folder(path)
    nodes.a.put("f/g/h/old", b"old")
    with race(nodes.url) as at_once:
        _, commit = lock_held(at_once, nodes.a, "f", deep=True)
        # The condition is asked before the tree lock is taken whole: whoever is there already is waited for.
        commit()
        puts = [at_once.start(nodes.b.put, f"f/g/h/{name}", b"new", nodes.b.other) for name in ("old", "another")]
        assert [type(outcome(put)) for put in puts] == [Locked, Locked]
    assert nodes.b.read("f/g/h/old") == b"old"


def test_a_deep_lock_waits_for_a_put_below_and_then_holds(nodes: Nodes) -> None:
    nodes.a.folder("f")
    nodes.a.folder("f/g")
    held = Held(INSIDE)
    with race(nodes.url) as at_once:
        put = at_once.start(nodes.a.put, "f/g/x", b"1", nodes.a.other, condition=held)
        held.wait()
        lock = at_once.start_waiting(nodes.b.lock, "f", deep=True)
        later = at_once.start_waiting(nodes.a.put, "f/g/x", b"2", nodes.a.other)
        held.release()
        put.result()
        assert lock.result()
        assert isinstance(outcome(later), Locked)
    assert nodes.b.read("f/g/x") == b"1"


def test_two_exclusive_locks_of_one_name_have_one_winner(nodes: Nodes) -> None:
    for name in ("new", "old"):
        if name == "old":
            nodes.a.put(name)
        with race(nodes.url) as at_once:
            takers = [partial(node.lock, name, caller) for node in (nodes.a, nodes.b) for caller in
                      (node.editor, node.other, node.admin)]  # fmt: skip
            found = at_once.all_at_once(takers)
        assert [isinstance(one, str) for one in found].count(True) == 1, found
        assert all(isinstance(one, (str, Locked)) for one in found), found


@pytest.mark.parametrize("act", ["move", "remove"])
def test_a_put_below_a_folder_that_goes_away(nodes: Nodes, act: str) -> None:
    """It lands in the folder, wherever that is then, or is told that there is none; it is never lost in the trash."""
    nodes.a.folder("f")
    nodes.a.folder("g")
    place = nodes.b.place("f/new")
    with race(nodes.url) as at_once, raw(nodes.url) as beside:
        if act == "move":
            goes = partial(moving.move, nodes.a.kelp, nodes.a.editor, nodes.a.place("f"), nodes.a.place("g/f"))
        else:
            goes = partial(trashing.remove, nodes.a.kelp, nodes.a.editor, nodes.a.place("f"))
        with beside.transaction():
            beside.execute("SELECT 1 FROM entries WHERE id = %s FOR UPDATE", (nodes.a.entry("f").id,))
            going = at_once.start_waiting(goes)
            put = at_once.start_waiting(writing.put_file, nodes.b.kelp, nodes.b.other, place, [b"x"])
        assert not isinstance(outcome(going), BaseException)
        found = outcome(put)
    if act == "move":
        assert not isinstance(found, BaseException)
        assert nodes.a.read("g/f/new") == b"x"
    elif isinstance(found, BaseException):
        assert isinstance(found, ParentNotFound)
    else:
        assert nodes.a.trashed() == ["/f"] or nodes.a.names() == ["g"]


@pytest.mark.parametrize("act", ["move", "remove"])
def test_a_folder_cannot_go_over_a_lock_below_it(nodes: Nodes, act: str) -> None:
    """The LOCK of a file below holds the tree lock shared, so what moves the folder waits and then sees it."""
    nodes.a.folder("f")
    nodes.a.folder("f/g")
    nodes.a.put("f/g/x")
    with race(nodes.url) as at_once:
        _, commit = lock_held(at_once, nodes.a, "f/g/x")
        deed = partial(nodes.b.move, "f", "h", caller=nodes.b.other) if act == "move" else partial(
            nodes.b.remove, "f", nodes.b.other)  # fmt: skip
        going = at_once.start_waiting(deed)
        commit()
        assert isinstance(outcome(going), Locked)
    assert nodes.b.find("f/g/x") is not None


def test_a_lock_below_a_folder_that_has_gone(nodes: Nodes) -> None:
    nodes.a.folder("f")
    nodes.a.put("f/x")
    held = Held()
    with race(nodes.url) as at_once:
        place = nodes.b.place("f/x")
        going = at_once.start(trashing.remove, nodes.a.kelp, nodes.a.editor, nodes.a.place("f"), condition=held)
        held.wait()
        lock = at_once.start_waiting(
            locking.lock, nodes.b.kelp, nodes.b.other, place, scope=Scope.EXCLUSIVE, infinite=False, owner=""
        )
        held.release()
        assert isinstance(outcome(going), int)
        assert isinstance(outcome(lock), ParentNotFound)
    assert nodes.a.sql("SELECT * FROM dav_locks") == []


def test_folders_moved_into_each_other_make_no_circle(nodes: Nodes) -> None:
    for path in ("a", "b", "c"):
        nodes.a.folder(path)
    for _ in range(10):
        places = {name: nodes.a.place(name) for name in "abc"}
        ids = {name: nodes.a.entry(name).id for name in "abc"}
        pairs = list(itertools.permutations("abc", 2))
        deeds = [
            partial(moving.move, node.kelp, node.editor, places[one], type(places[one])(ids[into], f"{one}-in-{into}"))
            for node, (one, into) in zip(itertools.cycle((nodes.a, nodes.b)), pairs, strict=False)
        ]
        with race(nodes.url) as at_once:
            found = at_once.all_at_once(deeds)
        assert all(not isinstance(one, BaseException) or isinstance(one, (CircularMove, NotFound)) for one in found)
        assert sum(not isinstance(one, BaseException) for one in found) == 2, found
        reached = nodes.a.sql(
            """WITH RECURSIVE down(id) AS (
               SELECT CAST(1 AS bigint) UNION SELECT e.id FROM entries e JOIN down ON e.parent_id = down.id)
               SELECT id FROM down"""
        )
        assert len(reached) == 4
        _back_to_the_root(nodes.a, ids)


def _back_to_the_root(drive: Drive, ids: dict[str, int]) -> None:
    while True:
        nested = drive.sql("SELECT id, parent_id, name FROM entries WHERE parent_id <> 1 AND state = 'ACTIVE'")
        if not nested:
            break
        for id, parent, name in nested:
            wanted = next(letter for letter, own in ids.items() if own == id)
            place = type(drive.place("x"))(parent, name)
            moving.move(drive.kelp, drive.editor, place, type(place)(ROOT_ID, wanted))
    for letter, own in ids.items():
        assert drive.entry(letter).id == own


@pytest.mark.parametrize("strategy", [OnConflict.ERROR, OnConflict.OVERWRITE, OnConflict.RENAME])
def test_one_new_name_made_by_many_at_once(nodes: Nodes, strategy: OnConflict) -> None:
    makers = [
        partial(node.put, "new", f"{n}".encode(), node.editor, on_conflict=strategy)
        for n, node in enumerate([nodes.a, nodes.b] * 4)
    ]
    with race(nodes.url) as at_once:
        found = at_once.all_at_once(makers)
    made = [one for one in found if not isinstance(one, BaseException)]
    assert all(isinstance(one, AlreadyExists) for one in found if isinstance(one, BaseException)), found
    rows = nodes.a.sql("SELECT id, name FROM entries WHERE state = 'ACTIVE' AND parent_id = 1")
    assert len({name for _, name in rows}) == len(rows)
    if strategy == OnConflict.ERROR:
        assert len(made) == len(rows) == 1
    elif strategy == OnConflict.OVERWRITE:
        assert len(made) == 8 and len(rows) == 1
    else:
        assert len(made) == len(rows) == 8


def test_one_new_folder_made_by_many_at_once(nodes: Nodes) -> None:
    place = nodes.a.place("new")
    with race(nodes.url) as at_once:
        found = at_once.all_at_once(
            [partial(folders.make_folder, node.kelp, node.editor, place) for node in [nodes.a, nodes.b] * 4]
        )
    assert [isinstance(one, AlreadyExists) for one in found].count(True) == 7, found


def test_two_who_swap_names(nodes: Nodes) -> None:
    """Each moves its file over the other's name: the first takes it, the second's source has gone with it."""
    for _ in range(10):
        one, two = nodes.a.put("a", b"a").id, nodes.a.put("b", b"b").id
        with race(nodes.url) as at_once:
            found = at_once.all_at_once([
                partial(nodes.a.move, "a", "b", OnConflict.OVERWRITE),
                partial(nodes.b.move, "b", "a", OnConflict.OVERWRITE),
            ])  # fmt: skip
        assert all(not isinstance(each, BaseException) or isinstance(each, NotFound) for each in found), found
        left = [name for name in nodes.a.names() if name in "ab"]
        assert len(left) == 1
        assert nodes.a.entry(left[0]).id in (one, two)
        nodes.a.remove(left[0])


def test_one_source_moved_by_many_has_one_winner(nodes: Nodes) -> None:
    nodes.a.put("source", b"x")
    places = [nodes.a.place(name) for name in ("source", *(f"t{n}" for n in range(6)))]
    with race(nodes.url) as at_once:
        found = at_once.all_at_once(
            [partial(moving.move, node.kelp, node.editor, places[0], target)
             for node, target in zip([nodes.a, nodes.b] * 3, places[1:], strict=True)]
        )  # fmt: skip
    assert [isinstance(one, NotFound) for one in found].count(True) == 5, found
    assert len(nodes.a.names()) == 1


def test_a_restore_while_its_folder_is_trashed(nodes: Nodes) -> None:
    """The row that comes back is in a folder that can be reached, whoever is first."""
    for turn in range(10):
        nodes.a.folder("f")
        uuid = nodes.a.put("f/x", b"1").uuid
        nodes.a.clock.advance(100)
        nodes.a.remove("f/x")
        nodes.a.clock.advance(100)
        restore = partial(trashing.restore, nodes.a.kelp, nodes.a.editor, uuid)
        remove = partial(nodes.b.remove, "f")
        with race(nodes.url) as at_once:
            found = at_once.all_at_once([restore, remove] if turn % 2 else [remove, restore])
        assert not any(isinstance(one, BaseException) for one in found), found
        if nodes.a.find("f") is None:
            assert nodes.a.trashed() == ["/f"]  # it was restored, then went with its folder
        else:
            assert nodes.a.read("f/x") == b"1"  # the folder was trashed, then a new one was made for it
            nodes.a.remove("f")
        trashing.empty_trash(nodes.a.kelp, nodes.a.admin)


def test_a_delete_against_a_put(nodes: Nodes) -> None:
    for turn in range(20):
        nodes.a.put("a", b"old")
        deeds: list[Callable[[], object]] = [partial(nodes.a.remove, "a"), partial(nodes.b.put, "a", b"new")]
        with race(nodes.url) as at_once:
            found = at_once.all_at_once(deeds[:: -1 if turn % 2 else 1])
        assert not any(isinstance(one, BaseException) for one in found), found
        left = nodes.b.find("a")
        assert left is None or nodes.b.read("a") == b"new"


# --- a name whose entry is another when the wait is over ------------------------------------------
#
# The locks of a change are on what had the names when it began to wait. What has them in the end must be locked too,
# or a LOCK comes in between its look and its commit.


def in_time(race: Race, lock: Callable[[], object]) -> tuple[Future[object], bool]:
    """Start a LOCK; whether it had its lock without waiting for anyone."""
    started = race.start(lock)
    eventually(lambda: started.done() or race.waiting())
    return started, started.done()


def test_a_put_whose_name_was_given_to_another_file_while_it_waited(nodes: Nodes) -> None:
    first, second = nodes.a.put("a", b"first").id, nodes.a.put("b", b"second").id
    held = Held(INSIDE)
    with race(nodes.url) as at_once:
        with raw(nodes.url) as beside, beside.transaction():
            beside.execute("SELECT 1 FROM entries WHERE id = %s FOR UPDATE", (first,))
            put = at_once.start_waiting(nodes.b.put, "a", b"new", nodes.b.other, condition=held)
            for name, id in (("c", first), ("a", second)):
                beside.execute("UPDATE entries SET name = %s, name_key = %s WHERE id = %s", (name, name, id))
        held.wait()  # the PUT has looked, and found the second file under the name
        lock, locked_before = in_time(at_once, partial(nodes.a.lock, "a"))
        held.release()
        found = outcome(put)
        assert outcome(lock)
    if locked_before:
        assert isinstance(found, Locked)
    assert nodes.a.read("a") == (b"second" if isinstance(found, Locked) else b"new")
    assert nodes.a.entry("a").id == second
    nodes.a.damaged = True  # renamed by hand: its NAS name is the old one


def test_a_move_over_a_name_that_was_made_while_it_waited(nodes: Nodes) -> None:
    source = nodes.a.put("a", b"mine").id
    places = nodes.b.place("a"), nodes.b.place("b")
    held = Held()
    with race(nodes.url) as at_once:
        with raw(nodes.url) as beside, beside.transaction():
            beside.execute("SELECT 1 FROM entries WHERE id = %s FOR UPDATE", (source,))
            going = at_once.start_waiting(
                moving.move, nodes.b.kelp, nodes.b.other, *places, on_conflict=OnConflict.OVERWRITE, condition=held
            )
            nodes.a.put("b", b"theirs")
        held.wait()
        lock, locked_before = in_time(at_once, partial(nodes.a.lock, "b"))
        held.release()
        found = outcome(going)
        assert outcome(lock)
    if locked_before:
        assert isinstance(found, Locked)
    assert nodes.a.read("b") == (b"theirs" if isinstance(found, Locked) else b"mine")


def test_an_unlock_behind_a_move_over_what_is_locked_does_not_lie(nodes: Nodes) -> None:
    """The move takes the lock along to the file that replaces the other; told "unlocked", it must be gone."""
    document = nodes.a.put("doc")
    nodes.a.put("tmp")
    token = nodes.a.lock("doc")
    holder = replace(nodes.a.editor, tokens=frozenset({token}))
    with race(nodes.url) as at_once:
        with listing_held(nodes.url):
            move = at_once.start_waiting(nodes.a.move, "tmp", "doc", OnConflict.OVERWRITE, holder)
            unlock = at_once.start_waiting(locking.unlock, nodes.b.kelp, nodes.b.editor, document.id, token)
        assert not isinstance(outcome(move), BaseException)
        refused = isinstance(outcome(unlock), BaseException)
    assert refused == bool(nodes.b.sql("SELECT token FROM dav_locks"))
    locking.break_lock(nodes.b.kelp, nodes.b.editor, token)
