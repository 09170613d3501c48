"""DAV locks (clients.md R12 to R15): who may take, hold, use and lose one."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import pytest

from tests.rooms.core.drive import Drive, holding
from vfs.errors import (
    Forbidden,
    InvalidRequest,
    Locked,
    LockTokenMismatch,
    NotFound,
    ParentNotFound,
    PreconditionFailed,
)
from vfs.model import Entry, OnConflict, Place, Scope
from vfs.operations import folders, locking, properties, reading

EXCLUSIVE, SHARED = Scope.EXCLUSIVE, Scope.SHARED


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [(EXCLUSIVE, EXCLUSIVE, False), (EXCLUSIVE, SHARED, False), (SHARED, EXCLUSIVE, False), (SHARED, SHARED, True)],
)
@pytest.mark.parametrize("same_user", [False, True])
def test_scopes(drive: Drive, held: Scope, wanted: Scope, granted: bool, same_user: bool) -> None:
    drive.put("a")
    drive.lock("a", scope=held)
    caller = drive.editor if same_user else drive.other
    if granted:
        drive.lock("a", caller, scope=wanted)
    else:
        with pytest.raises(Locked):
            drive.lock("a", caller, scope=wanted)


@pytest.mark.parametrize(
    ("first", "deep", "second", "second_deep", "granted"),
    [
        ("f", True, "f/g/x", False, False),
        ("f", False, "f/g/x", False, True),
        ("f/g/x", False, "f", True, False),
        ("f/g/x", False, "f", False, True),
        ("", True, "f/g", False, False),
        ("f/g", True, "", True, False),
        ("f/g", True, "f/h", True, True),
    ],
)
def test_depth(drive: Drive, first: str, deep: bool, second: str, second_deep: bool, granted: bool) -> None:
    for path in ("f", "f/g", "f/h"):
        drive.folder(path)
    drive.put("f/g/x")
    drive.lock(first, deep=deep)
    if granted:
        drive.lock(second, drive.other, deep=second_deep)
    else:
        with pytest.raises(Locked) as caught:
            drive.lock(second, drive.other, deep=second_deep)
        assert caught.value.lock_path == tuple(first.split("/") if first else ())


def test_an_unmapped_name_becomes_an_empty_locked_file(drive: Drive) -> None:
    result = locking.lock(
        drive.kelp,
        drive.editor,
        Place(drive.root_id, "new"),
        scope=EXCLUSIVE,
        infinite=True,
        owner="<o/>",
        timeout=None,
    )
    assert result.created and result.entry.size == 0 and drive.read("new") == b""
    assert (result.lock.infinite, result.lock.owner, result.lock.timeout) == (False, "<o/>", locking.MAX_TIMEOUT)
    assert result.lock.token.startswith("urn:uuid:") and len(result.lock.token) <= 64


@pytest.mark.parametrize("deep", [False, True])
def test_a_refused_lock_leaves_no_file(drive: Drive, deep: bool) -> None:
    drive.folder("f")
    drive.lock("f", drive.other, deep=deep)
    with pytest.raises(Locked):
        drive.lock("f/new")
    assert drive.names("f") == []


def test_what_cannot_be_locked(drive: Drive) -> None:
    def never(_entry: Entry | None, _tokens: frozenset[str]) -> None:
        raise PreconditionFailed("no")

    for place in (Place(drive.root_id, "x"), None):
        with pytest.raises(PreconditionFailed):
            locking.lock(
                drive.kelp, drive.editor, place, scope=SHARED, infinite=False, owner="", timeout=5, condition=never
            )
        with pytest.raises(Forbidden):
            locking.lock(drive.kelp, drive.viewer, place, scope=SHARED, infinite=False, owner="", timeout=5)
        with pytest.raises(InvalidRequest):
            locking.lock(drive.kelp, drive.editor, place, scope=SHARED, infinite=False, owner="x" * 20_000, timeout=5)
    with pytest.raises(ParentNotFound):
        locking.lock(drive.kelp, drive.editor, Place(99, "x"), scope=SHARED, infinite=False, owner="", timeout=5)
    assert drive.names() == []


@pytest.mark.parametrize(("asked", "granted"), [(None, 86_400), (1, 1), (0, 1), (3600, 3600), (1 << 40, 86_400)])
def test_the_granted_timeout(drive: Drive, asked: int | None, granted: int) -> None:
    drive.lock("a", timeout=asked)
    (held, path), *_ = reading.locks_on(drive.kelp, drive.entry("a").id)
    assert (held.timeout, held.expires_ns, path) == (granted, drive.clock.now + granted * 10**9, ("a",))


def test_expiry(drive: Drive) -> None:
    token = drive.lock("a", timeout=2)
    drive.clock.advance(1.9)
    with pytest.raises(Locked):
        drive.put("a", caller=drive.other)
    drive.clock.advance(0.2)
    entry_id = drive.entry("a").id
    assert reading.locks_on(drive.kelp, entry_id) == []
    for action in (locking.unlock, lambda k, c, i, t: locking.refresh(k, c, i, frozenset({t}))):
        with pytest.raises(LockTokenMismatch):
            action(drive.kelp, drive.editor, entry_id, token)
    drive.put("a", caller=drive.other)
    drive.lock("a", drive.other)


def test_refresh_keeps_the_token(drive: Drive) -> None:
    token = drive.lock("a", timeout=100)
    entry_id = drive.entry("a").id
    drive.clock.advance(50)
    held = locking.refresh(drive.kelp, drive.editor, entry_id, frozenset({token, "urn:uuid:other"}), 100)
    assert (held.token, held.expires_ns) == (token, drive.clock.now + 100 * 10**9)
    with pytest.raises(LockTokenMismatch):
        locking.refresh(drive.kelp, drive.editor, entry_id, frozenset({"urn:uuid:other"}))
    with pytest.raises(LockTokenMismatch):
        locking.refresh(drive.kelp, drive.other, entry_id, frozenset({token}))


def test_unlock(drive: Drive) -> None:
    drive.folder("f")
    child = drive.put("f/x")
    stranger = drive.put("y")
    token = drive.lock("f", deep=True)
    with pytest.raises(LockTokenMismatch):
        locking.unlock(drive.kelp, drive.editor, stranger.id, token)
    with pytest.raises(Forbidden):
        locking.unlock(drive.kelp, drive.other, child.id, token)
    with pytest.raises(NotFound):
        locking.unlock(drive.kelp, drive.editor, 999, token)
    locking.unlock(drive.kelp, drive.editor, child.id, token)  # by a member, with the folder's token
    drive.put("f/x", caller=drive.other)


def test_an_admin_sees_and_breaks_locks(drive: Drive) -> None:
    token = drive.lock("a")
    assert [path for _, path in locking.list_locks(drive.kelp, drive.admin)] == [("a",)]
    assert locking.list_locks(drive.kelp, drive.other) == []
    with pytest.raises(Forbidden):
        locking.break_lock(drive.kelp, drive.other, token)
    locking.break_lock(drive.kelp, drive.admin, token)
    with pytest.raises(NotFound):
        locking.break_lock(drive.kelp, drive.admin, token)


@pytest.mark.parametrize("who", ["without a token", "another with the token", "with a wrong token"])
def test_every_change_needs_the_token_of_its_owner(drive: Drive, who: str) -> None:
    entry = drive.put("a", b"kept")
    drive.put("b")
    token = drive.lock("a")
    caller = {
        "without a token": drive.editor,
        "another with the token": holding(drive.other, token),
        "with a wrong token": holding(drive.editor, "urn:uuid:wrong"),
    }[who]
    for change in (
        lambda: drive.put("a", b"new", caller),
        lambda: drive.remove("a", caller),
        lambda: drive.move("a", "c", caller=caller),
        lambda: drive.move("b", "a", OnConflict.OVERWRITE, caller),
        lambda: drive.copy("b", "a", OnConflict.OVERWRITE, caller),
        lambda: properties.patch(drive.kelp, caller, entry.id, [("{n}p", "<p/>")]),
    ):
        with pytest.raises(Locked) as caught:
            change()
        assert (caught.value.lock.token, caught.value.lock_path) == (token, ("a",))
    assert drive.read("a") == b"kept" and drive.names() == ["a", "b"]
    drive.copy("a", "copied", caller=caller)
    assert reading.locks_on(drive.kelp, drive.entry("copied").id) == []
    drive.put("a", b"new", holding(drive.editor, token))


def test_a_shared_lock_is_opened_by_ones_own_token_only(drive: Drive) -> None:
    mine = drive.lock("a", scope=SHARED)
    theirs = drive.lock("a", drive.other, scope=SHARED)
    for caller, token, may in (
        (drive.editor, mine, True),
        (drive.other, theirs, True),
        (drive.editor, theirs, False),
        (drive.admin, mine, False),
    ):
        if may:
            drive.put("a", caller=holding(caller, token))
        else:
            with pytest.raises(Locked):
                drive.put("a", caller=holding(caller, token))


def test_a_flat_lock_on_a_folder_guards_its_members_names_only(drive: Drive) -> None:
    drive.folder("f")
    drive.put("f/x")
    drive.lock("f", drive.other)
    drive.put("f/x", b"written")
    for change in (
        lambda: drive.put("f/new"),
        lambda: drive.remove("f/x"),
        lambda: drive.move("f/x", "f/y"),
        lambda: folders.make_folder(drive.kelp, drive.editor, drive.place("f/g")),
    ):
        with pytest.raises(Locked):
            change()


def test_locks_die_with_what_they_lock(drive: Drive) -> None:
    drive.folder("f")
    tokens = [drive.lock("f/x"), drive.lock("f")]
    drive.remove("f", holding(drive.editor, *tokens))
    assert drive.sql("SELECT token FROM dav_locks") == []


def test_of_twenty_at_once_exactly_one_wins(drive: Drive) -> None:
    drive.put("a")
    ready = threading.Barrier(20)
    won: list[str] = []

    def race() -> None:
        ready.wait(60)
        with contextlib.suppress(Locked):
            won.append(drive.lock("a"))

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1


def test_a_place_whose_folder_was_moved_meanwhile_is_not_locked(drive: Drive) -> None:
    """It would be held under a path that the client does not know."""
    drive.folder("f")
    drive.put("f/x")
    place = drive.place("f/x")
    drive.move("f", "g")
    ask = partial(locking.lock, drive.kelp, drive.editor, place, scope=EXCLUSIVE, infinite=False, owner="")
    for name in ("x", "new"):
        with pytest.raises(ParentNotFound):
            ask(path=("f", name))
    assert drive.sql("SELECT token FROM dav_locks") == [] and drive.names("g") == ["x"]
    assert ask(path=("g", "x")).entry.name == "x"
