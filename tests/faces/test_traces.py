"""One id for what a request caused, from the client to the NAS: in its answer, in spans, in every line of the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests import engines
from tests.server_process import ServerProcess, server_process
from tests.services.collector import Collector, collecting


def ask(server: ServerProcess, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """Status and X-Request-Id."""
    with closing(server.connect()) as connection:
        connection.request(method, path, body, {"Authorization": server.basic, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["X-Request-Id"]


def until(holds: Callable[[], bool], what: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def names_under(collector: Collector, trace_id: str) -> set[str]:
    return {span.name for span in list(collector.spans) if span.attributes["kelp.trace_id"] == trace_id}


def test_the_spans_of_a_request_and_of_its_job_are_one_trace(tmp_path: Path) -> None:
    with collecting() as collector, server_process(tmp_path, telemetry_endpoint=collector.url) as server:
        status, put = ask(server, "PUT", "/dav/secret plan.txt".replace(" ", "%20"), b"x" * 1000)
        assert status == 201
        expected = {"PUT", "db.transaction", "seaweed.upload_part", "nas.upload"}
        if engines.CHOSEN.queue == "redis":
            expected.add("redis.queue_add")
        until(lambda: expected <= names_under(collector, put), lambda: names_under(collector, put))
        spans = [span for span in collector.spans if span.attributes["kelp.trace_id"] == put]
        assert len({span.trace for span in spans}) == 1
        (root,) = (span for span in spans if span.name == "PUT")
        assert root.attributes["kelp.user"] == "admin" and root.attributes["kelp.face"] == "dav"
        inside = [span for span in spans if span.parent == root.id]
        assert {"db.transaction", "seaweed.upload_part"} <= {span.name for span in inside}
        assert all(span.seconds <= root.seconds for span in inside)
        _, moved = ask(server, "MOVE", "/dav/secret%20plan.txt", Destination="/dav/b.txt")
        until(lambda: "nas.move" in names_under(collector, moved), lambda: names_under(collector, moved))
        assert "secret" not in repr(collector.spans)


def test_a_json_log_is_json_to_its_last_line(tmp_path: Path) -> None:
    with server_process(tmp_path, "--log-level", "debug", log_format="json") as server:
        _, put = ask(server, "PUT", "/dav/a.txt", b"x" * 1000)
        _, missing = ask(server, "GET", "/dav/missing")
        assert missing != put and put.startswith("dav-")
        until(lambda: "nas.upload" in server.log_text(), server.log_text)
        server.stop()
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    assert all(line["time"].endswith("Z") and line["level"] and line["logger"] for line in lines)
    of_put = [line for line in lines if line.get("trace") == put]
    assert {line["method"] for line in of_put if "method" in line} == {"PUT"}
    assert {line["user"] for line in of_put if "user" in line} == {"admin"}
    assert any(line["message"].startswith("nas.upload") for line in of_put)
    assert all(len(line["span"]) == 16 for line in of_put if "span" in line)


def test_an_endpoint_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, worker=False, telemetry_endpoint="collector")
    server.start()
    assert server.process.wait(30) == 1
    assert server.log_text().count("\n") == 1 and "telemetry.endpoint" in server.log_text()
