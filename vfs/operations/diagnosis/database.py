"""The database: is it there, what is it, and does a commit last."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from vfs.errors import ConfigurationError, StoreUnavailable
from vfs.metadata import facts
from vfs.metadata.database import Database
from vfs.operations.diagnosis import disks, words
from vfs.operations.diagnosis.findings import Area, ClockReading, Finding, Readings, Sealing, Waiting
from vfs.settings import Settings

_AREA = Area("database")
_TIMES = 15  # statements whose median is told
_FAR = 0.005  # seconds of a round trip; a change takes three to six of them
_LONGEST = 4.0  # seconds to wait for a connection
WHEN_SILENT = "it takes connections and does not answer, or another program holds its lock: look at its log"
# What PostgreSQL or libpq says, and what that usually is.
_CAUSES = {
    "refused": "start PostgreSQL, or correct host and port in database.url; it must listen there (listen_addresses)",
    "password": "correct user and password in database.url",
    "pg_hba": "let this machine in: pg_hba.conf of PostgreSQL",
    "does not exist": "make it (createuser, createdb), or correct database.url",
    "timeout": "nobody answers there: correct the host in database.url, or the firewall",
    "translate host": "no machine has that name: correct the host in database.url",
    "resolve host": "no machine has that name: correct the host in database.url",
    "too many": "raise max_connections of PostgreSQL, or lower database.connections",
    "starting up": "PostgreSQL is recovering: wait",
}


def check(settings: Settings, readings: Readings) -> Iterator[Finding]:
    url = settings.database.url
    is_sqlite = url.startswith("sqlite")
    if is_sqlite:
        yield from _disk(Path(url.removeprefix("sqlite:///")))
    try:
        look = facts.look(url, min(_LONGEST, settings.database.timeout))
    except (ConfigurationError, StoreUnavailable) as error:
        advice = "the file must be readable and writable, and a database" if is_sqlite else "see the log of PostgreSQL"
        causes = (advice for cause, advice in _CAUSES.items() if not is_sqlite and cause in str(error))
        yield _AREA.error("server", str(error), next(causes, advice))
        return
    yield _AREA.ok("server", f"{look.kind} {look.version}, {look.where}")
    yield _schema(look)
    if not look.is_current:
        return
    connections = min(2, settings.database.connections)
    with closing(Database(url, connections=connections, timeout=min(_LONGEST, settings.database.timeout))) as database:
        _read(database, readings)
        yield from _writing(database, is_sqlite)
        if not is_sqlite:
            yield from _postgres(database, settings, readings)
        yield _round_trip(database)


def _disk(file: Path) -> Iterator[Finding]:
    mount = disks.mount_of(file)
    if mount is None:
        return
    fact = f"{mount.kind} at {mount.place}"
    if mount.is_network:
        advice = "SQLite breaks on a network share: put the data folder on a local disk, or use PostgreSQL"
        yield _AREA.error("disk", f"{fact}, a network file system", advice)
    elif mount.is_volatile:
        yield _AREA.error("disk", f"{fact}, in memory", "a power cut loses the drive: move the data folder to a disk")
    elif mount.is_layer:
        advice = "mount a volume for the data folder"
        yield _AREA.warning("disk", f"{fact}, which goes with its container", advice)
    else:
        yield _AREA.ok("disk", fact)


def _schema(look: facts.Look) -> Finding:
    if look.is_current:
        return _AREA.ok("schema", f"revision {look.revision}")
    if look.revision is None:
        return _AREA.warning("schema", "there is no drive in it yet", "the first `kelp serve` makes it")
    if look.revision < facts.NEWEST:
        advice = "make a backup; the next start of `kelp serve` brings it up to date"
        return _AREA.warning("schema", f"revision {look.revision}, this Kelp has {facts.NEWEST}", advice)
    advice = "install the Kelp that made it, or a newer one"
    return _AREA.error("schema", f"revision {look.revision} is newer than this Kelp ({facts.NEWEST})", advice)


def _read(database: Database, readings: Readings) -> None:
    with database.scan() as tx:
        readings.installation = tx.accounts.value("id") or ""
        counts = tx.events.counts()
        nas = json.loads(tx.accounts.value("nas") or '{"up": true, "reason": ""}')
        readings.waiting = Waiting(
            counts.get("PENDING", 0) + counts.get("PROCESSING", 0),
            counts.get("FAILED", 0),
            tx.events.backlog_bytes(),
            tx.events.oldest_ns(),
            bool(nas["up"]),
            str(nas["reason"]),
            int(tx.accounts.value("queue_away_ns") or 0),
        )
        readings.sealing = Sealing(tx.recipients.every(), tx.vaults.every(), len(tx.vaults.behind()))


class _RollBack(Exception):
    pass


def _writing(database: Database, is_sqlite: bool) -> Iterator[Finding]:
    """A change as every other, but for its end."""
    name, sqlite, postgres = f"doctor-{secrets.token_hex(8)}", None, None

    def change() -> None:
        nonlocal sqlite, postgres
        with suppress(_RollBack), database.write() as tx:
            tx.accounts.set_value(name, "rolled back")
            if tx.accounts.value(name) is None:
                raise StoreUnavailable("a change does not see what it wrote itself")
            if is_sqlite:
                sqlite = facts.sqlite(tx)
            else:
                postgres = facts.postgres(tx)
            raise _RollBack

    took = words.timed(change)
    with database.read() as tx:
        stayed = tx.accounts.value(name) is not None
    if stayed:
        yield _AREA.error("write", "a change that was rolled back stayed", "repair or restore the database")
    else:
        yield _AREA.ok("write", f"a change, rolled back again, in {words.seconds(took)}")
    if sqlite:
        yield _sqlite_durability(sqlite)
    if postgres:
        yield _isolation(postgres)
        yield _durability(postgres)


def _sqlite_durability(found: facts.SqliteFacts) -> Finding:
    fact = f"journal {found.journal_mode}, synchronous {('off', 'normal', 'full', 'extra')[found.synchronous]}"
    if found.journal_mode == "wal" and found.synchronous >= 2:
        return _AREA.ok("durability", fact)
    return _AREA.error("durability", fact, "this disk cannot hold a write-ahead log: move the data folder to another")


def _isolation(found: facts.PostgresFacts) -> Finding:
    if found.isolation == "read committed":
        return _AREA.ok("isolation", found.isolation)
    return _AREA.error("isolation", found.isolation, "what stands between (a pooler?) changes BEGIN: connect directly")


def _durability(found: facts.PostgresFacts) -> Finding:
    fact = f"fsync {found.fsync}, full_page_writes {found.full_page_writes}, "
    fact += f"synchronous_commit {found.synchronous_commit}"
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if getattr(found, name) == "off"]
    if off:
        advice = f"a power cut loses acknowledged files: set {' and '.join(off)} to on in postgresql.conf"
        return _AREA.error("durability", fact, advice)
    return _AREA.ok("durability", fact)


def _postgres(database: Database, settings: Settings, readings: Readings) -> Iterator[Finding]:
    with database.read() as tx:
        found = facts.postgres(tx)
    readings.clocks.append(ClockReading("the database", found.clock_ahead, found.clock_within))
    fact = f"{found.encoding}, {found.collation}"
    if found.encoding == "UTF8":
        yield _AREA.ok("encoding", fact)
    else:
        yield _AREA.error("encoding", fact, "names need UTF8: dump, make the database anew with -E UTF8, load")
    yield _connections(found, settings)


def _connections(found: facts.PostgresFacts, settings: Settings) -> Finding:
    processes = settings.server.processes + (settings.mirror.workers if settings.queue.url else 0)
    wanted = processes * settings.database.connections
    fact = f"{found.connections} of {found.connections_max} in use; this node may take {wanted}"
    if found.connections >= found.connections_max - 1:
        return _AREA.error("connections", fact, "none is left: raise max_connections of PostgreSQL")
    if wanted > found.connections_max:
        share = max(1, found.connections_max // processes)
        advice = f"raise max_connections to {wanted + 10} (more for each further node), "
        return _AREA.warning("connections", fact, advice + f"or lower database.connections to {share}")
    return _AREA.ok("connections", fact)


def _round_trip(database: Database) -> Finding:
    with database.read() as tx:
        # Each time another question: a transaction remembers what it was told.
        numbers = count()
        took = words.typical(lambda: tx.one("SELECT CAST(:n AS BIGINT)", n=next(numbers)), _TIMES)
    fact = words.seconds(took)
    if took > _FAR:
        return _AREA.warning("round trip", fact, "each change takes several: move the database nearer")
    return _AREA.ok("round trip", fact)
