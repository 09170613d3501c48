"""The check of `kelp doctor` that concerns the queue: does Redis answer, and does a worker take what is put there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from redis import Redis, RedisError
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus

from jobs import redis_queue
from vfs.errors import KelpError
from vfs.operations.diagnosing import Area, Check, Finding
from vfs.settings import Queue, Settings

_AREA = Area("queue")
_OLDEST = (5, 0)  # what RQ needs of Redis
_PATIENCE = 8.0  # seconds for a worker to take a job; one that carries files looks again after five
_ANY_ENTRY = 0  # the job says nothing but "look": no entry has this id
_LONGEST = 100  # characters of what Redis says
_KEPT = 60  # seconds that Redis keeps the job, should this process be killed
_WHEN_SILENT = "it takes connections and does not answer: look at its log"
_NO_PASSWORD = "queue.url needs the password: redis://:PASSWORD@HOST:PORT/0"
_CAUSES = {
    "refused": "start Redis, or correct host and port in queue.url",
    "WRONGPASS": "correct the password in queue.url",
    "NOAUTH": _NO_PASSWORD,
    "already authenticated": _NO_PASSWORD,  # what Redis says to a client that greets it without
    "invalid username-password": "correct the password in queue.url",
    "uthentication required": _NO_PASSWORD,
    "OOM": "it is full: raise maxmemory",
    "MISCONF": "its disk is full, or it cannot write there",
    "READONLY": "it is a replica: queue.url must name the primary",
    "Timeout": "nobody answers there: correct the host in queue.url, or the firewall",
    "Name or service": "no machine has that name: correct the host in queue.url",
    "DB index": "it has no database of that number: correct the end of queue.url",
}


def check_queue(settings: Settings) -> Check:
    """Changes nothing; a job that wakes a worker is put there, and removed."""
    return Check("queue", partial(_check, settings.queue), _WHEN_SILENT)


def _check(settings: Queue) -> Iterator[Finding]:
    if not settings.url:
        yield _AREA.ok("kind", "none: the jobs run in `kelp serve`")
        return
    try:
        client = redis_queue.connect(settings.url)
    except KelpError as error:
        yield _AREA.error("server", str(error), "correct queue.url")
        return
    try:
        yield from _server(client, settings)
        yield from _workers(client, settings)
    except (RedisError, OSError) as error:
        said = str(error) or type(error).__name__
        causes = (advice for cause, advice in _CAUSES.items() if cause in said)
        fact = said if len(said) <= _LONGEST else "it refuses"
        yield _AREA.error("server", f"{_where(settings)}: {fact}", next(causes, "look at the log of Redis"))
    finally:
        client.close()


def _where(settings: Queue) -> str:
    """Without the password."""
    url = urlsplit(settings.url)
    return f"{url.hostname or 'localhost'}:{url.port or 6379}"


def _server(client: Redis, settings: Queue) -> Iterator[Finding]:
    client.ping()  # connects
    begun = time.perf_counter()
    client.ping()
    took = time.perf_counter() - begun
    redis_queue.prove(client, settings.name)
    version = str(client.info("server")["redis_version"])
    fact = f"Redis {version}, {_where(settings)}, round trip {took * 1000:.1f} ms"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
        yield _AREA.error("server", fact, "Redis 5 or newer is needed")
    else:
        yield _AREA.ok("server", fact)
    memory = client.info("memory")
    most, policy = int(memory.get("maxmemory", 0)), str(memory.get("maxmemory_policy", "noeviction"))
    if most and policy != "noeviction":
        advice = "jobs may vanish, and wait for the sweep then: set maxmemory-policy noeviction"
        yield _AREA.warning("memory", f"at most {most >> 20} MiB, {policy}", advice)
    else:
        yield _AREA.ok("memory", f"at most {most >> 20} MiB, {policy}" if most else "no limit")


def _workers(client: Redis, settings: Queue) -> Iterator[Finding]:
    look = redis_queue.look(settings)
    fact = f"{look.workers or 0} running; {look.queued or 0} jobs queued, {look.delayed or 0} for later"
    if not look.workers:
        yield _AREA.error("workers", fact, "nothing is carried to the NAS: start `kelp worker`")
        return
    yield _AREA.ok("workers", fact)
    took = _round_trip(client, settings)
    if took is None:
        advice = "all are at work on long files, or hang: `kelp status` shows whether changes get less"
        yield _AREA.warning("job", f"no worker took one within {_PATIENCE:.0f} s", advice)
    else:
        yield _AREA.ok("job", f"queued, taken and done in {took * 1000:.0f} ms")


def _round_trip(client: Redis, settings: Queue) -> float | None:
    """Seconds until a worker had done a job, the first of the queue; None: too many."""
    queue = redis_queue.rq_queue(client, settings.name)
    job = queue.create_job(
        "mirror",
        args=[_ANY_ENTRY, "doctor"],
        job_id=f"doctor-{secrets.token_hex(8)}",
        status=JobStatus.QUEUED,
        timeout=-1,
        ttl=_KEPT,
        result_ttl=0,  # gone as soon as it is done
        failure_ttl=_KEPT,
    )
    begun = time.monotonic()
    try:
        queue.enqueue_job(job, at_front=True)
        while (took := time.monotonic() - begun) < _PATIENCE:
            if _is_done(client, job.id):
                return took
            time.sleep(0.01)
        return None
    finally:
        with suppress(RedisError, OSError, InvalidJobOperation):  # the last: it is gone already
            job.delete()


def _is_done(client: Redis, job_id: str) -> bool:
    """What is done is forgotten at once."""
    status = client.hget(Job.key_for(job_id), "status")
    return status in (None, JobStatus.FAILED.encode())
