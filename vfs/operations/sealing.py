"""Names and texts of vaults: which folder seals what is in it, and the way to what is sealed (docs/vault-format.md).

Every key of a name comes from `key_in`, every way down a path from `follow`. What a transaction reads for people is
opened by its query modules, with the cipher that `bootstrap` gives to the database: `VaultCipher`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from vfs import names
from vfs.core import Kelp
from vfs.crypto import sealed_names, sealed_texts
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.parts import part_id, part_name
from vfs.crypto.sealed_texts import Text
from vfs.crypto.vault_keys import VaultKey, new_id
from vfs.errors import ContentCorrupt, CrossesVault, InTrash, KeyMissing, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.seals import DAMAGED, TEXT_MARK, Named, Seal
from vfs.model import Entry, State
from vfs.operations import keyring

if TYPE_CHECKING:
    from vfs.operations.guard import Standing

__all__ = ["Seal", "Text"]

_TRUSTED = 5.0  # seconds
_VAULTS = 20  # of which names and texts are remembered, those that were used last …
_UNUSED = 600.0  # … seconds ago at most
_REMEMBERED = 16_384  # names, and as many texts, of each vault: some 15 MiB
_KEYS = 1024  # that were sealed lately: a change looks for its name four times, and each path goes through its folders
_LONGEST_NAME = 500  # characters of a sealed one that is remembered: all of them
_LONGEST_TEXT = 250  # … and of a text: a media type is shorter, XML and paths may be long
_BORDER = "//"  # in the path of something in the trash: where its vault begins


class VaultCipher:
    """The `Cipher` of a database."""

    def __init__(self, keys: KeyRing, case_sensitive: bool, renew: Callable[[Tx, Collection[int]], None]) -> None:
        self._keys = keys
        self.renew = renew
        self._opened: dict[int, tuple[float, OpenVault]] = {}  # the one looked up last is the last
        self._changing = threading.Lock()
        self._comparison: Callable[[str], str] = partial(names.key, case_sensitive=case_sensitive)

    def of(self, tx: Tx, vault_id: int) -> OpenVault:
        """Whether this process may still open it is looked up every few seconds."""
        found = self._opened.get(vault_id)
        if found is not None and time.monotonic() < found[0] + _TRUSTED:
            return found[1]
        try:
            key = keyring.vault_key_in(tx, self._keys, vault_id)
        except (KeyMissing, NotFound):
            self._forget(vault_id)
            raise
        opened = found[1] if found is not None and found[1].key is key else OpenVault(key, self._comparison)
        self._remember(vault_id, opened)
        return opened

    def _forget(self, vault_id: int) -> None:
        """Nothing that was opened stays in the memory of a process that may not open it any more."""
        with self._changing:
            self._opened.pop(vault_id, None)

    def _remember(self, vault_id: int, opened: OpenVault) -> None:
        now = time.monotonic()
        with self._changing:
            self._opened.pop(vault_id, None)
            self._opened[vault_id] = now, opened
            for id, (looked_up, _) in tuple(self._opened.items()):
                if len(self._opened) <= _VAULTS and looked_up >= now - _UNUSED:
                    break
                del self._opened[id]


_T = TypeVar("_T")


class _Opened(dict[str, _T]):
    """What was opened, by its stored form; what is not here is opened. For many threads.

    A dictionary, since a listing looks up each of its names and types: through functions with a parted key that took
    longer than all else that it does.
    """

    def __init__(self, open_it: Callable[[str], _T], longest: int) -> None:
        super().__init__()
        self._open, self._longest = open_it, longest
        self._changing = threading.Lock()

    def __missing__(self, stored: str) -> _T:
        opened = self._open(stored)
        if len(stored) <= self._longest:
            with self._changing:
                if len(self) >= _REMEMBERED:
                    for first in tuple(islice(self, _REMEMBERED // 8)):
                        del self[first]
                self[stored] = opened
        return opened


class OpenVault:
    """What was opened is remembered: a folder is listed page by page, and its names are on the way to all below it."""

    def __init__(self, key: VaultKey, comparison: Callable[[str], str]) -> None:
        self.key = key
        self.names = _Opened(partial(_open_name, key, comparison), _LONGEST_NAME)
        self.texts = _Opened(partial(_open_text, key), _LONGEST_TEXT)
        self._sealed_key = lru_cache(_KEYS)(partial(_seal_key, key))

    def seal_name(self, folder: str, name: str) -> str:
        return sealed_names.seal_name(self.key, _bytes_of(folder), name)

    def seal_key(self, folder: str, comparison: str) -> str:
        return self._sealed_key(folder, comparison)

    def seal_text(self, seal_id: str, purpose: str, text: str) -> str:
        fixed = purpose == Text.PROPERTY_NAME  # the name is the property's key
        return sealed_texts.seal_text(self.key, Text(purpose), _bytes_of(seal_id), text, fixed=fixed)


def _open_name(key: VaultKey, comparison: Callable[[str], str], stored: str) -> Named:
    """Raises ContentCorrupt."""
    name = stored
    if stored[:1] == "/":
        folder, sealed = _parted(stored, 2)
        name = sealed_names.open_name(key, _bytes_of(folder), sealed)
    return Named(name, comparison(name))


def _seal_key(key: VaultKey, folder: str, comparison: str) -> str:
    return sealed_names.seal_key(key, _bytes_of(folder), comparison)


def _open_text(key: VaultKey, stored: str) -> str:
    """Raises ContentCorrupt."""
    if stored[:1] != TEXT_MARK:
        return stored
    seal_id, purpose, sealed = _parted(stored, 3)
    return sealed_texts.open_text(key, Text(purpose), _bytes_of(seal_id), sealed)


def _parted(stored: str, count: int) -> list[str]:
    """What follows the row of the vault, which whoever has its key has looked at. Raises ContentCorrupt."""
    parts = stored.split(".", count)[1:]
    if len(parts) != count:
        raise ContentCorrupt(DAMAGED)
    return parts


@lru_cache(maxsize=4096)
def _bytes_of(seal_id: str) -> bytes:
    """Raises ContentCorrupt."""
    try:
        return part_id(seal_id)
    except ValueError as error:
        raise ContentCorrupt(DAMAGED) from error


def new_seal_id() -> str:
    return part_name(new_id())


# --- the way to a name ---


def key_in(kelp: Kelp, tx: Tx, folder_id: int, name: str) -> str:
    """The `name_key` of a name in that folder. Raises KeyMissing."""
    return tx.seals.key(tx.seals.of(folder_id), names.key(name, kelp.settings.drive.case_sensitive))


def follow(kelp: Kelp, tx: Tx, segments: Sequence[str]) -> tuple[list[int], dict[int, Entry], bool]:
    """As `Entries.follow`, by names: one statement as far as they are plain, and one for each below a vault, or below
    what might have been one.

    Of the rows, the last two of the chain are there for sure.
    """
    keys = [names.key(name, kelp.settings.drive.case_sensitive) for name in segments]
    asked = tx.seals.plain_until(keys)
    chain, rows, any_grants = tx.entries.follow(keys[:asked])
    last = rows[chain[-1]]
    while len(chain) <= len(keys) and last.is_folder:
        seal = seal_of(last)
        if seal is None and len(chain) <= asked:  # it was asked for
            break
        child = tx.entries.child(last.id, tx.seals.key(seal, keys[len(chain) - 1]))
        if child is None:
            break
        chain.append(child.id)
        rows[child.id] = last = child
    return chain, rows, any_grants


def find(kelp: Kelp, tx: Tx, segments: Sequence[str]) -> Entry | None:
    """What a path leads to."""
    chain, rows, _ = follow(kelp, tx, segments)
    return rows[chain[-1]] if len(chain) == len(segments) + 1 else None


# --- what is stored ---


def seal_of(entry: Entry) -> Seal | None:
    if entry.vault_id is None or entry.seal_id is None:
        return None
    return Seal(entry.vault_id, entry.seal_id, entry.is_vault)


def named(tx: Tx, folder: Seal | None, name: str, key: str) -> dict[str, object]:
    """The columns of a name in a folder; `key` as from `key_in`."""
    return {"name": tx.seals.name(folder, name), "name_key": key}


def born(
    tx: Tx, folder: Seal | None, name: str, key: str, mime_type: str = "", *, root_of: int | None = None
) -> dict[str, object]:
    """As `named`, of a row that is made: it is in its folder's vault for ever, under a seal id of its own. `root_of`:
    in a plain folder, the vault that begins with it."""
    columns = named(tx, folder, name, key)
    if root_of is not None:
        return columns | {"vault_id": root_of, "seal_id": new_seal_id()}
    if folder is None:
        return columns | {"mime_type": tx.seals.text(None, Text.TYPE, mime_type)}
    seal = Seal(folder.vault_id, new_seal_id())
    kind = tx.seals.text(seal, Text.TYPE, mime_type) if mime_type else ""
    return columns | {"vault_id": seal.vault_id, "seal_id": seal.seal_id, "mime_type": kind}


def typed(tx: Tx, entry: Entry, mime_type: str) -> str:
    """The type of an entry as it is stored."""
    return tx.seals.text(seal_of(entry), Text.TYPE, mime_type) if mime_type else ""


def path_text(tx: Tx, entry_id: int, purpose: Text, path: str | None) -> str | None:
    """The path of an entry as it is stored. That of a vault itself is no secret."""
    seal = tx.seals.of(entry_id)
    return path if path is None or seal is None or seal.is_root else tx.seals.text(seal, purpose, path)


# --- the trash ---


def trash_path(tx: Tx, here: Standing, entry: Entry) -> str:
    """Where something was, as its record in the trash has it: in a vault the text says where that begins, since it can
    have another place by the time that this comes back to it."""
    if here.seal is None:
        return here.path_of(entry.name)
    plain = sum(name[:1] not in ("", "/") for _, _, name in tx.entries.ancestors(here.folder_id))
    path = "/" + "/".join(here.path[:plain]) + _BORDER + "/".join((*here.path[plain:], entry.name))
    return tx.seals.text(seal_of(entry), Text.TRASH_PATH, path)


def shown_trash_path(tx: Tx, stored: str) -> str:
    return tx.seals.shown_text(stored).replace(_BORDER, "/")


def way_back(tx: Tx, entry: Entry, path: tuple[str, ...]) -> tuple[int | None, tuple[str, ...]]:
    """The folder from which something goes back to its original path, which had "" where its vault begins, and the
    names from there: its vault's, or None for the drive's. Raises InTrash when its vault is not there itself."""
    above = tx.entries.ancestors(entry.id)
    if above[0][2][:1] != "/":
        return None, path
    depth = next(number for number, (_, _, name) in enumerate(above) if name[:1] != "/")
    if any(state != State.ACTIVE for _, state, _ in above[depth:]):
        raise InTrash("the vault that it lies in is not there: restore that first")
    return above[depth][0], path[path.index("") + 1 :]


def refuse_return(entry: Entry, folder: Seal | None) -> None:
    """Before something goes from the trash into a folder: its path may lead into a vault that was made since.

    Raises CrossesVault.
    """
    own = None if entry.is_vault or entry.vault_id is None else entry.vault_id
    if own != (folder and folder.vault_id):
        raise CrossesVault("where it was there is a vault by now: give that another name for as long as this takes")


# --- where a vault begins and ends ---


def crosses(source: Seal | None, target: Seal | None) -> bool:
    """Between these two there is the border of a vault: of what goes from one to the other, all is sealed anew."""
    return (source and source.vault_id) != (target and target.vault_id)


def refuse_vault(entry: Entry) -> None:
    """Before a copy is made. Raises CrossesVault for a vault itself: its copy would be plain, and nobody would know."""
    if entry.is_vault:
        raise CrossesVault(
            f"{entry.name!r} is a vault, and no folder that is copied is one: copy what is in it to where it shall be"
        )


def refuse_move(entry: Entry, *, by_rename: bool) -> None:
    """Before something is moved across a border. Raises CrossesVault for all but a file, and for rename(2)."""
    if entry.is_vault:
        raise CrossesVault("a vault cannot lie in a vault")
    if entry.is_folder:
        raise CrossesVault(
            "only single files are moved into or out of a vault: copy the folder, and delete it when all has arrived"
        )
    if by_rename:
        raise CrossesVault("what goes into or out of a vault is copied")
