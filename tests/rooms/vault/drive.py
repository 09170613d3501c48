"""A drive that is a vault in a drive: paths are from the vault's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.rooms.core.drive import Drive
from vfs.core import Kelp
from vfs.crypto.key_files import Found as FoundKeys
from vfs.crypto.key_ring import KeyRing
from vfs.model import Caller, Found
from vfs.operations import reading, sealing

VAULT = "tresor ü"  # the same key on a drive that ignores case


@dataclass
class VaultDrive(Drive):
    def resolve(self, segments: Sequence[str], caller: Caller | None = None) -> Found:
        return reading.resolve(self.kelp, caller or self.editor, [VAULT, *segments])

    def trashed(self) -> list[str]:
        return sorted(item.original_path.removeprefix(f"/{VAULT}") for item in self.trash())


def close(kelp: Kelp) -> None:
    """From now on this process has no private key."""
    with_keys(kelp, KeyRing(FoundKeys))


def with_keys(kelp: Kelp, keys: KeyRing) -> None:
    before = kelp.database._seals.cipher
    assert before is not None
    kelp.database.open_vaults(sealing.VaultCipher(keys, kelp.settings.drive.case_sensitive, before.renew))
