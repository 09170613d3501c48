"""The NAS against what is recorded of it: folder by folder, a page of each at a time.

What a running job (or one that died) may have changed already is left out: its entry with all that is recorded below,
since a folder moves on the NAS with everything in it, and its versions; so is what is in a folder on its way out. Where
everything must be mirrored, its event is told (`rows`). What looks wrong is damage only when its row says the same
afterwards, and the mirror does not move it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from vfs.errors import ContentCorrupt, NasDown, NasFault, ObjectMissing
from vfs.metadata.verifying import Held
from vfs.model import ROOT_ID
from vfs.nas_model import PRIVATE, TRASH
from vfs.operations import repairing, sealed_copies
from vfs.operations.checks import recorded
from vfs.operations.checks.findings import Look
from vfs.storage.nas_store import NasListed

_PAGE = 500


def look(look: Look) -> int:
    """The number of files of the tree that are recorded there. Raises NasDown only when all must be mirrored."""
    try:
        look.kelp.nas.verify()
        return _Walk(look).run()
    except NasDown as error:
        if look.mirrored:
            raise
        look.found("NAS is down", look.kelp.settings.nas.root, error)
        return 0


class _Folder(NamedTuple):
    """A folder whose entries are gone through: `path` and `rest` may be out of date, which is found out later."""

    id: int
    path: str
    rest: Iterator[Held]


class _Walk:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._kelp = look.kelp
        self._files = 0

    def run(self) -> int:
        above = [self._enter(ROOT_ID, "")]
        while above:
            folder = above[-1]
            held = next(folder.rest, None)
            if held is None:
                above.pop()
            elif self._look.mirrored or not held.busy:
                path = f"{folder.path}/{held.name}" if folder.path else held.name
                self._files += held.kind == "file"
                self._judge(held, path)
                self._strangers(held, path)
                if held.kind == "folder":
                    above.append(self._enter(held.entry_id, path))
        for held in self._versions():
            if self._look.mirrored or not held.busy:
                self._judge(held, None)
                self._strangers(held, None)
        return self._files

    def _enter(self, folder_id: int, path: str) -> _Folder:
        if self._look.mirrored:
            self._foreign(folder_id, path)
        return _Folder(folder_id, path, self._held_in(folder_id))

    def _held_in(self, folder_id: int) -> Iterator[Held]:
        after = ""
        while True:
            with self._kelp.database.read() as tx:
                page = tx.verifying.held_in(folder_id, after, _PAGE)
            yield from (held for _, held in page)
            self._look.progress("NAS", self._files)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _versions(self) -> Iterator[Held]:
        after = ""
        while True:
            with self._kelp.database.read() as tx:
                page = tx.verifying.held_versions(after, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].version or ""

    def _judge(self, held: Held, path: str | None) -> None:
        """`path`: where it should be by what was read so far; None: look it up."""
        verify = self._has_its_bytes if self._look.deep else None
        if path is not None and recorded.wrong(self._kelp, held, path, verify) is None:
            return
        found = recorded.certainly_wrong(self._kelp, held, verify)
        if found is not None:
            self._tell(*found)

    def _tell(self, held: Held, path: str, wrong: recorded.Wrong) -> None:
        repair = None
        if held.kind == "folder" and wrong.kind == recorded.MISSING:
            repair = partial(repairing.make_folder, self._kelp, path)
        elif wrong.kind in (recorded.MISSING, recorded.CORRUPT):
            repair = partial(repairing.write_again, self._kelp, held, path)
        elif wrong.kind == recorded.UNDESCRIBED:
            repair = partial(repairing.describe_again, self._kelp, held)
        if self._look.found(wrong.kind, path, wrong.detail, repair) or held.kind != "file":
            return
        if held.content_id is not None and not repairing.has_other_source(self._kelp, held):
            self._look.found("content that is lost: bad on the NAS and not in the cache", held.content_id, path)

    def _has_its_bytes(self, held: Held, path: str) -> bool:
        kelp = self._kelp
        try:
            if not held.sealed:
                return kelp.nas.checksum(path) == held.checksum
            with kelp.database.read() as tx:
                content = tx.contents.get(held.content_id or "")
            right = held.manifest in (None, sealed_copies.manifest_digest(kelp, path))
            return right and content is not None and sealed_copies.is_whole(kelp, path, content)
        except (ObjectMissing, ContentCorrupt, NasFault):
            return False

    def _strangers(self, held: Held, path: str | None) -> None:
        """What is in a bundle and does not belong there."""
        if not held.sealed or not self._look.mirrored:
            return
        with self._kelp.database.read() as tx:
            content = tx.contents.get(held.content_id or "")
            place = tx.verifying.place(held.entry_id, held.version) if path is None else (path, False)
        if content is not None and place is not None:
            for name in sealed_copies.strangers(self._kelp, place[0], content):
                self._look.found("foreign on the NAS", f"{place[0]}/{name}", "in a sealed file")

    def _foreign(self, folder_id: int, path: str) -> None:
        """What is in a folder on the NAS without being recorded, Kelp's own folder excepted."""
        try:
            names = self._kelp.nas.list(path)
        except (ObjectMissing, NasFault):
            return  # its own row tells
        if folder_id != ROOT_ID:
            self._unknown(folder_id, path, names)
            return
        self._unknown(folder_id, "", (item for item in names if item.name not in (PRIVATE, TRASH)))
        if (info := self._kelp.nas.stat(TRASH)) is not None and info.kind == "folder":
            self._foreign_in_trash()

    def _foreign_in_trash(self) -> None:
        """One folder for each item, which is recorded by its path from the root."""
        for item in self._kelp.nas.list(TRASH):
            folder = f"{TRASH}/{item.name}"
            if item.kind != "folder":
                self._look.found("foreign on the NAS", folder, item.kind)
            else:
                self._unknown(ROOT_ID, folder, self._kelp.nas.list(folder), prefix=f"{folder}/")

    def _unknown(self, folder_id: int, path: str, items: Iterator[NasListed], prefix: str = "") -> None:
        while some := list(islice(items, _PAGE)):
            with self._kelp.database.read() as tx:
                known = tx.verifying.names_in(folder_id, [prefix + item.name for item in some])
                if (file := tx.verifying.manifest_file(folder_id)) is not None:
                    known |= {prefix + file}
            for item in some:
                if prefix + item.name not in known:
                    self._look.found("foreign on the NAS", f"{path}/{item.name}" if path else item.name, item.kind)
