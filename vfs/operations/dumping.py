"""The whole drive as one stream: every row of one snapshot, then the objects of its contents (see `dump_format`).

A server may go on meanwhile: contents are immutable, so objects are read after the snapshot has ended, and nothing is
freed until then. What is gone all the same is told. Whatever the size of the drive, a few MiB of rows or `_BATCH_BYTES`
of objects are in memory.
"""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import IO

from blake3 import blake3

from vfs.core import Kelp
from vfs.errors import ContentCorrupt, KelpError, NasFault, ObjectMissing, StoreUnavailable
from vfs.holds import EVERYTHING
from vfs.metadata import transfer
from vfs.metadata.database import Tx
from vfs.metadata.transfer import Stored
from vfs.model import ByteRange
from vfs.operations import nas_copies
from vfs.operations.dump_format import FORMAT, MANIFEST, OBJECTS, OBJECTS_FOLDER, ROWS_FOLDER, Writer, as_json

log = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]  # what is counted ("rows", "bytes"), how many so far, of how many

_PIECE_ROWS = 5000  # rows in one piece, which one transaction loads
_PIECE_BYTES = 4 * 1024 * 1024
_BATCH = 128  # objects read side by side: one after another, each would cost a round trip to an S3 endpoint
_BATCH_BYTES = 32 * 1024 * 1024
_READERS = 8


@dataclass(slots=True)
class Dumped:
    """What went into a dump. `absent`: objects that neither cache nor NAS could give, though rows name them."""

    rows: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0
    absent: int = 0


def no_report(counted: str, done: int, total: int) -> None:
    """Nobody watches."""


def dump(
    kelp: Kelp, write: Callable[[bytes], object], *, only_unmirrored: bool = False, report: Report = no_report
) -> Dumped:
    """Write a dump to `write`, run after run.

    `only_unmirrored`: leave out the objects of contents that the NAS is recorded to hold; the drive that is made of
    the dump reads them there. Raises StoreUnavailable when the database, or the cache as a whole, is away, and what
    `write` raises.
    """
    made = datetime.now(UTC)
    writer = Writer(write, int(made.timestamp()))
    dumped = Dumped()
    with kelp.holds.hold(EVERYTHING), tempfile.TemporaryFile(dir=kelp.settings.data) as spool:
        kelp.holds.flush()
        with kelp.database.scan() as tx:
            transfer.be_patient(tx)
            total = sum(transfer.count(tx, table) for table in transfer.table_names())
            manifest = {
                "kelp": version("kelp"),
                "format": FORMAT,
                "revision": transfer.REVISION,
                "drive": tx.accounts.value("id"),
                "dump": str(uuid.uuid4()),
                "made": made.isoformat(timespec="seconds"),
                "objects": "unmirrored" if only_unmirrored else "all",
                "rows": total,
            }
            writer.text(MANIFEST, [as_json(manifest)])
            _write_rows(tx, writer, dumped, lambda done: report("rows", done, total))
            counters = transfer.counters(tx)
            objects, size = _note(transfer.objects(tx, only_unmirrored=only_unmirrored), spool)
        writer.text(OBJECTS, [as_json({"objects": objects, "bytes": size})])
        _write_objects(kelp, writer, dumped, _noted(spool), lambda done: report("bytes", done, size))
    facts = {"rows": dumped.rows, "objects": dumped.objects, "bytes": dumped.bytes, "absent": dumped.absent}
    writer.end({**facts, "counters": counters})
    return dumped


def _write_rows(tx: Tx, writer: Writer, dumped: Dumped, report: Callable[[int], None]) -> None:
    number, done = 0, 0
    for table in transfer.table_names():
        dumped.rows[table] = 0
        for piece in _pieces(transfer.rows(tx, table)):
            number += 1
            _write_piece(writer, number, table, piece)
            dumped.rows[table] += len(piece)
            done += len(piece)
            report(done)
    for piece in _pieces(transfer.links(tx)):
        number += 1
        _write_piece(writer, number, transfer.LINKS, piece)


def _write_piece(writer: Writer, number: int, table: str, lines: list[str]) -> None:
    head = as_json({"table": table, "columns": transfer.columns(table)})
    writer.text(f"{ROWS_FOLDER}{number:06d}.{table}.jsonl", [head, *lines])


def _pieces(rows: Iterable[transfer.Row]) -> Iterator[list[str]]:
    """Rows as lines, in pieces that are small enough for one transaction, and for the memory."""
    lines: list[str] = []
    size = 0
    for row in rows:
        line = as_json(row)
        lines.append(line)
        size += len(line)
        if len(lines) >= _PIECE_ROWS or size >= _PIECE_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


# --- objects ---


def _note(objects: Iterable[Stored], spool: IO[bytes]) -> tuple[int, int]:
    """Keep a list of them on the disk, so that the snapshot need not last as long as their bytes; how many, how much.

    An old snapshot keeps what a running server changes from being tidied up: SQLite's log would grow all the while.
    """
    count = size = 0
    for each in objects:
        spool.write("\t".join(map(str, each)).encode() + b"\n")
        count += 1
        size += each.size
    spool.seek(0)
    return count, size


def _noted(spool: IO[bytes]) -> Iterator[Stored]:
    for line in spool:
        key, size, checksum, content_id, content_size, offset = line.decode().rstrip("\n").split("\t")
        yield Stored(key, int(size), checksum, content_id, int(content_size), int(offset))


def _write_objects(
    kelp: Kelp, writer: Writer, dumped: Dumped, objects: Iterator[Stored], report: Callable[[int], None]
) -> None:
    with ThreadPoolExecutor(_READERS, "kelp-dump") as readers:
        for batch in _batches(objects):
            for each, data in zip(batch, readers.map(lambda each: _read(kelp, each), batch), strict=True):
                if data is None:
                    dumped.absent += 1
                    continue
                writer.member(OBJECTS_FOLDER + each.key, data)
                dumped.objects += 1
                dumped.bytes += len(data)
            report(dumped.bytes)


def _batches(objects: Iterator[Stored]) -> Iterator[list[Stored]]:
    batch: list[Stored] = []
    size = 0
    for each in objects:
        if batch and (len(batch) >= _BATCH or size + each.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.size
    if batch:
        yield batch


def _read(kelp: Kelp, wanted: Stored) -> bytes | None:
    """The bytes of an object, proved by its checksum: from the cache, else from the NAS; None when neither has them."""
    try:
        data = b"".join(kelp.cache.get(wanted.key))
        if _is_right(wanted, data):
            return data
        fault: KelpError = ContentCorrupt("the cache has other bytes")
    except (ObjectMissing, ContentCorrupt) as error:
        fault = error
    except StoreUnavailable as error:  # of one object perhaps; of all, when the NAS does not help: see below
        fault = error
    data_of_nas = _read_from_nas(kelp, wanted)
    if data_of_nas is None:
        if isinstance(fault, StoreUnavailable):
            raise fault
        log.warning("object %s of content %s is not in the dump: %s", wanted.key, wanted.content_id, fault)
    return data_of_nas


def _read_from_nas(kelp: Kelp, wanted: Stored) -> bytes | None:
    """As `contents.Reader` does; but here a content is known by its objects, and what a disk got wrong counts too."""
    with kelp.database.read() as tx:
        paths = tx.mirror.paths_of_content(wanted.content_id)
    for path in paths:
        try:
            info = kelp.nas.stat(path)
            if info is not None and info.is_bundle:
                data = b"".join(kelp.nas.read(nas_copies.part_path(path, wanted.key)))
            elif info is not None and info.size == wanted.content_size:
                data = b"".join(kelp.nas.read(path, ByteRange(wanted.offset, wanted.offset + wanted.size)))
            else:
                continue
            if _is_right(wanted, data):
                return data
        except (ObjectMissing, ContentCorrupt, NasFault) as error:
            log.warning("%s", error)
    return None


def _is_right(wanted: Stored, data: bytes) -> bool:
    return len(data) == wanted.size and blake3(data).hexdigest() == wanted.checksum
