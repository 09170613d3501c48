"""The mirror's drive with a vault at its top, in which scripts play: paths are from the vault's folder."""

from __future__ import annotations

from pathlib import Path

from tests import vaults
from tests.mirror_drive import MirrorDrive, TestClock, Tree
from vfs.model import Entry, Place


class VaultMirrorDrive(MirrorDrive):
    """Its NAS is read with the vault's key, by code that has nothing of Kelp's."""

    def entry(self, path: str) -> Entry:
        return super().entry(f"{vaults.FOLDER}/{path}".rstrip("/"))

    def place(self, path: str) -> Place:
        return super().place(f"{vaults.FOLDER}/{path}")

    def on_nas(self, below: str = "", *, private: bool = False) -> Tree:
        assert not below and not private
        return vaults.on_nas(self.root)


def new_drive(folder: Path, clock: TestClock, *, in_vault: bool) -> MirrorDrive:
    drive = MirrorDrive(folder, clock=clock)
    if not in_vault:
        return drive
    vaults.make_vault(drive.kelp)
    drive.close()
    return VaultMirrorDrive(folder, clock=clock)


def drive_of(folder: Path, clock: TestClock) -> MirrorDrive:
    """As it was made."""
    kind = VaultMirrorDrive if vaults.is_in(folder / "data") else MirrorDrive
    return kind(folder, clock=clock)
