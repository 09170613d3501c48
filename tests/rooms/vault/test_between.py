"""What lies between the parts of vaults: the trash, closed vaults, what is put aside, changes that share a commit."""

from __future__ import annotations

import os
import stat
import tempfile
import threading

import pytest

from http_api import zip_stream
from tests.rooms.core.drive import rest
from tests.rooms.vault.drive import VAULT, VaultDrive, close, with_keys
from tests.rooms.vault.test_vaults import names_in, plain
from tests.vaults import make_vault
from tests.waiting import until
from vfs.errors import ContentCorrupt, CrossesVault, KeyMissing
from vfs.metadata.sqlite import SqliteEngine
from vfs.model import ROOT_ID, OnConflict, Place
from vfs.operations import archiving, folders, guard, moving, properties, reading, trashing, writing
from vfs.operations.set_aside import SetAside

# --- the trash ---


@pytest.mark.parametrize("on", [OnConflict.ERROR, OnConflict.RENAME])
@pytest.mark.parametrize("what", ["file", "folder", "vault"])
def test_what_was_plain_does_not_come_back_into_a_vault(drive: VaultDrive, what: str, on: OnConflict) -> None:
    """The folder that it was in is gone, and there is a vault of that name."""
    outer = folders.make_folder(drive.kelp, drive.admin, Place(ROOT_ID, "later a vault"))
    place = Place(outer.id, "was plain")
    if what == "file":
        made = writing.put_file(drive.kelp, drive.admin, place, [b"plain"]).entry
    elif what == "folder":
        made = folders.make_folder(drive.kelp, drive.admin, place)
    else:
        made = make_vault(drive.kelp, place.name, outer.id)
    trashing.remove(drive.kelp, rest(drive.admin), place)
    trashing.remove(drive.kelp, rest(drive.admin), Place(ROOT_ID, "later a vault"))
    vault = make_vault(drive.kelp, "later a vault")
    with pytest.raises(CrossesVault):
        trashing.restore(drive.kelp, drive.admin, made.uuid, on_conflict=on)
    assert names_in(drive, vault.id) == []
    moving.move(drive.kelp, drive.admin, Place(ROOT_ID, "later a vault"), Place(ROOT_ID, "another name"))
    assert trashing.restore(drive.kelp, drive.admin, made.uuid, on_conflict=on).id == made.id
    assert plain(drive, "later a vault", "was plain").is_vault == (what == "vault")


# --- closed ---


def test_a_closed_vault_is_moved_and_trashed_while_its_recipients_change(drive: VaultDrive) -> None:
    drive.put("a", b"a")
    root = plain(drive, VAULT)
    assert root.vault_id is not None
    with drive.kelp.database.write() as tx:
        tx.vaults.changed(root.vault_id)
    close(drive.kelp)
    moving.move(drive.kelp, drive.editor, Place(ROOT_ID, VAULT), Place(ROOT_ID, "moved"))
    trashing.remove(drive.kelp, rest(drive.admin), Place(ROOT_ID, "moved"))
    trashing.restore(drive.kelp, drive.admin, root.uuid)
    moving.move(drive.kelp, drive.editor, Place(ROOT_ID, "moved"), Place(ROOT_ID, VAULT))
    with_keys(drive.kelp, drive.kelp.keys)
    assert drive.read("a") == b"a"


def test_a_closed_vault_is_listed_where_it_lies_whatever_properties_it_has(drive: VaultDrive) -> None:
    root = plain(drive, VAULT)
    properties.patch(drive.kelp, drive.editor, root.id, [("{u:n}secret", "<x>secret</x>")])
    assert reading.properties_of(drive.kelp, drive.editor, root.id) == {"{u:n}secret": "<x>secret</x>"}
    close(drive.kelp)
    assert reading.properties_of(drive.kelp, drive.editor, root.id) == {}
    assert reading.properties_below(drive.kelp, drive.editor, ROOT_ID) == {}
    with pytest.raises(KeyMissing):
        properties.patch(drive.kelp, drive.editor, root.id, [("{u:n}secret", None)])
    with_keys(drive.kelp, drive.kelp.keys)
    assert reading.properties_below(drive.kelp, drive.editor, ROOT_ID) == {root.id: {"{u:n}secret": "<x>secret</x>"}}


def test_an_archive_with_a_closed_vault_in_it_is_refused(drive: VaultDrive) -> None:
    drive.put("a", b"a")
    close(drive.kelp)
    with pytest.raises(KeyMissing):
        list(archiving.members(drive.kelp, drive.admin, plain(drive)))
    with_keys(drive.kelp, drive.kelp.keys)


# --- damaged ---


def test_a_key_that_was_damaged_in_the_database_stops_its_own_change_only(drive: VaultDrive) -> None:
    """Manifests are made last in a change, which may share its commit with others."""
    damaged = drive.put("damaged", b"x")
    drive.put("whole", b"x")
    drive.damage("UPDATE contents SET wrapped_key = 'AAAA' WHERE id = :id", id=damaged.content_id)
    faults: list[Exception] = []

    def move(name: str) -> None:
        try:
            drive.move(name, f"{name} and moved")
        except ContentCorrupt as error:
            faults.append(error)

    threads = [threading.Thread(target=move, args=(name,)) for name in ("damaged", "whole")]
    with drive.kelp.database.write():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 1 and drive.names() == ["damaged", "whole and moved"]


# --- what is put aside ---


def nameless_files() -> dict[tuple[int, int], bytes]:
    """What this process has in the files without a name that it keeps open; by device and inode."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            where = os.readlink(f"/proc/self/fd/{number}")
            what = os.fstat(int(number))
            nameless = where.startswith(tempfile.gettempdir()) and where.endswith(" (deleted)")
            if nameless and stat.S_ISREG(what.st_mode):
                found[what.st_dev, what.st_ino] = os.pread(int(number), 64 << 20, 0)
        except OSError:  # another thread's, closed while we look
            continue
    return found


def test_names_that_are_put_aside_are_sealed(drive: VaultDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.operations.set_aside._IN_MEMORY", 100)
    monkeypatch.setattr("http_api.zip_stream._IN_MEMORY", 100)
    monkeypatch.setattr("http_api.zip_stream.PIECE_SIZE", 10_000)  # more than files keep in memory themselves
    long = "secret" * 35
    for number in range(50):
        drive.folder(f"{long} {number}")
    folder, before = drive.entry(""), nameless_files().keys()

    def made() -> list[bytes]:
        return [data for file, data in nameless_files().items() if file not in before]

    with drive.kelp.database.scan() as tx:
        aside = SetAside(tx.entries.children(folder.id))
    kept = made()
    assert any(kept) and all(b"secret" not in each for each in kept)
    assert [row.name for row in aside] == drive.names()
    kept.clear()
    pieces = []
    for piece in zip_stream.bytes_of(archiving.members(drive.kelp, drive.admin, folder)):
        pieces.append(piece)
        kept += made()
    assert any(kept) and all(b"secret" not in each for each in kept)
    assert b"".join(pieces).count(f"{long} 49".encode()) == 2


# --- changes that share a commit ---


def test_what_is_seen_of_a_change_that_is_not_committed_is_not_remembered(drive: VaultDrive) -> None:
    """On SQLite the next change of a group sees it; when their commit fails, a vault may get the same id."""
    engine = drive.kelp.database._engine
    if not isinstance(engine, SqliteEngine):
        pytest.skip("here no change sees another one that is not committed")
    made: list[int] = []
    seen: list[bool] = []

    def second() -> None:
        with drive.kelp.database.write() as tx:
            assert tx.seals.sure(made[0]) is None
            seen.append(engine.seal_memory.knows_as_plain(made[0]))

    thread = threading.Thread(target=second)
    with drive.kelp.database.write() as tx:
        here = guard.stand(drive.kelp, tx, drive.admin, Place(ROOT_ID, "a plain one"))
        made.append(folders.insert(drive.kelp, tx, drive.admin, here, drive.clock.now_ns()))
        thread.start()
        until(lambda: engine._writing._waiting > 0)
    thread.join()
    assert seen == [False] and engine.seal_memory.knows_as_plain(made[0])
