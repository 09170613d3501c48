"""What the mirror does and cannot do stands under the request that caused it."""

from __future__ import annotations

from dataclasses import replace

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.test_due import give_up, refuse
from vfs import trace


def test_a_change_that_fails_for_good_ends_its_request_s_trace_with_the_alert(drive: MirrorDrive) -> None:
    spans: list[trace.Span] = []
    with trace.spans_to(spans.append):
        for name in ("bad", "good"):
            drive.caller = replace(drive.caller, trace_id=f"api-{name}")
            with trace.under(f"api-{name}"):
                drive.put(name)
        refuse(drive, "__bad")
        give_up(drive)

    def names(trace_id: str) -> set[str]:
        return {span.name for span in spans if span.trace_id == trace_id}

    of_request = {"db.transaction", "db.file_create", "db.file_event_insert", "db.sync_event_insert"}
    assert of_request | {"nas.upload", "db.sync_event_failed", "db.storage_error"} <= names("api-bad")
    assert of_request | {"nas.upload", "db.sync_event_done", "db.storage_available"} <= names("api-good")
    assert "db.sync_event_done" not in names("api-bad")
    with drive.kelp.database.read() as tx:
        assert tx.all("SELECT trace_id FROM alerts WHERE kind = 'MIRROR_FAILED'") == [("api-bad",)]


def test_jobs_are_below_the_request_in_whichever_process(drive: MirrorDrive) -> None:
    spans: list[trace.Span] = []
    with trace.spans_to(spans.append):
        request = trace.Work("api-1", "rest", "POST")
        drive.caller = replace(drive.caller, trace_id="api-1")
        with request:
            drive.put("a")
        trace.done(request, "POST")
        drive.settle_down()
    (root,) = (span for span in spans if span.name == "POST")
    (upload,) = (span for span in spans if span.name == "nas.upload")
    assert root.parent_id == 0
    assert upload.parent_id == root.span_id


def test_a_round_of_a_batch_is_a_span_when_it_had_something_to_do(drive: MirrorDrive) -> None:
    spans: list[trace.Span] = []
    with trace.spans_to(spans.append):
        with trace.round_of("cleanup", "idle"):
            pass
        with trace.round_of("cleanup", "busy"), drive.kelp.database.write():
            pass
    (step, whole) = spans
    assert (step.name, whole.name) == ("db.transaction", "busy")
    assert step.parent_id == whole.span_id
    assert step.trace_id.startswith("cleanup-")
