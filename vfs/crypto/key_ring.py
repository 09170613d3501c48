"""The private keys that this process has, and the keys of vaults that they have opened."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable

from vfs.crypto import base64url, key_pairs
from vfs.crypto.key_files import Found
from vfs.crypto.key_pairs import PrivateKey
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import ContentCorrupt, KeyMissing
from vfs.vault_model import ClosedVault

log = logging.getLogger(__name__)

_MOST = 1000  # vaults whose keys are remembered
_AGAIN = 5.0  # seconds before files are read again for a key that was missing: somebody may have put it there


class KeyRing:
    """One per process, for many threads. Reads the private keys when the first vault is opened: most processes have
    none. Unwrapping takes a millisecond or two: what it gave is remembered as long as the recipients stay the same."""

    def __init__(self, find: Callable[[], Found]) -> None:
        self._find = find
        self._guard = threading.Lock()
        self._keys: dict[str, PrivateKey] = {}
        self._looked: float | None = None  # monotonic
        self._faults: tuple[str, ...] = ()
        self._opened: OrderedDict[str, tuple[int, VaultKey]] = OrderedDict()  # by uuid, with the vault's version

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"

    def ids(self) -> tuple[str, ...]:
        """Of the private keys, as they are now, that in use first."""
        with self._guard:
            self._look()
            return tuple(self._keys)

    def has(self, key_id: str) -> bool:
        """As far as the files were read of late."""
        return self._private(key_id) is not None

    def faults(self) -> tuple[str, ...]:
        """What could not be read at the last look, a line each."""
        with self._guard:
            return self._faults

    def open(self, vault: ClosedVault) -> VaultKey:
        """Raises KeyMissing (no private key here opens it), ContentCorrupt (one should, but its wrap is damaged)."""
        with self._guard:
            known = self._opened.get(vault.uuid)
            if known is not None and known[0] == vault.version and known[1].generation == vault.generation:
                self._opened.move_to_end(vault.uuid)
                return known[1]
        opened = self._unwrap(vault)
        self.remember(opened, vault.version)
        return opened

    def remember(self, key: VaultKey, version: int) -> None:
        with self._guard:
            name = str(uuid.UUID(bytes=key.vault_id))
            self._opened[name] = version, key
            self._opened.move_to_end(name)
            if len(self._opened) > _MOST:
                self._opened.popitem(last=False)

    def _unwrap(self, vault: ClosedVault) -> VaultKey:
        damage: ContentCorrupt | None = None
        vault_id = uuid.UUID(vault.uuid).bytes
        for each in vault.wrapped:
            private = self._private(each.key_id)
            if private is not None:
                try:
                    wrapped = base64url.decode(each.wrapped, f"vault {vault.uuid}: its key, wrapped for {each.key_id}")
                    return VaultKey(vault_id, vault.generation, key_pairs.unwrap(private, vault_id, wrapped))
                except ContentCorrupt as error:
                    log.error("%s", error)
                    damage = error
        if damage is not None:
            raise damage
        ids = tuple(each.key_id for each in vault.wrapped)
        raise KeyMissing(
            f"vault {vault.uuid} is closed: this server has no key that opens it (it is wrapped for "
            f"{', '.join(ids) or 'nobody'})",
            vault.uuid,
            ids,
        )

    def _private(self, key_id: str) -> PrivateKey | None:
        with self._guard:
            now = time.monotonic()
            if key_id not in self._keys and (self._looked is None or now >= self._looked + _AGAIN):
                self._look()
            return self._keys.get(key_id)

    def _look(self) -> None:
        found = self._find()
        for fault in found.faults:
            if fault not in self._faults:
                log.warning("a private key cannot be used: %s", fault)
        self._faults = found.faults
        self._keys = {key.id: key for key in found.keys}
        self._looked = time.monotonic()
