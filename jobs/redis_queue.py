"""The queue on Redis, as those use it who commit changes: RQ jobs that wake a worker.

A request only puts the entry's id into memory; one thread of the process carries ids to Redis, many at a time. A job
is no more than a nudge: whoever runs it works off everything that is due in the database, so a few jobs in the queue
are as good as a thousand, and what does not fit, or cannot be sent, is dropped: the workers' sweep finds the change.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry
from rq import Queue, worker_registration
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from vfs import trace
from vfs.core import QueueState
from vfs.errors import ConfigurationError
from vfs.settings import Queue as QueueSettings

log = logging.getLogger(__name__)

SILENCE = 2.0  # seconds without a byte from Redis after which it counts as away
FAILURE_TTL = 3600  # seconds that RQ keeps a job which failed: it holds nothing that is needed
_GATHER = 0.02  # seconds that ids come together before they are sent
_LOOK = 5.0  # seconds between two looks at a Redis that nothing is sent to
_RETRY = 1.0  # … and at one that is away
_QUEUED = 16  # jobs in the queue: as many workers can be woken at once
_DELAYED = 10_000  # jobs that wait for their time; whose job was dropped is found by the sweep
_KEPT = 1_000  # ids in memory at most, of each kind
_SECOND = 1_000_000_000
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class Nudge(NamedTuple):
    job: str
    id: int
    trace_id: str
    not_before_ns: int


def connect(url: str) -> Redis:
    """A client whose every call ends after `SILENCE` seconds without an answer. Nothing is sent yet.

    Raises ConfigurationError.
    """
    try:
        return Redis.from_url(
            url,
            socket_timeout=SILENCE,
            socket_connect_timeout=SILENCE,
            retry=Retry(NoBackoff(), 0),
            client_name="kelp",
        )
    except ValueError as error:  # its words may hold the password
        raise ConfigurationError("the queue URL cannot be read: redis://[:password@]host[:port]/number") from error


def rq_queue(client: Redis, name: str, job_class: type[Job] = Job) -> Queue:
    """JSON: to load a pickle is to execute it, and whoever can write to Redis could put one there."""
    return Queue(name, connection=client, serializer=JSONSerializer, job_class=job_class)


def prove(client: Redis, name: str) -> None:
    """Raises RedisError unless Redis answers and takes writes: a full one answers to a ping as if all were well."""
    client.set(f"kelp:{name}:proof", b"", ex=60)


def _in_words(error: Exception) -> str:
    return "Redis is full (maxmemory)" if isinstance(error, OutOfMemoryError) else str(error) or type(error).__name__


class Presence:
    """Whether Redis is there, as this process last saw it: one line in the log when that changes."""

    def __init__(self, changed: Callable[[QueueState], object] = lambda state: None) -> None:
        self._changed = changed
        self.state = QueueState()

    def away(self, error: Exception) -> None:
        if not self.state.away:
            self.state = QueueState(_in_words(error), time.time_ns())
            log.error("the queue is away: %s; changes wait in the database, nothing is lost", self.state.away)
            self._changed(self.state)

    def there(self) -> None:
        if self.state.away:
            seconds = (time.time_ns() - self.state.since_ns) // _SECOND
            self.state = QueueState()
            log.warning("the queue is back after %d s", seconds)
            self._changed(self.state)


class RedisQueue:
    """A JobQueue whose jobs `kelp worker` runs."""

    def __init__(self, settings: QueueSettings) -> None:
        """Raises ConfigurationError; a Redis that is away is no error."""
        self._name = settings.name
        self._client = connect(settings.url)
        self._queue = rq_queue(self._client, settings.name)
        self._presence = Presence()
        self._lock = threading.Lock()
        self._now: dict[int, Nudge] = {}
        self._later: dict[int, Nudge] = {}
        self._wanted = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="kelp-queue", daemon=True)
        self._thread.start()

    def enqueue(self, job: str, id: int, trace_id: str, not_before_ns: int = 0) -> None:
        kept = self._later if not_before_ns > time.time_ns() else self._now
        with self._lock:
            if len(kept) < _KEPT:
                kept[id] = Nudge(job, id, trace_id, not_before_ns)
        if not self._wanted.is_set():
            self._wanted.set()

    def state(self) -> QueueState:
        return self._presence.state

    def close(self) -> None:
        """Send what is in memory, if Redis takes it at once."""
        self._closing = True
        self._wanted.set()
        self._thread.join(2 * SILENCE)
        self._client.close()

    def _run(self) -> None:
        while not self._closing:
            self._round()
            self._wanted.wait(_RETRY if self.state().away else _LOOK)
            if not self._closing:
                time.sleep(_RETRY if self.state().away else _GATHER)
        self._round()

    def _round(self) -> None:
        """Send what is in memory, or just look whether Redis is there. The thread never ends by an error."""
        self._wanted.clear()
        with self._lock:
            now, later = [*self._now.values()], [*self._later.values()]
            self._now.clear()
            self._later.clear()
        try:
            if now or later:
                self._send(now, later)
            else:
                prove(self._client, self._name)
            self._presence.there()
        except (RedisError, OSError) as error:
            self._presence.away(error)
        except Exception:
            log.exception("changes could not be queued; the sweep finds them")

    def _send(self, now: list[Nudge], later: list[Nudge]) -> None:
        """Two round trips: what is queued already; then the jobs that are missing, all in one."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.llen(self._queue.key)
            pipeline.zcard(self._queue.scheduled_job_registry.key)
            for nudge in (*now[:_QUEUED], *later):
                pipeline.hget(Job.key_for(self._id(nudge)), "status")
            queued, delayed, *states = pipeline.execute()
        statuses = dict(zip((*now[:_QUEUED], *later), states, strict=True))
        fresh = [nudge for nudge in now[:_QUEUED] if statuses[nudge] != JobStatus.QUEUED.encode()]
        waiting = [nudge for nudge in later if statuses[nudge] in (None, JobStatus.FAILED.encode())]
        self._put(fresh[: max(0, _QUEUED - queued)], waiting[: max(0, _DELAYED - delayed)])

    def _put(self, now: Sequence[Nudge], later: Sequence[Nudge]) -> None:
        with self._client.pipeline() as pipeline:
            for nudge in now:
                self._queue.enqueue_job(self._job(nudge, JobStatus.QUEUED), pipeline=pipeline)
            for nudge in later:
                # RQ counts in whole seconds: a job that came before its time would find nothing to do.
                when = datetime.fromtimestamp(nudge.not_before_ns // _SECOND + 1, UTC)
                self._queue.schedule_job(self._job(nudge, JobStatus.SCHEDULED), when, pipeline=pipeline)
            if len(pipeline):
                asked = next(iter((*now, *later)))  # of several, the first stands for all
                with trace.under(asked.trace_id), trace.span("redis.queue_add", jobs=len(pipeline)):
                    pipeline.execute()
            else:
                prove(self._client, self._name)

    def _id(self, nudge: Nudge) -> str:
        """The jobs of all queues of a Redis lie side by side, and RQ takes few characters in their ids."""
        queue = self._name if _PLAIN.fullmatch(self._name) else self._name.encode().hex()
        return f"{queue}-{nudge.job}-{nudge.id}"

    def _job(self, nudge: Nudge, status: JobStatus) -> Job:
        return self._queue.create_job(
            nudge.job,
            args=[nudge.id, nudge.trace_id],
            job_id=self._id(nudge),
            description=f"{nudge.job}-{nudge.id}",
            status=status,
            timeout=-1,  # a file may take hours; RQ would end it after three minutes
            result_ttl=0,
            failure_ttl=FAILURE_TTL,
        )


class QueueLook(NamedTuple):
    """What `kelp status` shows. `workers`: live ones; None, as the others, when Redis is away."""

    away: str
    workers: int | None = None
    queued: int | None = None
    delayed: int | None = None


def look(settings: QueueSettings) -> QueueLook:
    """Ask Redis itself; takes a few seconds at most. Raises ConfigurationError."""
    client = connect(settings.url)
    queue = rq_queue(client, settings.name)
    try:
        prove(client, settings.name)
        keys = worker_registration.get_keys(queue)
        workers = client.exists(*keys) if keys else 0  # who is dead no longer renews its key
        return QueueLook("", workers, queue.count, queue.scheduled_job_registry.get_job_count(cleanup=False))
    except (RedisError, OSError) as error:
        return QueueLook(_in_words(error))
    finally:
        client.close()
