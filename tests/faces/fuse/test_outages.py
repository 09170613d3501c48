"""A store, the database or a disk is away under a mount in use: calls end, programs can be killed, the mount can be
ended; and when all is back, it works again as if nothing had been."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import mount_points
from fuse_mount import recovering
from tests.crash.ledger import content
from tests.faces.fuse.conftest import MountedDrive, mounted_drive
from tests.faces.fuse.outage_program import SIZE
from tests.services import postgresql, s3
from tests.services.faulty_proxy import Answer, FaultyProxy, Mode, Pass, Refuse, Silent

PATIENCE = 6  # seconds; a call that takes so long on a busy machine alone would fail too
_BIG = 3 << 20
_ENOUGH = 90.0  # seconds; a machine under load is no failure, waiting for ever is one
_ALLOWED = {errno.EIO, errno.ENOSPC, errno.ETIMEDOUT}
_BODY = b"<Error><Code>SlowDown</Code></Error>"
_SLOW_DOWN = Answer(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY))

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.engine(database="sqlite", cache="folder", queue="in-process", reason="it brings its own, in every run"),
    pytest.mark.skipif(bool(postgresql.missing()), reason=str(postgresql.missing())),
]


class Told(NamedTuple):
    what: str
    begun: float
    seconds: float
    errno: int


class Program:
    """`write` or `read`, in a process of its own."""

    def __init__(self, what: str, place: Path, ledger: Path) -> None:
        words = [sys.executable, "-m", "tests.faces.fuse.outage_program", what, str(place), str(ledger)]
        self._ledger = ledger
        self.process = subprocess.Popen(words, cwd=Path(__file__).parents[3])

    def told(self, since: float = 0.0) -> list[Told]:
        """Of calls that began since then."""
        text = self._ledger.read_text() if self._ledger.exists() else ""
        told = [Told(*json.loads(line)) for line in text.splitlines()]
        assert all(each.errno >= 0 for each in told), told[-3:]
        return [each for each in told if each.begun >= since]

    def wait_until(self, holds: Callable[[list[Told]], object], since: float) -> list[Told]:
        end = time.monotonic() + _ENOUGH
        while not holds(told := self.told(since)):
            assert time.monotonic() < end, (told[-5:], self.told()[-5:])
            assert self.process.poll() is None
            time.sleep(0.05)
        return told

    def kill(self) -> None:
        """It dies, whatever it waits for."""
        self.process.kill()
        self.process.wait(timeout=_ENOUGH)


def works(told: list[Told]) -> bool:
    return sum(each.errno == 0 for each in told) >= 2


def has_failed(told: list[Told]) -> bool:
    return any(each.errno for each in told)


class Elsewhere:
    """A drive on a PostgreSQL and an S3 endpoint that a test may take away; one mount is soft, one hard."""

    def __init__(self, drive: MountedDrive, hard: MountedDrive, database: postgresql.OwnPostgreSQL, proxy: FaultyProxy):
        self.drive, self.hard, self.database, self.proxy = drive, hard, database, proxy

    @contextmanager
    def store(self, mode: Mode) -> Iterator[None]:
        self.proxy.mode = mode
        try:
            yield
        finally:
            self.proxy.mode = Pass()

    @contextmanager
    def no_database(self) -> Iterator[None]:
        self.database.stop("immediate")
        try:
            yield
        finally:
            self.database.start()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with contextlib.ExitStack() as undo:
        database = undo.enter_context(postgresql.postgresql_server())
        database.create("kelp")
        store = undo.enter_context(s3.own_s3())
        proxy = undo.enter_context(FaultyProxy(store.port))
        given: dict[str, object] = {
            "database_url": database.url("kelp"),
            "cache_url": s3.bucket_url(f"http://127.0.0.1:{proxy.port}"),
            "cache_access_key": s3.ACCESS_KEY,
            "cache_secret_key": s3.SECRET_KEY,
            "cache_timeout": 2,
            "fuse_patience": PATIENCE,
        }
        drive = undo.enter_context(mounted_drive(folder, **given))
        drive.watch(400)
        hard = drive.beside("hard", "-o", "hard")
        undo.callback(hard.end)
        hard.start()
        (drive.top / "big").write_bytes(content(0, _BIG))
        yield Elsewhere(drive, hard, database, proxy)


@contextmanager
def programs(mount: MountedDrive, name: str) -> Iterator[tuple[Program, Program]]:
    """A writer and a reader that are at work."""
    folder = mount.top / f"{name}, {mount.path.name}"
    folder.mkdir()
    ledgers = [mount.data.parent / f"{folder.name} {what}" for what in ("write", "read")]
    writer = Program("write", folder, ledgers[0])
    reader = Program("read", mount.top / "big", ledgers[1])
    try:
        for program in (writer, reader):
            program.wait_until(works, 0.0)
        yield writer, reader
        for program in (writer, reader):
            program.wait_until(works, time.time())
    finally:
        for program in (writer, reader):
            program.kill()
    for each in writer.told():
        if not each.errno:
            number = int(each.what.split()[1])
            assert (folder / str(number)).read_bytes() == content(number, SIZE), each


_FAULTS = {
    "S3 hangs": lambda all: all.store(Silent()),
    "S3 answers 503": lambda all: all.store(_SLOW_DOWN),
    "PostgreSQL is stopped": lambda all: all.no_database(),
    "PostgreSQL hangs": lambda all: all.database.frozen(),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_call_ends_and_all_works_again(elsewhere: Elsewhere, fault: str) -> None:
    """While the store is away, what is on the NAS can be read."""
    with programs(elsewhere.drive, fault) as (writer, reader):
        with _FAULTS[fault](elsewhere):
            gone = time.time()
            told = writer.wait_until(has_failed, gone) + reader.wait_until(bool, gone)
        assert {each.errno for each in told} - {0} <= _ALLOWED, told


@pytest.mark.parametrize("fault", ["S3 hangs", "PostgreSQL is stopped"])
def test_on_a_hard_mount_programs_wait_and_can_be_killed(elsewhere: Elsewhere, fault: str) -> None:
    other = f"killed, {fault}"
    (elsewhere.hard.top / other).mkdir()
    killed = Program("write", elsewhere.hard.top / other, elsewhere.drive.data.parent / other)
    killed.wait_until(works, 0.0)
    with programs(elsewhere.hard, fault) as (writer, reader), _FAULTS[fault](elsewhere):
        gone = time.time()
        end = time.monotonic() + _ENOUGH
        while time.time() - killed.told()[-1].begun < PATIENCE + 2:  # until it waits
            assert time.monotonic() < end
            time.sleep(0.1)
        killed.kill()
        assert mount_points.kind_at(elsewhere.hard.path) == mount_points.KIND
        subprocess.run(["stat", "-f", elsewhere.hard.path], capture_output=True, timeout=_ENOUGH)
        assert not works(writer.told(gone + 1))
    assert [each for each in writer.told() + reader.told() if each.errno] == []


@pytest.mark.parametrize(("how", "option"), [("SIGTERM", "hard"), ("umount", "soft")])
def test_a_mount_ends_though_the_store_hangs(elsewhere: Elsewhere, how: str, option: str) -> None:
    """What was written and not closed is offered afterwards."""
    mount = elsewhere.drive.beside(f"{how} {option}", "-o", option)
    name = f"{how} {option}.txt"
    before = {left.header.name for left in recovering.found(elsewhere.drive.kelp)}
    try:
        mount.start()
        reader = Program("read", mount.top / "big", mount.log.with_suffix(".ledger"))
        reader.wait_until(works, 0.0)
        fd = os.open(mount.top / name, os.O_WRONLY | os.O_CREAT)  # now: a new process closes what it inherits
        os.write(fd, b"not closed")
        with elsewhere.store(Silent()):
            time.sleep(1)
            if how == "SIGTERM":
                mount.process.send_signal(signal.SIGTERM)
            else:
                mount_points.unmount(mount.path, lazily=True)
                reader.kill()
                with suppress(OSError):
                    os.close(fd)
            mount.process.wait(timeout=_ENOUGH)
        if how == "SIGTERM":
            with suppress(OSError):
                os.close(fd)
        reader.kill()
    finally:
        mount.end()
    assert "Traceback" not in mount.log_text(), mount.log_text()[-3000:]
    found = {left.header.name: left for left in recovering.found(elsewhere.drive.kelp)}
    assert found.keys() - before == {name}
    entry = recovering.recover(elsewhere.drive.kelp, elsewhere.drive.caller(), found[name])
    assert entry.name.startswith(f"{how} {option} (recovered admin ")


def test_what_could_not_be_committed_at_close_is_told_and_kept(elsewhere: Elsewhere) -> None:
    mount = elsewhere.drive.beside("kept")
    try:
        mount.start()
        fd = os.open(mount.top / "kept.txt", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"all of it")
        with elsewhere.store(Refuse()):
            with pytest.raises(OSError) as told:
                os.close(fd)
            assert told.value.errno == errno.EIO
            end = time.monotonic() + _ENOUGH
            while " is kept: " not in mount.log_text():  # it is tried once more
                assert time.monotonic() < end
                time.sleep(0.1)
            assert ("'kept.txt'" in mount.log_text()) != mount.in_vault, "names in a vault are in no log"
        assert (mount.top / "kept.txt").read_bytes() in (b"", b"all of it")
        mount.unmount()
    finally:
        mount.end()
    (left,) = recovering.found(elsewhere.drive.kelp)
    entry = recovering.recover(elsewhere.drive.kelp, elsewhere.drive.caller(), left)
    assert (elsewhere.drive.top / entry.name).read_bytes() == b"all of it"


def test_nothing_was_unexpected(elsewhere: Elsewhere) -> None:
    for mount in (elsewhere.drive, elsewhere.hard):
        assert "Traceback" not in mount.log_text(), mount.log_text()[-3000:]
