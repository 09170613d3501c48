"""A database is closed while threads are at it: Ctrl-C twice, or a server that waits no longer."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

_PROGRAM = textwrap.dedent(
    """
    import sys, threading, time
    import sqlalchemy as sa

    from vfs.metadata.sqlite import SqliteEngine

    database = SqliteEngine(sa.make_url(sys.argv[1]))
    begun = threading.Barrier(9)

    def count() -> None:
        with database.scan() as tx:
            begun.wait()
            tx.all(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
            )

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.05)
    database.close()
    for thread in threads:
        thread.join()
    print("alive")
    """
)


def test_a_database_is_closed_under_its_threads(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, f"sqlite:///{tmp_path / 'kelp.db'}"]
    for _ in range(2):
        ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\n", "")
