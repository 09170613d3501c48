"""One transaction: what the query modules hang on, and what differs between the engines (`sqlite.py`, `postgresql.py`).

The locks are those of design §7, in that order, before anything is looked at. SQLite has one writer at a time, so all
of them are held already when a write begins.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from vfs.metadata.accounts import Accounts
from vfs.metadata.alerts import Alerts
from vfs.metadata.change_log import ALL, ChangeLog
from vfs.metadata.contents import Contents
from vfs.metadata.drafts import Drafts
from vfs.metadata.entries import Entries
from vfs.metadata.event_log import EventLog
from vfs.metadata.events import Events
from vfs.metadata.evicting import Evicting
from vfs.metadata.folder_versions import FolderVersions
from vfs.metadata.freeing import Freeing
from vfs.metadata.grants import Grants
from vfs.metadata.groups import Groups
from vfs.metadata.holdings import Holdings
from vfs.metadata.leases import Leases
from vfs.metadata.locks import Locks
from vfs.metadata.made_once import made_once
from vfs.metadata.manifests import Manifests
from vfs.metadata.mirror import Mirror
from vfs.metadata.name_memory import NameMemory
from vfs.metadata.nas_settings import NasSettingRows
from vfs.metadata.node_memory import Effect
from vfs.metadata.pins import Pins
from vfs.metadata.policies import Policies
from vfs.metadata.properties import Properties
from vfs.metadata.pruning import Pruning
from vfs.metadata.reading import Reading
from vfs.metadata.recipients import Recipients
from vfs.metadata.restoring import Restoring
from vfs.metadata.seals import SealMemory, Seals
from vfs.metadata.tokens import Tokens
from vfs.metadata.trash import Trash
from vfs.metadata.unfinished import UnfinishedObjects
from vfs.metadata.upload_sessions import UploadSessions
from vfs.metadata.vaults import Vaults
from vfs.metadata.verifying import Verifying
from vfs.metadata.versions import Versions
from vfs.metadata.way_memory import Ways

T = TypeVar("T")


class Later(Generic[T]):
    """What a look will have found once the transaction is committed."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._found: list[T] = []

    def settle(self) -> None:
        self._found.append(self._look())

    @property
    def value(self) -> T:
        return self._found[0]


class Tx(abc.ABC):
    """Functions that expect one take it as `tx`, first. SQL has `:name` for each of the `values`."""

    is_overheard = False  # what it asks goes to a server, whose log may have it
    holds_all = True  # nobody else changes anything meanwhile: there is nothing to lock, and nothing to foresee
    commits_in_order = True  # numbers of new rows grow in the order in which their transactions commit

    def __init__(self, seal_memory: SealMemory) -> None:
        self.seals = Seals(self, seal_memory)
        self._after_commit: list[Callable[[], None]] = []
        self._last: list[Later[Any]] = []
        # Folders in which names changed (None is the root's parent), and the entries that changed, wherever they are.
        self.changed_folders: set[Any] = set()
        self.changed_entries: set[int] = set()
        self.dated_folders: set[int] = set()  # somebody says when they were changed
        self._noted: set[int] = set()  # for the change log
        self._told: set[int] = set()  # of those, by a line of their history
        self._made: set[Any] = set()
        self._locks_or_grants: tuple[bool, bool] | None = None
        # Said by a change that takes no folder away, restores none, and gives nothing another name or place; that makes
        # and changes rows by `entries.insert` and `entries.update` alone, and nothing of rights and accounts: what is
        # remembered of all other rows is true after it too (`node_memory`).
        self.leaves_folders = False
        self.ways: Ways | None = None  # to folders, as they are when this begins; None: nothing is remembered
        self._new_names: list[tuple[int, str]] | None = []  # (folder, name key); None: some are sealed
        self.last_event_id: int | None = None  # of any transaction's events, where that was seen: see `Events.number`

    @abc.abstractmethod
    def all(self, sql: str, **values: object) -> list[Any]:
        """Every row."""

    @abc.abstractmethod
    def one(self, sql: str, **values: object) -> Any:
        """The first row, or None."""

    @abc.abstractmethod
    def run(self, sql: str, **values: object) -> None:
        """Execute; perhaps only together with the next statement whose outcome somebody wants to know."""

    @abc.abstractmethod
    def count(self, sql: str, **values: object) -> int:
        """Execute; the number of rows touched."""

    @abc.abstractmethod
    def many(self, sql: str, rows: Iterable[dict[str, object]]) -> None:
        """Execute once for each row of values."""

    @abc.abstractmethod
    def each(self, sql: str, **values: object) -> Iterator[Any]:
        """Rows one by one from a cursor, fetched in pieces."""

    def insert(self, sql: str, **values: object) -> int:
        """Execute an INSERT of one row; its new id."""
        return int(self.one(f"{sql} RETURNING id", **values)[0])

    def foresee(self, *looks: Callable[[], object]) -> None:  # noqa: B027  # SQLite answers at once, whenever asked
        """These looks come soon: what they ask for, until their first answer, is brought with the next round trip."""

    def foresee_ids(self, table: str, count: int = 1) -> None:  # noqa: B027
        """So many rows of a table will be made soon."""

    def new_id(self, table: str) -> int | None:
        """A number for a new row when it was foreseen; None: the insert numbers it."""
        return None

    def last(self, look: Callable[[], T]) -> Later[T]:
        """One look when all changes are made; its value is there once they are committed."""
        later = Later(look)
        self._last.append(later)
        return later

    def any_locks_or_grants(self) -> tuple[bool, bool]:
        """Most drives hold no lock and no grant most of the time: one look saves many others."""
        if self._locks_or_grants is None:
            locks, grants = self.one("SELECT EXISTS (SELECT 1 FROM dav_locks), EXISTS (SELECT 1 FROM grants)")
            self._locks_or_grants = bool(locks), bool(grants)
        return self._locks_or_grants

    def changes_locks_or_grants(self) -> None:
        """This transaction does: what it has seen of them holds no more."""
        self._locks_or_grants = None

    def lock_tree(self, exclusive: bool = False) -> None:  # noqa: B027  # SQLite holds it already
        """First in every change: shared, or exclusive by what reaches below a folder."""

    def require_tree(self) -> None:  # noqa: B027
        """What follows reaches below a folder. When the tree lock is shared, `retried` begins again with it exclusive:
        only few changes do, and which ones shows when the rows have been looked at."""

    def lock_names(self, places: Sequence[tuple[int, str]], strong: bool = False) -> None:  # noqa: B027
        """Second: the folders of these (folder id, name key) against going away, and the entries that have the names.

        `strong` keeps out those who make new names in the folders' entries too (LOCK).
        """

    def claim_name(self, folder_id: int, key: str) -> bool:
        """Of a name that is free as far as rows tell, for who promises to be the only one who makes it; `key`: never a
        sealed one. False: somebody else has promised that already (`Database.claim`). True until this transaction has
        ended, and its outcome can be seen. Raises StoreUnavailable."""
        return True

    def lock_rows(self, ids: Sequence[int], strong: bool = False) -> None:  # noqa: B027
        """Second: entries by ascending id."""

    def require_locked(self, id: int) -> None:  # noqa: B027
        """Of what was found under a name: raises Conflict when `lock_names` did not lock it.

        It had another name when that began to wait, or was not there. Unlocked, a LOCK could come in before our commit.
        """

    def lock_mirror(self) -> None:  # noqa: B027
        """First in every change of the mirror's leases: one process at a time decides who carries what."""

    def look_again(self, table: str) -> None:  # noqa: B027
        """What was read from it is asked for anew from here on: others may have committed meanwhile."""

    def is_being_shared(self, content_id: str) -> bool:
        """A change under way, which nobody sees yet, refers to this content; none begins to until this one ends."""
        return False  # SQLite has one change at a time

    def lock_grants(self) -> None:  # noqa: B027
        """First in every change of what processes may bring into the cache."""

    def lock_keys(self) -> None:  # noqa: B027
        """First in every change of recipients and of wrapped keys."""

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once the transaction is durable; never when it is rolled back."""
        self._after_commit.append(action)

    def note_change(self, entry_id: int = ALL, made_in: object = None) -> None:
        """Who remembers the entry (a mount) must look at it again; ALL: at everything, since rights changed.

        `made_in`: it is new in that folder. Of a new folder nobody remembers what is below.
        """
        if made_in is not None:
            self._made.add(entry_id)
        if made_in not in self._made and (made_in is not None or entry_id not in self._made):
            self._noted.add(entry_id)

    def is_told_by_history(self, entry_id: int) -> bool:
        """Who remembers the entry will hear by the line of history that is being written."""
        if not self.commits_in_order or entry_id not in self._noted or entry_id in self._told:
            return False
        self._told.add(entry_id)
        return True

    def untold(self, entry_id: int) -> None:
        """The lines of history that tell of it become another entry's."""
        self._told.discard(entry_id)

    def note_name(self, folder_id: Any, key: Any, *, is_sealed: bool) -> None:
        """Something new has it."""
        if is_sealed:
            self._new_names = None
        elif self._new_names is not None:
            self._new_names.append((folder_id, key))

    @property
    def effect(self) -> Effect | None:
        """Once it is finished: what it has changed of what is remembered; None: perhaps everything."""
        names, times = self._new_names, self.folder_versions.times
        if not self.leaves_folders or names is None or times is None or ALL in self._noted:
            return None
        return Effect(self._made | self.changed_entries, names, times)

    def finish(self) -> None:
        """Last before the commit."""
        self.seals.finish(self.changed_entries)
        if self._noted and self._noted != self._told:
            self.change_log.note(self._noted, self._told)
        self.folder_versions.finish()

    def settle(self) -> None:
        """Carry out the last looks."""
        for later in self._last:
            later.settle()

    def committed(self) -> None:
        self.seals.committed()
        for action in self._after_commit:
            action()

    def end(self) -> None:
        """Nobody uses it any more. It and its query modules refer to each other, so they were left to the collector of
        garbage, for a twentieth of the time of a create and an unlink."""
        self.__dict__.clear()

    @made_once
    def change_log(self) -> ChangeLog:
        return ChangeLog(self)

    @made_once
    def entries(self) -> Entries:
        return Entries(self)

    @made_once
    def folder_versions(self) -> FolderVersions:
        return FolderVersions(self)

    @made_once
    def name_memory(self) -> NameMemory:
        return NameMemory(self)

    @made_once
    def trash(self) -> Trash:
        return Trash(self)

    @made_once
    def contents(self) -> Contents:
        return Contents(self)

    @made_once
    def drafts(self) -> Drafts:
        return Drafts(self)

    @made_once
    def versions(self) -> Versions:
        return Versions(self)

    @made_once
    def events(self) -> Events:
        return Events(self)

    @made_once
    def mirror(self) -> Mirror:
        return Mirror(self)

    @made_once
    def manifests(self) -> Manifests:
        return Manifests(self)

    @made_once
    def leases(self) -> Leases:
        return Leases(self)

    @made_once
    def verifying(self) -> Verifying:
        return Verifying(self)

    @made_once
    def evicting(self) -> Evicting:
        return Evicting(self)

    @made_once
    def freeing(self) -> Freeing:
        return Freeing(self)

    @made_once
    def holdings(self) -> Holdings:
        return Holdings(self)

    @made_once
    def locks(self) -> Locks:
        return Locks(self)

    @made_once
    def pins(self) -> Pins:
        return Pins(self)

    @made_once
    def policies(self) -> Policies:
        return Policies(self)

    @made_once
    def properties(self) -> Properties:
        return Properties(self)

    @made_once
    def reading(self) -> Reading:
        return Reading(self)

    @made_once
    def recipients(self) -> Recipients:
        return Recipients(self)

    @made_once
    def restoring(self) -> Restoring:
        return Restoring(self)

    @made_once
    def alerts(self) -> Alerts:
        return Alerts(self)

    @made_once
    def unfinished(self) -> UnfinishedObjects:
        return UnfinishedObjects(self)

    @made_once
    def uploads(self) -> UploadSessions:
        return UploadSessions(self)

    @made_once
    def pruning(self) -> Pruning:
        return Pruning(self)

    @made_once
    def accounts(self) -> Accounts:
        return Accounts(self)

    @made_once
    def groups(self) -> Groups:
        return Groups(self)

    @made_once
    def grants(self) -> Grants:
        return Grants(self)

    @made_once
    def tokens(self) -> Tokens:
        return Tokens(self)

    @made_once
    def event_log(self) -> EventLog:
        return EventLog(self)

    @made_once
    def nas_settings(self) -> NasSettingRows:
        return NasSettingRows(self)

    @made_once
    def vaults(self) -> Vaults:
        return Vaults(self)
