"""Trace ids and the log: every request and job has an id, and every log line of its work carries it (spec §14)."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import secrets
import sys
from collections.abc import Iterator

_current: contextvars.ContextVar[str] = contextvars.ContextVar("kelp_trace", default="-")


def new_id(kind: str) -> str:
    """`{kind}-{12 hex}`, such as `dav-5f0c…` for a request or `sweep-…` for a batch."""
    return f"{kind}-{secrets.token_hex(6)}"


def current() -> str:
    return _current.get()


@contextlib.contextmanager
def under(trace_id: str) -> Iterator[None]:
    """All log lines inside the block carry `trace_id`."""
    token = _current.set(trace_id)
    try:
        yield
    finally:
        _current.reset(token)


class _AddTrace(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.trace = _current.get()
        return True


def set_up_log(level: str = "INFO") -> None:
    """Send the log to standard error, one line a record: time, level, trace id, module, message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_AddTrace())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(trace)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
