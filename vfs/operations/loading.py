"""A new drive made of a dump: rows first, a piece a transaction, then the objects, then the proof that all is there.

From the first row on, a mark in the database keeps every other program away; it goes in the transaction that has seen
that all counts are right. Until then a load that was cut off goes on where it was: the mark counts the pieces that are
committed, and an object's row says AVAILABLE only once its bytes are durable.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from blake3 import blake3

from vfs.errors import (
    AlreadyExists,
    ConfigurationError,
    ContentCorrupt,
    InvalidRequest,
    ObjectMissing,
    StoreUnavailable,
)
from vfs.metadata import transfer
from vfs.metadata.database import Database
from vfs.metadata.tx import Tx
from vfs.operations.contents import pieces
from vfs.operations.dump_format import (
    FORMAT,
    OBJECTS,
    OBJECTS_FOLDER,
    ROWS_FOLDER,
    TRAILER,
    Member,
    Reader,
    document,
    text_lines,
)
from vfs.operations.dumping import Report, no_report
from vfs.storage.object_store import ObjectStore

_BATCH = 128  # objects stored side by side, and noted in one commit
_BATCH_BYTES = 32 * 1024 * 1024
_WRITERS = 8


@dataclass(slots=True)
class Loaded:
    """What is there now. `kept`: objects of those that the cache had already; `absent`: what the dump lacks too."""

    rows: int = 0
    objects: int = 0
    bytes: int = 0
    kept: int = 0
    absent: int = 0


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump whose beginning has been read: what it says it is, and what follows."""

    manifest: dict[str, Any]
    members: Iterator[Member]


def open_dump(stream: BinaryIO) -> Dump:
    """Raises InvalidRequest (not a dump, or one of another Kelp), ContentCorrupt."""
    members = Reader(stream).members()
    return Dump(_manifest(next(members)), members)


def load(
    database: Database,
    cache: ObjectStore,
    dump: Dump,
    *,
    same_cache: bool = False,
    report: Report = no_report,
) -> Loaded:
    """Fill a new database and a new cache from a dump, or go on with a load of the same dump that was cut off.

    `same_cache`: it is the cache of the drive that was dumped, so what it holds is compared and kept.
    Raises ContentCorrupt (cut or damaged), ConfigurationError (the database or the cache is in use), NoSpace,
    StoreUnavailable. After any of them the load may be run again.
    """
    members = dump.members
    work = _Load(database, cache, report, _begin(database, cache, dump.manifest, same_cache))
    for member in members:
        if member.name == OBJECTS:
            break
        work.take_rows(member, int(dump.manifest["rows"]))
    total = int(document(member)["bytes"])
    with ThreadPoolExecutor(_WRITERS, "kelp-load") as writers:
        for member in members:
            if member.name == TRAILER:
                break
            work.take_object(member, total, writers)
        work.store_batch(writers)
    if same_cache:
        work.keep_the_rest()
    work.finish(document(member), member.digest)
    return work.loaded


def _manifest(member: Member) -> dict[str, Any]:
    found = document(member)
    if found.get("format") != FORMAT or found.get("revision") != transfer.REVISION:
        raise InvalidRequest(
            f"this dump was made by Kelp {found.get('kelp')} (format {found.get('format')}, revision"
            f" {found.get('revision')}), and this Kelp reads format {FORMAT}, revision {transfer.REVISION}: load it"
            " with the Kelp that made it, then upgrade"
        )
    return found


def _begin(database: Database, cache: ObjectStore, manifest: dict[str, Any], same_cache: bool) -> dict[str, Any]:
    """Mark a new database, or find how far a load of this dump came. Raises ConfigurationError."""
    with database.scan() as tx:
        noted = _noted(tx)
    if noted is None and not same_cache and next(iter(cache.list()), None) is not None:
        raise ConfigurationError("the cache holds objects already: a dump is loaded into a new one")
    with database.write() as tx:
        noted = _noted(tx)
        if noted is None:
            noted = {"dump": manifest["dump"], "made": manifest["made"], "pieces": 0, "run": ""}
            transfer.begin(tx, noted)
        if noted["dump"] != manifest["dump"]:
            raise ConfigurationError(
                f"this database has a part of another dump, made {noted['made']}: go on with that one, or take a new"
                " database and a new cache"
            )
        mine = {**noted, "run": str(uuid.uuid4())}  # should another load be at work here, its next commit fails
        transfer.advance(tx, noted, mine)
    return mine


def _noted(tx: Tx) -> dict[str, Any] | None:
    noted = transfer.progress(tx)
    if noted is None and not transfer.is_new(tx):
        raise ConfigurationError("this database has a drive already: a dump is loaded into a new one")
    return noted


class _Load:
    """One run of a load; `noted` is what the mark in the database says."""

    def __init__(self, database: Database, cache: ObjectStore, report: Report, noted: dict[str, Any]) -> None:
        self.loaded = Loaded()
        self._database = database
        self._cache = cache
        self._report = report
        self._noted = noted
        self._piece = 0  # the last one that came
        self._batch: list[Member] = []
        self._batch_bytes = 0

    def take_rows(self, member: Member, total: int) -> None:
        """Commit a piece of rows with the note that it is there; one that an earlier run committed is only proved."""
        self._piece += 1
        if not member.name.startswith(f"{ROWS_FOLDER}{self._piece:06d}."):
            raise ContentCorrupt(f"the dump is damaged: {member.name} does not belong there")
        head, *lines = (json.loads(line) for line in text_lines(member))
        if head["columns"] != transfer.columns(head["table"]):
            raise ContentCorrupt(f"the dump is damaged: {member.name} has other columns")
        if self._piece > self._noted["pieces"]:
            with self._change(pieces=self._piece) as tx:
                transfer.insert(tx, head["table"], lines)
        if head["table"] != transfer.LINKS:
            self.loaded.rows += len(lines)
        self._report("rows", self.loaded.rows, total)

    @contextmanager
    def _change(self, **news: object) -> Iterator[Tx]:
        """A transaction that is this run's alone, and notes how far it came."""
        after = {**self._noted, **news}
        with self._database.write() as tx:
            if not transfer.advance(tx, self._noted, after):
                raise ConfigurationError("another `kelp load` is at work on this database")
            yield tx
        self._noted = after

    # --- objects ---

    def take_object(self, member: Member, total: int, writers: ThreadPoolExecutor) -> None:
        if not member.name.startswith(OBJECTS_FOLDER):
            raise ContentCorrupt(f"the dump is damaged: {member.name} does not belong there")
        if len(self._batch) >= _BATCH or self._batch_bytes + len(member.data) > _BATCH_BYTES:
            self.store_batch(writers)
        self._batch.append(member)
        self._batch_bytes += len(member.data)
        self._report("bytes", self.loaded.bytes + self._batch_bytes, total)

    def store_batch(self, writers: ThreadPoolExecutor) -> None:
        """Store what came, side by side, and note it in one commit."""
        if not self._batch:
            return
        batch = {member.name.removeprefix(OBJECTS_FOLDER): member.data for member in self._batch}
        with self._database.read() as tx:
            known = transfer.expected(tx, list(batch))
        for key, data in batch.items():
            if key not in known or (known[key].size, known[key].checksum) != (len(data), blake3(data).hexdigest()):
                raise ContentCorrupt(f"the dump is damaged: object {key} has not the bytes that it had")
        ways = list(writers.map(lambda key: self._store(key, batch[key], known[key].is_stored), batch))
        if "found" in ways:
            os.sync()  # by whom they were written is not known, nor whether they are on the disk
        with self._change() as tx:
            transfer.mark_stored(tx, [key for key in batch if not known[key].is_stored])
        self.loaded.kept += sum(way != "stored" for way in ways)
        self.loaded.objects += len(self._batch)
        self.loaded.bytes += self._batch_bytes
        self._batch, self._batch_bytes = [], 0

    def _store(self, key: str, data: bytes, is_noted: bool) -> str:
        """How the object came to be in the cache: "stored" now, "noted" by an earlier run, or "found" there."""
        if is_noted:
            with suppress(ObjectMissing):
                if self._cache.stat(key) == len(data):
                    return "noted"
        try:
            self._put(key, data)
        except AlreadyExists:  # a run that was killed in the middle of it; or it is the cache of the old drive
            if b"".join(self._cache.get(key)) == data:
                return "found"
            self._put(key, data, replace=True)
        return "stored"

    def _put(self, key: str, data: bytes, replace: bool = False) -> None:
        whole = [*pieces(data)]  # a list can be sent again, should the endpoint fail once
        stored = self._cache.put(key, whole, replace=replace)
        if (stored.size, stored.checksum) != (len(data), blake3(data).hexdigest()):
            self._cache.delete(key)
            raise StoreUnavailable(f"the cache took other bytes for object {key}")

    def keep_the_rest(self) -> None:
        """What the cache holds and the dump left out, since the NAS has it or nobody can reach it, is there too."""
        listed = self._cache.list()
        while infos := list(islice(listed, _BATCH)):
            with self._change() as tx:
                transfer.mark_found(tx, [(info.key, info.size) for info in infos])

    # --- the end ---

    def finish(self, facts: dict[str, Any], digest: str) -> None:
        """See that all is there, and open the drive. Raises ContentCorrupt."""
        if facts["blake3"] != digest:
            raise ContentCorrupt("the dump is damaged: its checksum is another")
        with self._database.scan() as tx:  # nobody else can change them
            counts = {table: transfer.count(tx, table) for table in facts["rows"]}
        for table, rows in facts["rows"].items():
            if counts[table] != rows:
                raise ContentCorrupt(f"the dump is damaged: {counts[table]} rows of {table} came instead of {rows}")
        if self.loaded.objects != facts["objects"]:
            raise ContentCorrupt(f"the dump is damaged: {self.loaded.objects} objects came, not {facts['objects']}")
        with self._change() as tx:
            transfer.set_counters(tx, facts["counters"])
            transfer.finish(tx)
        self.loaded.absent = int(facts["absent"])
