"""The servers that tests start: they work, come back on the same port, and never outlive who started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from tests.services import postgresql
from tests.services import redis as redis_service
from tests.services.child import state

pytestmark = [
    pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing())),
    pytest.mark.skipif(redis_service.missing() is not None, reason=str(redis_service.missing())),
]

_STARTS_BOTH = """
import sys, time
from tests.services import postgresql, redis
with postgresql.postgresql_server() as one, redis.redis_server() as other:
    print(one._child.pid, other._child.pid, flush=True)
    time.sleep(60)
"""


def test_a_database_is_a_copy_of_its_template_and_survives_any_restart():
    with postgresql.postgresql_server() as server:
        server.create("first")
        with psycopg.connect(server.url("first")) as connection:
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        server.create("second", template="first")
        for end in (server.stop, server.kill, lambda: server.stop("immediate")):
            end()
            assert not server.running
            server.start()
            with psycopg.connect(server.url("second")) as connection:
                assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]
                server.drop("first")  # also when it is gone
        assert not server.exists("first") and server.exists("second")
        server.drop("second")


def test_redis_comes_back_empty_on_the_same_port():
    with redis_service.redis_server() as server, redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
        server.flush()
        assert client.get("a") is None
        client.set("b", 1)
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("b")
        server.start()
        assert client.get("b") is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_server_outlives_who_started_it(how: signal.Signals):
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS_BOTH], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root
    ) as parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(how)
    until = time.monotonic() + 30
    while any(map(_alive, pids)):
        assert time.monotonic() < until, "still running"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    return state(pid) != "Z"
