"""Vaults below a folder, and the keys that open them (docs/vault-format.md, "vault.json")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from vfs.crypto import key_files, key_pairs, vault_files
from vfs.crypto.key_pairs import PrivateKey
from vfs.crypto.vault_files import Recipient, VaultFile
from vfs.crypto.vault_keys import MAX_GENERATION, VaultKey
from vfs.errors import ContentCorrupt, KeyMissing
from vfs.operations.vault_recovery import reading
from vfs.operations.vault_recovery.findings import Told
from vfs.storage.beneath import Root, Segments

VAULT_FILE = "vault.json"
_PRIVATE, _TRASH = ".kelp", ".trash"  # Kelp's own folders at the root of a NAS


@dataclass(frozen=True)
class Vault:
    """`keys`: by generation, the newest first. `at`: where it lies below the folder that was given. `doubts`: what is
    wrong with its vault.json, which has still led to the key."""

    at: Segments
    id: bytes
    root_seal_id: bytes
    keys: dict[int, VaultKey] = field(repr=False)
    doubts: tuple[str, ...]

    def key_for(self, generation: int) -> VaultKey:
        """What should open a manifest that says this generation."""
        newest = next(iter(self.keys.values()))
        if generation not in self.keys and self.doubts and 1 <= generation <= MAX_GENERATION:
            self.keys[generation] = replace(newest, generation=generation)  # what vault.json says may be what is wrong
        return self.keys.get(generation, newest)


def read_keys(file: Path, passphrase: str | None) -> tuple[PrivateKey, ...]:
    """Raises ConfigurationError (it cannot be read), InvalidRequest (no key, or locked by another passphrase)."""
    return key_pairs.read_private(key_files.read(file), passphrase)


def needs_passphrase(file: Path) -> bool:
    """Raises ConfigurationError."""
    return key_pairs.is_locked(key_files.read(file))


def find(root: Root, told: Told, *, trash: bool) -> Iterator[Segments]:
    """The folders at or below `root` that hold a vault.json. Below a vault there is none."""
    waiting: list[Segments] = [()]
    while waiting:
        at = waiting.pop()
        try:
            folders = _look_into(root, at)
        except ContentCorrupt as error:
            told.fault("/".join(at), str(error))
            continue
        if folders is None:
            yield at
            continue
        skipped = {_PRIVATE} if trash else {_PRIVATE, _TRASH}
        waiting += [(*at, name) for name in sorted(folders, reverse=True) if at or name not in skipped]


def _look_into(root: Root, at: Segments) -> list[str] | None:
    """The folders in it; None: it is a vault. Raises ContentCorrupt."""
    with reading.opened(root, at) as folder:
        found = reading.names(folder)
        if VAULT_FILE in found:
            return None
        return [name for name in found if reading.is_folder(folder, name)]


def read_file(root: Root, at: Segments) -> bytes:
    """The vault.json of a vault. Raises ContentCorrupt."""
    with reading.opened(root, at) as folder:
        return reading.small_file(folder, VAULT_FILE, vault_files.MAX_FILE_SIZE)


def open_vault(at: Segments, data: bytes, private_keys: Sequence[PrivateKey]) -> Vault:
    """`data`: its vault.json. One that was changed, but still leads to a key, is good enough to go on with: whatever
    that key opens is what was sealed. Raises KeyMissing, ContentCorrupt."""
    file = vault_files.decode(data)
    key, damage = _unwrap(file, private_keys)
    doubts = list(damage)
    try:
        vault_files.verify(key, data)
    except ContentCorrupt as error:
        doubts.append(str(error))
    keys = {key.generation: key}
    for older in reversed(file.older_keys):
        try:
            keys[older.generation] = key.unwrap_older(older.generation, older.wrapped)
        except ContentCorrupt as error:
            doubts.append(str(error))
    return Vault(at, file.vault_id, file.root_seal_id, keys, tuple(doubts))


def _unwrap(file: VaultFile, private_keys: Sequence[PrivateKey]) -> tuple[VaultKey, list[str]]:
    """The vault's key, and what was wrong on the way to it."""
    ours = {each.id: each for each in private_keys}
    damage: list[str] = []
    for each in file.recipients:
        if each.key_id in ours:
            try:
                return _opened(file, ours[each.key_id], each), damage
            except ContentCorrupt as error:
                damage.append(str(error))
    for each in file.recipients:  # what is wrapped for us may have lost our id
        for private in private_keys:
            with suppress(ContentCorrupt):
                return _opened(file, private, each), damage
    if damage:
        raise ContentCorrupt("; ".join(damage))
    known = ", ".join(f"{each.key_id} ({each.role.value} {each.label!r})" for each in file.recipients)
    raise KeyMissing(
        f"the key {', '.join(ours)} does not open vault {file.vault_id.hex()}; these do: {known}",
        file.vault_id.hex(),
        tuple(each.key_id for each in file.recipients),
    )


def _opened(file: VaultFile, private: PrivateKey, recipient: Recipient) -> VaultKey:
    return VaultKey(file.vault_id, file.generation, key_pairs.unwrap(private, file.vault_id, recipient.wrapped))
