"""`/metrics`: who may see it, and that its numbers are right whichever process answers."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dav_provider.app import make_app
from tests import engines, new_drive
from tests.server_process import ServerProcess, server_process
from tests.waiting import until
from vfs.bootstrap import build
from vfs.errors import ConfigurationError, NasDown, StoreUnavailable
from vfs.model import Place, Role
from vfs.operations import access, alerts, cache_limits, looks, nas_health, nas_outage, tokens, writing
from vfs.operations.alerts import AlertKind
from vfs.people import TokenKind
from vfs.settings import Server, Telemetry

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PASSWORD = "correct horse"


def parsed(text: str) -> Numbers:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def number(numbers: Numbers, name: str, **labels: str) -> float | None:
    return numbers.get((f"kelp_{name}", tuple(sorted(labels.items()))))


class Asked:
    """An application, and requests to it from any address."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        loaded = engines.load(folder / "data", nas_root=folder / "nas")
        self.kelp = build(replace(loaded, **settings))
        for name, role in (("root", Role.ADMIN), ("ed", Role.EDITOR)):
            new_drive.invite(self.kelp, name, role)
        self.app = make_app(self.kelp)

    def ask(
        self, address: str = "127.0.0.1", user: str = "", method: str = "GET", path: str = "/metrics", **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": address, "wsgi.url_scheme": "https"}
        if user:
            environ["HTTP_AUTHORIZATION"] = "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        seen: list[Any] = []
        pieces = self.app({**environ, **fields}, lambda status, headers, error=None: seen.append((status, headers)))
        body = b"".join(pieces)
        if hasattr(pieces, "close"):
            pieces.close()
        return int(seen[0][0][:3]), dict(seen[0][1]), body

    def numbers(self) -> Numbers:
        status, headers, body = self.ask()
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return parsed(body.decode())


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(looks, "_LONGEST", 0.0)  # nothing is said again, however long it took to see
    asked = Asked(tmp_path)
    yield asked
    asked.kelp.close()


# --- who may see it ---


def test_only_named_addresses_and_administrators_see_it(asked: Asked) -> None:
    assert asked.ask("127.0.0.1")[0] == asked.ask("::1")[0] == asked.ask("::ffff:127.0.0.1")[0] == 200
    assert asked.ask("192.0.2.7")[0] == 401
    assert "WWW-Authenticate" in asked.ask("192.0.2.7")[1]
    assert asked.ask("192.0.2.7", user="ed")[0] == 403
    assert asked.ask("192.0.2.7", user="root")[0] == 200
    assert asked.ask("192.0.2.7", user="root", **{"wsgi.url_scheme": "http"})[0] == 403  # the password in the clear
    root = access.authenticate(asked.kelp, "root", PASSWORD, face="dav")
    for scopes, status in ((("read",), 403), (("admin",), 200)):
        device = tokens.issue(asked.kelp, root, "prometheus", TokenKind.APP, scopes).secret
        login = base64.b64encode(f"root:{device}".encode()).decode()
        assert asked.ask("192.0.2.7", HTTP_AUTHORIZATION=f"Basic {login}")[0] == status
    assert asked.ask(method="POST")[0] == 405
    head = asked.ask(method="HEAD")
    assert head[0] == 200 and head[2] == b"" and int(head[1]["Content-Length"]) > 1000
    assert asked.ask(path="/metrics?name[]=x")[0] == 200


def test_a_proxy_on_this_machine_shows_it_to_nobody(asked: Asked) -> None:
    """Not a trusted one: what it says of the client is not believed, but that there is one is."""
    for field in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_FORWARDED_PROTO"):
        assert asked.ask("127.0.0.1", **{field: "127.0.0.1"})[0] == 401


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ({}, 200),  # nobody is behind it: Prometheus on the proxy's machine
        ({"HTTP_X_FORWARDED_FOR": "198.51.100.4"}, 401),
        ({"HTTP_X_FORWARDED_FOR": "10.1.2.3"}, 200),
        ({"HTTP_X_FORWARDED_FOR": "10.1.2.3, 198.51.100.4"}, 401),
        ({"HTTP_X_FORWARDED_PROTO": "https"}, 401),  # it does not say for whom
        ({"HTTP_X_FORWARDED_FOR": "unknown"}, 401),
        ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, 200),  # through the proxy, from this machine
    ],
)
def test_behind_a_trusted_proxy_the_clients_address_counts(
    tmp_path: Path, forwarded: dict[str, str], status: int
) -> None:
    asked = Asked(
        tmp_path,
        server=Server(trusted_proxies=("127.0.0.1",)),
        telemetry=Telemetry(metrics_for=("127.0.0.0/8", "10.0.0.0/8")),
    )
    assert asked.ask("127.0.0.1", **forwarded)[0] == status
    asked.kelp.close()


def test_an_address_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"telemetry\.metrics_for"):
        Asked(tmp_path, telemetry=Telemetry(metrics_for=("prometheus",)))


# --- what it tells ---


def test_it_tells_of_the_backlog_alerts_locks_and_leases(asked: Asked) -> None:
    kelp = asked.kelp
    before = asked.numbers()
    assert number(before, "mirror_oldest_seconds") == number(before, "mirror_backlog_bytes") == 0
    caller = access.system_caller(kelp, "dav")
    writing.put_file(kelp, caller, Place(1, "secret plan.txt"), [b"x" * 1000])
    alerts.open_(kelp, AlertKind.QUEUE_AWAY, "away")
    cache_limits.look(kelp)
    nas_health.check(kelp)
    nas_outage.declare(kelp, NasDown("gone", "ESTALE"))
    with kelp.database.write() as tx:
        tx.reading.publish("host:1:a", ["some content"], kelp.clock.now_ns() + 10**12)
        tx.reading.publish("host:1:b", ["another"], kelp.clock.now_ns() - 1)
    numbers = asked.numbers()
    assert number(numbers, "mirror_backlog_entries", status="pending") == 1
    assert number(numbers, "mirror_backlog_bytes") == 1000
    assert 0 < (number(numbers, "mirror_oldest_seconds") or 0) < 60
    assert number(numbers, "alerts_open", kind="QUEUE_AWAY", severity="error") == 1
    assert number(numbers, "nas_state", state="down") == 1 and number(numbers, "nas_state", state="healthy") == 0
    assert (number(numbers, "nas_latency_seconds") or 0) > 0
    assert number(numbers, "cache_bytes", share="dirty") == 1000
    assert number(numbers, "cache_objects") == 1
    assert number(numbers, "reader_leases") == 1
    assert number(numbers, "dav_locks") == 0
    assert number(numbers, "processes", kind="server") == 1
    assert number(numbers, "up", part="database") == number(numbers, "up", part="cache") == 1
    assert (number(numbers, "process_memory_bytes", kind="server") or 0) > 10**7
    text = asked.ask()[2].decode()
    assert not any(word in text for word in ("secret", "plan", "root", "host:1", str(kelp.settings.data)))


def test_what_is_away_is_missing_and_keeps_nobody_waiting(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.numbers()
    hang = threading.Event()

    def hanging() -> None:
        hang.wait(30)
        raise StoreUnavailable("away")

    monkeypatch.setattr(type(asked.kelp.cache), "usage", lambda self: hanging())
    numbers = asked.numbers()
    assert number(numbers, "up", part="cache") == 0
    assert number(numbers, "cache_disk_free_bytes") is None
    assert number(numbers, "up", part="database") == 1
    assert number(numbers, "mirror_backlog_bytes") == 0
    hang.set()


def test_methods_and_statuses_have_no_end_of_labels(asked: Asked) -> None:
    for n in range(50):
        asked.ask(method=f"M{n}", path=("/dav/", "/api/files/x")[n % 2], user="root")
    asked.ask(method="DELETE", path="/dav/nothing", user="root")
    numbers = asked.numbers()
    assert (number(numbers, "responses_total", method="other", status="4xx") or 0) >= 50
    assert (number(numbers, "responses_total", method="DELETE", status="4xx") or 0) >= 1
    assert not any("M1" in dict(labels).values() for _, labels in numbers)


# --- with several processes ---


def scrape(server: ServerProcess) -> Numbers:
    with closing(server.connect()) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return parsed(answer.read().decode())


def put(server: ServerProcess, name: str) -> dict[str, str]:
    """On a connection of its own, so that the kernel chooses the process."""
    with closing(server.connect()) as connection:
        connection.request("PUT", f"/dav/{name}", b"x" * 1000, {"Authorization": server.basic})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201
        return dict(answer.getheaders())


def test_each_process_tells_for_all_and_one_that_dies_is_not_forgotten(tmp_path: Path) -> None:
    with server_process(tmp_path, "--processes", "2") as server:
        until(lambda: number(scrape(server), "processes", kind="server") == 2)  # one that is late answers nobody yet
        ids = {put(server, f"{n}.txt")["X-Request-Id"] for n in range(30)}
        assert len(ids) == 30
        until(lambda: number(scrape(server), "responses_total", method="PUT", status="2xx") == 30)
        children = _children(server.process.pid)
        assert len(children) == 2
        shown = [scrape(server) for _ in range(10)]
        assert all(number(one, "responses_total", method="PUT", status="2xx") == 30 for one in shown)
        assert all(number(one, "request_seconds_count", method="PUT") == 30 for one in shown)
        assert all(number(one, "processes", kind="server") == 2 for one in shown)
        # A look at the database that took long is told again for up to a minute.
        until(lambda: number(scrape(server), "mirror_backlog_entries", status="pending") == 0, seconds=150)
        for child in children:  # one after the other, so that all that counted is gone
            _kill(child)
            until(lambda gone=child: gone not in _children(server.process.pid))  # type: ignore[misc]
            until(lambda: len(_children(server.process.pid)) == 2)
        server.wait_ready()
        until(lambda: number(scrape(server), "processes", kind="server") == 2)
        assert number(scrape(server), "responses_total", method="PUT", status="2xx") == 30
        living = sum(value for (name, _), value in scrape(server).items() if name == "kelp_processes")
        assert len(list((server.data / "metrics").iterdir())) <= living + 1


def _children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_settings_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--processes", "2", worker=False, telemetry_metrics_for="everybody")
    server.start()
    assert server.process.wait(60) == 1
    assert "telemetry.metrics_for" in server.log_text()
    assert not (server.data / "metrics").exists()


@pytest.mark.skipif(engines.CHOSEN.queue != "redis", reason="only there are workers")
def test_workers_are_seen_beside_the_server_and_on_a_port_of_their_own(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with server_process(tmp_path, telemetry_worker_port=port) as server:
        put(server, "a.txt")
        until(lambda: (number(scrape(server), "mirrored_total", outcome="done") or 0) >= 1)
        assert number(scrape(server), "processes", kind="worker") == 2
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", "/metrics")
            numbers = parsed(connection.getresponse().read().decode())
        assert (number(numbers, "mirrored_total", outcome="done") or 0) >= 1
        assert (number(numbers, "processes", kind="server") or 0) >= 1
    (tmp_path / "b").mkdir()
    with server_process(tmp_path / "b", telemetry_worker_port=port, telemetry_metrics_for="192.0.2.1") as server:
        until(lambda: _status(port) == 403)


def _status(port: int) -> int:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().status
    except OSError:
        return 0
