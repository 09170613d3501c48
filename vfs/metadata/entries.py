"""SQL of the tree: resolve, look up, list, insert, change. Rules live in `operations`, not here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from vfs import trace
from vfs.metadata.lists import listed, portions
from vfs.metadata.seals import SEALED, Named
from vfs.metadata.way_memory import Way
from vfs.model import ROOT_ID, Entry, Kind, Row, State, StoreStatus

if TYPE_CHECKING:
    from vfs.metadata.seals import Seals
    from vfs.metadata.tx import Tx

_COLUMNS = (
    "id",
    "uuid",
    "parent_id",
    "name",
    "kind",
    "state",
    "content_id",
    "size",
    "mime_type",
    "mtime_ns",
    "shown_mtime",
    "created_ns",
    "owner_id",
    "version",
    "nas_status",
    "vault_id",
    "seal_id",
)
_LONG = 20  # lines of history
COLUMNS = ", ".join(f"e.{name}" for name in _COLUMNS)
_BY_ID = f"SELECT {COLUMNS} FROM entries e WHERE e.id = :id"
_BY_NAME = f"SELECT {COLUMNS} FROM entries e WHERE e.parent_id = :folder AND e.name_key = :key AND e.state = 'ACTIVE'"
_HOPS = 24  # folders resolved by one statement; SQLite joins at most 64 tables

# Own id first, then its ancestors up to the root, when sorted by depth: for SQLite, sorting two rows is half the work.
_ANCESTORS = """
WITH RECURSIVE up(id, parent_id, state, name, kind, depth, vault_id, seal_id) AS (
    SELECT id, parent_id, state, name, kind, 0, vault_id, seal_id FROM entries WHERE id = :id
    UNION ALL
    SELECT e.id, e.parent_id, e.state, e.name, e.kind, up.depth + 1, e.vault_id, e.seal_id
    FROM entries e JOIN up ON e.id = up.parent_id
)
SELECT depth, id, state, name, kind, vault_id, seal_id FROM up"""

# As above with the whole row first, and whether there are grants: what is asked of an id that a client names.
_WAY_TO = f"""
WITH RECURSIVE up(id, parent_id, state, depth) AS (
    SELECT id, parent_id, state, 0 FROM entries WHERE {{which}}
    UNION ALL
    SELECT e.id, e.parent_id, e.state, up.depth + 1 FROM entries e JOIN up ON e.id = up.parent_id
)
SELECT up.id, up.state, EXISTS (SELECT 1 FROM grants), {COLUMNS}
FROM up LEFT JOIN entries e ON e.id = up.id AND up.depth = 0 ORDER BY up.depth"""
_WAY_TO_ROOT, _WAY_TO_UUID = (_WAY_TO.format(which=which) for which in (f"id = {ROOT_ID}", "uuid = :uuid"))

# All rows below :id that are reachable from it, nearest first.
_BELOW = """
WITH RECURSIVE down(id, depth) AS (
    SELECT id, 1 FROM entries WHERE parent_id = :id AND state = 'ACTIVE'
    UNION ALL
    SELECT e.id, down.depth + 1 FROM entries e JOIN down ON e.parent_id = down.id WHERE e.state = 'ACTIVE'
)"""


_NAMING = frozenset(("parent_id", "name", "state"))

# An enum's own look-up by value costs as much as reading the column.
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}
_STATUSES = {status.value: status for status in StoreStatus}
_FOLDER, _ACTIVE = Kind.FOLDER.value, State.ACTIVE.value


def _opened(rows: Iterable[Sequence[Any]], names: Mapping[str, Named], texts: Mapping[str, str]) -> Iterator[Row]:
    """Of a folder in a vault, by name. Ten thousand of them are an answer: what is done for each is little."""
    by_name = sorted(rows, key=lambda row: names[row[1]].comparison)
    return (
        Row._make((id, names[name].name, kind, content_id, size, texts[mime_type], shown, created, vault_id))
        for id, name, kind, content_id, size, mime_type, shown, created, vault_id in by_name
    )


def entry_of(row: Sequence[Any], seals: Seals | None, *, shown: bool = False) -> Entry:
    """An Entry from a row that starts with `COLUMNS`, its name and type opened. Raises KeyMissing.

    `seals` None: as it is stored, for those who care for what they cannot read. `shown`: without the key, what is
    sealed is called so.
    """
    is_vault = row[15] is not None and row[3][:1] != "/"
    if (
        seals is not None
        and (row[15] is not None or seals.active)
        and seals.learn(row[0], row[15], row[16], row[3], row[4]) is not None
    ):
        row = seals.opened(row, 3, 8, shown=shown)
    return Entry(
        row[0],
        row[1],
        row[2],
        row[3],
        _KINDS[row[4]],
        _STATES[row[5]],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        _STATUSES[row[14]],
        row[15],
        row[16],
        is_vault,
    )


@lru_cache(maxsize=_HOPS)
def _joins(hops: int) -> str:
    """One unrolled join: 2 to 40 times faster than a statement per folder (design §8)."""
    return "entries e0" + "".join(
        f" LEFT JOIN entries e{n} ON e{n}.parent_id = e{n - 1}.id AND e{n}.name_key = :k{n} AND e{n}.state = 'ACTIVE'"
        for n in range(1, hops + 1)
    )


@lru_cache(maxsize=_HOPS)
def _resolve_sql(hops: int) -> str:
    ids = ", ".join(f"e{n}.id" for n in range(1, hops + 1))
    return f"SELECT {ids} FROM {_joins(hops)} WHERE e0.id = :start"


@lru_cache(maxsize=_HOPS)
def _follow_sql(hops: int) -> str:
    ids = ", ".join(f"e{n}.id" for n in range(hops + 1))
    last, folder = (", ".join(f"e{n}.{name}" for name in _COLUMNS) for n in (hops, hops - 1))
    return f"SELECT {ids}, {last}, {folder}, EXISTS (SELECT 1 FROM grants) FROM {_joins(hops)} WHERE e0.id = :start"


@lru_cache(maxsize=256)
def _insert_sql(*names: str) -> str:
    return f"INSERT INTO entries ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"


@lru_cache(maxsize=256)
def _update_sql(*names: str) -> str:
    sets = ", ".join(["version = version + 1", *(f"{name} = :{name}" for name in names)])
    return f"UPDATE entries SET {sets} WHERE id = :id"


def _also_of_nas(columns: Mapping[str, object]) -> AbstractContextManager[None]:
    """A span of its own where a statement notes what the NAS is to get, too."""
    return trace.span("db.storage_object_update") if "active_sync_event_id" in columns else nullcontext()


class Entries:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def resolve(self, keys: Sequence[str], start: int = ROOT_ID) -> list[int]:
        """Ids from `start` down along the name keys, as far as they exist."""
        chain = [start]
        for at in range(0, len(keys), _HOPS):
            hop = keys[at : at + _HOPS]
            values = {f"k{n}": key for n, key in enumerate(hop, 1)}
            found = [id for id in self._tx.one(_resolve_sql(len(hop)), start=chain[-1], **values) if id is not None]
            chain += found
            if len(found) < len(hop):
                break
        return chain

    def follow(self, keys: Sequence[str]) -> tuple[list[int], dict[int, Entry], bool]:
        """Like `resolve` from the root; the last two rows of the chain, and whether there are grants: one statement."""
        if not 0 < len(keys) < _HOPS:
            chain = self.resolve(keys)
            return chain, self.several(chain[-2:]), self._tx.grants.any()
        values = {f"k{n}": key for n, key in enumerate(keys, 1)}
        row = self._tx.one(_follow_sql(len(keys)), start=ROOT_ID, **values)
        chain = [id for id in row[: len(keys) + 1] if id is not None]
        if len(chain) < len(keys):  # a folder on the way is missing
            return chain, self.several(chain[-1:]), bool(row[-1])
        columns = row[len(keys) + 1 : -1]
        ends = (columns[: len(_COLUMNS)], columns[len(_COLUMNS) :])
        return chain, {end[0]: entry_of(end, self._tx.seals) for end in ends if end[0] is not None}, bool(row[-1])

    def get(self, id: int) -> Entry | None:
        row = self._tx.one(_BY_ID, id=id)
        return entry_of(row, self._tx.seals) if row else None

    def as_stored(self, id: int) -> Entry | None:
        """As `get`; name and type of what is in a vault as they are stored, which needs no key."""
        row = self._tx.one(_BY_ID, id=id)
        return entry_of(row, None) if row else None

    def by_uuid(self, uuid: str, *, stored: bool = False) -> Entry | None:
        """`stored`: as in `as_stored`."""
        row = self._tx.one(f"SELECT {COLUMNS} FROM entries e WHERE e.uuid = :uuid", uuid=uuid)
        return entry_of(row, None if stored else self._tx.seals) if row else None

    def way_to(self, uuid: str | None) -> tuple[Entry, list[tuple[int, State]], bool] | None:
        """The entry of that public id (None: the root), (id, own state) of it and of its ancestors up to the root, and
        whether there are grants: one statement."""
        rows = self._tx.all(_WAY_TO_ROOT) if uuid is None else self._tx.all(_WAY_TO_UUID, uuid=uuid)
        if not rows:
            return None
        return entry_of(rows[0][3:], self._tx.seals), [(row[0], _STATES[row[1]]) for row in rows], bool(rows[0][2])

    def several(self, ids: Sequence[int]) -> dict[int, Entry]:
        marks, values = listed(ids)
        rows = self._tx.all(f"SELECT {COLUMNS} FROM entries e WHERE e.id IN ({marks})", **values)
        return {row[0]: entry_of(row, self._tx.seals) for row in rows}

    def child(self, folder_id: int, key: str) -> Entry | None:
        """The ACTIVE entry of that name key in a folder."""
        row = self._tx.one(_BY_NAME, folder=folder_id, key=key)
        return entry_of(row, self._tx.seals) if row else None

    def children(self, folder_id: int) -> Iterator[Row]:
        """By name: in a vault, whose stored names have no order, by the opened ones."""
        sql = """SELECT id, name, kind, content_id, size, mime_type, shown_mtime, created_ns, vault_id FROM entries
                 WHERE parent_id = :folder AND state = 'ACTIVE' ORDER BY """
        seals = self._tx.seals
        seal = seals.of(folder_id)
        if seal is None:
            return map(Row._make, self._tx.each(f"{sql} name_key", folder=folder_id))
        # As they were made: next to each other in the table, and nearly sorted where a folder was copied.
        return _opened(self._tx.each(f"{sql} id", folder=folder_id), *seals.opening(seal))

    def is_empty(self, folder_id: int) -> bool:
        sql = "SELECT 1 FROM entries WHERE parent_id = :folder AND state = 'ACTIVE' LIMIT 1"
        return self._tx.one(sql, folder=folder_id) is None

    def below(self, folder_id: int) -> list[tuple[Entry, int]]:
        """Everything reachable below a folder with its depth, parents before children. What is in a vault that nobody
        here can open is called sealed."""
        sql = f"""{_BELOW} SELECT {COLUMNS}, down.depth FROM down JOIN entries e ON e.id = down.id
                  ORDER BY down.depth, e.id"""
        return [(entry_of(row, self._tx.seals, shown=True), row[-1]) for row in self._tx.all(sql, id=folder_id)]

    def ancestors(self, id: int) -> list[tuple[int, State, str]]:
        """(id, own state, name as it is stored) of the entry first, then of each ancestor up to the root."""
        return [(row[1], _STATES[row[2]], row[3]) for row in sorted(self._tx.all(_ANCESTORS, id=id))]

    def way_to_folder(self, id: int) -> Way | None:
        """None for what is no folder, or not there, or below something that is not. Raises KeyMissing."""
        ways = self._tx.ways
        if ways is None or self._tx.changed_entries or self._tx.changed_folders:
            return self._way_to_folder(id)
        way = ways.get(id) or self._way_to_folder(id)
        if way is not None and not self._tx.seals.active:  # else who may not open a name may not be told of it
            ways[id] = way
        return way

    def _way_to_folder(self, id: int) -> Way | None:
        rows, seals = sorted(self._tx.all(_ANCESTORS, id=id)), self._tx.seals
        if not rows or rows[0][4] != _FOLDER:
            return None
        seals.learn(id, rows[0][5], rows[0][6], rows[0][3], rows[0][4])
        names = [seals.open_name(row[3]) for row in rows]
        if any(row[2] != _ACTIVE for row in rows):
            return None
        return Way(tuple([row[1] for row in rows]), tuple([name for name in reversed(names) if name]))

    def path(self, id: int) -> tuple[str, ...]:
        """Names from below the root down to the entry. Raises KeyMissing."""
        return tuple(self._tx.seals.open_name(name) for _, _, name in reversed(self.ancestors(id)) if name)

    def shown_path(self, id: int) -> tuple[str, ...]:
        """As `path`; without the key, what is sealed is called so."""
        return tuple(self._tx.seals.shown_name(name) for _, _, name in reversed(self.ancestors(id)) if name)

    def logged_path(self, id: int) -> str:
        """For logs, alerts and the mirror: where it is, as far as that is no secret, and its number."""
        stored = [name for _, _, name in reversed(self.ancestors(id)) if name]
        plain = [name for name in stored if name[:1] != "/"]
        sealed = [] if len(plain) == len(stored) else [f"{SEALED} (entry {id})"]
        return "/" + "/".join([*plain, *sealed])

    @trace.step("db.file_create")
    def insert(self, **values: object) -> int:
        """The id of the new row."""
        self._tx.changed_folders.add(values["parent_id"])
        if "id" not in values and (number := self._tx.new_id("entries")) is not None:
            values["id"] = number
        id = cast("int | None", values.get("id"))
        with _also_of_nas(values):
            if id is not None:
                self._tx.run(_insert_sql(*values), **values)
            else:
                id = self._tx.insert(_insert_sql(*values), **values)
        self._tx.note_change(id, made_in=values["parent_id"])
        self._tx.note_name(values["parent_id"], values["name_key"], is_sealed=values.get("vault_id") is not None)
        self._tx.seals.made(id, values.get("vault_id"), values.get("seal_id"), values["name"])
        return id

    @trace.step("db.file_update")
    def update(self, id: int, within: int | None = None, /, **values: object) -> None:
        """Change columns of one row, perhaps none, and bump its version and that of its folder's listing.

        `within`: that folder, for who has looked and leaves it there; it is looked up else. Who gives it another
        `parent_id` notes the one before in `Tx.changed_folders`.
        """
        self._tx.changed_entries.add(id)
        self._tx.folder_versions.note(id, within, names=not _NAMING.isdisjoint(values))
        self._tx.note_change(id)
        if "succeeded_by" in values:  # who gets its history: its lines tell of that one from here on
            self._tx.untold(id)
        with _also_of_nas(values):
            self._tx.run(_update_sql(*values), id=id, **values)

    def listing_version(self, id: int) -> tuple[int, int, int] | None:
        """The id again, version of the entry itself, and of the listing when it is a folder; None for what is not
        there, and while there are locks or grants, which show in a listing too."""
        sql = """SELECT e.id, e.version, COALESCE(f.version, 0) FROM entries e
                 LEFT JOIN folder_versions f ON f.folder_id = e.id WHERE e.id = :id
                 AND NOT EXISTS (SELECT 1 FROM dav_locks) AND NOT EXISTS (SELECT 1 FROM grants)"""
        row: tuple[int, int, int] | None = self._tx.one(sql, id=id)
        return row

    def nas_name_taken(self, folder_id: int, nas_key: str, but: int = 0, but_version: str = "") -> bool:
        """Another entry of the folder has that NAS name, or an older content of one that is a file in the tree too."""
        sql = """SELECT 1 FROM entries WHERE parent_id = :folder AND nas_desired_key = :key
                 AND state = 'ACTIVE' AND id <> :but
                 UNION ALL
                 SELECT 1 FROM versions v JOIN entries e ON e.id = v.entry_id
                 WHERE v.nas_desired_key = :key AND v.state = 'kept' AND v.uuid <> :version
                 AND e.parent_id = :folder AND e.state = 'ACTIVE' LIMIT 1"""
        return self._tx.one(sql, folder=folder_id, key=nas_key, but=but, version=but_version) is not None

    def nas_names_taken(self, folder_id: int, nas_keys: Sequence[str], entry_id: int) -> set[str]:
        """Those of these NAS names that entries of the folder have, or older contents of others than `entry_id`."""
        taken: set[str] = set()
        for marks, values in portions(nas_keys):
            sql = f"""SELECT nas_desired_key FROM entries
                      WHERE parent_id = :folder AND nas_desired_key IN ({marks}) AND state = 'ACTIVE'
                      UNION ALL
                      SELECT v.nas_desired_key FROM versions v JOIN entries e ON e.id = v.entry_id
                      WHERE v.nas_desired_key IN ({marks}) AND v.state = 'kept' AND v.entry_id <> :entry
                      AND e.parent_id = :folder AND e.state = 'ACTIVE'"""
            taken |= {row[0] for row in self._tx.all(sql, folder=folder_id, entry=entry_id, **values)}
        return taken

    def placing(self, id: int) -> tuple[str | None, bool, int, str]:
        """nas_stamp, born_litter, registered_ns, nas_desired_name of a row."""
        sql = "SELECT nas_stamp, born_litter, registered_ns, nas_desired_name FROM entries WHERE id = :id"
        row = self._tx.one(sql, id=id)
        return row[0], bool(row[1]), row[2], row[3]

    def written_by(self, id: int) -> tuple[int | None, int | None]:
        """Who wrote the current content, and when (ns)."""
        row = self._tx.one("SELECT content_user_id, content_ns FROM entries WHERE id = :id", id=id)
        return row[0], row[1]

    def is_succeeded(self, id: int) -> bool:
        """The content is already a version of the file that took this entry's former name."""
        sql = """SELECT 1 FROM entries e JOIN versions v ON v.entry_id = e.succeeded_by AND v.content_id = e.content_id
                 WHERE e.id = :id AND v.state = 'kept' LIMIT 1"""
        return self._tx.one(sql, id=id) is not None

    def used_bytes(self) -> int:
        return int(self._tx.one("SELECT COALESCE(SUM(size), 0) FROM entries WHERE state <> 'DELETED'")[0])

    # --- history ---

    def has_long_history(self, id: int) -> bool:
        """To give it to another entry takes more than a moment."""
        sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM file_events WHERE entry_id = :id LIMIT {_LONG + 1}) f"
        return bool(self._tx.one(sql, id=id)[0] > _LONG)

    @trace.step("db.file_event_insert")
    def log(self, entry_id: int, event: str, user_id: int, face: str, detail: str, trace_id: str, now_ns: int) -> None:
        self._tx.run(
            """INSERT INTO file_events (entry_id, event, user_id, face, detail, trace_id, created_ns, tells)
               VALUES (:entry, :event, :user, :face, :detail, :trace, :now, :tells)""",
            entry=entry_id,
            event=event,
            user=user_id,
            face=face,
            detail=detail,
            trace=trace_id,
            now=now_ns,
            tells=self._tx.is_told_by_history(entry_id),
        )
