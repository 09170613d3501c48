"""What `kelp doctor` says of the keys of vaults."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms.core.key_pairs_made import pair, plain_pem
from tests.rooms.test_doctor import Run, drive, run
from vfs import bootstrap
from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.model import ROOT_ID, Place
from vfs.operations import access, recipients, rewrapping, server_keys, vaulting
from vfs.settings import Settings
from vfs.vault_model import RecipientRole

__all__ = ["drive", "run"]

Told = dict[str, tuple[str, str, str]]


def told(run: Run, **settings: object) -> Told:
    return {check: said for (area, check), said in run(**settings).found.items() if area == "keys"}


@contextlib.contextmanager
def opened(drive: Path) -> Iterator[Kelp]:
    with contextlib.closing(bootstrap.build(Settings.load(data=drive / "data"))) as kelp:
        yield kelp


@pytest.fixture
def file(drive: Path) -> Path:
    """The server's key, of a drive with a vault that it opens, and a recovery key."""
    with opened(drive) as kelp:
        file = key_files.server_file(kelp.settings)
        key_files.write_new(file, plain_pem("a"))
        server_keys.init(kelp)
        recipients.add(kelp, pair("c").public.pem.encode(), RecipientRole.RECOVERY, "the safe")
        vaulting.create(kelp, access.system_caller(kelp, "cli"), Place(ROOT_ID, "Tresor"))
    return file


def test_all_is_well(run: Run, file: Path) -> None:
    said = told(run)
    assert {check: mark for check, (mark, _, _) in said.items()} == dict.fromkeys(
        ("private key", "recipients", "vaults"), "ok"
    )
    assert said["private key"][1] == pair("a").id and "recovery" in said["recipients"][1]


def test_a_drive_without_keys_is_told_nothing(run: Run, drive: Path) -> None:
    assert told(run) == {}


def test_before_the_first_vault_nothing_is_an_error(run: Run, drive: Path) -> None:
    with opened(drive) as kelp:
        key_files.write_new(key_files.server_file(kelp.settings), plain_pem("a"))
    said = told(run)
    assert said["private key"][0] == "warning" and "kelp keys init" in said["private key"][2]
    with opened(drive) as kelp:
        server_keys.init(kelp)
    said = told(run)
    assert said["private key"][0] == "ok" and "vaults" not in said
    mark, fact, advice = said["recipients"]
    assert mark == "warning" and "all is lost" in fact and "add-recipient" in advice


def test_the_key_is_missing_unreadable_or_another(run: Run, file: Path) -> None:
    file.write_bytes(b"-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n")
    said = told(run)
    assert said["private key"][0] == said["vaults"][0] == "error" and str(file) in said["private key"][1]
    file.write_bytes(plain_pem("b"))
    said = told(run)
    assert said["private key"][0] == said["vaults"][0] == "error" and pair("b").id in said["private key"][1]
    assert pair("a").id in said["vaults"][2] and pair("c").id in said["vaults"][2]
    file.unlink()
    said = told(run)
    assert said["private key"][0] == said["vaults"][0] == "error" and "keys import" in said["private key"][2]


def test_others_could_read_it(run: Run, file: Path) -> None:
    file.chmod(0o640)
    mark, fact, advice = told(run)["mode"]
    assert mark == "warning" and str(file) in fact and "chmod 600" in advice


def test_a_vault_that_is_not_wrapped_for_all(run: Run, drive: Path, file: Path) -> None:
    with opened(drive) as kelp:
        recipients.add(kelp, pair("b").public.pem.encode(), RecipientRole.ADMIN, "")
        assert "1 to be wrapped" in told(run)["vaults"][1]
        rewrapping.run(kelp)
        assert told(run)["vaults"][0] == "ok"
        with kelp.database.write() as tx:
            tx.run("UPDATE vault_recipients SET wrapped_key = 'd3Jvbmc' WHERE recipient_id = 1")
    mark, fact, _ = told(run)["vaults"]
    assert mark == "error" and "damaged" in fact
    for generation in (2, 1):
        with opened(drive) as kelp, kelp.database.write() as tx:
            tx.run("UPDATE vault_recipients SET generation = :to", to=generation)
        mark, _, advice = told(run)["vaults"]
        assert mark == "error" and ("nobody" in advice) == (generation == 2)


def test_without_the_database(run: Run, drive: Path, file: Path) -> None:
    database = drive / "data" / "kelp.db"
    kept = database.read_bytes()
    database.write_bytes(b"no database at all" * 1000)
    assert told(run)["vaults"][0] == "note"
    database.write_bytes(kept)
