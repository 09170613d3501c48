"""Trace ids, spans and log lines; how spans go to a collector, and what happens when it is slow or away."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.services.collector import collecting
from tests.waiting import until
from vfs import metrics, telemetry, trace
from vfs.errors import ConfigurationError, NotFound
from vfs.settings import Log, Settings, Telemetry


def settings_for(endpoint: str) -> Settings:
    return replace(Settings(), telemetry=Telemetry(endpoint=endpoint))


def test_spans_are_nested_and_belong_to_the_work() -> None:
    spans: list[trace.Span] = []
    with trace.spans_to(spans.append):
        work = trace.Work("dav-1", "dav", "PUT")
        with work:
            with trace.span("outer", bytes=3), trace.span("inner"):
                pass
            with pytest.raises(NotFound), trace.span("failing"):
                raise NotFound("secret.txt")
            thread = threading.Thread(target=trace.carried(lambda: trace.span("elsewhere").__enter__()))
            thread.start()
            thread.join()
        work.user = "kim"
        trace.done(work, "PUT", status=201)
    inner, outer, failing, whole = spans
    assert [span.name for span in spans] == ["inner", "outer", "failing", "PUT"]
    assert {span.trace_id for span in spans} == {"dav-1"}
    assert inner.parent_id == outer.span_id != 0
    assert outer.parent_id == failing.parent_id == whole.span_id
    assert outer.facts == {"bytes": 3} and outer.begun_ns <= inner.begun_ns <= inner.ended_ns <= outer.ended_ns
    assert failing.error == "NotFound"  # and not its words, which may name files
    assert whole.facts == {"face": "dav", "method": "PUT", "user": "kim", "status": 201}


def test_without_somebody_who_wants_them_there_are_no_spans() -> None:
    work = trace.Work("dav-1")
    with work, trace.span("nothing") as nothing:
        assert nothing is None
        assert trace.current() == "dav-1"
    trace.done(work, "GET")
    assert work.span_id == 0
    assert trace.span("a") is trace.span("b")  # one value for all: it costs nothing


def test_a_line_of_the_json_log_is_one_object(caplog: pytest.LogCaptureFixture) -> None:
    form = trace.JsonLines()
    log = logging.getLogger("tests.lines")
    lines: list[dict[str, object]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = form.format(record)
            assert "\n" not in text
            lines.append(json.loads(text))

    log.addHandler(Keep())
    log.propagate = False  # pytest's workers cannot send each other what is no UTF-8
    work = trace.Work("dav-1", "dav", "PUT")
    work.user = "김"
    with trace.spans_to(lambda span: None), work, trace.span("db.transaction"):
        log.warning("two\nlines of %s", "\udcff")
        try:
            raise ValueError("wrong")
        except ValueError:
            log.exception("failed")
    log.warning("outside")
    first, second, third = lines
    assert first["message"] == "two\nlines of \udcff"
    assert (first["level"], first["logger"], first["trace"]) == ("WARNING", "tests.lines", "dav-1")
    assert (first["user"], first["face"], first["method"]) == ("김", "dav", "PUT")
    assert len(str(first["span"])) == 16 and first["span"] == second["span"]
    when = datetime.fromisoformat(str(first["time"]))
    assert when.utcoffset() == timedelta(0) and str(first["time"]).endswith("Z")
    assert abs(when.timestamp() - time.time()) < 60
    assert "Traceback" in str(second["exception"]) and "ValueError: wrong" in str(second["exception"])
    assert not {"trace", "span", "user", "face", "method", "exception"} & third.keys()


def test_spans_reach_the_collector() -> None:
    with collecting() as collector, telemetry.following(settings_for(collector.url), "server"):
        work = trace.Work("dav-1", "dav", "PUT")
        with work, pytest.raises(NotFound), trace.span("nas.upload"):
            raise NotFound("secret.txt")
        trace.done(work, "PUT", status=201)
        with trace.under("dav-1"), trace.span("nas.move"):
            time.sleep(0.01)
        (upload,), (move,), (whole,) = (collector.named(name) for name in ("nas.upload", "nas.move", "PUT"))
        assert upload.trace == move.trace == whole.trace and len(whole.trace) == 32
        assert upload.parent == whole.id and whole.parent == ""
        assert upload.failed and not whole.failed
        assert move.seconds >= 0.01
        assert whole.attributes["kelp.trace_id"] == "dav-1" and whole.attributes["kelp.method"] == "PUT"
        assert whole.resource["service.name"] == "kelp" and whole.resource["kelp.process"] == "server"
        assert "secret" not in repr(collector.spans)


def test_what_waits_is_sent_at_the_end() -> None:
    with collecting() as collector:
        with telemetry.following(settings_for(collector.url), "server"), trace.under("cli-1"):
            for _ in range(1500):
                with trace.span("batch.step"):
                    pass
        assert len(collector.named("batch.step")) == 1500


@pytest.mark.parametrize("fault", ["absent", "refuses", "hangs"])
def test_a_collector_that_is_away_slows_nobody(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """Memory is bounded, what does not fit is counted, and the log says so once."""
    dropped = metrics.counted()["kelp_spans_dropped_total", ()]
    many = 3 * telemetry.MOST
    with collecting() as collector:
        if fault == "absent":
            collector.close()
        collector.refuses = fault == "refuses"
        if fault == "hangs":
            collector.waits.clear()
        with telemetry.following(settings_for(collector.url), "server"), trace.under("dav-1"):
            longest = 0.0
            for _ in range(many):
                begun = time.monotonic()
                with trace.span("db.transaction"):
                    pass
                longest = max(longest, time.monotonic() - begun)
            assert longest < telemetry._PATIENCE, "none waits until the collector is given up"
            until(lambda: "is away" in caplog.text)
        collector.waits.set()
    assert metrics.counted()["kelp_spans_dropped_total", ()] - dropped > telemetry.MOST
    assert caplog.text.count("is away") == 1


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://user:secret@collector", "http://"])
def test_an_endpoint_that_makes_no_sense_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"telemetry\.endpoint") as refused:
        telemetry.check(settings_for(endpoint))
    assert "secret" not in str(refused.value)


def test_without_opentelemetry_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"kelp\[telemetry\]"):
        telemetry.check(settings_for("http://collector:4318"))
    telemetry.check(Settings())


def test_spans_are_told_at_level_debug(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.DEBUG, "kelp.span"), telemetry.following(Settings(), "server"):
        with trace.under("dav-1"), trace.span("db.transaction", rows=2):
            pass
        assert trace.is_followed()
    assert "db.transaction" in caplog.text and "rows=2" in caplog.text
    with telemetry.following(replace(Settings(), log=Log(format="json")), "server"):
        assert trace.is_followed()
    with telemetry.following(Settings(), "server"):
        assert not trace.is_followed()
