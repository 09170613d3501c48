"""A drive that is a vault in a drive: paths are from the vault's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.rooms.core.drive import Drive
from vfs.model import ROOT_ID, Caller, Entry, Found, Place
from vfs.operations import reading, vaulting

VAULT = "Tresor ü"


@dataclass
class VaultDrive(Drive):
    def resolve(self, segments: Sequence[str], caller: Caller | None = None) -> Found:
        return reading.resolve(self.kelp, caller or self.editor, [VAULT, *segments])

    def trashed(self) -> list[str]:
        return sorted(item.original_path.removeprefix(f"/{VAULT}") for item in self.trash())


def make_vault(drive: Drive, name: str = VAULT) -> Entry:
    """In the root."""
    return vaulting.create(drive.kelp, drive.admin, Place(ROOT_ID, name))
