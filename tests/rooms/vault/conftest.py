"""The tests of the core once more, inside a vault: their `drive` is a folder of a drive, in which all is sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from jobs import mirror
from tests import engines
from tests.rooms.core.conftest import drive_with as plain_drive_with
from tests.rooms.core.conftest import finished as finished_plain
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import files, files_of
from tests.rooms.vault.drive import VAULT, VaultDrive
from tests.vaults import make_vault
from vfs.bootstrap import build

__all__ = ["files", "files_of", "finished_plain", "plain_drive_with"]


@pytest.fixture(scope="session")
def finished(finished_plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a vault."""
    folder = tmp_path_factory.mktemp("with-key") / "data"
    engines.copy_drive(finished_plain, folder)
    kelp = build(engines.load(folder))
    make_vault(kelp, VAULT)
    mirror.drain(kelp, "test")
    kelp.close()
    return folder


@pytest.fixture
def drive_with(plain_drive_with: Callable[..., Drive]) -> Iterator[Callable[..., VaultDrive]]:
    opened: list[tuple[Drive, VaultDrive]] = []

    def open_drive(**overrides: object) -> VaultDrive:
        plain = plain_drive_with(**overrides)
        drive = VaultDrive(**{field.name: getattr(plain, field.name) for field in fields(Drive)})
        opened.append((plain, drive))
        return drive

    yield open_drive
    for plain, drive in opened:
        plain.damaged = drive.damaged


@pytest.fixture
def drive(drive_with: Callable[..., VaultDrive]) -> VaultDrive:
    return drive_with()
