"""Vaults themselves: made, moved, closed for who has no key, and a border that no folder crosses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.leaks import leaked
from tests.rooms.core.drive import Drive, rest
from tests.rooms.mirror.test_second_defences import without_row
from tests.rooms.vault.drive import VAULT, VaultDrive, close, with_keys
from tests.vaults import make_vault
from vfs.bootstrap import build
from vfs.crypto.key_files import Found as NoKeys
from vfs.crypto.key_ring import KeyRing
from vfs.errors import AlreadyExists, CrossesVault, Forbidden, InTrash, InvalidRequest, KeyMissing, NotFound
from vfs.model import ROOT_ID, Entry, Kind, Level, OnConflict, Peer, Place
from vfs.operations import (
    alerts,
    backlog,
    browsing,
    by_id,
    copying,
    doorkeeping,
    folders,
    locking,
    logged,
    moving,
    posix,
    properties,
    reading,
    sessions,
    trashing,
    vaulting,
    writing,
)

OUT = "nothing else is called so"


def plain(drive: Drive, *path: str) -> Entry:
    """What is there, from the drive's root down."""
    found = reading.resolve(drive.kelp, drive.admin, path).entry
    assert found is not None, path
    return found


def vault_of(drive: Drive) -> Entry:
    return plain(drive, VAULT)


# --- made ---


def test_a_vault_is_a_folder_whose_name_is_plain(drive: VaultDrive) -> None:
    made = vault_of(drive)
    assert made.is_folder and made.is_vault and made.name == VAULT
    inner = drive.folder("in it")
    assert (inner.vault_id, inner.is_vault) == (made.vault_id, False) and inner.seal_id != made.seal_id
    known = vaulting.info(drive.kelp, drive.viewer, inner)
    assert (known.path, known.folder_uuid, known.generation) == (f"/{VAULT}", made.uuid, 1)
    assert [each.role for each in known.recipients] == ["server"] and not known.is_recoverable
    with pytest.raises(InvalidRequest):
        vaulting.info(drive.kelp, drive.admin, plain(drive))


def test_what_cannot_be_made_a_vault(drive: VaultDrive) -> None:
    for name in (VAULT, "folder", "file"):
        if name == "folder":
            folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, name))
        elif name == "file":
            writing.put_file(drive.kelp, drive.editor, Place(ROOT_ID, name), [b"x"])
        with pytest.raises(AlreadyExists):
            make_vault(drive.kelp, name)
    with pytest.raises(CrossesVault):
        make_vault(drive.kelp, "inner", drive.root_id)
    for caller in (drive.editor, drive.viewer):
        with pytest.raises(Forbidden):
            vaulting.create(drive.kelp, caller, Place(ROOT_ID, "mine"))


def test_without_a_key_of_its_own_a_server_makes_none(plain_drive_with: Callable[..., Drive]) -> None:
    drive = plain_drive_with()
    kelp = replace(drive.kelp, keys=KeyRing(NoKeys))
    with pytest.raises(KeyMissing):
        vaulting.create(kelp, drive.admin, Place(ROOT_ID, "v"))
    assert reading.resolve(kelp, drive.admin, ["v"]).entry is None


def test_two_vaults_do_not_mix(drive: VaultDrive) -> None:
    other = make_vault(drive.kelp, "other")
    drive.folder("a")
    assert other.vault_id != vault_of(drive).vault_id
    with pytest.raises(CrossesVault):
        moving.move(drive.kelp, drive.editor, drive.place("a"), Place(other.id, "a"))
    with pytest.raises(CrossesVault):
        moving.move(drive.kelp, drive.admin, Place(ROOT_ID, "other"), drive.place("other"))


# --- its border ---


@pytest.mark.parametrize("on", list(OnConflict))
def test_no_folder_is_moved_across_the_border(drive: VaultDrive, on: OnConflict) -> None:
    outside = folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "outside"))
    for folder_id in (outside.id, drive.root_id):
        writing.put_file(drive.kelp, drive.editor, Place(folder_id, "taken"), [b"x"])
        for name in ("folder", "merged"):
            folders.make_folder(drive.kelp, drive.editor, Place(folder_id, name))
            writing.put_file(drive.kelp, drive.editor, by_path(drive, folder_id, name, "inner"), [b"x"])
    shown = [drive.names(), drive.names("folder"), names_in(drive, outside.id), drive.trashed()]
    for source, target in ((outside.id, drive.root_id), (drive.root_id, outside.id)):
        for goal in ("new", "taken", "merged"):
            with pytest.raises(CrossesVault):
                moving.move(drive.kelp, drive.editor, Place(source, "folder"), Place(target, goal), on_conflict=on)
    assert [drive.names(), drive.names("folder"), names_in(drive, outside.id), drive.trashed()] == shown


def by_path(drive: Drive, folder_id: int, *path: str) -> Place:
    for name in path[:-1]:
        found = posix.child(drive.kelp, drive.admin, folder_id, name)
        assert found is not None
        folder_id = found.id
    return Place(folder_id, path[-1])


def names_in(drive: Drive, folder_id: int) -> list[str]:
    return [row.name for row in reading.list_folder(drive.kelp, drive.admin, folder_id)]


def test_a_folder_with_a_vault_in_it_is_moved_but_not_copied(drive: VaultDrive) -> None:
    outer = folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "outer"))
    inner = make_vault(drive.kelp, "inner", outer.id)
    writing.put_file(drive.kelp, drive.editor, Place(inner.id, "secret"), [b"x"])
    with pytest.raises(CrossesVault):
        copying.copy(drive.kelp, drive.editor, Place(ROOT_ID, "outer"), Place(ROOT_ID, "copy"))
    with pytest.raises(CrossesVault):
        copying.copy(drive.kelp, drive.editor, Place(outer.id, "inner"), Place(ROOT_ID, "copy"))
    moving.move(drive.kelp, drive.editor, Place(ROOT_ID, "outer"), Place(ROOT_ID, "moved"))
    assert plain(drive, "moved", "inner", "secret").size == 1


@pytest.mark.parametrize("vault_in", ["source", "target"])
def test_no_vault_is_emptied_by_a_merge_of_what_it_lies_in(drive: VaultDrive, vault_in: str) -> None:
    for name in ("source", "target"):
        outer = folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, name))
        writing.put_file(drive.kelp, drive.editor, Place(outer.id, name), [b"x"])
        if name == vault_in:
            inner = make_vault(drive.kelp, "inner", outer.id)
        else:
            inner = folders.make_folder(drive.kelp, drive.editor, Place(outer.id, "inner"))
        writing.put_file(drive.kelp, drive.editor, Place(inner.id, f"of {name}"), [b"x"])
    before = [names_in(drive, plain(drive, *path).id) for path in (["source"], ["target"], ["source", "inner"])]
    with pytest.raises(CrossesVault):
        moving.move(
            drive.kelp, drive.editor, Place(ROOT_ID, "source"), Place(ROOT_ID, "target"), on_conflict=OnConflict.MERGE
        )
    assert [names_in(drive, plain(drive, *path).id) for path in (["source"], ["target"], ["source", "inner"])] == before


# --- trash ---


def put_in_trash(drive: VaultDrive, path: str) -> str:
    uuid = drive.entry(path).uuid
    drive.remove(path, rest(drive.editor))
    return uuid


def test_what_was_trashed_comes_back_into_its_vault_wherever_that_is_now(drive: VaultDrive) -> None:
    drive.folder("f")
    drive.folder("f/g")
    drive.put("f/g/x", b"x")
    drive.put("top", b"t")
    inner, top = put_in_trash(drive, "f/g/x"), put_in_trash(drive, "top")
    assert drive.trashed() == ["/f/g/x", "/top"]
    trashing.purge(drive.kelp, drive.admin, put_in_trash(drive, "f"))
    elsewhere = folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "elsewhere"))
    moving.move(drive.kelp, drive.editor, Place(ROOT_ID, VAULT), Place(elsewhere.id, "moved"))
    for uuid in (inner, top):
        restored = trashing.restore(drive.kelp, drive.editor, uuid)
        assert restored.vault_id is not None and not restored.is_vault
    assert plain(drive, "elsewhere", "moved", "f", "g", "x").size == 1
    assert names_in(drive, ROOT_ID) == ["elsewhere"]


@pytest.mark.parametrize("above", [False, True])
def test_nothing_comes_back_while_its_vault_is_in_the_trash(drive: VaultDrive, above: bool) -> None:
    if above:
        outer = folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, "outer"))
        moving.move(drive.kelp, drive.editor, Place(ROOT_ID, VAULT), Place(outer.id, VAULT))
    place = Place(plain(drive, "outer").id if above else ROOT_ID, VAULT)
    folder = folders.make_folder(drive.kelp, drive.editor, Place(moved_vault(drive), "f"))
    stays = writing.put_file(drive.kelp, drive.editor, Place(folder.id, "stays"), [b"x"]).entry
    gone = writing.put_file(drive.kelp, drive.editor, Place(folder.id, "gone"), [b"x"]).entry
    trashing.remove(drive.kelp, rest(drive.editor), gone.place)
    trashed = plain(drive, "outer") if above else vault_of(drive)
    trashing.remove(drive.kelp, rest(drive.editor), Place(ROOT_ID, "outer") if above else place)
    for uuid in (gone.uuid, stays.uuid):
        with pytest.raises(InTrash):
            trashing.restore(drive.kelp, drive.editor, uuid)
    trashing.restore(drive.kelp, drive.editor, trashed.uuid)
    assert trashing.restore(drive.kelp, drive.editor, gone.uuid).parent_id == folder.id


def moved_vault(drive: Drive) -> int:
    (row,) = drive.sql("SELECT entry_id FROM vaults")
    return int(row[0])


@pytest.mark.parametrize("case", ["free", "name taken", "folder gone"])
def test_what_lost_its_folder_stays_in_its_vault(drive: VaultDrive, case: str) -> None:
    drive.folder("a")
    file = drive.put("a/f", b"f")
    drive.mirror()
    drive.folder("b")
    drive.move("a/f", "b/f")
    if case == "name taken":
        drive.clock.advance(70)
        drive.put("a/f", b"another")
    without_row(drive, "b")
    if case == "folder gone":
        drive.move("a", "c")
        moving.move(drive.kelp, drive.editor, Place(ROOT_ID, VAULT), Place(ROOT_ID, "renamed"))
        folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, VAULT))  # a plain one
        folders.make_folder(drive.kelp, drive.editor, Place(vault_of(drive).id, "a"))
    drive.mirror()
    expected = {"free": (VAULT, "a", "f"), "name taken": (VAULT, "a", "f (1)"), "folder gone": ("renamed", "f")}[case]
    assert plain(drive, *expected).id == file.id
    (alert,) = alerts.listing(drive.kelp)
    assert f"the folder that entry {file.id} in a vault was" in alert.message
    backlog.retry_failed(drive.kelp)


# --- closed ---


def test_without_its_key_a_vault_is_there_but_closed(drive: VaultDrive) -> None:
    drive.folder("folder")
    file = drive.put("folder/file", b"x")
    drive.lock("folder/file", rest(drive.editor))
    folder = drive.entry("folder")
    gone = drive.put("gone", b"y")
    drive.remove("gone", rest(drive.editor))
    root = vault_of(drive)
    close(drive.kelp)
    admin = drive.admin
    assert VAULT in names_in(drive, ROOT_ID) and vault_of(drive) == root
    assert [node.name for node in posix.pages(drive.kelp, admin, ROOT_ID, 0, 10)] == [VAULT]
    for look in (
        lambda: drive.names(),
        lambda: drive.find("folder"),
        lambda: posix.child(drive.kelp, admin, root.id, "folder"),
        lambda: posix.pages(drive.kelp, admin, root.id, 0, 10),
        lambda: posix.node(drive.kelp, admin, file.id),
        lambda: by_id.find(drive.kelp, admin, file.uuid, Kind.FILE),
        lambda: browsing.children(drive.kelp, admin, root.uuid),
        lambda: browsing.history(drive.kelp, admin, file.uuid, Kind.FILE, None, 10),
        lambda: reading.stat(drive.kelp, admin, file.id),
        lambda: reading.path_of(drive.kelp, file.id),
        lambda: writing.put_file(drive.kelp, admin, Place(root.id, "new"), [b"x"]),
        lambda: trashing.restore(drive.kelp, admin, gone.uuid),
    ):
        with pytest.raises(KeyMissing):
            look()
    (item,) = drive.trash()
    assert (item.entry.name, item.original_path) == ("(sealed)", "(sealed)")
    ((lock, path),) = locking.list_locks(drive.kelp, admin)
    assert (lock.owner, path) == ("(sealed)", (VAULT, "(sealed)", "(sealed)"))
    drive.mirror()
    _move_trash_and_restore(drive, root)
    trashing.purge(drive.kelp, admin, gone.uuid)
    with_keys(drive.kelp, drive.kelp.keys)
    assert drive.read("folder/file") == b"x" and drive.entry("folder").uuid == folder.uuid


def _move_trash_and_restore(drive: VaultDrive, root: Entry) -> None:
    """The vault itself, by who cannot look into it; its locks die with the move."""
    caller = rest(drive.admin)
    locking.break_lock(drive.kelp, caller, locking.list_locks(drive.kelp, caller)[0][0].token)
    folder = folders.make_folder(drive.kelp, caller, Place(ROOT_ID, "archive"))
    moving.move(drive.kelp, caller, Place(ROOT_ID, VAULT), Place(folder.id, "renamed"))
    trashing.remove(drive.kelp, caller, Place(folder.id, "renamed"))
    trashing.restore(drive.kelp, caller, root.uuid)
    moving.move(drive.kelp, caller, Place(folder.id, "renamed"), Place(ROOT_ID, VAULT))
    trashing.remove(drive.kelp, caller, Place(ROOT_ID, "archive"))


def test_a_vault_that_another_process_made_is_seen_at_once(drive: VaultDrive) -> None:
    """Also by one that knew of no vault when it began."""
    drive.damaged = True
    drive.kelp.database._seals.any_vaults = False
    drive.kelp.database._seals._known.clear()
    other = build(drive.kelp.settings)
    try:
        assert logged.target(drive.kelp, "/dav/theirs/x?y") == "/dav/theirs/x?y"
        made = make_vault(other, "theirs")
        drive.kelp.gate.forget()  # as after half a second
        doorkeeping.let_in(drive.kelp, Peer("192.0.2.1", True, False), "dav")
        assert logged.target(drive.kelp, "/dav/theirs/x?y") == "/dav/theirs/…"
        writing.put_file(other, drive.editor, Place(made.id, "x"), [b"x"])
        assert plain(drive, "theirs", "x").size == 1
        drive.kelp.database._seals.any_vaults = False
        drive.kelp.database._seals._known.clear()
        # A change that only knows the folder's number asks for the right name all the same.
        with pytest.raises(AlreadyExists):
            folders.make_folder(drive.kelp, drive.editor, Place(made.id, "x"))
    finally:
        other.close()


# --- pages ---


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", list(browsing.SORTS))
def test_pages_are_in_the_order_of_opened_names(drive: VaultDrive, sort: str, descending: bool) -> None:
    outside = folders.make_folder(drive.kelp, drive.admin, Place(ROOT_ID, "outside"))
    for folder_id in (outside.id, drive.root_id):
        for number, name in enumerate(("b.txt", "a.png", "Z.txt", "é.pdf", "y", "m.png", "k.txt")):
            drive.clock.advance(1)
            place = Place(folder_id, name)
            if number % 3 == 0:
                folders.make_folder(drive.kelp, drive.admin, place)
            else:
                writing.put_file(drive.kelp, drive.admin, place, [b"x" * (number % 2)])
    expected = paged(drive, outside, sort, descending, 100)
    for size in (1, 2, 3, 100):
        assert paged(drive, vault_of(drive), sort, descending, size) == expected


def paged(drive: Drive, folder: Entry, sort: str, descending: bool, size: int) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = browsing.children(
            drive.kelp, drive.admin, folder.uuid, sort=sort, descending=descending, after=after, limit=size
        )
        assert all(facts.path.endswith(f"/{folder.name}/{entry.name}") for entry, facts in page.entries)
        found += [entry.name for entry, _ in page.entries]
        after = page.after
        if after is None:
            return found


# --- nothing is left in plain ---


def test_no_name_of_a_vault_is_found_anywhere(drive: VaultDrive, caplog: pytest.LogCaptureFixture) -> None:
    """After everything that can be done with names and texts, in the database, the cache, on the NAS, in the log."""
    caplog.set_level(logging.DEBUG)
    first, second = f"{OUT} Ünterlagen", f"{OUT} 2.pdf"
    drive.folder(first)
    drive.put(f"{first}/{second}", b"one", mime_type="x-secretary/type")
    drive.clock.advance(100)
    drive.put(f"{first}/{second}", b"another")
    file = drive.entry(f"{first}/{second}")
    changed = [("{urn:secretary}name", f'<a xmlns="urn:secretary">{OUT}</a>')]
    properties.patch(drive.kelp, drive.editor, file.id, changed, mtime_ns=5)
    token = locking.lock(
        drive.kelp, drive.editor, file.place, scope=locking.Scope.EXCLUSIVE, infinite=False, owner="the secretary"
    ).lock.token
    locking.unlock(drive.kelp, drive.editor, file.id, token)
    drive.lock(f"{first}/{second}")
    drive.mirror()
    drive.copy(first, f"{OUT} copy")
    drive.move(f"{OUT} copy/{second}", f"{OUT} moved.docx")
    drive.move(f"{OUT} moved.docx", f"{OUT} copy", OnConflict.RENAME)
    drive.move(f"{OUT} copy", first, OnConflict.RENAME)
    drive.clock.advance(100)
    drive.put(f"{OUT} third", b"3")
    uuid = drive.entry(f"{OUT} third").uuid
    drive.remove(f"{OUT} third", rest(drive.editor))
    trashing.restore(drive.kelp, drive.editor, uuid)
    drive.remove(f"{OUT} third")
    begun = sessions.begin(drive.kelp, drive.editor, vault_of(drive).uuid, f"{OUT}.iso", 5, metadata=f"name {OUT}")
    with drive.kelp.database.read() as tx:
        (due,) = tx.uploads.unreminded(0, 1 << 62, 10)
    assert due.name == "(sealed)"  # in a reminder, which stands in the database and goes out by mail
    assert sessions.progress(drive.kelp, drive.editor, begun.uuid).name == f"{OUT}.iso"
    drive.mirror()
    assert reading.properties_of(drive.kelp, drive.editor, file.id) == dict(changed)
    assert leaked(drive.kelp, [OUT, "secretary", "Ünterlagen", "moved.docx"]) == []
    assert OUT not in caplog.text and "secretary" not in caplog.text
    assert leaked(drive.kelp, [VAULT]) != [], "the test would find it"


def test_rights_inside_a_vault(drive: VaultDrive) -> None:
    drive.folder("shut")
    drive.folder("open")
    drive.grant("shut", Level.NONE, drive.editor)
    assert drive.names(caller=drive.editor) == ["open"]
    with pytest.raises(NotFound):
        reading.stat(drive.kelp, drive.editor, drive.entry("shut").id)
