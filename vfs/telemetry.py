"""Spans on their way out: to an OpenTelemetry collector (OTLP over HTTP), to the log at level debug, or nowhere.

A request never waits for a collector: spans go into a bounded memory, from which a thread sends them, and what does not
fit is counted (`kelp_spans_dropped_total`) and gone. OpenTelemetry is an optional part of the installation
(`kelp[telemetry]`), imported when `telemetry.endpoint` is set and by this module alone.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from vfs import metrics, trace
from vfs.errors import ConfigurationError
from vfs.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

_log = logging.getLogger(__name__)
_spans_log = logging.getLogger("kelp.span")

MOST = 8192  # spans that wait: some 5 MiB
_AT_ONCE = 512  # in one request to the collector
_PERIOD = 1.0  # seconds between two looks whether there is something to send
_PATIENCE = 5.0  # seconds for one request to the collector, tries included
_LAST = 2.0  # … and for all that waits when the process ends
_URL = re.compile(r"https?://[^/\s@]+(/\S*)?", re.IGNORECASE)
_TRACES = "/v1/traces"  # OTLP 1.x, "OTLP/HTTP Request"


class _Exporter(Protocol):
    def export(self, spans: Sequence[ReadableSpan]) -> object: ...

    def shutdown(self) -> None: ...


def check(settings: Settings) -> None:
    """Raises ConfigurationError when spans cannot be exported as the settings say."""
    endpoint = settings.telemetry.endpoint
    if not endpoint:
        return
    if not _URL.fullmatch(endpoint):
        raise ConfigurationError("wrong value for telemetry.endpoint: it must be like http://collector.example:4318")
    try:
        missing = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise ConfigurationError("telemetry.endpoint needs OpenTelemetry: pip install 'kelp[telemetry]'")


@contextmanager
def following(settings: Settings, kind: str) -> Iterator[None]:
    """Inside, the spans of this process go where the settings say. `kind`: what it is, "server" or "worker".

    Raises ConfigurationError, see `check`.
    """
    check(settings)
    if settings.telemetry.endpoint:
        sending = Sending(_exporter(settings.telemetry.endpoint), kind)
        try:
            with trace.spans_to(sending.take):
                yield
        finally:
            sending.close()
    elif settings.log.format == "json" or _spans_log.isEnabledFor(logging.DEBUG):
        with trace.spans_to(_tell):  # the lines of a span carry its id
            yield
    else:
        yield


def _tell(span: trace.Span) -> None:
    if _spans_log.isEnabledFor(logging.DEBUG):
        facts = "".join(f" {name}={value}" for name, value in span.facts.items())
        took = (span.ended_ns - span.begun_ns) / 1e6
        _spans_log.debug("%s %.2f ms%s%s", span.name, took, facts, f" failed: {span.error}" if span.error else "")


class Sending:
    """A thread that sends what `take` was given."""

    def __init__(self, exporter: _Exporter, kind: str) -> None:
        self._exporter = exporter
        self._resource = _resource(kind)
        self._waiting: deque[trace.Span] = deque()
        self._ended = threading.Event()
        self._away = False  # … and the log says so: once, however long it lasts
        self._given_up = False  # the process ends, and does not wait any longer
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def take(self, span: trace.Span) -> None:
        """Never waits; what does not fit is dropped."""
        if len(self._waiting) < MOST:
            self._waiting.append(span)
        else:
            metrics.SPANS_DROPPED.inc()

    def close(self) -> None:
        """Send what waits, if the collector takes it within seconds."""
        self._ended.set()
        self._thread.join(_LAST)
        self._given_up = True
        self._exporter.shutdown()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_PERIOD)
            for _ in range(-(-len(self._waiting) // _AT_ONCE)):
                sent = self._send()
                if self._given_up or (self._ended.is_set() and not sent):
                    return

    def _send(self) -> bool:
        """False when the collector did not take them."""
        spans = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        try:
            result = self._exporter.export([_readable(span, self._resource) for span in spans])
            sent = getattr(result, "name", "") == "SUCCESS"
        except Exception as error:
            _log.debug("spans could not be exported: %s", error)
            sent = False
        if not sent:
            metrics.SPANS_DROPPED.inc(len(spans))
        if sent is self._away and not self._given_up:
            self._away = not sent
            _log.warning("the telemetry collector %s", "takes spans again" if sent else "is away: spans are dropped")
        return sent


# --- OpenTelemetry's terms ---


def _exporter(endpoint: str) -> _Exporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of each failure; we do it once
    url = endpoint.rstrip("/")
    return OTLPSpanExporter(url if url.endswith(_TRACES) else url + _TRACES, timeout=_PATIENCE)


def _resource(kind: str) -> Resource:
    from opentelemetry.sdk.resources import Resource

    instance = f"{socket.gethostname()}:{os.getpid()}"
    return Resource({"service.name": "kelp", "service.instance.id": instance, "kelp.process": kind})


def _readable(span: trace.Span, resource: Resource) -> ReadableSpan:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(span_id: int) -> SpanContext:
        return SpanContext(trace_number(span.trace_id), span_id, False, TraceFlags(TraceFlags.SAMPLED))

    named = {name if "." in name else f"kelp.{name}": value for name, value in span.facts.items()}
    return ReadableSpan(
        span.name,
        context(span.span_id),
        parent=context(span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes={"kelp.trace_id": span.trace_id, **named},
        kind=SpanKind.INTERNAL if span.parent_id else SpanKind.SERVER,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
        start_time=span.begun_ns,
        end_time=span.ended_ns,
    )


@lru_cache(maxsize=256)
def trace_number(trace_id: str) -> int:
    """OpenTelemetry's trace id, 16 bytes: the same for all spans of one of ours, in whichever process."""
    return int.from_bytes(blake2b(trace_id.encode(), digest_size=16).digest())
