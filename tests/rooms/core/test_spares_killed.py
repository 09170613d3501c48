"""SIGKILL of who puts one small file after the other: files made ahead are left, and are no damage, and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests import engines
from tests.rooms.test_spare_files import empty_files
from vfs.bootstrap import build
from vfs.operations import checking, orphans
from vfs.storage.spare_files import BATCH, IN_A_ROW

WRITER = """
import sys
from pathlib import Path
from tests import engines
from vfs.bootstrap import build
from vfs.model import Caller, Place, ROOT_ID, Role
from vfs.operations import writing

kelp = build(engines.load(Path(sys.argv[1])))
with kelp.database.read() as tx:
    user = tx.accounts.find("admin")[0].id
caller = Caller(user, "admin", Role.ADMIN, "dav", "test")
for number in range(10**6):
    name = f"{sys.argv[2]}-{number}"
    writing.put_file(kelp, caller, Place(ROOT_ID, name), [name.encode()])
    print(name, flush=True)
"""


@pytest.mark.engine(cache="folder", reason="looks at its files")
def test_a_killed_process_leaves_empty_files_that_the_orphan_batch_takes(finished: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    engines.copy_drive(finished, data)
    said = set[str]()
    for number in range(3):
        command = [sys.executable, "-c", WRITER, str(data), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(IN_A_ROW + 7 * number):
                said.add(writer.stdout.readline().strip())
            writer.send_signal(signal.SIGKILL)
            said.update(line.strip() for line in writer.stdout if line.endswith("\n"))
    cache = data / "cache"
    left = empty_files(cache)
    assert left and len(left) <= 3 * (2 * BATCH + 1)
    with closing(build(engines.load(data))) as kelp:
        assert checking.check(kelp).problems == []
        then = time.time() - 2 * 3600
        for path in (cache / "objects").glob("??/*"):
            os.utime(path, (then, then))
        told = {problem.subject for problem in checking.check(kelp).problems}
        assert told.isdisjoint(left), "what was made ahead holds nothing of anybody"
        assert orphans.seek_orphans(kelp).count >= len(left)
        assert empty_files(cache) == set()
        assert checking.check(kelp).problems == []
        with kelp.database.read() as tx:
            shown = {row[0] for row in tx.all("SELECT name FROM entries WHERE kind = 'file' AND state = 'ACTIVE'")}
    assert said <= shown
