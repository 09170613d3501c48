"""One id for what a request caused, from the client to the NAS: in its answer, in spans, in every line of the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import engines
from tests.server_process import ServerProcess, server_process
from tests.services.collector import Collector, Received, collecting


def ask(server: ServerProcess, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """Status and X-Request-Id."""
    with closing(server.connect()) as connection:
        connection.request(method, path, body, {"Authorization": server.basic, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["X-Request-Id"]


def until(holds: Callable[[], bool], what: Callable[[], object], seconds: float = 60.0) -> None:
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
        (upload,) = (span for span in inside if span.name == "seaweed.upload_part")
        assert upload.seconds <= root.seconds
        _, moved = ask(server, "MOVE", "/dav/secret%20plan.txt", Destination="/dav/b.txt")
        until(lambda: "nas.move" in names_under(collector, moved), lambda: names_under(collector, moved))
        assert "secret" not in repr(collector.spans)


def ask_api(server: ServerProcess, method: str, path: str, body: Any = None) -> tuple[str, dict[str, Any]]:
    """The trace id and the answer; `body` is bytes, or becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    headers = {"Authorization": server.basic, "Content-Type": kind, "Prefer": "respond-async"}
    with closing(server.connect()) as connection:
        connection.request(method, f"/api{path}", data, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status < 300, found
        assert found.get("traceId", answer.headers["X-Request-Id"]) == answer.headers["X-Request-Id"]
        return answer.headers["X-Request-Id"], found


def spans_under(collector: Collector, trace_id: str, *expected: str) -> dict[str, list[Received]]:
    """All spans of a trace by their names, once those expected are among them, and what they are below: that ends
    later, and may be sent later."""

    def is_whole() -> bool:
        spans = [span for span in list(collector.spans) if span.attributes["kelp.trace_id"] == trace_id]
        below, ids = {span.parent for span in spans}, {span.id for span in spans}
        return set(expected) <= {span.name for span in spans} and below <= ids | {""}

    until(is_whole, lambda: names_under(collector, trace_id))
    found: dict[str, list[Received]] = {}
    for span in list(collector.spans):
        if span.attributes["kelp.trace_id"] == trace_id:
            found.setdefault(span.name, []).append(span)
    return found


_REQUEST = ("api.request_validate", "api.response")
_CHANGE = ("db.transaction", "db.file_event_insert", "db.sync_event_insert", "db.storage_object_update")
_MIRRORED = ("db.sync_event_done", "db.storage_available")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, ServerProcess]]:
    """A server for tests that look at single traces only."""
    folder = tmp_path_factory.mktemp("traced")
    with collecting() as collector, server_process(folder, telemetry_endpoint=collector.url) as server:
        yield collector, server
    engines.drop_below(folder)


def test_a_request_by_rest_and_what_it_causes_are_one_tree(traced: tuple[Collector, ServerProcess]) -> None:
    collector, server = traced
    queued = ("redis.queue_add",) if engines.CHOSEN.queue == "redis" else ()
    asked, answer = ask_api(server, "POST", "/files/upload?fileName=secret.txt", b"x" * 1000)
    expected = ("POST", *_REQUEST, *_CHANGE, "seaweed.upload_part", "db.file_create", "nas.upload", *_MIRRORED)
    found = spans_under(collector, asked, *expected, *queued)
    assert asked.startswith("api-")
    (root,) = found["POST"]
    assert (root.parent, root.attributes["kelp.face"], root.attributes["kelp.user"]) == ("", "rest", "admin")
    for name in (*_REQUEST, "seaweed.upload_part", "nas.upload", *queued):
        assert {span.parent for span in found[name]} == {root.id}, name
    transactions = {span.id for span in found["db.transaction"]}
    assert {span.parent for span in found["db.sync_event_insert"]} <= transactions
    all_ids = {span.id for spans in found.values() for span in spans}
    assert {span.parent for spans in found.values() for span in spans} <= all_ids | {""}
    servers, workers = root.resource["kelp.process"], found["nas.upload"][0].resource["kelp.process"]
    assert (servers, workers) == ("server", "worker" if queued else "server")
    file = answer["file"]["id"]
    renamed, _ = ask_api(server, "PUT", f"/files/{file}/rename", {"newName": "another secret.txt"})
    found = spans_under(collector, renamed, "PUT", *_REQUEST, *_CHANGE, "db.file_update", "nas.move", *_MIRRORED)
    assert {span.parent for span in found["nas.move"]} == {found["PUT"][0].id}
    trashed, _ = ask_api(server, "DELETE", f"/files/{file}")
    spans_under(collector, trashed, "DELETE", *_REQUEST, *_CHANGE, "nas.move", *_MIRRORED)
    assert "secret" not in repr(collector.spans)


def test_each_phase_of_an_upload_in_parts_has_its_kind_of_trace(traced: tuple[Collector, ServerProcess]) -> None:
    collector, server = traced

    def phase(kind: str, method: str, path: str, body: Any, *expected: str) -> dict[str, Any]:
        trace_id, answer = ask_api(server, method, f"/files/multipart{path}", body)
        assert trace_id.startswith(f"{kind}-")
        found = spans_under(collector, trace_id, method, *_REQUEST, *expected)
        (root,) = found[method]
        ids = {span.id for spans in found.values() for span in spans}
        assert {span.parent for spans in found.values() for span in spans} <= ids | {""}
        assert {span.parent for span in found["api.response"]} == {root.id}
        return answer

    def begin(name: str) -> str:
        steps = ("db.folder_validate", "db.session_create", "db.transaction")
        begun = phase("init", "POST", "/initiate", {"fileName": name, "totalSize": 2000}, *steps)
        return str(begun["sessionId"])

    upload = begin("a.bin")
    for number in (1, 2):
        steps = ("db.session_lookup", "seaweed.upload_part", "db.upload_part_create", "db.transaction")
        phase("part", "PUT", f"/{upload}/parts/{number}", b"x" * 1000, *steps)
    phase("resume", "GET", f"/{upload}/status", None, "db.session_lookup", "db.uploaded_parts_list")
    steps = ("seaweed.complete_multipart", *_CHANGE, "db.file_create", "nas.upload", *_MIRRORED)
    phase("complete", "POST", f"/{upload}/complete", {}, *steps)
    other = begin("b.bin")
    phase("abort", "DELETE", f"/{other}", None, "db.transaction", "seaweed.abort_multipart")


def test_a_json_log_is_json_to_its_last_line(tmp_path: Path) -> None:
    with server_process(tmp_path, "--log-level", "debug", log_format="json") as server:
        _, put = ask(server, "PUT", "/dav/a.txt", b"x" * 1000)
        _, missing = ask(server, "GET", "/dav/missing")
        assert missing != put and put.startswith("dav-")
        last = "redis.queue_add" if engines.CHOSEN.queue == "redis" else "nas.upload"  # a worker tells less
        until(lambda: last in server.log_text(), server.log_text)
        server.stop()
    lines = [json.loads(line) for line in server.log_text().splitlines()]
    assert all(line["time"].endswith("Z") and line["level"] and line["logger"] for line in lines)
    of_put = [line for line in lines if line.get("trace") == put]
    assert {line["method"] for line in of_put if "method" in line} == {"PUT"}
    assert {line["user"] for line in of_put if "user" in line} == {"admin"}
    assert any(line["message"].startswith(last) for line in of_put)
    assert all(len(line["span"]) == 16 for line in of_put if "span" in line)


def test_an_endpoint_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, worker=False, telemetry_endpoint="collector")
    server.start()
    assert server.process.wait(30) == 1
    assert server.log_text().count("\n") == 1 and "telemetry.endpoint" in server.log_text()
