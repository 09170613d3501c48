"""An OpenTelemetry collector: takes OTLP over HTTP, decodes it, and remembers the spans."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """`trace`, `id` and `parent` are hex, "" for none."""

    name: str
    trace: str
    id: str
    parent: str
    seconds: float
    failed: bool
    attributes: dict[str, str]
    resource: dict[str, str]


class Collector:
    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.refuses = False
        self.waits = threading.Event()  # cleared: requests hang
        self.waits.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.waits.wait(30)
                if collector.refuses or self.path != "/v1/traces":
                    self.send_response(400)
                else:
                    whole = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                    collector.spans.extend(_decoded(whole))
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.waits.set()
        self._server.shutdown()
        self._server.server_close()

    def named(self, name: str, seconds: float = 20.0) -> list[Received]:
        """All spans of a name, once there is one."""
        until = time.monotonic() + seconds
        while not (found := [span for span in list(self.spans) if span.name == name]):
            assert time.monotonic() < until, f"no {name} among {sorted({span.name for span in self.spans})}"
            time.sleep(0.05)
        return found


def _decoded(body: bytes) -> Iterator[Received]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for group in request.resource_spans:
        resource = {each.key: each.value.string_value for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Received(
                    span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9, span.status.code == 2,
                    {each.key: each.value.string_value for each in span.attributes}, resource,
                )  # fmt: skip


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()
