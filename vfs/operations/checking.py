"""The invariants, checked: database ↔ cache ↔ NAS (design §1). Read only; `kelp check`, and the end of every test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from vfs.core import Kelp
from vfs.errors import ContentCorrupt, NasDown, ObjectMissing
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID
from vfs.nas_model import GONE, PRIVATE

_YOUNG_NS = 3600 * 1_000_000_000  # an object younger than an hour may belong to an upload under way (design §3)

# Each finds rows that must not be: what is wrong, and the statement that lists (subject, detail).
_RULES: tuple[tuple[str, str], ...] = (
    (
        "dangling parent",
        "SELECT e.id, e.name FROM entries e LEFT JOIN entries p ON p.id = e.parent_id"
        " WHERE e.id <> 1 AND (p.id IS NULL OR p.kind <> 'folder')",
    ),
    (
        "file without content",
        "SELECT id, name FROM entries WHERE kind = 'file' AND state <> 'DELETED' AND content_id IS NULL",
    ),
    (
        "size differs from content",
        "SELECT e.id, e.name FROM entries e JOIN contents c ON c.id = e.content_id WHERE e.size <> c.size",
    ),
    (
        "content whose parts are not whole",
        "SELECT c.id, c.parts FROM contents c WHERE c.size <> (SELECT COALESCE(SUM(o.size), 0) FROM objects o"
        " WHERE (c.parts = 1 AND o.key = c.id) OR (c.parts > 1 AND o.key IN"
        " (SELECT object_key FROM file_parts WHERE content_id = c.id)))",
    ),
    (
        "trash item without record",
        "SELECT id, name FROM entries WHERE state = 'TRASHED' AND id NOT IN (SELECT entry_id FROM trash_metadata)",
    ),
    (
        "trash record without item",
        "SELECT entry_id, original_path FROM trash_metadata WHERE entry_id NOT IN"
        " (SELECT id FROM entries WHERE state = 'TRASHED')",
    ),
    (
        "lock on what is gone",
        "SELECT l.token, e.name FROM dav_locks l JOIN entries e ON e.id = l.entry_id WHERE e.state <> 'ACTIVE'",
    ),
    (
        "lost change: SYNCING without an event",
        "SELECT e.id, e.name FROM entries e WHERE e.nas_status = 'SYNCING' AND NOT EXISTS (SELECT 1 FROM sync_events s"
        " WHERE s.aggregate_id = e.id AND s.status IN ('PENDING', 'PROCESSING'))",
    ),
    (
        "lost job: PROCESSING without a lease",
        "SELECT s.uuid, s.aggregate_id FROM sync_events s WHERE s.status = 'PROCESSING'"
        " AND NOT EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = s.aggregate_id)",
    ),
    (
        "two entries at one NAS place",
        "SELECT MIN(id), MIN(nas_name) FROM entries WHERE nas_name IS NOT NULL AND id <> 1"
        " GROUP BY nas_parent_id, nas_key HAVING COUNT(*) > 1",
    ),
    (
        "recorded below what the NAS does not have",
        "SELECT e.id, e.name FROM entries e JOIN entries p ON p.id = e.nas_parent_id"
        " WHERE e.nas_name IS NOT NULL AND p.nas_name IS NULL",
    ),
)


@dataclass(frozen=True, slots=True)
class Problem:
    kind: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    problems: list[Problem]
    entries: int
    objects: int
    nas_files: int

    @property
    def ok(self) -> bool:
        return not self.problems


def check(kelp: Kelp, *, mirrored: bool = False, deep: bool = True) -> Report:
    """Check every invariant that holds at rest.

    `mirrored`: also that nothing is left to be carried to the NAS and nothing foreign is on it. `deep`: read every
    byte of cache and NAS and compare checksums. Raises NasDown only for `mirrored`; else a NAS that is away is a
    problem in the report.
    """
    problems: list[Problem] = []
    with kelp.database.scan() as tx:
        problems += _rules(tx)
        problems += _circles(tx)
        problems += _misplaced(tx, mirrored)
        entries = tx.one("SELECT COUNT(*) FROM entries WHERE state <> 'DELETED'")[0]
        known = tx.all("SELECT key, size, checksum, status FROM objects")
    # Listed after the rows were read: what a client stores meanwhile is too young to be an orphan.
    objects = {info.key: (info.size, info.modified_ns) for info in kelp.cache.list()}
    problems += _still_true(kelp, list(_damaged(kelp, known, objects, deep)))
    problems += _orphans(kelp, known, objects)
    try:
        kelp.nas.verify()
        found, nas_files = _nas(kelp, mirrored, deep)
        problems += found
    except NasDown as error:
        if mirrored:
            raise
        nas_files = 0
        problems.append(Problem("NAS is down", str(kelp.settings.nas.root), str(error)))
    return Report(problems, entries, len(objects), nas_files)


def _rules(tx: Tx) -> Iterator[Problem]:
    for kind, sql in _RULES:
        for subject, detail in tx.all(sql):
            yield Problem(kind, str(subject), str(detail))


def _circles(tx: Tx) -> Iterator[Problem]:
    """Every row hangs on the root, and so does every place recorded on the NAS."""
    sql = """WITH RECURSIVE hung(id) AS (
                 SELECT id FROM entries WHERE id = 1
                 UNION SELECT e.id FROM entries e JOIN hung ON e.parent_id = hung.id)
             SELECT id, name FROM entries WHERE id NOT IN (SELECT id FROM hung)"""
    for id, name in tx.all(sql):
        yield Problem("not reachable from the root", str(id), name)
    sql = """WITH RECURSIVE hung(id) AS (
                 SELECT id FROM entries WHERE nas_name IS NULL OR id = 1
                 UNION SELECT e.id FROM entries e JOIN hung ON e.nas_parent_id = hung.id WHERE e.nas_name IS NOT NULL)
             SELECT id, name FROM entries WHERE id NOT IN (SELECT id FROM hung)"""
    for id, name in tx.all(sql):
        yield Problem("recorded in a circle on the NAS", str(id), name)


def _misplaced(tx: Tx, mirrored: bool) -> Iterator[Problem]:
    for id, name in tx.mirror.unmirrored():
        yield Problem("AVAILABLE on the NAS, but not as it shall be", str(id), name)
    if mirrored:
        for uuid, kind, status in tx.all(
            "SELECT uuid, event_type, status FROM sync_events"
            " WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') AND NOT litter"
        ):
            yield Problem(f"event still {status}", uuid, kind)


def _damaged(
    kelp: Kelp,
    known: list[tuple[str, int, str, str]],
    objects: dict[str, tuple[int, int]],
    deep: bool,
) -> Iterator[Problem]:
    for key, size, checksum, status in known:
        if status != "AVAILABLE":
            continue
        if key not in objects:
            yield Problem("object missing in the cache", key, f"{size} bytes")
        elif objects[key][0] != size:
            yield Problem("object of another size", key, f"{objects[key][0]} instead of {size} bytes")
        elif deep and _checksum(kelp, key) != checksum:
            yield Problem("object corrupt", key, f"{size} bytes")


def _still_true(kelp: Kelp, found: list[Problem]) -> list[Problem]:
    """Without those about objects that were freed while the check looked: it may run beside everything else."""
    if not found:
        return []
    with kelp.database.scan() as tx:
        kept = {row[0] for row in tx.all("SELECT key FROM objects WHERE status = 'AVAILABLE'")}
    return [problem for problem in found if problem.subject in kept]


def _orphans(
    kelp: Kelp, known: list[tuple[str, int, str, str]], objects: dict[str, tuple[int, int]]
) -> Iterator[Problem]:
    expected = {row[0] for row in known}
    now = kelp.clock.now_ns()
    for key, (size, modified_ns) in objects.items():
        if key not in expected and now - modified_ns > _YOUNG_NS:
            yield Problem("orphan in the cache", key, f"{size} bytes")


def _checksum(kelp: Kelp, key: str) -> str | None:
    digest = blake3()
    try:
        for piece in kelp.cache.get(key):
            digest.update(piece)
    except (ObjectMissing, ContentCorrupt):
        return None
    return digest.hexdigest()


def _nas(kelp: Kelp, mirrored: bool, deep: bool) -> tuple[list[Problem], int]:
    """Compare what is recorded with what is there.

    Unless `mirrored`, what a running job (or one that died) may have changed already is left out: its entry with all
    that is recorded below, since a folder moves on the NAS with everything in it, and its versions. So is what is in a
    folder that is on its way out: however often its removal was interrupted, one commit at its end tells all.
    """
    with kelp.database.scan() as tx:
        rows = tx.mirror.on_nas()
        busy = set() if mirrored else {row[0] for row in tx.all("SELECT entry_id FROM mirror_leases")}
        checksums = dict(tx.all("SELECT id, checksum FROM contents"))
        versions = tx.all("SELECT entry_id, nas_path, content_id, size FROM versions WHERE nas_path IS NOT NULL")
    by_id = {row[0]: row for row in rows}
    if not mirrored:
        busy |= {row[0] for row in rows if row[2].startswith(GONE)}
    problems: list[Problem] = []
    files = 0
    expected: set[str] = set()
    for id, _, _, kind, content_id, size in rows:
        chain = _chain(by_id, id)
        if chain is None or id == ROOT_ID:
            continue
        path = "/".join(by_id[each][2] for each in reversed(chain))
        expected.add(path)
        if not busy.isdisjoint(chain):
            continue
        files += kind == "file"
        problems += _compare(kelp, path, kind, size, checksums.get(content_id) if deep else None)
    for entry_id, path, content_id, size in versions:
        expected.add(path)
        if entry_id in busy:
            continue
        problems += _compare(kelp, path, "file", size, checksums.get(content_id) if deep else None)
    if mirrored:
        problems += _foreign(kelp, expected)
    return problems, files


def _chain(by_id: dict[int, tuple[int, int | None, str, str, str | None, int | None]], id: int) -> list[int] | None:
    """Ids from an entry up to the one below the root, as recorded on the NAS; None when one of them is not there."""
    chain: list[int] = []
    at: int | None = id
    while at is not None and at != ROOT_ID:
        row = by_id.get(at)
        if row is None or len(chain) > len(by_id):  # it hangs on what is not there, or on itself: `_circles` tells
            return None
        chain.append(at)
        at = row[1]
    return chain


def _compare(kelp: Kelp, path: str, kind: str, size: int | None, checksum: str | None) -> Iterator[Problem]:
    info = kelp.nas.stat(path)
    if info is None:
        yield Problem("missing on the NAS", path, kind)
    elif info.kind != kind:
        yield Problem("something else on the NAS", path, f"{info.kind} instead of {kind}")
    elif kind == "file" and info.size != size:
        yield Problem("of another size on the NAS", path, f"{info.size} instead of {size} bytes")
    elif kind == "file" and checksum is not None and kelp.nas.checksum(path) != checksum:
        yield Problem("corrupt on the NAS", path, f"{size} bytes")


def _foreign(kelp: Kelp, expected: set[str], folder: str = "") -> Iterator[Problem]:
    """What is on the NAS without being recorded, Kelp's own folder excepted."""
    for item in kelp.nas.list(folder):
        path = f"{folder}/{item.name}" if folder else item.name
        if path == PRIVATE:
            continue
        inside_trash = path == ".trash" or (folder == ".trash" and item.kind == "folder")
        if path not in expected and not inside_trash:
            yield Problem("foreign on the NAS", path, item.kind)
        elif item.kind == "folder":
            yield from _foreign(kelp, expected, path)
