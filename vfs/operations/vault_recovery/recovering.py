"""The way through a vault: each folder once, its files first, then the folders below it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from vfs.crypto.key_pairs import PrivateKey
from vfs.errors import ContentCorrupt, InvalidRequest, KeyMissing
from vfs.operations.vault_recovery import entries, reading, vaults
from vfs.operations.vault_recovery.entries import Entry, Known
from vfs.operations.vault_recovery.findings import Told
from vfs.operations.vault_recovery.placing import Place, Target, Unfinished, write_at
from vfs.operations.vault_recovery.sealed_files import SealedFile
from vfs.operations.vault_recovery.vaults import VAULT_FILE, Vault
from vfs.storage import files
from vfs.storage.beneath import Root, Segments

_DAMAGED = ".damaged"
_TRASH, _VERSIONS = (".trash",), (".kelp", "versions")  # on a NAS


@dataclass(frozen=True, slots=True)
class Wishes:
    """`vault_file`: a vault.json kept elsewhere, in the place of that on the NAS. `keep_damaged`: files that are not
    whole are kept too, called so, with zeros for what is lost. `trash`, `versions`: what the NAS has of them too."""

    vault_file: Path | None = None
    keep_damaged: bool = False
    trash: bool = False
    versions: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """A vault that was gone through. `at`: on the NAS; `head`: of what was found there."""

    at: str
    vault_id: str
    head: str


@dataclass(frozen=True, slots=True)
class _Folder:
    """`at`: on the NAS; `to`: below the target. `seal_id`: None where it is not known. `is_done`: with all below it.
    `is_beside`: it is not of the vault, but entries of the vault lie in it."""

    at: Segments
    to: Segments
    seal_id: bytes | None
    mtime_ns: int | None = None
    is_done: bool = False
    is_beside: bool = False


def recover(
    nas: Path, out: Path, private_keys: Sequence[PrivateKey], told: Told, wishes: Wishes | None = None
) -> list[Recovered]:
    """Restore all vaults at or below `nas` into `out`, a vault at `nas` itself into `out` itself.

    Every fault is told, and what is whole is restored. Raises KeyMissing (no vault there is opened by these keys),
    InvalidRequest (there is no vault; one folder is in the other; another recovery is at work), NoSpace (run it again),
    OSError (of `out`).
    """
    wishes = wishes or Wishes()
    root = Root(nas)
    _require_apart(nas, out)
    found = _open_vaults(root, private_keys, told, wishes)
    if not found:
        return []
    with closing(Target(out)) as target:
        return [_Recovery(root, target, vault, told, wishes).run() for vault in found]


def _require_apart(nas: Path, out: Path) -> None:
    inner, outer = out.resolve(), nas.resolve()
    if inner == outer or outer in inner.parents:
        raise InvalidRequest(f"what is recovered must not lie on the NAS, in the open: {out}")


def _open_vaults(root: Root, private_keys: Sequence[PrivateKey], told: Told, wishes: Wishes) -> list[Vault]:
    places = [()] if wishes.vault_file else list(vaults.find(root, told, trash=wishes.trash))
    if not places and not told.tally.faults:
        raise InvalidRequest(f"there is no vault here: no folder holds a {VAULT_FILE}")
    found, closed = [], []
    for at in places:
        where = "/".join((*at, VAULT_FILE))
        try:
            data = wishes.vault_file.read_bytes() if wishes.vault_file else vaults.read_file(root, at)
            vault = vaults.open_vault(at, data, private_keys)
        except ContentCorrupt as error:
            told.fault(where, str(error))
        except KeyMissing as error:
            closed.append((where, error))
        else:
            found.append(vault)
            for doubt in vault.doubts:
                told.fault(where, doubt)
    if closed and not found:
        raise closed[0][1]
    for where, why in closed:
        told.fault(where, str(why))
    return found


class _Recovery:
    def __init__(self, root: Root, target: Target, vault: Vault, told: Told, wishes: Wishes) -> None:
        self._root, self._target, self._vault, self._told, self._wishes = root, target, vault, told, wishes
        self._known = Known(vault)

    def run(self) -> Recovered:
        top = self._make_above()
        self._go_through([_Folder(self._vault.at, top, self._vault.root_seal_id)])
        recovered = Recovered("/".join(self._vault.at), self._vault.id.hex(), self._known.head)
        self._known = Known(self._vault)  # what follows has no part in the head
        if self._wishes.trash:
            self._go_through(self._beside(_TRASH, (*top, ".kelp-trash")))
        if self._wishes.versions:
            self._go_through(self._beside(_VERSIONS, (*top, ".kelp-versions")))
        return recovered

    def _go_through(self, waiting: list[_Folder]) -> None:
        while waiting:
            folder = waiting.pop()
            if folder.is_done:
                self._set_time(folder)
                continue
            try:
                waiting += self._recover_folder(folder)
            except ContentCorrupt as error:
                self._told.fault("/".join(folder.at), str(error), "/".join(folder.to), is_there=True)

    def _beside(self, at: Segments, to: Segments) -> list[_Folder]:
        """Folders of Kelp's own on the NAS, in which entries of this and other vaults and plain ones may be."""
        with suppress(ContentCorrupt), reading.opened(self._root, at) as opened:
            inner = [name for name in reading.names(opened) if reading.is_folder(opened, name)]
            return [_Folder((*at, name), (*to, name), None, is_beside=True) for name in reversed(inner)]
        return []

    def _make_above(self) -> Segments:
        """The plain folders that the vault lies in, and its own."""
        return self._make((), self._vault.at)

    def _make(self, to: Segments, below: Segments) -> Segments:
        for segment in below:
            with closing(Place(self._target, to)) as place:
                to = (*to, place.folder(segment).name)
        return to

    def _recover_folder(self, folder: _Folder) -> list[_Folder]:
        """What is to be done then, the last first. Raises ContentCorrupt: the folder cannot be read."""
        waiting = [_Folder(folder.at, folder.to, None, folder.mtime_ns, is_done=True)]
        where, names = "/".join(folder.at), dict[str, str]()
        with reading.opened(self._root, folder.at) as opened:
            if folder.is_beside:
                found = entries.read_beside(self._vault, opened, where, self._told)
                if not found:
                    return []
                self._make((), folder.to)
            else:
                found = entries.read_folder(self._vault, opened, where, folder.seal_id, self._known, self._told)
            with closing(Place(self._target, folder.to)) as place:
                for entry in found:
                    if entry.is_version and not self._wishes.versions:
                        self._told.tally.older += 1
                        continue
                    other = names.setdefault(entry.name, entry.nas_name)
                    is_double = other != entry.nas_name and not folder.is_beside and not entry.is_version
                    double = (f"{other} has the same name",) if is_double else ()
                    if entry.is_folder:
                        waiting.append(self._make_folder(folder, entry, place, double))
                        continue
                    is_restored = self._recover_file(opened, folder, entry, place, double)
                    if not is_restored and entries.holds_entries(opened, entry.nas_name):
                        stand_in = Entry(entry.nas_name, None, ("it holds entries, so its manifest is another's",))
                        waiting.append(self._make_folder(folder, stand_in, place, ()))
        return waiting

    def _make_folder(self, parent: _Folder, entry: Entry, place: Place, doubts: tuple[str, ...]) -> _Folder:
        name, was_there = place.folder(entry.name)
        self._told.tally.folders += not was_there
        self._tell(parent, entry, name, doubts)
        at, to = (*parent.at, entry.nas_name), (*parent.to, name)
        if entry.opened is None:
            return _Folder(at, to, None)
        return _Folder(at, to, entry.opened.manifest.seal_id, entry.opened.manifest.mtime_ns)

    def _recover_file(self, opened: int, parent: _Folder, entry: Entry, place: Place, doubts: tuple[str, ...]) -> bool:
        """False: it is left out, which was told."""
        where, path = "/".join((*parent.at, entry.nas_name)), "/".join((*parent.to, entry.name))
        manifest = entry.opened.manifest if entry.opened else None
        assert manifest is not None and manifest.content is not None
        name = place.find(entry.name, manifest.content.length, manifest.mtime_ns)
        if name is not None:
            self._told.tally.there += 1
        else:
            try:
                with reading.opened_in(opened, entry.nas_name) as folder:
                    name = self._write(folder, parent, entry, place)
            except ContentCorrupt as error:
                self._told.fault(where, str(error), path)
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                self._told.fault(where, f"{manifest.content.length} bytes are too many for a file there", path)
        if name is not None:
            self._tell(parent, entry, name, doubts)
        return name is not None

    def _write(self, folder: int, parent: _Folder, entry: Entry, place: Place) -> str | None:
        """What it is called now; None: it was not whole, which was told. Raises ContentCorrupt, NoSpace, OSError."""
        assert entry.opened is not None and entry.opened.manifest.content is not None
        content, mtime_ns = entry.opened.manifest.content, entry.opened.manifest.mtime_ns
        where = "/".join((*parent.at, entry.nas_name))
        sealed = SealedFile(folder, content, entry.opened.key)
        with self._target.writing(content.length) as made:
            faults = sealed.open(lambda at, plain: self._take(made, at, plain))
            if faults:
                kept = self._keep_damaged(sealed, made, entry.name, place, mtime_ns)
                path = "/".join((*parent.to, kept or entry.name))
                for fault in faults:
                    self._told.fault(where, fault, path, is_there=kept is not None)
                return None
            placed = place.put(made, entry.name, mtime_ns)
        if placed.was_there:
            self._told.tally.there += 1
        else:
            self._told.tally.files += 1
            self._told.tally.bytes += content.length
        for fault in (*sealed.verify_rest(), *(f"{name} does not belong there" for name in sealed.strays())):
            self._told.fault(where, fault, "/".join((*parent.to, placed.name)), is_there=True)
        return placed.name

    def _take(self, made: Unfinished, at: int, plain: memoryview) -> None:
        write_at(made.fd, at, plain)
        self._told.moved(len(plain))

    def _keep_damaged(self, sealed: SealedFile, made: Unfinished, name: str, place: Place, mtime_ns: int) -> str | None:
        if not self._wishes.keep_damaged:
            return None
        os.ftruncate(made.fd, 0)
        os.ftruncate(made.fd, sealed.length)
        sealed.salvage(lambda at, plain: write_at(made.fd, at, plain))
        short = name.encode()[: 255 - len(_DAMAGED)].decode(errors="ignore")
        return place.put(made, short + _DAMAGED, mtime_ns).name

    def _tell(self, parent: _Folder, entry: Entry, name: str, doubts: tuple[str, ...]) -> None:
        where, path = "/".join((*parent.at, entry.nas_name)), "/".join((*parent.to, name))
        for doubt in (*entry.faults, *doubts):
            self._told.fault(where, doubt, path, is_there=True)
        if name != entry.name and not doubts and not parent.is_beside and not entry.is_version:
            self._told.note(where, f"it is called {entry.name!r}; that name was taken there, or cannot be", path)

    def _set_time(self, folder: _Folder) -> None:
        if folder.mtime_ns is not None:
            with suppress(OSError):
                fd = self._target.root.descend(folder.to)
                try:
                    files.set_time(fd, folder.mtime_ns)
                finally:
                    os.close(fd)
