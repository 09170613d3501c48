"""Contents on their way across the border of a vault: read as they are shown, stored anew for where they go.

No bytes are sealed inside a change. The change runs until it misses a content (`Unsealed`) and is rolled back; what it
misses is stored; then it runs again, with every check, and shows it. When the source shows another content by then, it
misses that one. So there is one commit, before which nothing is to be seen, and what was stored is removed when it does
not come. What a killed process has stored, the orphan batch finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from vfs import trace
from vfs.core import Kelp
from vfs.errors import Conflict, NoSpace
from vfs.metadata.database import Tx
from vfs.model import Content, Expected
from vfs.operations import contents, guard, reserving, sealed_contents, unsealing, vaults_of
from vfs.operations.changes import SECOND
from vfs.operations.crossing_progress import Progress
from vfs.operations.reserving import Reservation
from vfs.operations.sealed_contents import Vault
from vfs.operations.unfinished import Unfinished

log = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES = 10  # with a source that is written all the time
_RESTED_NS = 60 * SECOND  # as for an upload: from then on it is asked whether the objects are still there


class Unsealed(Exception):
    """Raised by a change that needs contents sealed for `vault_id` (None: plain); never leaves `across`.

    `wanted`: id and plain size of each. `uuid`: of what is moved or copied.
    """

    def __init__(self, wanted: Sequence[tuple[str, int]], vault_id: int | None, uuid: str) -> None:
        self.wanted, self.vault_id, self.uuid = wanted, vault_id, uuid


@dataclass(slots=True)
class _Made:
    content: Content
    room: Reservation
    begun_ns: int


class Border:
    """What one copy or move has sealed anew. For one thread."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._made: dict[tuple[str, int | None], _Made] = {}
        self._shown: set[tuple[str, int | None]] = set()
        self._rooms = ExitStack()
        self._unfinished = Unfinished(kelp)
        self.committing = False  # a commit was begun whose outcome is not known

    # --- inside the change ---

    def begin(self) -> None:
        """First in each run of the change; last in it, `committing` is set."""
        self.committing = False
        self._shown.clear()

    def require(self, wanted: Sequence[tuple[str, int]], vault_id: int | None, uuid: str) -> None:
        """All that this change will ask for, as in `Unsealed`, which it raises."""
        missing = [each for each in dict(wanted).items() if (each[0], vault_id) not in self._made]
        if missing:
            raise Unsealed(missing, vault_id, uuid)

    def content(self, tx: Tx, content_id: str, vault_id: int | None) -> Content:
        """What stands for a required content on the other side; its rows are made. Raises StoreUnavailable."""
        key = content_id, vault_id
        made = self._made[key].content
        if key not in self._shown:
            now = self._kelp.clock.now_ns()
            if abs(now - self._made[key].begun_ns) > _RESTED_NS:
                contents.require_stored(self._kelp, made)
            tx.contents.insert(made, now)
            self._shown.add(key)
        return made

    # --- outside of it ---

    def bring(self, lacking: Unsealed) -> None:
        """Raises KeyMissing, NoSpace, StoreUnavailable, ContentLost, ContentCorrupt."""
        kelp = self._kelp
        vault = None if lacking.vault_id is None else vaults_of.open_vault(kelp, lacking.vault_id)
        sizes = [sealed_contents.stored_size(size, vault) for _, size in lacking.wanted]
        guard.require_space(kelp, sum(sizes))
        with Progress(kelp, lacking.uuid, sum(size for _, size in lacking.wanted)) as progress:
            for (content_id, size), stored_size in zip(lacking.wanted, sizes, strict=True):
                with trace.span("vault.reseal", bytes=size):
                    self._bring(content_id, vault, stored_size, progress)

    def _bring(self, content_id: str, vault: Vault | None, stored_size: int, progress: Progress) -> None:
        kelp, now = self._kelp, self._kelp.clock.now_ns()
        with kelp.database.read() as tx:
            source = tx.contents.get(content_id)
        if source is None:
            return  # freed, since it was replaced meanwhile: the change will ask for another
        room = self._rooms.enter_context(reserving.reserve(kelp, stored_size, sealed=vault is not None))
        reader = unsealing.reader(kelp, source)
        chunks = room.counted(progress.counted(reader.chunks(), lambda: self._unfinished.add([])))
        expected = _expected(kelp, source, reader.size)
        made = contents.store(kelp, chunks, expected, vault=vault, unfinished=self._unfinished)
        self._made[content_id, None if vault is None else vault.id] = _Made(made, room, now)
        if vault is None:  # else they are noted already
            self._unfinished.add([part.key for part in made.parts])

    def confirm(self) -> None:
        """Right before the change. Raises NoSpace."""
        for made in self._made.values():
            made.room.confirm()

    def end(self) -> None:
        """It is committed: what it did not show after all goes."""
        with self._rooms:
            for key, made in self._made.items():
                made.room.stays = key in self._shown
                if not made.room.stays:
                    contents.discard(self._kelp, made.content)

    def undo(self, error: BaseException) -> None:
        with self._rooms:
            for made in self._made.values():
                made.room.stays = self.committing
                contents.discard(self._kelp, made.content, in_doubt=self.committing and not isinstance(error, NoSpace))


def across(kelp: Kelp, change: Callable[[Border], T]) -> T:
    """Run a change that may need contents sealed anew; nothing is left in the cache when it fails.

    Raises what it raises, what `Border.bring` does, and Conflict: the source is written all the time.
    """
    border = Border(kelp)
    try:
        for _ in range(_TRIES):
            border.confirm()
            try:
                done = change(border)
            except Unsealed as lacking:
                border.bring(lacking)
                continue
            border.end()
            return done
        raise Conflict("it is changed all the time")
    except BaseException as error:
        border.undo(error)
        raise


def _expected(kelp: Kelp, source: Content, size: int) -> Expected:
    """What a client announced of it once is compared again, and goes along."""
    digests = source.digests
    if digests is not None and source.seal is not None:
        vault = vaults_of.open_vault(kelp, source.seal.vault_id)
        digests = sealed_contents.opened_digests(vault, source.id, digests)
    known = dict(each.split(":", 1) for each in (digests or "").split())
    return Expected(length=size, sha1=known.get("SHA1"), md5=known.get("MD5"))
