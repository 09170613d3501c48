"""A drive without a face, with a clock that only the test moves: what the tests of the core work on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from jobs import mirror
from tests import cache_listing
from vfs.core import Kelp
from vfs.model import Caller, Entry, Found, OnConflict, Place, Scope, TrashItem
from vfs.operations import (
    checking,
    contents,
    copying,
    folders,
    locking,
    moving,
    reading,
    trashing,
    versioning,
    writing,
)

SECOND = 1_000_000_000
START_NS = time.time_ns() // SECOND * SECOND  # objects in the cache have the machine's own times

_UNTIED = {  # rows may refer to what is not there, until the commit or also after it
    "sqlite": "PRAGMA defer_foreign_keys = ON",
    "postgresql": "SET LOCAL session_replication_role = replica",
}


@dataclass
class Clock:
    now: int = START_NS

    def now_ns(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    @property
    def seconds(self) -> int:
        return self.now // SECOND


@dataclass
class Drive:
    """Paths are text from the root ("a/b.txt"). Callers are on the DAV face; `rest(caller)` is the same one on REST."""

    kelp: Kelp
    clock: Clock
    nas: Path
    admin: Caller
    editor: Caller
    other: Caller
    viewer: Caller
    damaged: bool = field(default=False)  # the test broke something on purpose: no check at the end

    def place(self, path: str) -> Place:
        *above, name = path.split("/")
        folder = self.find("/".join(above))
        assert folder is not None, f"no folder for {path}"
        return Place(folder.id, name)

    def find(self, path: str, caller: Caller | None = None) -> Entry | None:
        return self.resolve(path.split("/") if path else [], caller or self.admin).entry

    def resolve(self, segments: Sequence[str], caller: Caller | None = None) -> Found:
        return reading.resolve(self.kelp, caller or self.editor, segments)

    @property
    def root_id(self) -> int:
        return self.entry("").id

    def entry(self, path: str) -> Entry:
        found = self.find(path)
        assert found is not None, f"no {path}"
        return found

    def put(self, path: str, data: bytes = b"some", caller: Caller | None = None, **more: Any) -> Entry:
        place = self.place(path)
        return writing.put_file(self.kelp, caller or self.editor, place, contents.pieces(data), **more).entry

    def folder(self, path: str, caller: Caller | None = None, **more: Any) -> Entry:
        return folders.make_folder(self.kelp, caller or self.editor, self.place(path), **more)

    def read(self, path: str) -> bytes:
        return self.read_entry(self.entry(path))

    def read_entry(self, entry: Entry) -> bytes:
        return b"".join(reading.open_content(self.kelp, self.admin, entry).chunks())

    def names(self, path: str = "", caller: Caller | None = None) -> list[str]:
        folder_id = self.entry(path).id
        return [row.name for row in reading.list_folder(self.kelp, caller or self.admin, folder_id)]

    def move(self, source: str, target: str, on: OnConflict = OnConflict.ERROR, caller: Caller | None = None) -> Any:
        return moving.move(self.kelp, caller or self.editor, self.place(source), self.place(target), on_conflict=on)

    def copy(
        self, source: str, target: str, on: OnConflict = OnConflict.ERROR, caller: Caller | None = None, **more: Any
    ) -> Any:
        return copying.copy(
            self.kelp, caller or self.editor, self.place(source), self.place(target), on_conflict=on, **more
        )

    def remove(self, path: str, caller: Caller | None = None) -> None:
        trashing.remove(self.kelp, caller or self.editor, self.place(path))

    def trash(self, caller: Caller | None = None) -> list[TrashItem]:
        return trashing.list_trash(self.kelp, caller or self.admin)

    def trashed(self) -> list[str]:
        """Original paths of what is in the trash, sorted."""
        return sorted(item.original_path for item in self.trash())

    def versions(self, path: str) -> list[bytes]:
        """Contents of a file's versions, newest first."""
        found = versioning.list_versions(self.kelp, self.admin, self.entry(path).id)
        readers = [versioning.open_version(self.kelp, self.admin, version.uuid) for version in found]
        return [b"".join(reader.chunks()) for reader in readers]

    def lock(
        self, path: str, caller: Caller | None = None, *, scope: Scope = Scope.EXCLUSIVE, deep: bool = False,
        timeout: int | None = 600,
    ) -> str:  # fmt: skip
        """Lock a path; the token."""
        place = self.place(path) if path else None
        result = locking.lock(
            self.kelp, caller or self.editor, place, scope=scope, infinite=deep, owner="me", timeout=timeout
        )
        return result.lock.token

    def grant(self, path: str, level: int, user: Caller | None = None, group: int | None = None) -> None:
        folder_id = self.entry(path).id
        with self.kelp.database.write() as tx:
            tx.grants.put(folder_id, user.user_id if user else None, group, level, 0)  # type: ignore[arg-type]

    def group(self, name: str, *members: Caller) -> int:
        with self.kelp.database.write() as tx:
            group_id = tx.insert("INSERT INTO groups (name, name_key, uuid) VALUES (:name, :name, :name)", name=name)
            rows: list[dict[str, object]] = [{"group": group_id, "user": member.user_id} for member in members]
            tx.many("INSERT INTO group_members (group_id, user_id) VALUES (:group, :user)", rows)
        return group_id

    def sql(self, statement: str, **values: object) -> list[Any]:
        with self.kelp.database.read() as tx:
            return tx.all(statement, **values)

    def damage(self, statement: str, **values: object) -> None:
        """Change rows behind the core's back."""
        self.damaged = True
        with self.kelp.database.write() as tx:
            tx.run(_UNTIED[make_url(self.kelp.settings.database.url).get_backend_name()])
            tx.run(statement, **values)

    def objects(self) -> list[str]:
        """Keys of what is in the cache, in their order."""
        return [info.key for info in cache_listing.objects(self.kelp.cache)]

    def spoil(self, key: str, data: bytes | None) -> None:
        """Another object in the place of one in the cache, or none, behind the core's back."""
        self.damaged = True
        self.kelp.cache.delete(key)
        if data is not None:
            self.kelp.cache.put(key, [data])

    def mirror(self, seconds: float = 61) -> None:
        """Carry everything to the NAS, litter too: time passes until nothing is waiting."""
        self.clock.advance(seconds)
        for _ in range(60):
            mirror.drain(self.kelp, "test")
            if not self.sql("SELECT 1 FROM sync_events WHERE status IN ('PENDING', 'PROCESSING') LIMIT 1"):
                return
            self.clock.advance(1)
        raise AssertionError(f"never mirrored: {self.sql('SELECT * FROM sync_events')}")

    def nas_files(self) -> dict[str, bytes]:
        """What people see on the NAS: relative path → bytes, Kelp's own folders left out."""
        found = {}
        for path in sorted(self.nas.rglob("*")):
            relative = path.relative_to(self.nas).as_posix()
            if path.is_file() and not relative.startswith((".kelp/", ".trash/")):
                found[relative] = path.read_bytes()
        return found

    def problems(self, mirrored: bool = False) -> list[str]:
        """Kinds of damage that the check finds."""
        return sorted({problem.kind for problem in checking.check(self.kelp, mirrored=mirrored).problems})


def rest(caller: Caller) -> Caller:
    return replace(caller, face="rest")


def holding(caller: Caller, *tokens: str) -> Caller:
    """The same caller, sending lock tokens with the request."""
    return replace(caller, tokens=frozenset(tokens))


class Broken:
    """A body that fails after these pieces, each time it is read."""

    def __init__(self, error: Exception, *pieces: bytes) -> None:
        self._error = error
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        raise self._error
