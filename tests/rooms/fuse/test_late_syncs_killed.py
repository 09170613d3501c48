"""Small objects whose files are synced behind the commit, in a process that is killed, or watched by strace."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fuse_mount.drafts import OpenFiles
from tests import engines
from tests.faces.test_syncs import why_not
from tests.rooms.fuse.files import close
from tests.rooms.fuse.test_late_syncs import _empty, file_of, found, never, waiting
from tests.small_disk import loop_disk, unmount
from vfs.bootstrap import build
from vfs.model import ROOT_ID, Place
from vfs.operations import access, checking, reading
from vfs.storage.spare_files import IN_A_ROW

__all__ = ["never"]

pytestmark = [
    pytest.mark.engine(database="sqlite", reason="a server's log is another disk's"),
    pytest.mark.engine(cache="folder", reason="an endpoint syncs by itself"),
]

WRITER = """
import os, sys
from pathlib import Path
from fuse_mount.drafts import OpenFiles
from fuse_mount.drafts import OpenFiles
from tests import engines
from vfs.bootstrap import build
from vfs.model import Caller, Place, ROOT_ID, Role

kelp = build(engines.load(Path(sys.argv[1])))
files = OpenFiles(kelp)
with kelp.database.read() as tx:
    caller = Caller(tx.accounts.find("admin")[0].id, "admin", Role.ADMIN, "fuse", "test")
for number in range(int(sys.argv[3])):
    name = f"{sys.argv[2]}-{number}"
    _, handle = files.create(Place(ROOT_ID, name), 0o644, caller)
    handle.write(0, name.encode())
    handle.flush()
    os.write(1, name.encode() + b"\\n")
    handle.release()
kelp.close()
"""


def test_a_kill_and_then_a_power_cut_take_nothing(finished: Path, tmp_path: Path) -> None:
    data, left = tmp_path / "data", 0
    engines.copy_drive(finished, data)
    said = set[str]()
    for number in range(4):
        command = [sys.executable, "-c", WRITER, str(data), str(number), "1000000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(IN_A_ROW + 1 + 17 * number):
                said.add(writer.stdout.readline().strip())
            writer.send_signal(signal.SIGKILL)
            said.update(line.strip() for line in writer.stdout if line.endswith("\n"))
        for key in keys_left(data):
            _empty(file_of(data, key))
            left += 1
        with closing(build(engines.load(data))) as kelp:
            assert waiting(kelp) == {}
            caller = access.system_caller(kelp, "test")
            for name in said:
                entry = reading.resolve(kelp, caller, [name]).entry
                assert entry is not None
                assert found(kelp, entry) == name.encode()
            assert checking.check(kelp).problems == []
    assert left


def test_a_disk_that_loses_its_power_has_all_that_was_answered(never: None, finished: Path, tmp_path: Path) -> None:
    """A real one: the image of a mounted ext4 has what was brought to it, and lacks what is in memory alone."""
    image, copy = tmp_path / "disk.img", tmp_path / "copy.img"
    names = [f"f{number}" for number in range(IN_A_ROW + 40)]
    with loop_disk(tmp_path / "disk", 256) as disk:
        # Else its journal might be written just while the image is copied.
        subprocess.run(["mount", "-o", "remount,commit=600", str(disk)], check=True)
        engines.copy_drive(finished, disk / "data")
        os.sync()
        with closing(build(engines.load(disk / "data"))) as kelp, closing(OpenFiles(kelp)) as files:
            caller = access.system_caller(kelp, "test")
            for name in names:
                _, handle = files.create(Place(ROOT_ID, name), 0o644, caller)
                handle.write(0, name.encode())
                close(handle)
            left = list(waiting(kelp))
            subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    after = tmp_path / "after"
    after.mkdir()
    subprocess.run(["mount", "-o", "loop", str(copy), str(after)], check=True)
    try:
        sizes = [file_of(after / "data", key).stat().st_size for key in left]
        assert len(left) > 30 and 0 in sizes
        with closing(build(engines.load(after / "data"))) as kelp:
            assert waiting(kelp) == {}
            for name in names:
                entry = reading.resolve(kelp, caller, [name]).entry
                assert entry is not None
                assert found(kelp, entry) == name.encode()
            assert checking.check(kelp).problems == []
    finally:
        unmount(after)


_CALL = re.compile(
    r"(\d+) +(?:<\.\.\. )?(pwrite64|fdatasync|fsync|write)(?:\((\d+)<(.*?)>| resumed)(?:.*?(<unfinished)|.* = \d)"
)


def calls(trace: str) -> list[tuple[str, str, str]]:
    """(thread, call, path) of those that have returned, in that order."""
    done, begun = [], dict[str, str]()
    for line in trace.splitlines():
        if (match := _CALL.match(line)) is None:
            continue
        thread, call, _, path, unfinished = match.groups()
        if unfinished:
            begun[thread] = path
        else:
            done.append((thread, call, path or begun.pop(thread, "")))
    return done


def test_one_sync_comes_before_the_answer(finished: Path, tmp_path: Path) -> None:
    """… that of the log, after all that was written to it; and what is written when rows go, after those of the files.
    Seen by strace."""
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    data, trace, count = tmp_path / "data", tmp_path / "trace", 60
    engines.copy_drive(finished, data)
    watch = ["strace", "-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace)]
    command = [*watch, sys.executable, "-c", WRITER, str(data), "f", str(count)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
    done = calls(trace.read_text())
    answers = [n for n, (_, call, path) in enumerate(done) if call == "write" and path.endswith("/null")]
    assert len(answers) == count
    main = done[answers[0]][0]
    for before, answer in itertools.pairwise(answers[10:]):
        mine = [(call, Path(path)) for thread, call, path in done[before:answer] if thread == main]
        assert not [path for call, path in mine if call == "fsync" and path.parent.parent.name == "objects"]
        log = [call for call, path in mine if path.name.endswith("-wal")]
        assert log[-1] == "fdatasync" and "pwrite64" in log
    late = {thread for thread, call, path in done if call == "fsync" and "/objects/" in path} - {main}
    behind = [(call, Path(path)) for thread, call, path in done if thread in late]
    synced = 0
    for (call, path), (following, _) in itertools.pairwise(behind):
        synced += call == "fsync" and path.parent.parent.name == "objects" and path.stat().st_size > 0
        if following == "pwrite64" and call == "fsync":  # the rows of all that came before, no others
            with_rows = synced
    assert with_rows == synced >= count - IN_A_ROW - 1


def keys_left(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "kelp.db")) as database:
        return [row[0] for row in database.execute("SELECT key FROM redo_objects")]
