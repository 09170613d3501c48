"""Keys of vaults in a drive: made, opened, wrapped for who comes and dropped with who goes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import batches, outage
from tests.rooms.core.drive import Drive
from tests.rooms.core.key_pairs_made import pair, plain_pem
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.crypto import key_files, key_ring
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import AlreadyExists, ContentCorrupt, InvalidRequest, KeyMissing, NotFound
from vfs.operations import keyring, recipients, rewrapping, server_keys, vault_keys
from vfs.vault_model import RecipientRole

SERVER, ADMIN, RECOVERY = RecipientRole


def add(drive: Drive, name: str, role: RecipientRole = SERVER) -> str:
    return recipients.add(drive.kelp, pair(name).public.pem.encode(), role, name).key_id


def new_vault(kelp: Kelp) -> tuple[int, VaultKey]:
    with kelp.database.write() as tx:
        made = vault_keys.new_vault(tx, kelp.keys, user_id=1, now_ns=kelp.clock.now_ns())
    return made.id, made.key


def restarted(drive: Drive, *names: str) -> Kelp:
    """As another process, which has these private keys only, would have it."""
    text = "".join(plain_pem(name).decode() for name in names)
    return keyring.unlocked(
        replace(
            drive.kelp,
            settings=replace(
                drive.kelp.settings,
                vault=replace(drive.kelp.settings.vault, key=text or "none"),
            ),
        ),
        "",
    )  # fmt: skip


@pytest.fixture
def server(drive: Drive) -> Drive:
    """With the key "a" as its own."""
    key_files.write_new(key_files.server_file(drive.kelp.settings), plain_pem("a"))
    server_keys.init(drive.kelp, "this one")
    return drive


def versions(drive: Drive, vault_id: int) -> tuple[int, int, int]:
    sql = "SELECT generation, version, mirrored_version FROM vaults WHERE id = :id"
    return tuple(drive.sql(sql, id=vault_id)[0])  # type: ignore[return-value]


def test_a_vault_is_wrapped_for_everybody_and_opened_by_each(server: Drive, caplog: pytest.LogCaptureFixture) -> None:
    for name, role in (("b", ADMIN), ("c", RECOVERY)):
        add(server, name, role)
    vault_id, key = new_vault(server.kelp)
    assert keyring.vault_key(server.kelp, vault_id) == key
    for name in "abc":
        assert keyring.vault_key(restarted(server, name), vault_id) == key
    with server.kelp.database.read() as tx:
        assert keyring.vault_key_in(tx, server.kelp.keys, vault_id) == key
    assert versions(server, vault_id) == (1, 1, 0)
    assert "recovery" not in caplog.text
    assert server.sql("SELECT uuid FROM vaults") == [(str(uuid.UUID(bytes=key.vault_id)),)]
    with pytest.raises(NotFound):
        keyring.vault_key(server.kelp, vault_id + 1)


def test_no_vault_without_a_key_of_this_server(drive: Drive) -> None:
    with pytest.raises(KeyMissing, match="kelp keys init"):
        new_vault(drive.kelp)
    add(drive, "b", ADMIN)
    other = add(drive, "c")
    with pytest.raises(KeyMissing) as caught:
        new_vault(drive.kelp)
    assert caught.value.key_ids == (other,)
    assert drive.sql("SELECT COUNT(*) FROM vaults") == [(0,)]


def test_a_vault_without_recovery_is_warned_of(server: Drive, caplog: pytest.LogCaptureFixture) -> None:
    with server.kelp.database.write() as tx:
        made = vault_keys.new_vault(tx, server.kelp.keys, user_id=None, now_ns=1)
        tx.vaults.set_root(made.id, 1)
    assert not made.is_recoverable and "no recovery key" in caplog.text
    assert made.key.secret.hex() not in repr(made)


def test_a_missing_key_closes_and_loses_nothing(server: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "_AGAIN", 0.0)
    vault_id, key = new_vault(server.kelp)
    file = key_files.server_file(server.kelp.settings)
    away = file.rename(file.with_suffix(".away"))
    with closing(build(server.kelp.settings, clock=server.clock)) as later:
        with pytest.raises(KeyMissing) as caught:
            keyring.vault_key(later, vault_id)
        assert caught.value.key_ids == (pair("a").id,) and caught.value.retry_after > 0
        assert outage.is_outage(caught.value) and not outage.is_entry_fault(caught.value)
        away.rename(file)
        assert keyring.vault_key(later, vault_id) == key


# --- who comes and who goes ---


def test_who_is_added_gets_what_is_there_by_the_batch(server: Drive) -> None:
    vaults = [new_vault(server.kelp) for _ in range(3)]
    assert rewrapping.run(server.kelp).count == 0
    add(server, "c", RECOVERY)
    assert {each.recipient.key_id: each.waiting for each in recipients.every(server.kelp)}[pair("c").id] == 3
    before = server.kelp.database.version()
    assert rewrapping.run(server.kelp).count == 3
    assert server.kelp.database.version() != before
    before = server.kelp.database.version()
    assert rewrapping.run(server.kelp).count == 0 and server.kelp.database.version() == before
    for vault_id, key in vaults:
        assert versions(server, vault_id) == (1, 2, 0)
        assert keyring.vault_key(restarted(server, "c"), vault_id) == key


def test_the_batch_runs_with_the_others() -> None:
    assert [each.round for each in batches.BATCHES if each.name == "vault-keys"] == [rewrapping.run]


def test_a_round_goes_on_beside_vaults_that_are_closed_here(server: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    add(server, "b")
    closed_here, _ = new_vault(server.kelp)
    with server.kelp.database.write() as tx:  # as one that another server made
        tx.run("DELETE FROM vault_recipients WHERE recipient_id <> (SELECT MAX(id) FROM recipients)")
    open_here, key = new_vault(server.kelp)
    add(server, "c", RECOVERY)
    monkeypatch.setattr(rewrapping, "_AT_ONCE", 1)
    assert rewrapping.run(server.kelp).count == 1
    with pytest.raises(KeyMissing, match="new recipients"):
        rewrapping.run(server.kelp)
    assert keyring.vault_key(restarted(server, "c"), open_here) == key
    assert rewrapping.run(restarted(server, "b")).count == 1
    assert keyring.vault_key(restarted(server, "c"), closed_here)
    assert rewrapping.run(server.kelp).count == 0


def test_damage_of_a_wrapped_key_is_told(server: Drive) -> None:
    vault_id, _ = new_vault(server.kelp)
    with server.kelp.database.write() as tx:
        tx.run("UPDATE vault_recipients SET wrapped_key = 'd3Jvbmc'")
        tx.vaults.changed(vault_id)
    add(server, "c", RECOVERY)
    for look in (lambda: keyring.vault_key(server.kelp, vault_id), lambda: rewrapping.run(server.kelp)):
        with pytest.raises(ContentCorrupt):
            look()


def test_who_is_removed_opens_nothing_any_more(server: Drive) -> None:
    for name, role in (("b", ADMIN), ("c", RECOVERY)):
        add(server, name, role)
    vault_id, key = new_vault(server.kelp)
    assert recipients.remove(server.kelp, pair("b").id[:8]).has_recovery
    with pytest.raises(KeyMissing) as caught:
        keyring.vault_key(restarted(server, "b"), vault_id)
    assert pair("b").id not in caught.value.key_ids
    assert versions(server, vault_id) == (1, 2, 0)
    assert keyring.vault_key(server.kelp, vault_id) == key
    assert not recipients.remove(server.kelp, pair("c").id).has_recovery
    assert rewrapping.run(server.kelp).count == 0
    add(server, "b", RECOVERY)  # he may come back
    assert rewrapping.run(server.kelp).count == 1
    assert keyring.vault_key(restarted(server, "b"), vault_id) == key


def test_the_last_key_of_a_vault_is_not_removed(server: Drive) -> None:
    add(server, "c", RECOVERY)
    vault_id, key = new_vault(server.kelp)
    other = add(server, "b")  # another server, for which nothing is wrapped yet
    with pytest.raises(InvalidRequest, match="still needed"):
        recipients.remove(server.kelp, pair("a").id)
    assert rewrapping.run(server.kelp).count == 1
    with pytest.raises(InvalidRequest, match="still needed"):  # only its public key was ever seen here
        recipients.remove(server.kelp, pair("a").id)
    recipients.remove(server.kelp, other)
    assert keyring.vault_key(server.kelp, vault_id) == key


def test_refusals(server: Drive) -> None:
    add(server, "b", ADMIN)
    with pytest.raises(AlreadyExists):
        add(server, "b", RECOVERY)
    for name in ("", pair("b").id[:3], "ffffffffffff0000"):
        with pytest.raises(NotFound):
            recipients.remove(server.kelp, name)
    for label in ("x" * 256, "é" * 128, "a\nb"):
        with pytest.raises(InvalidRequest, match="label"):
            recipients.add(server.kelp, pair("c").public.pem.encode(), ADMIN, label)
    with pytest.raises(InvalidRequest, match="private"):
        recipients.add(server.kelp, plain_pem("c"), ADMIN, "")


def test_there_is_an_end_of_recipients(server: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipients, "MAX_RECIPIENTS", 2)
    gone = add(server, "b", ADMIN)
    with pytest.raises(InvalidRequest, match="at most 2"):
        add(server, "c", ADMIN)
    recipients.remove(server.kelp, gone)
    add(server, "c", ADMIN)


# --- the server's own key ---


def test_a_rotation_from_end_to_end(server: Drive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    add(server, "c", RECOVERY)
    vaults = [new_vault(server.kelp) for _ in range(3)]
    rotated = server_keys.rotate(server.kelp)
    assert rotated.kept is not None and [each.key_id for each in rotated.before] == [pair("a").id]
    with closing(build(server.kelp.settings, clock=server.clock)) as later:  # both keys open them until then
        assert [keyring.vault_key(later, vault_id) for vault_id, _ in vaults] == [key for _, key in vaults]
        younger, _ = new_vault(later)
        assert not any(each.may_go for each in recipients.every(later))
        with pytest.raises(InvalidRequest, match="still needed"):
            recipients.remove(later, pair("a").id)
        assert rewrapping.run(later).count == 3
    assert str(rotated.kept) in caplog.text and pair("a").id in caplog.text
    (old, _, new) = recipients.every(server.kelp)
    assert old.may_go and old.file == str(rotated.kept) and old.recipient.vaults == 3
    assert new.recipient.label == "this one" and (new.is_here, new.waiting) == (True, 0)
    recipients.remove(server.kelp, pair("a").id)
    rotated.kept.unlink()
    with closing(build(server.kelp.settings, clock=server.clock)) as later:
        assert [keyring.vault_key(later, vault_id) for vault_id, _ in vaults] == [key for _, key in vaults]
        assert keyring.vault_key(later, younger)
    assert keyring.vault_key(server.kelp, vaults[0][0]) == vaults[0][1]


def test_a_running_process_takes_the_new_key_when_it_needs_it(server: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "_AGAIN", 0.0)
    with closing(build(server.kelp.settings, clock=server.clock)) as running:
        vault_id, key = new_vault(running)
        server_keys.rotate(server.kelp)
        assert rewrapping.run(running).count == 1
        recipients.remove(server.kelp, pair("a").id)
        assert keyring.vault_key(running, vault_id) == key


def test_init_never_overwrites(server: Drive, drive_with: Callable[..., Drive], tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists, match=pair("a").id):
        server_keys.init(server.kelp)
    assert key_files.server_file(server.kelp.settings).read_bytes() == plain_pem("a")
    fresh = drive_with(vault_key_file=str(tmp_path / "elsewhere" / "k.pem"))
    with pytest.raises(NotFound, match="kelp keys init"):
        server_keys.rotate(fresh.kelp)
    made = server_keys.init(fresh.kelp, "new")
    assert made.is_new and made.file == tmp_path / "elsewhere" / "k.pem"
    assert [(each.recipient.key_id, each.is_here) for each in recipients.every(fresh.kelp)] == [(made.key_id, True)]


def test_a_key_from_the_environment(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(vault_key=plain_pem("a").decode())
    assert server_keys.init(drive.kelp).file is None
    vault_id, key = new_vault(drive.kelp)
    assert keyring.vault_key(drive.kelp, vault_id) == key
    for refused in (lambda: server_keys.rotate(drive.kelp), lambda: server_keys.import_(drive.kelp, Path("x"), None)):
        with pytest.raises(InvalidRequest, match=r"vault\.key"):
            refused()


def test_a_locked_key_stays_locked_by_the_same(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(vault_passphrase="correct horse")
    server_keys.init(drive.kelp)
    vault_id, key = new_vault(drive.kelp)
    rotated = server_keys.rotate(drive.kelp)
    assert rotated.kept is not None
    assert all(b"ENCRYPTED" in file.read_bytes() for file in (rotated.file, rotated.kept))
    without = replace(drive.kelp.settings, vault=replace(drive.kelp.settings.vault, passphrase=""))
    with closing(build(without, clock=drive.clock)) as later:
        assert keyring.is_locked(later)
        with pytest.raises(KeyMissing):
            keyring.vault_key(later, vault_id)
        assert keyring.vault_key(keyring.unlocked(later, "correct horse"), vault_id) == key


def test_a_key_is_taken_out_and_put_back(server: Drive, tmp_path: Path) -> None:
    vault_id, key = new_vault(server.kelp)
    with pytest.raises(InvalidRequest, match="at least"):
        server_keys.export(server.kelp, "short", tmp_path / "out.pem")
    server_keys.export(server.kelp, "correct horse", tmp_path / "out.pem")
    with pytest.raises(AlreadyExists):
        server_keys.export(server.kelp, "correct horse", tmp_path / "out.pem")
    assert server_keys.locked(tmp_path / "out.pem")
    with pytest.raises(AlreadyExists):
        server_keys.import_(server.kelp, tmp_path / "out.pem", "correct horse")
    file = key_files.server_file(server.kelp.settings)
    file.unlink()
    with closing(build(server.kelp.settings, clock=server.clock)) as later:
        with pytest.raises(InvalidRequest, match="passphrase is wrong"):
            server_keys.import_(later, tmp_path / "out.pem", "another one")
        assert server_keys.import_(later, tmp_path / "out.pem", "correct horse").file == file
        assert keyring.vault_key(later, vault_id) == key
    assert len(recipients.every(server.kelp)) == 1


def test_a_recovery_key_is_put_beside_a_new_server_key(server: Drive, tmp_path: Path) -> None:
    """The server's key was lost: with the recovery key all vaults are wrapped for a new one."""
    add(server, "c", RECOVERY)
    vault_id, key = new_vault(server.kelp)
    key_files.server_file(server.kelp.settings).unlink()
    for name in "bc":
        (tmp_path / name).write_bytes(plain_pem(name))
    with closing(build(server.kelp.settings, clock=server.clock)) as later:
        server_keys.init(later, "the new one")
        with pytest.raises(KeyMissing):
            rewrapping.run(later)
        with pytest.raises(InvalidRequest, match="nothing is wrapped"):
            server_keys.import_(later, tmp_path / "b", None)
        beside = server_keys.import_(later, tmp_path / "c", None).file
        assert beside is not None and beside.name != "server.pem" and len(later.keys.ids()) == 2
        assert rewrapping.run(later).count == 1
        beside.unlink()
    with closing(build(server.kelp.settings, clock=server.clock)) as later:
        assert keyring.vault_key(later, vault_id) == key
        recipients.remove(later, pair("a").id)  # what was lost
