"""Two processes that change who may open vaults at once: whoever comes second sees what the first one did."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.core.key_pairs_made import pair, plain_pem
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.operations import keyring, recipients, rewrapping, server_keys, vault_keys
from vfs.vault_model import RecipientRole

_A_WHILE = 0.3  # seconds for the second one to come to where it has to wait; nothing is asserted of it


@pytest.fixture
def server(drive: Drive) -> Drive:
    key_files.write_new(key_files.server_file(drive.kelp.settings), plain_pem("a"))
    server_keys.init(drive.kelp)
    recipients.add(drive.kelp, pair("b").public.pem.encode(), RecipientRole.ADMIN, "b")
    return drive


def while_a_vault_is_made(drive: Drive, change: Callable[[Kelp], object]) -> int:
    """`change` in another process, begun when the vault has its wraps and is not committed; the vault's row."""
    drive.kelp.keys.ids()
    with closing(build(drive.kelp.settings, clock=drive.clock)) as other, ThreadPoolExecutor() as pool:
        other.keys.ids()
        with drive.kelp.database.write() as tx:
            made = vault_keys.new_vault(tx, drive.kelp.keys, user_id=1, now_ns=1)
            coming = pool.submit(change, other)
            threading.Event().wait(_A_WHILE)
        coming.result(60)
    assert keyring.vault_key(drive.kelp, made.id) == made.key
    return made.id


def wrapped_for(drive: Drive) -> list[tuple[int, str]]:
    return [
        tuple(row)
        for row in drive.sql(
            """SELECT w.vault_id, r.key_id FROM vault_recipients w JOIN recipients r ON r.id = w.recipient_id
               ORDER BY w.vault_id, r.id"""
        )
    ]


def test_nothing_is_wrapped_for_who_is_removed_meanwhile(server: Drive) -> None:
    vault = while_a_vault_is_made(server, lambda other: recipients.remove(other, pair("b").id))
    assert wrapped_for(server) == [(vault, pair("a").id)]
    assert server.sql("SELECT version FROM vaults") == [(2,)]


def test_who_is_added_meanwhile_is_not_forgotten(server: Drive) -> None:
    pem = pair("c").public.pem.encode()
    vault = while_a_vault_is_made(server, lambda other: recipients.add(other, pem, RecipientRole.RECOVERY, "c"))
    assert rewrapping.run(server.kelp).count == 1
    assert wrapped_for(server) == [(vault, pair(name).id) for name in "abc"]


def test_two_rounds_of_the_batch_at_once_wrap_once(server: Drive) -> None:
    for _ in range(5):
        with server.kelp.database.write() as tx:
            vault_keys.new_vault(tx, server.kelp.keys, user_id=1, now_ns=1)
    recipients.add(server.kelp, pair("c").public.pem.encode(), RecipientRole.RECOVERY, "c")
    with closing(build(server.kelp.settings, clock=server.clock)) as other, ThreadPoolExecutor() as pool:
        rounds = [pool.submit(rewrapping.run, kelp) for kelp in (server.kelp, other)]
        assert sum(each.result(60).count for each in rounds) == 5
    assert server.sql("SELECT DISTINCT version FROM vaults") == [(2,)]
    assert len(wrapped_for(server)) == 15


def test_two_who_make_the_servers_key_make_one(drive: Drive) -> None:
    with closing(build(drive.kelp.settings, clock=drive.clock)) as other, ThreadPoolExecutor() as pool:
        made = [pool.submit(server_keys.init, kelp) for kelp in (drive.kelp, other)]
        assert sorted(type(each.exception(60)).__name__ for each in made) == ["AlreadyExists", "NoneType"]
    (shown,) = recipients.every(drive.kelp)
    assert shown.is_here
