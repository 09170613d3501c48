"""What is done in the loop's own thread never keeps the loop."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests import engines
from tests.faces.fuse.conftest import MountedDrive
from tests.waiting import until

LOG_LIMIT = 17 << 20


def test_while_another_process_changes_the_drive_looks_are_answered(mounted: MountedDrive) -> None:
    folders = [mounted.top / f"folder {number}" for number in range(3)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_bytes(b"some")
    threads = [
        threading.Thread(target=os.unlink, args=(folders[0] / "file",)),
        threading.Thread(target=os.mknod, args=(folders[1] / "new",)),
    ]
    with mounted.kelp.database.write() as tx:
        tx.lock_tree(exclusive=True)
        tx.any_locks_or_grants()  # a server is told with the first thing that is asked
        for thread in threads:
            thread.start()
        threading.Event().wait(0.3)  # their calls have come to the mount
        for number in range(20):  # each is asked for
            assert not (folders[2] / f"absent {number}").exists()
            assert (folders[2] / "file").read_bytes() == b"some"
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    assert [os.listdir(folder) for folder in folders] == [[], ["file", "new"], ["file"]]


def test_what_was_removed_or_refused_is_the_same_by_either_way(mounted: MountedDrive) -> None:
    """Beside a change of another process nothing is done at once."""
    folder = mounted.top / "folder"
    folder.mkdir()
    (folder / "sub").mkdir()

    def ask(name: str, outcome: dict[str, str]) -> None:
        try:
            os.unlink(folder / name)
            outcome[name] = ""
        except OSError as error:
            outcome[name] = str(error.errno)

    outcomes: list[dict[str, str]] = [{}, {}]
    for beside, outcome in zip((False, True), outcomes, strict=True):
        (folder / "file").write_bytes(b"some")
        fd = os.open(folder / "opened", os.O_RDWR | os.O_CREAT)
        names = ("file", "opened", "sub", "absent", "é" * 200)
        threads = [threading.Thread(target=ask, args=(name, outcome)) for name in names]
        if beside:
            with mounted.kelp.database.write():
                for thread in threads:
                    thread.start()
                threading.Event().wait(0.1)
        else:
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        os.write(fd, b"still there")
        assert os.pread(fd, 100, 0) == b"still there"
        os.close(fd)
        assert os.listdir(folder) == ["sub"]
    assert outcomes[0] == outcomes[1]


@pytest.mark.skipif(engines.CHOSEN.database != "sqlite", reason="a server has its own log")
def test_the_log_stays_bounded_when_files_are_only_removed(mounted: MountedDrive) -> None:
    folder, log = mounted.top / "folder", Path(f"{mounted.data / 'kelp.db'}-wal")
    folder.mkdir()
    for number in range(700):
        os.close(os.open(folder / f"{number}", os.O_WRONLY | os.O_CREAT))
    until(lambda: mounted.kelp.database.empty_log() or log.stat().st_size == 0)
    for number in range(700):
        os.unlink(folder / f"{number}")
        assert log.stat().st_size < LOG_LIMIT
    assert os.listdir(folder) == []
