"""What a process remembers of names and texts that it opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rooms.core.drive import Drive
from tests.vaults import make_vault
from vfs.errors import KeyMissing
from vfs.model import Entry
from vfs.operations import keyring, sealing, vault_keys, vaulting
from vfs.operations.sealing import VaultCipher, _Opened


def test_what_was_opened_is_not_opened_again() -> None:
    asked: list[str] = []

    def open_it(stored: str) -> str:
        asked.append(stored)
        return stored.upper()

    known = _Opened(open_it, 5)
    assert [known[stored] for stored in ("one", "two", "one", "longer", "longer")] == [
        *("ONE", "TWO", "ONE", "LONGER", "LONGER")
    ]
    assert asked == ["one", "two", "longer", "longer"]


def test_it_is_not_too_much_and_always_right() -> None:
    known = _Opened(str.upper, 100)

    def look(begin: int) -> None:
        for number in range(begin, begin + 3 * sealing._REMEMBERED):
            assert known[f"a{number}"] == f"A{number}"
            assert len(known) <= sealing._REMEMBERED

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look, (0, 100, 20_000, 20_001)))
    assert known["last"] == "LAST"
    assert "last" in known and len(known) <= sealing._REMEMBERED


def cipher_of(drive: Drive) -> VaultCipher:
    cipher = drive.kelp.database._seals.cipher
    assert isinstance(cipher, VaultCipher)
    return cipher


def look(drive: Drive, *vaults: Entry) -> None:
    for vault in vaults:
        with drive.kelp.database.read() as tx:
            assert vault.vault_id is not None
            cipher_of(drive).of(tx, vault.vault_id)


def test_nothing_is_remembered_of_a_vault_whose_key_is_gone(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = make_vault(drive.kelp, "vault")
    assert vault.vault_id is not None
    drive.put("vault/a", b"x")
    look(drive, vault)
    key, known = keyring.vault_key(drive.kelp, vault.vault_id), cipher_of(drive)._opened
    assert list(known) == [vault.vault_id]
    with drive.kelp.database.write() as tx:
        for each in tx.recipients.every():
            tx.vaults.drop_wraps(each.id)
    monkeypatch.setattr(sealing, "_TRUSTED", 0.0)
    with pytest.raises(KeyMissing):
        look(drive, vault)
    assert not known
    with drive.kelp.database.write() as tx:
        vault_keys.wrap_where_lacking(tx, vault.vault_id, key)


def test_of_many_vaults_those_used_last_are_remembered(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_VAULTS", 2)
    monkeypatch.setattr(sealing, "_TRUSTED", 0.0)
    first = make_vault(drive.kelp, "vault")
    second, third = (vaulting.create(drive.kelp, drive.admin, drive.place(name)) for name in ("second", "third"))
    known = cipher_of(drive)._opened
    look(drive, first, second, first, third)
    assert list(known) == [first.vault_id, third.vault_id]
    monkeypatch.setattr(sealing, "_UNUSED", 0.0)
    look(drive, second)
    assert list(known) == [second.vault_id]
