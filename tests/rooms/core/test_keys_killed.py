"""SIGKILL while a key is made, rotated, or wrapped for: the next one goes on, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.crash.died import died
from tests.rooms.core.drive import Drive
from tests.rooms.core.key_pairs_made import pair, plain_pem
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.crypto.vault_keys import VaultKey
from vfs.operations import keyring, recipients, rewrapping, server_keys, vault_keys
from vfs.vault_model import RecipientRole

pytestmark = pytest.mark.slow

_MOST = 40  # instants that one of these works may have


@contextmanager
def another(drive: Drive) -> Iterator[Kelp]:
    """A process that starts now, as far as keys are concerned."""
    with closing(build(drive.kelp.settings, clock=drive.clock)) as kelp:
        yield kelp


def work_and_die(drive: Drive, what: str, number: int) -> str:
    """Where it died; "" when it came to its end."""
    return died("tests.rooms.core.dying_with_keys", drive.kelp.settings.data, what, number=number)


@pytest.fixture
def server(drive: Drive) -> Drive:
    """With the key "a" as its own, and a recovery key."""
    key_files.write_new(key_files.server_file(drive.kelp.settings), plain_pem("a"))
    server_keys.init(drive.kelp, "this one")
    recipients.add(drive.kelp, pair("c").public.pem.encode(), RecipientRole.RECOVERY, "")
    return drive


def new_vaults(drive: Drive, count: int) -> dict[int, VaultKey]:
    with drive.kelp.database.write() as tx:
        made = [vault_keys.new_vault(tx, drive.kelp.keys, user_id=1, now_ns=1) for _ in range(count)]
    return {each.id: each.key for each in made}


def require_open(drive: Drive, vaults: dict[int, VaultKey]) -> None:
    with another(drive) as kelp:
        assert {vault_id: keyring.vault_key(kelp, vault_id) for vault_id in vaults} == vaults


def wraps(drive: Drive) -> list[tuple[int, int, int]]:
    """Each vault with its version and the number of its wraps."""
    return drive.sql(
        """SELECT v.id, v.version, COUNT(*) FROM vaults v JOIN vault_recipients w ON w.vault_id = v.id
           GROUP BY v.id, v.version ORDER BY v.id"""
    )


def test_a_batch_that_is_killed_is_gone_on_with(server: Drive) -> None:
    vaults = new_vaults(server, 8)
    for name in "bd":
        recipients.add(server.kelp, pair(name).public.pem.encode(), RecipientRole.ADMIN, name)
    ends = []
    for number in (1, 2, 3, 4, 5, 7, 9):
        ends.append(work_and_die(server, "rewrap", number))
        assert {(version, count) for _, version, count in wraps(server)} <= {(1, 2), (2, 4)}, "a vault is one change"
        require_open(server, vaults)
    assert {"a wrapped key", "before a commit", "after a commit"} <= set(ends)
    assert {version for _, version, _ in wraps(server)} == {1, 2}, "it was in the middle"
    assert work_and_die(server, "rewrap", 1000) == ""
    assert {(version, count) for _, version, count in wraps(server)} == {(2, 4)}
    assert rewrapping.run(server.kelp).count == 0


def test_a_rotation_that_is_killed_anywhere_is_completed_by_the_next(server: Drive) -> None:
    vaults = new_vaults(server, 2)
    ends: list[str] = []
    for _ in range(3):  # seldom an instant is stepped over: how many come before it differs from one try to the next
        ends += killed_rotations(server, vaults)
        if {"before a commit", "after a commit"} <= set(ends):
            break
    assert not ends[-1] and {"before a commit", "after a commit"} <= set(ends)
    assert any("os.link" in each for each in ends) and any("os.rename" in each for each in ends)
    require_clean_end(server, vaults)


def killed_rotations(server: Drive, vaults: dict[int, VaultKey]) -> list[str]:
    """Each dies at the next instant of it, from when the new key is being written, on top of what was left before; the
    last one comes to its end. Where they died."""
    ends: list[str] = []
    for number in range(3, _MOST):
        ends.append(work_and_die(server, "rotate", number))
        require_open(server, vaults)
        with another(server) as kelp:
            assert key_files.server_file(kelp.settings).exists()
            assert any(each.is_here and each.recipient.is_active for each in recipients.every(kelp))
            assert new_vault_opens(kelp)
            if not ends[-1]:
                break
            complete(kelp)
    return ends


def new_vault_opens(kelp: Kelp) -> bool:
    """Rolled back: it is tried only."""
    with pytest.raises(InterruptedError), kelp.database.write() as tx:
        made = vault_keys.new_vault(tx, kelp.keys, user_id=1, now_ns=1)
        assert keyring.vault_key_in(tx, kelp.keys, made.id) == made.key
        raise InterruptedError
    return True


def complete(kelp: Kelp) -> None:
    """A rotation that had put the new key in its place: only that is registered."""
    current = key_files.in_use(kelp.settings)
    assert not isinstance(current, str)
    if recipients.find(kelp, current.id) is None:
        rotated = server_keys.rotate(kelp)
        assert (rotated.key_id, rotated.kept) == (current.id, None)


def require_clean_end(server: Drive, vaults: dict[int, VaultKey]) -> None:
    """The rotation is through: with the newest key alone, all vaults open."""
    with another(server) as kelp:
        rewrapping.run(kelp)
        current = key_files.in_use(kelp.settings)
        assert not isinstance(current, str)
        for each in recipients.every(kelp):
            if each.recipient.role is RecipientRole.SERVER and each.recipient.key_id != current.id:
                recipients.remove(kelp, each.recipient.key_id)
        folder = key_files.server_file(kelp.settings).parent
        for file in key_files.kept(key_files.server_file(kelp.settings)):
            file.unlink()
    require_open(server, vaults)
    assert {name for name in os.listdir(folder) if not name.endswith(".new")} == {"server.pem"}


def test_a_first_key_whose_making_is_killed_is_registered_by_the_next(drive: Drive) -> None:
    file = key_files.server_file(drive.kelp.settings)
    for number in range(1, _MOST):
        where = work_and_die(drive, "init", number)
        if recipients.every(drive.kelp):  # it was through, or all but
            break
        if file.exists():
            assert "PRIVATE KEY" in file.read_text()
    (made,) = recipients.every(drive.kelp)
    assert made.is_here and made.recipient.is_active, where
    assert new_vault_opens(drive.kelp)
