"""A worker of RQ inside our own process: takes jobs from Redis, and keeps Redis told that it lives.

RQ's usual worker forks for every job, which caps it at some tens of jobs a second and loses the open database and what
is in memory each time; ours runs them where it is. RQ's own loop is replaced too: it ends by the first time-out of
Redis, wants the main thread for its signals, and never returns while there is no job.

Whoever can write to Redis is not thereby someone who may run code here: what a job names is looked up in our own table,
and never imported; callbacks and web hooks of a job are ignored; nothing is unpickled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from redis import RedisError
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout, DeserializationError, InvalidJobOperation
from rq.executions import Execution
from rq.group import Group
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import now

from jobs.redis_queue import SILENCE, connect, rq_queue

log = logging.getLogger(__name__)

_ALIVE = 20  # seconds after its last sign that a worker counts as dead, and its job as abandoned
_WAIT = 1.0  # seconds to wait for a job at most: so soon a stop is heard
_QUIET = ("rq.worker", "rq.job", "rq.queue", "rq.scheduler", "rq.registry")  # they tell of every job

Tasks = Mapping[str, Callable[[int, str], object]]  # name → what runs it, given (id, trace id)


class _NoTimeout(BaseDeathPenalty):
    """Jobs have none; RQ's own works by a signal."""

    def setup_death_penalty(self) -> None:
        return

    def cancel_death_penalty(self) -> None:
        return


class _KnownJob(Job):
    """A job that can only be one of `tasks`."""

    tasks: ClassVar[Tasks] = {}

    @property
    def func(self) -> Any:
        task = self.tasks.get(self.func_name or "")
        if task is None or self.instance or self.kwargs or [type(each) for each in self.args] != [int, str]:
            raise DeserializationError("not a job of Kelp")
        return task

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def send_webhooks(self, status: object, *, exc_string: str | None = None) -> None:
        return


class Listener(SimpleWorker):
    """One registered worker on one connection. Every method raises redis.RedisError when Redis is away."""

    death_penalty_class = _NoTimeout
    log_result_lifespan = False

    def __init__(self, url: str, name: str, worker_name: str, tasks: Tasks) -> None:
        job_class = type("KelpJob", (_KnownJob,), {"tasks": tasks})
        client = connect(url)
        super().__init__(
            [rq_queue(client, name, job_class)],
            name=worker_name,
            connection=client,
            job_class=job_class,
            serializer=JSONSerializer,
            log_job_description=False,
        )
        self._untyped: Any = self
        self._scheduler: Any = RQScheduler(
            self.queues, connection=client, logging_level=logging.WARNING, serializer=JSONSerializer
        )

    @property
    def connection_timeout(self) -> float:  # type: ignore[override]  # RQ raises the client's to this
        return SILENCE + _WAIT

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return _ALIVE

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(_ALIVE, pipeline)

    def open(self) -> None:
        """Begin to be one of the queue's workers."""
        self.birth_date = now()
        self.beat()

    def take(self, wait: float) -> Job | None:
        """The next job, waiting for it up to `wait` seconds."""
        try:
            found = Queue.dequeue_any(
                self.queues,
                min(wait, _WAIT) if wait > 0 else None,  # type: ignore[arg-type]  # Redis takes fractions
                self.connection,
                self.job_class,
                self.serializer,
                self.death_penalty_class,
            )
        except DequeueTimeout:
            return None
        except RedisError:
            raise
        except Exception as error:  # RQ tells which one it could not read
            self._drop(getattr(error, "job_id", ""))
            return None
        return found[0] if found else None

    def _drop(self, job_id: str) -> None:
        log.warning("job %s in Redis cannot be read: dropped", job_id)
        self.connection.lrem(self.queues[0].intermediate_queue_key, 0, job_id)
        self.connection.delete(self.job_class.key_for(job_id))

    def run(self, job: Job) -> None:
        """Whatever the job does; RQ's books are kept."""
        try:
            self.execute_job(job, self.queues[0])
        finally:
            self.executions.clear()  # RQ leaves one there when Redis goes away meanwhile

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Nothing that a job does comes here (`QueueWorker` sees to it): RQ could not read it, or Redis went away."""
        level = logging.DEBUG if isinstance(exc_info[1], RedisError) else logging.WARNING
        log.log(level, "job %s: %s", job.id, exc_info[1])

    def handle_job_success(
        self, job: Job, queue: Queue, started_job_registry: StartedJobRegistry, execution: Execution
    ) -> None:
        """A job that Redis has forgotten meanwhile (flushed, or empty after a restart) did not fail by that."""
        try:
            super().handle_job_success(job, queue, started_job_registry, execution)
        except InvalidJobOperation:
            log.debug("job %s was forgotten while it ran", job.id)
            with self.connection.pipeline() as pipeline:
                self.cleanup_execution(job, pipeline, execution)
                pipeline.delete(job.key)  # RQ has just put a time there, and nothing else
                pipeline.execute()

    def beat(self) -> None:
        """Say that this worker lives, and its job with it. All of it each time: Redis may have been flushed."""
        with self.connection.pipeline() as pipeline:
            self.last_heartbeat = now()
            pipeline.hset(self.key, mapping=self.serialize())
            pipeline.expire(self.key, _ALIVE)
            worker_registration.register(self, pipeline)
            for execution in tuple(self.executions.values()):
                execution.heartbeat(execution.job.started_job_registry, _ALIVE, pipeline)
            pipeline.execute()

    def schedule(self) -> None:
        """Queue the delayed jobs whose time has come; one worker of all does it, RQ's lock decides which."""
        if not self._scheduler.acquired_locks and not self._scheduler.acquire_locks():
            return
        self._scheduler.heartbeat()
        self._scheduler.enqueue_scheduled_jobs()

    def tidy(self) -> None:
        """Clear RQ's books of dead workers and of the jobs that they had; the sweep works off what those were about."""
        try:
            self._untyped.clean_registries()
            Group.clean_registries(connection=self.connection)
        except (ValueError, TypeError, LookupError):  # something that RQ cannot read was put there by someone else
            log.warning("RQ's registries could not be cleaned", exc_info=True)

    def close(self) -> None:
        self._scheduler.release_locks()
        self._untyped.register_death()
        self.connection.close()


def calm_down() -> None:
    """RQ's log, of problems only."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
