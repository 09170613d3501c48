"""The drive of a soak: its processes, settings that make it busy, and what is looked at while everybody rests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests import engines
from tests.crash.ledger import Tree, difference
from tests.crash.nas_tree import nas_tree
from tests.server_process import PROGRAM, ServerProcess
from tests.services.child import children
from tests.soak.log_lines import unexpected
from vfs.bootstrap import build
from vfs.core import Kelp

MIB = 1 << 20
_PATIENCE = 180.0  # seconds for the mirror to come to rest
_LOOKS = 3
_FREED = 240.0  # seconds within which what nobody can reach is freed
_MOST_PER_ROW = 3 * 1024  # bytes of the database
_DATABASE_BASE = 16 * MIB  # … of an empty one with its log

# What is rare on a quiet drive goes on all the time here.
BUSY: dict[str, object] = {
    "mirror_delay": 3,
    "nas_health": 5,
    "cache_limit": "60 MiB",
    "versions_keep_count": 3,
    "scrub_rate": 8 * MIB,
}


class SoakDrive:
    """A started server (with a worker, where the engines need one) and `kelp`, the same drive opened beside it."""

    def __init__(self, server: ServerProcess, kelp: Kelp) -> None:
        self.server, self.kelp = server, kelp
        self._told = 0  # characters of the log
        self._first: dict[int, str] = {}  # … of its processes

    def processes(self) -> dict[int, str]:
        """Ids of all that run now, with what each is: those that serve, and who watches over them."""
        found: dict[int, str] = {}
        for role, process in zip(("server", "worker"), self.server.processes(), strict=False):
            below = children(process.pid)
            found[process.pid] = f"{role} supervisor" if below else role
            found.update(dict.fromkeys(below, role))
        return found

    def replaced(self) -> list[str]:
        """Whether other processes run than at the first call, when all of them have surely been started."""
        now = self.processes()
        self._first = self._first or now
        return [] if now == self._first else [f"processes were replaced: {self._first} became {now}"]

    def new_log_lines(self) -> list[str]:
        """Those that nobody expects, since the last call."""
        text = self.server.log_text()
        new, self._told = text[self._told :], len(text)
        return unexpected(new)

    def command(self, *words: str, seconds: float) -> str:
        """A `kelp` call; what was wrong with it, "" when nothing was."""
        place = ("--data", str(self.server.data), "--nas", str(self.server.nas))
        line = [sys.executable, str(PROGRAM), *words, *place]
        try:
            done = subprocess.run(line, env=self.server.environ, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"kelp {' '.join(words)}: not within {seconds:.0f} s"
        said = (done.stdout + done.stderr).strip()
        return f"kelp {' '.join(words)}: exit code {done.returncode}: {said[-3000:]}" if done.returncode else ""

    def complaints(self, trees: Sequence[Tree]) -> list[str]:
        """Everybody rests: the NAS must come to show what they have, and all must be sound.

        Kelp's own batches do not rest (versions expire, rows go with purged folders), and the mirror follows them: what
        is wrong is what is still wrong when it is looked at again.
        """
        expected = Tree({path: node for tree in trees for path, node in tree.nodes.items()})
        found: list[str] = []
        for _ in range(_LOOKS):
            found = self._complaints(expected)
            if not found:
                break
        return found

    def _complaints(self, expected: Tree) -> list[str]:
        waited = self.command("sync", "wait", "--timeout", str(_PATIENCE), seconds=_PATIENCE + 60)
        if waited:
            return [waited]
        return [
            each for each in (self._nas_differs(expected), self.command("check", "--mirrored", seconds=900)) if each
        ]

    def _nas_differs(self, expected: Tree) -> str:
        """Litter that is not due yet is not waited for by `sync wait`."""
        until = time.monotonic() + 30
        while (actual := nas_tree(self.server.nas)) != expected:
            if time.monotonic() > until:
                return "the NAS differs:\n" + difference(expected, actual)
            time.sleep(1)
        return ""

    # --- how much there is

    def sizes(self) -> dict[str, int]:
        """Bytes and rows."""
        with self.kelp.database.scan() as tx:
            tables = ("entries", "contents", "objects", "versions", "sync_events", "file_events")
            rows = {f"rows of {table}": int(tx.one(f"SELECT COUNT(*) FROM {table}")[0]) for table in tables}
            held = tx.one("SELECT COALESCE(SUM(size), 0) FROM objects WHERE status <> 'MISSING'")[0]
            database = 0
            if self.kelp.settings.database.url.startswith("postgresql"):
                database = int(tx.one("SELECT pg_database_size(current_database())")[0])
        if not database:
            database = sum(path.stat().st_size for path in self.server.data.glob("kelp.db*"))
        return {
            "database": database,
            "cache": sum(info.size for info in self.kelp.cache.list()),
            "cache, by its rows": int(held),
            "NAS": sum(path.stat().st_size for path in self.server.nas.rglob("*") if path.is_file()),
            **rows,
        }

    def too_much(self) -> list[str]:
        """What takes more than it should for what it holds."""
        sizes = self.sizes()
        found = []
        rows = sum(count for name, count in sizes.items() if name.startswith("rows"))
        if sizes["database"] > _DATABASE_BASE + _MOST_PER_ROW * rows:
            found.append(f"the database has {sizes['database'] // MIB} MiB for {rows} rows")
        if sizes["cache"] > sizes["cache, by its rows"] + MIB:
            found.append(f"the cache holds {sizes['cache']} bytes, its rows say {sizes['cache, by its rows']}")
        return found

    def wait_until_freed(self) -> list[str]:
        """After the end: what nobody can reach leaves the cache."""
        until = time.monotonic() + _FREED
        while (left := self._unreachable_bytes()) > MIB:
            if time.monotonic() > until:
                return [f"{left} bytes that nobody can reach are in the cache {_FREED:.0f} s after the end"]
            time.sleep(2)
        return []

    def _unreachable_bytes(self) -> int:
        """Of contents that neither an entry that could come back nor a version shows."""
        sql = """WITH RECURSIVE alive(id) AS (
                     SELECT id FROM entries WHERE parent_id IS NULL OR state = 'TRASHED'
                     UNION SELECT e.id FROM entries e JOIN alive a ON e.parent_id = a.id WHERE e.state <> 'DELETED')
                 SELECT COALESCE(SUM(o.size), 0) FROM objects o LEFT JOIN file_parts p ON p.object_key = o.key
                 WHERE o.status <> 'MISSING' AND COALESCE(p.content_id, o.key) NOT IN (
                     SELECT content_id FROM entries JOIN alive ON alive.id = entries.id WHERE content_id IS NOT NULL
                     UNION SELECT content_id FROM versions WHERE state = 'kept')"""
        with self.kelp.database.scan() as tx:
            return int(tx.one(sql)[0])


@contextlib.contextmanager
def soak_drive(folder: Path, **settings: object) -> Iterator[SoakDrive]:
    """Whatever happens, no process of it is left; what it has elsewhere (a database, objects) goes, too."""
    folder.mkdir(parents=True, exist_ok=True)
    given: Any = {**BUSY, **settings}
    server = ServerProcess(folder, **given)
    try:
        server.start()
        server.wait_ready()
        with contextlib.closing(build(server.settings)) as kelp:
            yield SoakDrive(server, kelp)
    finally:
        server.kill()
        engines.drop_below(folder)
