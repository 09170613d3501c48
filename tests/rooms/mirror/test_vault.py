"""A real vault on the NAS: whatever is done on the drive, a reader that has nothing of Kelp finds the same there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests import engines
from tests.mirror_drive import MirrorDrive
from tests.rooms.crypto.independent_reader import read_vault
from tests.rooms.mirror.test_second_defences import without_row
from vfs import bootstrap
from vfs.crypto import key_files, key_pairs
from vfs.crypto.key_files import Found
from vfs.crypto.key_ring import KeyRing
from vfs.errors import KeyMissing
from vfs.model import OnConflict, Place
from vfs.operations import (
    adopting,
    backlog,
    checking,
    evicting,
    linking,
    manifesting,
    nas_outage,
    posix,
    properties,
    recipients,
    recovering,
    rewrapping,
    server_keys,
    vault_heads,
    vaulting,
    versioning,
)
from vfs.operations.sealing import VaultCipher
from vfs.vault_model import RecipientRole

Opened = Callable[..., MirrorDrive]


@pytest.fixture(scope="session")
def with_vault(new_drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("with-vault") / "drive"
    engines.copy_drive(new_drive, folder)
    with closing(MirrorDrive(folder)) as drive:
        server_keys.init(drive.kelp, bits=3072)
        vaulting.create(drive.kelp, drive.caller, drive.place("Secret"))
    return folder


@pytest.fixture
def open_vault(with_vault: Path, tmp_path: Path) -> Iterator[Opened]:
    folder = tmp_path / "drive"
    engines.copy_drive(with_vault, folder)
    opened: list[MirrorDrive] = []

    def opening(**overrides: Any) -> MirrorDrive:
        opened.append(MirrorDrive(folder, **overrides))
        return opened[-1]

    yield opening
    for drive in opened:
        drive.close()


@pytest.fixture
def drive(open_vault: Opened) -> MirrorDrive:
    return open_vault()


def private_key(drive: MirrorDrive) -> RSAPrivateKey:
    key = load_pem_private_key(key_files.server_file(drive.settings).read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key


def check(drive: MirrorDrive, path: str = "Secret") -> None:
    """All is sound, and the vault on the NAS is what the drive shows, for who has the key."""
    drive.settle_down()
    drive.check()
    found = read_vault(private_key(drive), drive.root / path)
    shown = {name: data for name, data in drive.shown().items() if name.startswith(f"{path}/") and data is not None}
    assert found.faults == []
    assert {f"{path}/{name}": data for name, data in found.files.items()} == shown
    assert found.head == vault_heads.head(drive.kelp, 1)


def test_an_empty_vault(drive: MirrorDrive) -> None:
    check(drive)


def test_all_that_can_be_done_with_files(drive: MirrorDrive) -> None:
    drive.mkdir("Secret/a")
    drive.mkdir("Secret/a/b")
    big = os.urandom(9 << 20)
    drive.put("Secret/a/big.bin", big)
    drive.put("Secret/a/b/ü.txt", b"text")
    drive.put("Secret/empty", b"")
    check(drive)
    drive.move("Secret/a/big.bin", "Secret/a/bigger.bin")
    drive.move("Secret/a/b", "Secret/c")
    check(drive)
    drive.pass_time(70)
    drive.put("Secret/a/bigger.bin", b"small by now")
    drive.put("Secret/c/ü.txt", b"other text")
    check(drive)
    assert drive.versions("Secret/a/bigger.bin") == [big]
    drive.copy("Secret/a", "Secret/copy")
    properties.patch(drive.kelp, drive.caller, drive.entry("Secret/empty").id, [], mtime_ns=1_000_000_000)
    check(drive)
    kept = versioning.list_versions(drive.kelp, drive.caller, drive.entry("Secret/a/bigger.bin").id)
    versioning.restore_version(drive.kelp, drive.caller, kept[0].uuid)
    drive.move("Secret/copy/bigger.bin", "Secret/c/ü.txt", OnConflict.OVERWRITE)
    check(drive)
    assert drive.read("Secret/a/bigger.bin") == big


def test_trash(drive: MirrorDrive) -> None:
    drive.mkdir("Secret/a")
    drive.put("Secret/a/f", b"f")
    drive.put("Secret/g", b"g")
    drive.settle_down()
    file, folder = drive.trash("Secret/g"), drive.trash("Secret/a")
    check(drive)
    drive.restore(file)
    drive.restore(folder)
    check(drive)
    assert drive.read("Secret/a/f") == b"f"
    drive.purge(drive.trash("Secret/a"))
    drive.purge(drive.trash("Secret/g"))
    check(drive)


def test_the_vault_itself_is_renamed_trashed_and_restored(drive: MirrorDrive) -> None:
    drive.put("Secret/f", b"f")
    drive.settle_down()
    drive.mkdir("plain")
    drive.move("Secret", "plain/Hidden")
    check(drive, "plain/Hidden")
    uuid = drive.trash("plain/Hidden")
    drive.settle_down()
    drive.check()
    drive.restore(uuid)
    check(drive, "plain/Hidden")
    drive.purge(drive.trash("plain/Hidden"))
    drive.settle_down()
    drive.check()


def test_what_left_the_cache_is_read_from_the_nas(open_vault: Opened) -> None:
    drive = open_vault(cache_publish=0.01)
    big = os.urandom(9 << 20)
    drive.put("Secret/big", big)
    drive.put("Secret/small", b"small")
    drive.settle_down()
    drive.pass_time(60)
    assert evicting.evict(drive.kelp, 1 << 40).count == 3
    assert drive.read("Secret/small") == b"small" and drive.read("Secret/big") == big
    drive.kelp.background.close()
    check(drive)


def test_links_and_safe_saves(drive: MirrorDrive) -> None:
    folder = drive.entry("Secret").id
    linking.make_link(drive.kelp, drive.caller, Place(folder, "link"), b"document")
    drive.put("Secret/document", b"first")
    drive.settle_down()
    drive.pass_time(70)
    drive.put("Secret/document.new", b"second")
    drive.move("Secret/document.new", "Secret/document", OnConflict.OVERWRITE)
    check(drive)
    assert drive.versions("Secret/document") == [b"first"]
    found = read_vault(private_key(drive), drive.root / "Secret")
    assert found.types["link"] == "inode/symlink"


def test_the_times_of_files_and_folders_are_carried(drive: MirrorDrive) -> None:
    drive.mkdir("Secret/folder")
    drive.put("Secret/folder/file", b"x")
    drive.settle_down()
    for path in ("Secret/folder/file", "Secret/folder", "Secret"):
        posix.set_attributes(drive.kelp, drive.caller, drive.entry(path).id, mtime_ns=1_000_000_007)
    check(drive)


def test_where_registrations_stay_files(open_vault: Opened) -> None:
    """All but one of them are versions, which the format has elsewhere."""
    drive = open_vault(drive_duplicates="keep-dated")
    drive.mkdir("Secret/a")
    for data in (b"1", b"2", b"3"):
        drive.put("Secret/a/f", data)
        drive.settle_down()
        drive.check()
    drive.move("Secret/a/f", "Secret/g")
    drive.settle_down()
    drive.check()
    assert drive.versions("Secret/g") == [b"2", b"1"]


def without_key(drive: MirrorDrive) -> MirrorDrive:
    """The same, in a process that has no private key."""
    nothing = KeyRing(lambda: Found((), ()))
    drive.kelp = replace(drive.kelp, keys=nothing)
    drive.kelp.database.open_vaults(VaultCipher(nothing, True, partial(manifesting.renew, nothing)))
    return drive


def test_the_mirror_needs_no_key(open_vault: Opened) -> None:
    drive = open_vault()
    drive.mkdir("Secret/a")
    drive.put("Secret/a/f", b"first")
    drive.settle_down()
    drive.pass_time(70)
    drive.put("Secret/a/f", b"second")
    drive.move("Secret/a/f", "Secret/g")
    trashed = drive.trash("Secret/a")
    closed = without_key(open_vault(clock=drive.clock))
    closed.settle_down()
    closed.check()
    check(drive)
    drive.purge(trashed)
    closed.settle_down()
    closed.check()
    check(drive)


def test_without_the_key_a_change_in_a_vault_is_refused_and_one_of_the_vault_is_not(open_vault: Opened) -> None:
    drive = open_vault()
    drive.put("Secret/f", b"f")
    drive.settle_down()
    closed = without_key(open_vault(clock=drive.clock))
    with pytest.raises(KeyMissing):
        closed.put("Secret/g", b"g")
    closed.move("Secret", "Hidden")
    closed.settle_down()
    check(drive, "Hidden")
    uuid = closed.trash("Hidden")
    closed.settle_down()
    closed.restore(uuid)
    closed.settle_down()
    check(drive, "Hidden")


def test_vault_json_follows_the_recipients(drive: MirrorDrive) -> None:
    drive.put("Secret/f", b"f")
    check(drive)
    other = key_pairs.generate(3072)
    recipients.add(drive.kelp, other.public.pem.encode(), RecipientRole.RECOVERY, "safe")
    rewrapping.run(drive.kelp)
    assert manifesting.run(drive.kelp).count == 1 and manifesting.run(drive.kelp).count == 0
    check(drive)
    pem = key_pairs.write_private(other, None)
    key = load_pem_private_key(pem, None)
    assert isinstance(key, RSAPrivateKey)
    assert read_vault(key, drive.root / "Secret").files == {"f": b"f"}
    with drive.kelp.database.read() as tx:
        assert tx.one("SELECT version = mirrored_version FROM vaults")[0]


def test_what_was_put_back_is_found(drive: MirrorDrive, tmp_path: Path) -> None:
    """A whole file as it was before, with its manifest: only the head, and the database, tell."""
    drive.put("Secret/f", b"before")
    check(drive)
    (bundle,) = (path.parent for path in (drive.root / "Secret").rglob("parts"))
    shutil.copytree(bundle, tmp_path / "kept")
    drive.pass_time(70)
    drive.put("Secret/f", b"after")
    check(drive)
    shutil.rmtree(bundle)
    shutil.copytree(tmp_path / "kept", bundle)
    found = read_vault(private_key(drive), drive.root / "Secret")
    assert found.faults == [] and found.files == {"f": b"before"}
    assert found.head != vault_heads.head(drive.kelp, 1)
    assert not checking.check(drive.kelp).ok


def test_through_an_outage(drive: MirrorDrive) -> None:
    drive.put("Secret/f", b"first")
    drive.settle_down()
    away = drive.root.with_name("away")
    drive.root.rename(away)
    drive.pass_time(70)
    drive.put("Secret/f", b"second")
    drive.mkdir("Secret/a")
    drive.move("Secret/f", "Secret/a/g")
    drive.drain()
    assert not nas_outage.is_up(drive.kelp)
    away.rename(drive.root)
    assert nas_outage.probe(drive.kelp)
    check(drive)


def test_a_new_database_leaves_vaults_to_their_recovery(drive: MirrorDrive, tmp_path: Path) -> None:
    drive.put("plain", b"plain")
    drive.mkdir("Secret/a")
    drive.put("Secret/a/f", b"first")
    drive.settle_down()
    drive.pass_time(70)
    drive.put("Secret/a/f", b"second")
    drive.trash("Secret/a")
    drive.put("Secret/g", b"g")
    check(drive)
    settings = engines.load(tmp_path / "new" / "data", nas_root=drive.root)
    settings.data.mkdir(parents=True)
    with bootstrap.opened_for_taking(settings, recovering.begin) as kelp:
        taken = recovering.recover(kelp)
    assert taken.files == 1
    told = {path.split("/")[0]: why for path, why in taken.left}
    assert set(told) == {"Secret", ".trash", ".kelp"} and "kelp vault recover" in told["Secret"]
    assert "kelp vault recover" in told[".trash"]


def test_adopting_leaves_them_too(drive: MirrorDrive, tmp_path: Path) -> None:
    drive.put("Secret/f", b"f")
    check(drive)
    nas = tmp_path / "tree"
    shutil.copytree(drive.root / "Secret", nas / "theirs")
    (nas / "docs").mkdir()
    for name in ("vault.json", "manifest", "parts"):
        (nas / "docs" / name).write_text("{}")
    taken = adopting.look_through(engines.load(tmp_path / "new" / "data", nas_root=nas))
    assert (taken.files, taken.folders) == (3, 1)
    assert [path for path, why in taken.left if "kelp vault recover" in why] == ["theirs"]


def test_what_has_no_folder_any_more_waits_for_a_process_that_has_the_key(open_vault: Opened) -> None:
    drive = open_vault()
    drive.mkdir("Secret/a")
    drive.put("Secret/a/f", b"f")
    drive.settle_down()
    drive.mkdir("Secret/b")
    file = drive.move("Secret/a/f", "Secret/b/f").entry
    without_row(drive, "Secret/b")
    drive.pass_time(6)
    closed = without_key(open_vault(clock=drive.clock))
    closed.put("plain", b"plain")
    for _ in range(3):
        closed.drain()
        drive.pass_time(6)
    assert "plain" in closed.on_nas()
    drive.settle_down()
    assert drive.entry("Secret/a/f").id == file.id
    backlog.retry_failed(drive.kelp)
    check(drive)


def test_files_that_are_saved_while_others_are_carried(drive: MirrorDrive, caplog: pytest.LogCaptureFixture) -> None:
    """Those of a batch that come later were planned with what they were before: nobody is warned of that."""
    for number in range(4):
        drive.put(f"Secret/{number}", b"first")
    drive.settle_down()
    for each in (b"second", b"third"):
        drive.pass_time(10)
        for number in range(4):
            drive.put(f"Secret/{number}", each)

        def save(method: str, arguments: tuple[Any, ...], data: bytes = each) -> None:
            if method != "write":
                return
            drive.nas.calm()
            for number in range(4):
                drive.put(f"Secret/{number}", data + b" again")

        drive.nas.before = save
        with caplog.at_level(logging.INFO):
            drive.drain()
        assert "planned anew" in caplog.text
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []
    check(drive)
