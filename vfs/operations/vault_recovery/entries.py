"""What lies in a folder of a vault: manifests, opened and judged (docs/vault-format.md, "Reading a vault").

Where an entry lies is the NAS' word; its name, kind and bytes are its manifest's. So one that lies elsewhere, or twice,
is given out all the same, and told.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
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
_VERSION = re.compile(r"[0-9]{14}~[0-9a-f]{8}")  # in a folder for those of one entry
_VAULT_ID, _GENERATION = slice(8, 24), slice(24, 28)  # of the readable head of a manifest


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
    def is_version(self) -> bool:
        return self.opened is not None and self.opened.manifest.kind is ManifestKind.VERSION

    @property
    def rank(self) -> tuple[str, bool, int]:
        """By name; of equal ones what is current first, then the newest."""
        return self.name, self.is_version, -(self.opened.manifest.sequence if self.opened else -1)


class _Seen(NamedTuple):
    """`where`: the first that was seen, as its folder and its name: the folder's is one text for all in it."""

    sequence: int
    digest: bytes
    where: tuple[str, str]


class Known:
    """All entries of a vault that were seen, each once, by its newest manifest. Some 300 bytes for each."""

    def __init__(self, vault: Vault) -> None:
        self._vault_id = vault.id
        self._seen = {vault.root_seal_id: _Seen(-1, b"", ("", VAULT_FILE))}

    def add(self, opened: Opened, folder: str, name: str) -> str | None:
        """Where it was seen already; None: it is new."""
        seal_id, sequence = opened.manifest.seal_id, opened.manifest.sequence
        known = self._seen.get(seal_id)
        if known is None:
            self._seen[seal_id] = _Seen(sequence, opened.digest, (folder, name))
            return None
        if known.digest and (known.sequence, known.digest) < (sequence, opened.digest):
            self._seen[seal_id] = known._replace(sequence=sequence, digest=opened.digest)
        return "/".join(filter(None, known.where))

    @property
    def head(self) -> str:
        return heads.head(self._vault_id, (seen.digest for seen in self._seen.values() if seen.digest))


def read_folder(vault: Vault, folder: int, where: str, parent: bytes | None, known: Known, told: Told) -> list[Entry]:
    """Entries by name, of equal ones the newest first, older versions behind: a drive that keeps all registrations has
    them beside their file. What cannot be given out is told. `parent`: the folder's seal id, None where that is not
    known. Raises ContentCorrupt."""
    found: list[Entry] = []
    for name in reading.names(folder):
        if name in (MANIFEST, VAULT_FILE) or name.startswith("."):  # Kelp's own, or on its way
            continue
        place = f"{where}/{name}" if where else name
        match = _ENTRY.fullmatch(name)
        if match is None:
            told.fault(place, "does not belong to the vault")
            continue
        try:
            opened = _open_entry(vault, folder, name)
        except ContentCorrupt as error:
            if match["stamp"] and not holds_entries(folder, name):
                told.fault(place, f"{MANIFEST}: {error}")
            else:
                found.append(Entry(name, None, (f"{MANIFEST}: {error}; so its name is lost",)))
            continue
        found.append(Entry(name, opened))
    found.sort(key=lambda entry: entry.rank)
    return [_judged(entry, where, parent, known) for entry in found]


def read_beside(vault: Vault, folder: int, where: str, told: Told) -> list[Entry]:
    """Entries of this vault in a folder outside of it, where others may be too. Raises ContentCorrupt."""
    found = []
    for name in reading.names(folder):
        if not (_ENTRY.fullmatch(name) or _VERSION.fullmatch(name)) or not reading.is_folder(folder, name):
            continue
        try:
            with reading.opened_in(folder, name) as inner:
                data = reading.small_file(inner, MANIFEST, manifests.MAX_MANIFEST_SIZE)
            if data[_VAULT_ID] == vault.id:
                found.append(Entry(name, _open_entry(vault, folder, name)))
        except ContentCorrupt as error:
            told.fault(f"{where}/{name}", f"{MANIFEST}: {error}")
    return sorted(found, key=lambda entry: entry.rank)


def holds_entries(folder: int, name: str) -> bool:
    """Other entries lie in the entry `name`: so it is a folder, whatever its manifest says. False when unreadable."""
    with suppress(ContentCorrupt), reading.opened_in(folder, name) as inner:
        return any(_ENTRY.fullmatch(each) and reading.is_folder(inner, each) for each in reading.names(inner))
    return False


def _open_entry(vault: Vault, folder: int, name: str) -> Opened:
    """Raises ContentCorrupt."""
    with reading.opened_in(folder, name) as inner:
        data = reading.small_file(inner, MANIFEST, manifests.MAX_MANIFEST_SIZE)
    key = vault.key_for(int.from_bytes(data[_GENERATION], "big"))
    manifest = manifests.open_manifest(key, data)
    name = sealed_names.open_name(key, manifest.parent_seal_id, manifest.sealed_name)
    return Opened(manifest, name, key, manifests.digest(data))


def _judged(entry: Entry, where: str, parent: bytes | None, known: Known) -> Entry:
    if entry.opened is None or entry.is_version:
        return entry
    faults = []
    other = known.add(entry.opened, where, entry.nas_name)
    if other is not None:
        faults.append(
            f"it is in the vault twice, here and at {other}: one of them is a copy, perhaps of an older state"
        )
    if parent not in (None, entry.opened.manifest.parent_seal_id):
        faults.append("its manifest says that it belongs into another folder")
    return replace(entry, faults=tuple(faults))
