"""The jobs of a drive whose queue is on Redis: a real server, workers in this process or, to be killed, in others."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

import kelp
from jobs.jobs_lock import JobsLock
from jobs.redis_queue import SILENCE, RedisQueue, look
from jobs.worker import QueueWorker
from tests.mirror_drive import MirrorDrive, TestClock
from tests.services.redis import OwnRedis, missing, redis_server
from tests.waiting import until
from vfs.core import Kelp, NoQueue, SystemClock
from vfs.errors import StoreUnavailable
from vfs.operations import backlog, duties, mirroring, recording
from vfs.operations.backlog import Waited

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")
ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0  # seconds; a machine under load is no failure
BY_SWEEP, BY_JOB = 0.2, 3600.0  # queue.sweep: found soon without a job, or never


@pytest.fixture(scope="module")
def server() -> Iterator[OwnRedis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def client(server: OwnRedis) -> Iterator[redis.Redis]:
    if not server.running:
        server.start()
    server.flush()
    with closing(redis.Redis.from_url(server.url)) as client:
        yield client


@pytest.fixture
def live(
    open_drive: Callable[..., MirrorDrive], server: OwnRedis, client: redis.Redis
) -> Iterator[Callable[..., MirrorDrive]]:
    """A function that opens the drive of this test; its queue is the server's."""
    with ExitStack() as stack:

        def opened(sweep: float, **overrides: object) -> MirrorDrive:
            own = {"queue_url": server.url, "queue_name": "mine", "queue_sweep": sweep}
            drive = open_drive(clock=SystemClock(), **own, **overrides)
            queue = stack.enter_context(closing(RedisQueue(drive.settings.queue)))
            drive.kelp = replace(drive.kelp, queue=queue)
            return drive

        yield opened


@contextmanager
def working(kelp: Kelp) -> Iterator[None]:
    worker = QueueWorker(kelp)
    worker.start()
    try:
        until(lambda: look(kelp.settings.queue).workers)
        yield
    finally:
        worker.stop()


def mirrored(drive: MirrorDrive) -> None:
    assert backlog.wait_until_mirrored(drive.kelp, PATIENCE, interval=0.02) is Waited.MIRRORED


# --- jobs ---


def test_a_job_wakes_the_worker(live: Callable[..., MirrorDrive], client: redis.Redis) -> None:
    drive = live(BY_JOB)
    with working(drive.kelp):
        for name in ("a", "b"):
            drive.put(name)
            mirrored(drive)
        until(lambda: not client.keys("rq:job:*"))
    drive.check_mirrored()
    assert look(drive.settings.queue).workers == 0


def test_a_delayed_job_arrives(live: Callable[..., MirrorDrive]) -> None:
    drive = live(BY_JOB, mirror_delay=2)
    with working(drive.kelp):
        begun = time.monotonic()
        drive.put("._x")
        assert "._x" not in drive.on_nas() or time.monotonic() > begun + 2
        until(lambda: "._x" in drive.on_nas())
    drive.check_mirrored()


def test_whose_time_comes_soon_needs_no_job(live: Callable[..., MirrorDrive]) -> None:
    """What has to wait a moment for another, or is tried again."""
    drive = live(BY_JOB, mirror_delay=1.5)
    with working(drive.kelp):
        drive.kelp = replace(drive.kelp, queue=NoQueue())
        drive.put("._x")
        drive.kelp = replace(drive.kelp, queue=live(BY_JOB).kelp.queue)
        drive.put("y")
        until(lambda: "._x" in drive.on_nas())
    drive.check_mirrored()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mknod, (str(self.path),)


def foreign_jobs(made: Path) -> dict[str, dict[str, bytes | str]]:
    mine = json.dumps(["mirror", None, [1, "t"], {}])
    return {
        "pickled": {"data": pickle.dumps(Touch(made))},
        "pickled-call": {"data": pickle.dumps(("os.mknod", None, (str(made),), {}))},
        "pickled-meta": {"data": mine, "meta": pickle.dumps(Touch(made))},
        "named": {"data": json.dumps(["os.mknod", None, [str(made)], {}])},
        "method": {"data": json.dumps(["mirror", "x", [1, "t"], {}])},
        "callback": {"data": mine, "success_callback_name": "os.mknod", "failure_callback_name": "os.mknod"},
        "arguments": {"data": json.dumps(["mirror", None, ["1; DROP TABLE entries"], {}])},
        "nothing": {"data": b"\xff\xfe"},
        "no-date": {"data": mine, "created_at": "yesterday"},
    }


def test_nothing_that_is_put_into_redis_is_executed(
    live: Callable[..., MirrorDrive], client: redis.Redis, tmp_path: Path
) -> None:
    drive, made = live(BY_JOB), tmp_path / "made"
    for id, fields in foreign_jobs(made).items():
        own = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "mine", "status": "queued", "timeout": "-1"}
        client.hset(f"rq:job:{id}", mapping={**own, **fields})  # type: ignore[arg-type]
        client.rpush("rq:queue:mine", id)
    with working(drive.kelp):
        until(lambda: client.llen("rq:queue:mine") == 0)
        drive.put("a")
        mirrored(drive)
    assert not made.exists()
    assert client.zcard("rq:failed:mine") >= 5
    drive.check_mirrored()


# --- Redis away ---


def test_the_sweep_finds_what_nobody_queued(live: Callable[..., MirrorDrive]) -> None:
    drive = live(BY_SWEEP)
    drive.kelp = replace(drive.kelp, queue=NoQueue())
    drive.put("before the start")
    with working(drive.kelp):
        mirrored(drive)
        drive.put("by a command")
        mirrored(drive)
    drive.check_mirrored()


def test_a_flushed_redis_is_repaired(live: Callable[..., MirrorDrive], server: OwnRedis, client: redis.Redis) -> None:
    drive = live(BY_SWEEP)
    drive.put("queued, and forgotten")
    until(lambda: client.llen("rq:queue:mine"))
    server.flush()
    with working(drive.kelp):
        mirrored(drive)
        server.flush()
        drive.put("after it")
        mirrored(drive)
        until(lambda: look(drive.settings.queue).workers == 1)
    drive.check_mirrored()


def test_a_redis_that_is_flushed_under_a_job_is_no_failure_of_it(
    live: Callable[..., MirrorDrive], server: OwnRedis, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    drive = live(BY_JOB)
    with working(drive.kelp):

        def flush(method: str, arguments: tuple[Any, ...]) -> None:
            if method == "write":
                drive.nas.calm()
                server.flush()

        drive.nas.after = flush
        drive.put("a")
        mirrored(drive)
        drive.put("b")
        mirrored(drive)
        until(lambda: not client.keys("rq:job:*"))
    assert not client.keys("rq:failed:*")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    drive.check_mirrored()


def test_a_redis_that_hangs_under_a_job_is_no_failure_of_it(
    live: Callable[..., MirrorDrive], server: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    drive = live(BY_SWEEP)
    with working(drive.kelp):

        def freeze(method: str, arguments: tuple[Any, ...]) -> None:
            if method == "write":
                drive.nas.calm()
                server.freeze()
                threading.Timer(2.25 * SILENCE, server.thaw).start()  # its end times out, what RQ does then does not

        drive.nas.after = freeze
        drive.put("a")
        mirrored(drive)
        until(lambda: backlog.queue_away_since_ns(drive.kelp) == 0 and look(drive.settings.queue).workers == 1)
    assert [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()] == []
    drive.check_mirrored()


def test_redis_dies_and_comes_back(
    live: Callable[..., MirrorDrive], server: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    drive = live(BY_SWEEP)
    with working(drive.kelp):
        server.kill()
        until(lambda: backlog.queue_away_since_ns(drive.kelp))
        for number in range(3):
            drive.put(f"meanwhile {number}")
            mirrored(drive)
        server.start()
        until(lambda: look(drive.settings.queue).workers == 1)
        until(lambda: not backlog.queue_away_since_ns(drive.kelp))  # told by whoever notices
        drive.put("after it")
        mirrored(drive)
    drive.check_mirrored()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) <= 4, "the server's queue and the worker each tell of both once"


def test_a_redis_that_hangs_stops_nothing(live: Callable[..., MirrorDrive], server: OwnRedis) -> None:
    drive = live(BY_SWEEP)
    with working(drive.kelp):
        server.freeze()
        try:
            drive.put("meanwhile")
            mirrored(drive)
        finally:
            server.thaw()
        until(lambda: look(drive.settings.queue).workers == 1)
        drive.put("after it")
        mirrored(drive)
    drive.check_mirrored()


@pytest.mark.parametrize("question", ["is_due", "record"])
def test_a_database_that_does_not_answer_once_stops_nothing(
    live: Callable[..., MirrorDrive], monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Nor what had been claimed: that is settled though nothing else is due."""
    asked = recording if question == "record" else mirroring
    real, failed = getattr(asked, question), threading.Event()

    def silent_once(*arguments: Any, **options: Any) -> Any:
        if failed.is_set() or threading.current_thread().name != "kelp-mirror":
            return real(*arguments, **options)
        failed.set()
        raise StoreUnavailable("the database did not answer")

    drive = live(BY_SWEEP)
    monkeypatch.setattr(asked, question, silent_once)
    drive.put("a")
    with working(drive.kelp):
        assert failed.wait(PATIENCE)
        mirrored(drive)
    drive.check_mirrored()


# --- processes ---


@contextmanager
def worker_command(drive: MirrorDrive, *arguments: str, **settings: object) -> Iterator[subprocess.Popen[str]]:
    own = {"queue_url": drive.settings.queue.url, "queue_name": "mine", "database_url": drive.settings.database.url}
    own |= {"cache_url": drive.settings.cache.url, "cache_access_key": drive.settings.cache.access_key}
    own |= {"cache_secret_key": drive.settings.cache.secret_key, **settings}  # type: ignore[dict-item]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    environ |= {f"KELP_{name.upper()}": str(value) for name, value in own.items()}
    place = ("--data", str(drive.settings.data), "--nas", str(drive.root))
    with subprocess.Popen(
        [sys.executable, "-m", "kelp", "worker", *place, *arguments],
        cwd=ROOT,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def leases(drive: MirrorDrive, after_ns: int = 0) -> int:
    with drive.kelp.database.read() as tx:
        return int(tx.one("SELECT COUNT(*) FROM mirror_leases WHERE expires_ns > :after", after=after_ns)[0])


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_worker_that_is_killed_is_replaced_and_its_work_settled(live: Callable[..., MirrorDrive]) -> None:
    drive = live(BY_JOB, mirror_lease=8)
    for number in range(300):
        drive.put(f"f{number}")
    with worker_command(drive, "--workers", "1", mirror_lease=8, queue_sweep=1) as process:
        until(lambda: leases(drive))
        (victim,) = children(process)
        os.kill(victim, signal.SIGKILL)
        mirrored(drive)
        until(lambda: leases(drive) == 0)
        assert victim not in children(process)
    drive.check_mirrored()


def test_workers_stop_in_order(live: Callable[..., MirrorDrive]) -> None:
    drive = live(BY_JOB)
    for number in range(300):
        drive.put(f"f{number}")
    with worker_command(drive, "--workers", "2") as process:
        until(lambda: leases(drive))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None and "ERROR" not in process.stderr.read()
    assert leases(drive) == 0, "what is left over may be taken by others at once"
    assert look(drive.settings.queue).workers == 0
    with working(drive.kelp):
        mirrored(drive)
    drive.check_mirrored()


def test_without_a_redis_there_is_nothing_to_do_for_workers(drive: MirrorDrive) -> None:
    with worker_command(drive, queue_url="") as process:
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert process.stderr.read().startswith("kelp: queue.url is not set")


def test_a_worker_told_to_stop_before_there_is_a_drive_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kelp", "worker", "--data", str(tmp_path / "none")]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    with subprocess.Popen(
        command, cwd=ROOT, env={**environ, "KELP_QUEUE_URL": "redis://127.0.0.1:1"}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and "waiting for it" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_the_status_shows_queue_and_workers(
    live: Callable[..., MirrorDrive], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = live(BY_SWEEP)
    settings = drive.settings
    for name in ("queue_url", "queue_name", "database_url", "cache_url", "cache_access_key", "cache_secret_key"):
        section, _, key = name.partition("_")
        monkeypatch.setenv(f"KELP_{name.upper()}", getattr(getattr(settings, section), key))
    place = ["--data", str(settings.data), "--nas", str(drive.root)]

    def shown() -> dict[str, object]:
        assert kelp.run(["status", "--json", *place]) == 0
        return json.loads(capsys.readouterr().out)["queue"]  # type: ignore[no-any-return]

    nobody = {"kind": "redis", "up": True, "reason": "", "sinceNs": 0, "workers": 0, "waiting": 0}
    assert shown() == nobody
    with working(drive.kelp):
        assert shown() == {**nobody, "workers": 1}
    monkeypatch.setenv("KELP_QUEUE_URL", "redis://127.0.0.1:1")
    backlog.note_queue_away(drive.kelp, 1_700_000_000_000_000_000)
    away = shown()
    assert (away["up"], away["workers"], away["sinceNs"]) == (False, None, 1_700_000_000_000_000_000)
    assert kelp.run(["status", *place]) == 0
    assert "(changes wait in the database)" in capsys.readouterr().out


# --- who does what ---


def test_a_duty_is_one_process_s_until_it_is_laid_down_or_runs_out(drive: MirrorDrive) -> None:
    kelp, clock = drive.kelp, drive.clock
    assert isinstance(clock, TestClock)
    assert duties.take(kelp, "sweep", "a", 60)
    assert duties.take(kelp, "sweep", "a", 60)
    assert not duties.take(kelp, "sweep", "b", 60)
    assert duties.take(kelp, "cook", "b", 60)
    clock.advance(61)
    assert duties.take(kelp, "sweep", "b", 60)
    duties.lay_down(kelp, "sweep", "a")
    assert not duties.take(kelp, "sweep", "a", 60)
    duties.lay_down(kelp, "sweep", "b")
    assert duties.take(kelp, "sweep", "a", 60)


def test_a_duty_that_was_taken_by_a_wrong_clock_is_not_kept_until_then(drive: MirrorDrive) -> None:
    """A machine that starts with its clock years ahead, and dies."""
    kelp, clock = drive.kelp, drive.clock
    assert isinstance(clock, TestClock)
    clock.advance(10 * 365 * 86_400)
    assert duties.take(kelp, "sweep", "a", 60)
    clock.advance(-10 * 365 * 86_400)
    assert duties.take(kelp, "sweep", "b", 60)


def test_who_runs_the_jobs_alone_has_no_workers_beside_it(drive: MirrorDrive) -> None:
    with closing(JobsLock(drive.settings)) as one, closing(JobsLock(drive.settings)) as other:
        assert one.take_together() and other.take_together()
        assert not one.take_alone()
        other.close()
        assert one.take_alone()
    with closing(JobsLock(drive.settings)) as one, closing(JobsLock(drive.settings)) as other:
        assert one.take_alone() and not other.take_together()
