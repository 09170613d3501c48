"""`kelp dump` and `kelp load` as an administrator uses them: other processes, pipes, SIGKILL, and the move for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import warm_starts
from tests.mirror_drive import MirrorDrive, TestClock
from tests.server_process import PROGRAM, ServerProcess, server_process
from tests.small_disk import small_disk
from tests.whole_drive import TARGETS, all_rows, contents, dumped, fill, new_place
from vfs.settings import Settings

Place = Callable[..., Settings]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[MirrorDrive]:
    with closing(MirrorDrive(tmp_path / "old", clock=TestClock(int(time.time())))) as drive:
        fill(drive)
        yield drive


@pytest.fixture
def dump(old: MirrorDrive, tmp_path: Path) -> Path:
    file = tmp_path / "drive.kelp"
    file.write_bytes(dumped(old))
    return file


def environ_of(settings: Settings) -> dict[str, str]:
    """What tells a command which drive: all of its settings that say where something is."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("KELP_")},
        "KELP_DATA": str(settings.data),
        "KELP_NAS_ROOT": str(settings.nas_root),
        "KELP_DATABASE_URL": settings.database.url,
        "KELP_CACHE_URL": settings.cache.url,
        "KELP_CACHE_ACCESS_KEY": settings.cache.access_key,
        "KELP_CACHE_SECRET_KEY": settings.cache.secret_key,
    }


def kelp(settings: Settings, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return warm_starts.run([sys.executable, PROGRAM, *arguments], environ_of(settings), 120)


def require(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def require_refused(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("kelp: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert reason in done.stderr


def opened(settings: Settings, clock: TestClock) -> closing[MirrorDrive]:
    cache = settings.cache
    return closing(
        MirrorDrive(
            settings.data.parent, clock=clock, nas_root=settings.nas_root, database_url=settings.database.url,
            cache_url=cache.url, cache_access_key=cache.access_key, cache_secret_key=cache.secret_key,
        )
    )  # fmt: skip


def require_alike(old: MirrorDrive, place: Place) -> None:
    with opened(place(), old.clock) as new:
        assert all_rows(new) == all_rows(old, loaded=True)
        assert contents(new) == contents(old)
        new.check(mirrored=False)


# --- killed ---

_INSTANTS = (1, 2, 3, 9, 20, 31, 42, 50, 58, 66, 70, 72, 80, 200, 1000)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "instants"), [(each, _INSTANTS[n::3]) for n, each in enumerate(TARGETS)])
def test_killed_while_it_loads(
    old: MirrorDrive, dump: Path, tmp_path: Path, target: str, instants: tuple[int, ...]
) -> None:
    """At many instants of one load after another; what each leaves, nobody serves, and the next one goes on."""
    with new_place(target, tmp_path / "new" / "data", old.root) as place:
        for instant in (*instants, 0):
            command = [sys.executable, "-m", "tests.faces.dying_load", str(instant), dump]
            done = warm_starts.run(command, environ_of(place()))
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
            if instant == instants[2]:
                require_refused(kelp(place(), "serve", "--port", "0"), "run `kelp load` with the same dump again")
                require_refused(kelp(place(), "status"), "not to its end")
        assert instant != instants[0], "it was killed"
        assert done.returncode == 0
        require_alike(old, place)


def test_a_dump_that_is_killed_leaves_nothing_under_its_name(old: MirrorDrive, tmp_path: Path) -> None:
    target = tmp_path / "backup.kelp"
    target.write_bytes(b"yesterday's")
    with (tmp_path / "fifo").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SLOW_DUMP, str(target)],
            env=environ_of(old.settings),
            cwd=PROGRAM.parent,
            stderr=log,
        )
        unfinished = target.with_name("backup.kelp.unfinished")
        while not unfinished.exists() or unfinished.stat().st_size < 1000:
            assert process.poll() is None
            time.sleep(0.01)
        require_refused(kelp(old.settings, "dump", target), "another dump is being written")
        process.kill()
        process.wait()
    assert target.read_bytes() == b"yesterday's"
    require(kelp(old.settings, "dump", target))
    assert target.stat().st_size > 1000
    assert target.stat().st_mode & 0o777 == 0o600
    assert not unfinished.exists()


_SLOW_DUMP = """
import sys, time
import kelp
from vfs.operations import dump_format

inner = dump_format.Writer.member

def member(self, name, data):
    inner(self, name, data)
    if name.startswith("objects/"):
        time.sleep(60)

dump_format.Writer.member = member
kelp.run(["dump", sys.argv[1]])
"""


# --- where dumps come from and go to ---


def test_through_a_pipe(old: MirrorDrive, tmp_path: Path) -> None:
    with new_place("embedded", tmp_path / "new" / "data", old.root) as place:
        command = [sys.executable, str(PROGRAM)]
        with subprocess.Popen([*command, "dump", "-"], env=environ_of(old.settings), stdout=subprocess.PIPE) as dump:
            done = subprocess.run([*command, "load", "-"], env=environ_of(place()), stdin=dump.stdout)
        assert (dump.returncode, done.returncode) == (0, 0)
        require_alike(old, place)


def test_a_pipe_that_nobody_reads_to_its_end(old: MirrorDrive) -> None:
    command = [sys.executable, str(PROGRAM), "dump", "-"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environ_of(old.settings), **pipes) as dump:  # type: ignore[call-overload]
        dump.stdout.read(2000)
        dump.stdout.close()
        complaint = dump.stderr.read().decode()
    assert dump.returncode == 1
    assert complaint == "", "whoever closed the pipe knows"


def test_a_full_disk(old: MirrorDrive, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "2m") as small:
        require_refused(kelp(old.settings, "dump", small / "drive.kelp"), "No space left")
        assert list(small.iterdir()) == []


def test_a_full_disk_of_the_new_drive(old: MirrorDrive, dump: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "new", "3m"), new_place("embedded", tmp_path / "new" / "data", old.root) as place:
        require_refused(kelp(place(), "load", dump), "what came stays: run it again")
        subprocess.run(["mount", "-o", "remount,size=100m", str(tmp_path / "new")], check=True)
        require(kelp(place(), "load", dump))
        require_alike(old, place)


def test_refusals(old: MirrorDrive, dump: Path, tmp_path: Path) -> None:
    with new_place("embedded", tmp_path / "new" / "data", old.root) as place:
        require_refused(kelp(place(), "load", tmp_path / "missing"), "No such file")
        require_refused(kelp(place(), "load", PROGRAM), "not a dump of Kelp")
        assert kelp(place(), "load", tmp_path).returncode == 2
        assert not place().data.exists(), "a wrong file makes nothing"
        cut = tmp_path / "cut"
        cut.write_bytes(dump.read_bytes()[:-2000])
        require_refused(kelp(place(), "load", cut), "cut")
        require_refused(kelp(place(), "serve"), "not to its end")
    require_refused(kelp(old.settings, "load", dump), "has a drive already")
    require_refused(kelp(place(data=tmp_path / "none"), "dump", tmp_path / "x"), "there is no drive")
    require_refused(kelp(old.settings, "dump", tmp_path / "no" / "folder"), "No such file")
    assert kelp(old.settings, "dump", tmp_path).returncode == 2
    (dump.parent / "link").symlink_to(dump)
    require(kelp(old.settings, "dump", dump.parent / "link"))
    require(kelp(old.settings, "dump", "/dev/null"))


def test_lost_contents_are_told(old: MirrorDrive, tmp_path: Path) -> None:
    content_id = old.entry("not on the NAS").content_id
    assert content_id is not None
    old.kelp.cache.delete(content_id)
    done = kelp(old.settings, "dump", tmp_path / "drive.kelp", "--log-level", "error")
    assert done.returncode == 1
    assert "1 object" in done.stderr
    assert (tmp_path / "drive.kelp").exists()


# --- the move ---


def _put(server: ServerProcess, path: str, data: bytes) -> None:
    with closing(server.connect()) as client:
        client.request("PUT", path, data, {"Authorization": server.basic})
        assert client.getresponse().status in (201, 204)


def _get(server: ServerProcess, path: str) -> tuple[int, bytes, str | None]:
    with closing(server.connect()) as client:
        client.request("GET", path, headers={"Authorization": server.basic})
        answer = client.getresponse()
        return answer.status, answer.read(), answer.headers["ETag"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_drive_moves(tmp_path: Path, target: str) -> None:
    """Embedded for a year, then stopped, dumped, loaded elsewhere: clients notice nothing, the mirror goes on."""
    files = {f"/dav/file%20{number}": bytes([number]) * 1000 * number**3 for number in range(1, 16)}
    backup, dump = tmp_path / "backup.kelp", tmp_path / "drive.kelp"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with server_process(tmp_path / "old") as server:
        for path, data in files.items():
            _put(server, path, data)
        settings = server.settings
        require(kelp(settings, "dump", backup))  # while it runs
        _put(server, "/dav/last", b"written after the backup")
        seen = {path: _get(server, path) for path in [*files, "/dav/last"]}
        server.stop()
    require(kelp(settings, "dump", dump))
    with new_place(target, tmp_path / "new" / "data", settings.nas_root) as place:
        require(kelp(place(), "load", dump))
        new = ServerProcess(
            tmp_path / "new", nas_root=settings.nas_root, database_url=place().database.url,
            cache_url=place().cache.url, cache_access_key=place().cache.access_key,
            cache_secret_key=place().cache.secret_key,
        )  # fmt: skip
        new.nas = settings.nas_root
        try:
            new.start()
            new.wait_ready()
            assert {path: _get(new, path) for path in seen} == seen
            _put(new, "/dav/after%20the%20move", b"new")
            require(kelp(place(), "sync", "wait", "--timeout", "60"))
            new.stop()
        finally:
            new.kill()
        require(kelp(place(), "check", "--mirrored"))
        with new_place("embedded", tmp_path / "restored" / "data", tmp_path / "another NAS") as restored:
            require(kelp(restored(), "load", backup))
