"""What a transaction knows of vaults (docs/vault-format.md): which folders seal their names, and how to open those.

A sealed name is `/{row of vaults}.{seal id of its folder}.{sealed}`: no plain name has a "/", so whoever has one can
tell, and open it without asking where it lies. A sealed text is `\\x01{row of vaults}.{seal id}.{purpose}.{sealed}`.
The ciphers are elsewhere: this room has no keys.

A drive without vaults pays a look at one column for each row. Which vault a row is sealed in never changes, so the
process may remember what was committed by its id; what a transaction has made itself, only that one.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vfs.errors import ContentCorrupt, KeyMissing

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

DAMAGED = "what is sealed in the database is damaged"
SEALED = "(sealed)"  # in place of what nobody here can open, where a list or a message goes on without it
TEXT_MARK = "\x01"
_MOST = 100_000  # folders that a process remembers, some 20 MiB
_UNKNOWN = object()


class Seal(NamedTuple):
    """Of an entry in a vault: what its texts, and the names below it, are bound to."""

    vault_id: int  # row of `vaults`
    seal_id: str  # 26 characters of base32
    is_root: bool = False  # of the vault: its own name is plain, and its path no secret


class Named(NamedTuple):
    name: str
    comparison: str  # `names.key` of it


class OpenVault(Protocol):
    """Seals and opens what is in one vault. What opens is had by its stored form, is remembered for a while, and raises
    ContentCorrupt; what is not sealed is itself."""

    @property
    def names(self) -> Mapping[str, Named]: ...

    @property
    def texts(self) -> Mapping[str, str]: ...

    def seal_name(self, folder: str, name: str) -> str: ...

    def seal_key(self, folder: str, comparison: str) -> str:
        """What is unique in a folder; `comparison` is `names.key` of the name."""
        ...

    def seal_text(self, seal_id: str, purpose: str, text: str) -> str: ...


class Cipher(Protocol):
    """The keys that this process has."""

    def of(self, tx: Tx, vault_id: int) -> OpenVault:
        """Raises KeyMissing."""
        ...

    def renew(self, tx: Tx, entry_ids: Collection[int]) -> None:
        """Last in a change of these entries: what the NAS shall say of those in vaults is made anew, where it is
        another now. Raises KeyMissing, ContentCorrupt."""
        ...


class SealMemory:
    """Of a process. `any_vaults`: it has seen one; before, no folder is asked about."""

    def __init__(self) -> None:
        self.cipher: Cipher | None = None
        self.any_vaults = False
        self._borders: frozenset[str] | None = None  # None: any name may be one
        self._known: dict[int, Seal | None] = {}
        self._changing = threading.Lock()

    def saw_borders(self, keys: Sequence[str], *, all_of_them: bool) -> None:
        """The plain name keys of the vaults' folders, as they are now."""
        self._borders = frozenset(keys) if all_of_them else None
        if keys:
            self.any_vaults = True

    def may_be_border(self, key: str) -> bool:
        return self._borders is None or key in self._borders

    def find(self, id: int) -> Any:
        return self._known.get(id, _UNKNOWN)

    def knows_as_plain(self, id: int) -> bool:
        """A committed folder that is in no vault."""
        return self._known.get(id, _UNKNOWN) is None

    def put(self, id: int, seal: Seal | None) -> None:
        """Of a committed row."""
        if id in self._known:
            return
        if seal is not None:
            self.any_vaults = True
        with self._changing:
            self._known[id] = seal
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]


class Seals:
    """Of one transaction. `active`: the drive has vaults, as far as this process has seen."""

    def __init__(self, tx: Tx, memory: SealMemory) -> None:
        self._tx = tx
        self._memory = memory
        self.active = memory.any_vaults
        self._seen: dict[int, Seal | None] = {}
        self._made: set[int] = set()
        self._found: dict[int, Seal | None] | None = None  # folders, to be remembered when this is committed
        self._vaults: dict[int, OpenVault] = {}

    def share_commit(self) -> None:
        """What this transaction sees may have been made by another one, and be rolled back together with it; then the
        next row would get its id."""
        self._found = {}

    def committed(self) -> None:
        for id, seal in (self._found or {}).items():
            self._memory.put(id, seal)

    def _remember(self, id: int, seal: Seal | None) -> None:
        if self._found is None:
            self._memory.put(id, seal)
        else:
            self._found[id] = seal

    def of(self, id: int) -> Seal | None:
        """What an entry's texts and the names in it are sealed with; None: it is in no vault.

        A statement, once for each entry, on a drive that has vaults; on others none.
        """
        if not self.active:
            return None
        if id in self._seen:
            return self._seen[id]
        known = self._memory.find(id)
        if known is _UNKNOWN:
            row = self._tx.one("SELECT vault_id, seal_id, name, kind FROM entries WHERE id = :id", id=id)
            return self.learn(id, *row) if row is not None else None
        return known  # type: ignore[no-any-return]

    def sure(self, id: int) -> Seal | None:
        """As `of`, also of a vault that this process has not seen yet: a statement, the first time for a folder."""
        known: Any = self._seen.get(id, _UNKNOWN)
        if known is _UNKNOWN:
            known = self._memory.find(id)
        if known is _UNKNOWN:
            row = self._tx.one("SELECT vault_id, seal_id, name, kind FROM entries WHERE id = :id", id=id)
            known = self.learn(id, *row) if row is not None else None
            if row is not None and row[3] == "folder" and id not in self._made:
                self._remember(id, known)
        return known  # type: ignore[no-any-return]

    def plain_until(self, keys: Sequence[str]) -> int:
        """How many of a path's keys, from the root, lie in no vault for sure: up to the first that may be one's folder.

        A server hears no more than these as they are, for its log may have them, and the network.
        """
        if not self._tx.is_overheard:
            return len(keys)
        return next((at for at, key in enumerate(keys, 1) if self._memory.may_be_border(key)), len(keys))

    def vaults_seen(self, ids: Collection[int]) -> set[int]:
        """Those that these entries are in, as far as this transaction knows without asking."""
        return {seal.vault_id for id in ids if (seal := self._seen.get(id)) is not None}

    def made(self, id: int, vault_id: Any, seal_id: Any, name: Any) -> None:
        """A row that this transaction has just inserted."""
        self._made.add(id)
        self.learn(id, vault_id, seal_id, name, "")

    def learn(self, id: int, vault_id: int | None, seal_id: str | None, name: str, kind: str) -> Seal | None:
        """What a row says, with the name as it is stored. Folders are remembered by the process."""
        seal = None
        if vault_id is not None and seal_id is not None:
            seal, self.active = Seal(vault_id, seal_id, name[:1] != "/"), True
            self._memory.any_vaults = True  # also of a row that is only being made: who made it has its id
        if self.active:
            self._seen[id] = seal
            if kind == "folder" and id not in self._made:
                self._remember(id, seal)
        return seal

    def look_out(self) -> None:
        """A process that has seen no vault asks whether there is one: what it writes down is by that."""
        if not self._memory.any_vaults and self._tx.vaults.any():
            self._memory.any_vaults = True

    def finish(self, changed: Collection[int]) -> None:
        """Last in every change, with the rows that it touched beside those that it made."""
        if self.active:
            mine = [id for id in self._made.union(changed) if self._seen.get(id, _UNKNOWN) is not None]
            if mine:
                self._cipher.renew(self._tx, mine)

    # --- names ---

    def key(self, folder: Seal | None, comparison: str) -> str:
        """The `name_key` of a name whose `names.key` it is. Raises KeyMissing."""
        if folder is None:
            return comparison
        sealed = self._vault(folder.vault_id).seal_key(folder.seal_id, comparison)
        return f"/{folder.vault_id}.{folder.seal_id}.{sealed}"

    def name(self, folder: Seal | None, name: str) -> str:
        """A name as it is stored. Raises KeyMissing."""
        if folder is None:
            return name
        return f"/{folder.vault_id}.{folder.seal_id}.{self._vault(folder.vault_id).seal_name(folder.seal_id, name)}"

    def open_name(self, stored: str) -> str:
        """Raises KeyMissing, ContentCorrupt."""
        if stored[:1] != "/":
            return stored
        return self._vault(_vault_of(stored)).names[stored].name

    def shown_name(self, stored: str) -> str:
        """As `open_name`; SEALED without the key."""
        try:
            return self.open_name(stored)
        except KeyMissing:
            return SEALED

    def open_path(self, joined: str) -> str:
        """A path that a statement has put together of stored names: a sealed one begins with a "/" of its own."""
        if not joined.startswith("/") and "//" not in joined:
            return joined
        parts = iter(joined.split("/"))
        return "/".join(part or self.open_name(f"/{next(parts)}") for part in parts)

    def opening(self, folder: Seal) -> tuple[Mapping[str, Named], Mapping[str, str]]:
        """Names and texts of that folder's vault, by their stored form: for who opens many. Raises KeyMissing."""
        vault = self._vault(folder.vault_id)
        return vault.names, vault.texts

    # --- texts ---

    def text(self, seal: Seal | None, purpose: str, text: str) -> str:
        """A text as it is stored for an entry. Raises KeyMissing."""
        if seal is None:
            return text.lstrip(TEXT_MARK)  # nobody makes others open what he has found somewhere
        sealed = self._vault(seal.vault_id).seal_text(seal.seal_id, purpose, text)
        return f"{TEXT_MARK}{seal.vault_id}.{seal.seal_id}.{purpose}.{sealed}"

    def open_text(self, stored: str) -> str:
        """Raises KeyMissing, ContentCorrupt."""
        if stored[:1] != TEXT_MARK:
            return stored
        return self._vault(_vault_of(stored)).texts[stored]

    def open_text_of(self, seal: Seal, purpose: str, sealed: str) -> str:
        """What somebody brings who was given it, without whose it is. Raises KeyMissing, ContentCorrupt."""
        return self.open_text(f"{TEXT_MARK}{seal.vault_id}.{seal.seal_id}.{purpose}.{sealed}")

    def shown_text(self, stored: str) -> str:
        """As `open_text`; SEALED without the key."""
        try:
            return self.open_text(stored)
        except KeyMissing:
            return SEALED

    def opened(self, row: Sequence[Any], name: int, mime_type: int, *, shown: bool = False) -> list[Any]:
        """A row of an entry; `name` and `mime_type`: at which places it has those. `shown` as in `shown_name`."""
        values = list(row)
        open_name, open_text = (self.shown_name, self.shown_text) if shown else (self.open_name, self.open_text)
        values[name], values[mime_type] = open_name(row[name]), open_text(row[mime_type])
        return values

    def _vault(self, vault_id: int) -> OpenVault:
        found = self._vaults.get(vault_id)
        if found is None:
            found = self._vaults[vault_id] = self._cipher.of(self._tx, vault_id)
        return found

    @property
    def _cipher(self) -> Cipher:
        if self._memory.cipher is None:
            raise KeyMissing("this process opens no vaults")
        return self._memory.cipher


def _vault_of(stored: str) -> int:
    """Raises ContentCorrupt."""
    try:
        return int(stored[1 : stored.index(".")])
    except ValueError as error:
        raise ContentCorrupt(DAMAGED) from error
