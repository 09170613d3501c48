"""The queue on a real Redis, as a server uses it: what a job holds, how many there are, and a Redis that is away."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import redis

from jobs.redis_queue import RedisQueue, look
from tests.services.redis import OwnRedis, missing, redis_server
from tests.waiting import until
from vfs.errors import ConfigurationError
from vfs.settings import Queue

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")
TRACE = "dav-0123456789ab"
FIELDS = {"status", "created_at", "data", "origin", "description", "enqueued_at", "timeout", "result_ttl",
          "failure_ttl", "ended_at", "started_at", "last_heartbeat", "worker_name", "group_id", "meta"}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[OwnRedis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def client(server: OwnRedis) -> Iterator[redis.Redis]:
    server.flush()
    with closing(redis.Redis.from_url(server.url)) as client:
        yield client


@contextmanager
def queue_on(server: OwnRedis, name: str = "mine") -> Iterator[RedisQueue]:
    with closing(RedisQueue(Queue(url=server.url, name=name))) as queue:
        yield queue


def queued(client: redis.Redis) -> list[str]:
    return [id.decode() for id in client.lrange("rq:queue:mine", 0, -1)]


def test_a_job_is_json_and_holds_ids_and_a_trace_id(server: OwnRedis, client: redis.Redis) -> None:
    with queue_on(server) as queue:
        queue.enqueue("mirror", 7, TRACE)
        queue.enqueue("mirror", 8, TRACE, time.time_ns() + 60_000_000_000)
    assert queued(client) == ["mine-mirror-7"]
    for id in (7, 8):
        fields = {name.decode(): value for name, value in client.hgetall(f"rq:job:mine-mirror-{id}").items()}
        data = zlib.decompress(fields.pop("data"))
        assert json.loads(data) == ["mirror", None, [id, TRACE], {}]
        assert fields["timeout"] == b"-1" and fields["result_ttl"] == b"0" and int(fields["failure_ttl"]) <= 86400
        assert fields["description"] == f"mirror-{id}".encode()
        assert {name for name, value in fields.items() if value} <= FIELDS
        assert b"\x80\x04" not in data + b"".join(fields.values()), "pickled"


@pytest.mark.parametrize("other", ["other", "a queue: \u00fc"])
def test_another_drive_s_job_of_the_same_number_is_another_job(
    server: OwnRedis, client: redis.Redis, other: str
) -> None:
    with queue_on(server) as queue, queue_on(server, other) as theirs:
        theirs.enqueue("mirror", 7, TRACE)
        until(lambda: client.llen(f"rq:queue:{other}") == 1)
        queue.enqueue("mirror", 7, TRACE)
        until(lambda: queued(client) == ["mine-mirror-7"])
    (theirs_id,) = client.lrange(f"rq:queue:{other}", 0, -1)
    assert client.exists(f"rq:job:{theirs_id.decode()}", "rq:job:mine-mirror-7") == 2


def test_a_delayed_job_comes_at_its_time_or_after(server: OwnRedis, client: redis.Redis) -> None:
    due = time.time_ns() + 60_000_000_000
    with queue_on(server) as queue:
        queue.enqueue("mirror", 7, TRACE, due)
    assert queued(client) == []
    ((id, at),) = client.zrange("rq:scheduled:mine", 0, -1, withscores=True)
    assert id == b"mine-mirror-7" and due / 1e9 <= at <= due / 1e9 + 1


def test_what_was_delayed_and_is_wanted_now_does_not_wait(server: OwnRedis, client: redis.Redis) -> None:
    """An editor's temporary file that becomes the document."""
    with queue_on(server) as queue:
        queue.enqueue("mirror", 7, TRACE, time.time_ns() + 60_000_000_000)
        until(lambda: client.zcard("rq:scheduled:mine"))
        queue.enqueue("mirror", 7, TRACE)
        until(lambda: queued(client) == ["mine-mirror-7"])


def test_a_few_jobs_are_as_good_as_a_thousand(server: OwnRedis, client: redis.Redis) -> None:
    with queue_on(server) as queue:
        for round in range(3):
            for id in range(5000):
                queue.enqueue("mirror", id + round, TRACE)
            until(lambda: client.llen("rq:queue:mine"))
        for _ in range(3):
            queue.enqueue("mirror", 1, TRACE)
    assert 1 <= len(queued(client)) <= 16
    assert len(set(queued(client))) == len(queued(client))


def test_redis_may_be_away_and_come_back(
    server: OwnRedis, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server.stop()
    with contextlib.ExitStack() as at_end:
        at_end.callback(lambda: None if server.running else server.start())
        with queue_on(server) as queue:
            until(lambda: queue.state().away)
            since = queue.state().since_ns
            for id in range(5000):
                queue.enqueue("mirror", id, TRACE)
            time.sleep(3)
            assert queue.state().since_ns == since > time.time_ns() - 60_000_000_000
            server.start()
            until(lambda: not queue.state().away)
            queue.enqueue("mirror", 7, TRACE)
            until(lambda: "mine-mirror-7" in queued(client))
    told = [record.message for record in caplog.records if "the queue is" in record.message]
    assert len(told) == 2 and "away" in told[0] and "back" in told[1]


def test_a_redis_that_hangs_holds_up_nobody(server: OwnRedis, client: redis.Redis) -> None:
    with queue_on(server) as queue:
        server.freeze()
        try:
            for id in range(5000):
                queue.enqueue("mirror", id, TRACE)
            until(lambda: queue.state().away)
            assert look(Queue(url=server.url, name="mine")).away
        finally:
            server.thaw()
        until(lambda: not queue.state().away)


def test_a_full_redis_counts_as_away(server: OwnRedis, client: redis.Redis) -> None:
    """It answers to a ping as if all were well."""
    with queue_on(server) as queue:
        client.config_set("maxmemory", 1)
        try:
            queue.enqueue("mirror", 7, TRACE)
            until(lambda: "full" in queue.state().away)
            time.sleep(2.5)
            assert "full" in queue.state().away, "it does not come and go"
        finally:
            client.config_set("maxmemory", 0)
        until(lambda: not queue.state().away)
        queue.enqueue("mirror", 8, TRACE)
        until(lambda: "mine-mirror-8" in queued(client))


def test_what_the_status_shows(server: OwnRedis, client: redis.Redis) -> None:
    with queue_on(server) as queue:
        queue.enqueue("mirror", 7, TRACE)
        queue.enqueue("mirror", 8, TRACE, time.time_ns() + 60_000_000_000)
    seen = look(Queue(url=server.url, name="mine"))
    assert (seen.away, seen.workers, seen.queued, seen.delayed) == ("", 0, 1, 1)


@pytest.mark.parametrize("url", ["http://:s3cret@host/0", "redis://:s3cret@host:port/0", "s3cret"])
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        RedisQueue(Queue(url=url))
    assert "s3cret" not in str(error.value)
