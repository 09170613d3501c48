"""What lies in a folder of a vault: manifests, opened and judged (docs/vault-format.md, "Reading a vault").

Where an entry lies is the NAS' word; its name, kind and bytes are its manifest's. So one that lies elsewhere, or twice,
is given out all the same, and told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from vfs.crypto import heads, manifests, sealed_names
from vfs.crypto.manifests import Manifest, ManifestKind
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt
from vfs.operations.vault_recovery import reading
from vfs.operations.vault_recovery.findings import Told
from vfs.operations.vault_recovery.vaults import VAULT_FILE, Vault

MANIFEST = "manifest"
_ENTRY = re.compile(r"(?P<stamp>[0-9]{14}__)?[a-z2-7]{26}")
_GENERATION = slice(24, 28)  # of the readable head of a manifest


class Opened(NamedTuple):
    """`name` is safe as a segment of a path."""

    manifest: Manifest
    name: str
    key: VaultKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """`opened`: None for a folder whose manifest is damaged: its entries have their own. `faults`: what is wrong with
    it, though it is given out."""

    nas_name: str
    opened: Opened | None
    faults: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.opened.name if self.opened else self.nas_name

    @property
    def is_folder(self) -> bool:
        return self.opened is None or self.opened.manifest.kind is ManifestKind.FOLDER

    @property
    def sequence(self) -> int:
        return self.opened.manifest.sequence if self.opened else -1


class Known:
    """All entries of a vault that were seen, each once, by its newest manifest."""

    def __init__(self, vault: Vault) -> None:
        self._vault_id = vault.id
        self._seen: dict[bytes, tuple[int, bytes]] = {vault.root_seal_id: (-1, b"")}

    def add(self, opened: Opened) -> bool:
        """False: it was seen already."""
        seal_id, mine = opened.manifest.seal_id, (opened.manifest.sequence, opened.digest)
        known = self._seen.get(seal_id)
        if known is None or (known < mine and known[1]):
            self._seen[seal_id] = mine
        return known is None

    @property
    def head(self) -> str:
        return heads.head(self._vault_id, (digest for _, digest in self._seen.values() if digest))


def read_folder(vault: Vault, folder: int, where: str, parent: bytes | None, known: Known, told: Told) -> list[Entry]:
    """Entries by name, of equal ones the newest first. What cannot be given out is told. `parent`: the folder's seal
    id, None where that is not known. Raises ContentCorrupt."""
    found = []
    for name in reading.names(folder):
        if name in (MANIFEST, VAULT_FILE) or name.startswith("."):  # Kelp's own, or on its way
            continue
        place = f"{where}/{name}" if where else name
        match = _ENTRY.fullmatch(name)
        if match is None:
            told.fault(place, "does not belong to the vault")
            continue
        try:
            with reading.opened_in(folder, name) as inner:
                opened = _open_entry(vault, inner)
        except ContentCorrupt as error:
            if match["stamp"]:
                told.fault(place, f"{MANIFEST}: {error}")
            else:
                found.append(Entry(name, None, (f"{MANIFEST}: {error}; so its name is lost",)))
            continue
        if opened.manifest.kind is ManifestKind.VERSION:
            told.tally.older += 1
        else:
            found.append(Entry(name, opened, _doubts(opened, parent, known)))
    return sorted(found, key=lambda entry: (entry.name, -entry.sequence))


def _open_entry(vault: Vault, folder: int) -> Opened:
    """Raises ContentCorrupt."""
    data = reading.small_file(folder, MANIFEST, manifests.MAX_MANIFEST_SIZE)
    generation = int.from_bytes(data[_GENERATION], "big")
    key = vault.keys.get(generation) or next(iter(vault.keys.values()))
    manifest = manifests.open_manifest(key, data)
    name = sealed_names.open_name(key, manifest.parent_seal_id, manifest.sealed_name)
    return Opened(manifest, name, key, manifests.digest(data))


def _doubts(opened: Opened, parent: bytes | None, known: Known) -> tuple[str, ...]:
    is_new = known.add(opened)
    doubts = [] if is_new else ["it is in the vault twice: one of them is a copy, perhaps of an older state"]
    if parent not in (None, opened.manifest.parent_seal_id):
        doubts.append("its manifest says that it belongs into another folder")
    return tuple(doubts)
