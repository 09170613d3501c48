"""What lies in a vault a database server never hears as it is, also as part of a path that is asked for: its log, and
the network, may keep it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import Nodes
from tests.vaults import make_vault
from vfs.metadata import postgresql
from vfs.metadata.postgres_tx import PostgresTx
from vfs.operations import reading, sealing, vaulting

SECRET = "Quxzwillop"
PATHS = ("vault/{0}/{0}", "vault/{0}/{0} no more/{0}", "deep/vault here/{0}", "deep/vault/plain/file", "deep/vault/no")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every value of any statement of a transaction, also of those that travel with another."""
    values: list[object] = []
    execute = PostgresTx._execute

    def heard(tx: PostgresTx, text: str, given: list[object]) -> Any:
        values.extend(given)
        return execute(tx, text, given)

    monkeypatch.setattr(PostgresTx, "_execute", heard)
    return values


@pytest.fixture
def drive(nodes: Nodes) -> Drive:
    """With a vault at its top, one below a folder, and a plain folder called as the first."""
    drive = nodes.a
    make_vault(drive.kelp)
    drive.folder("deep")
    vaulting.create(drive.kelp, drive.admin, drive.place("deep/vault here"))
    for folder in (f"vault/{SECRET}", "deep/vault", "deep/vault/plain"):
        drive.folder(folder)
    for file in (f"vault/{SECRET}/{SECRET}", f"deep/vault here/{SECRET}", "deep/vault/plain/file"):
        drive.put(file)
    return drive


def require_silence(drive: Drive, told: list[object]) -> None:
    told.clear()
    for path in PATHS:
        names = path.format(SECRET).split("/")
        found = reading.resolve(drive.kelp, drive.editor, names)
        is_there = "no" not in path
        assert (found.entry is not None) == is_there, path
        with drive.kelp.database.read() as tx:
            assert (sealing.find(drive.kelp, tx, names) is not None) == is_there
    said = "\n".join(map(str, told))
    assert "plain" in said and SECRET not in said and SECRET.casefold() not in said


def test_a_path_into_a_vault(drive: Drive, told: list[object]) -> None:
    require_silence(drive, told)


def test_of_a_vault_that_another_server_made(nodes: Nodes, told: list[object]) -> None:
    assert reading.resolve(nodes.b.kelp, nodes.b.editor, ["vault"]).entry is None
    make_vault(nodes.a.kelp)
    nodes.a.put(f"vault/{SECRET}")
    told.clear()
    assert reading.resolve(nodes.b.kelp, nodes.b.editor, ["vault", SECRET]).entry is not None
    assert SECRET not in "\n".join(map(str, told))


def test_of_more_vaults_than_a_server_remembers(
    drive: Drive, told: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_BORDERS", 1)
    require_silence(drive, told)
