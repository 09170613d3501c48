"""Trace ids, spans and the log: every request and job has an id, and every log line of its work carries it (spec §14).

A span is a step of such a work, with a name ("db.transaction", "nas.upload"), a beginning and an end. Nobody looks at
them unless they are exported (`telemetry.py`) or the log tells everything; until then `span` does nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from random import getrandbits
from types import TracebackType
from typing import ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Fact: TypeAlias = str | int | float | bool


class Work:
    """What is being done under one trace id: a request, a job, a batch. All log lines and spans inside `with work:`
    belong to it, in one thread at a time.

    `user` is "" as long as nobody logged in. `span_id` is that of the work as a whole, 0 while spans are not wanted. It
    follows from the trace id, so what a job does under the id of the request that caused it is, in whichever process,
    below that request. `begun_ns` is when the work was made.
    """

    __slots__ = ("_open_span", "_outer", "begun_ns", "face", "has_steps", "method", "span_id", "trace_id", "user")

    def __init__(self, trace_id: str, face: str = "", method: str = "") -> None:
        self.trace_id, self.face, self.method = trace_id, face, method
        self.user, self.has_steps = "", False
        self.span_id, self.begun_ns = (0, 0) if _take is None else (_root(trace_id), time.time_ns())

    def __enter__(self) -> None:
        self._outer = _current.set(self)
        if self.span_id:
            self._open_span = _open_span.set(self.span_id)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.span_id:
            _open_span.reset(self._open_span)
        _current.reset(self._outer)

    def become(self, trace_id: str) -> None:
        """Inside the block, before its first span: now it is known what kind of work it is."""
        self.trace_id = trace_id
        if self.span_id:
            self.span_id = _root(trace_id)
            _open_span.set(self.span_id)


def _root(trace_id: str) -> int:
    return int.from_bytes(blake2b(trace_id.encode(), digest_size=8).digest()) or 1


@dataclass(frozen=True, slots=True)
class Span:
    """A step that has ended. `parent_id` 0: it is the work itself, or nobody knows. `error` is "" when it went well."""

    name: str
    trace_id: str
    span_id: int
    parent_id: int
    begun_ns: int
    ended_ns: int
    error: str
    facts: Mapping[str, Fact]


_take: Callable[[Span], None] | None = None  # who wants spans
_nobody = Work("-")
_current: contextvars.ContextVar[Work] = contextvars.ContextVar("kelp_work", default=_nobody)
_open_span: contextvars.ContextVar[int] = contextvars.ContextVar("kelp_span", default=0)


def new_id(kind: str) -> str:
    """`{kind}-{12 hex}`, such as `dav-5f0c…` for a request or `sweep-…` for a batch."""
    return f"{kind}-{getrandbits(48):012x}"


def current() -> str:
    """The trace id of the work at hand, "-" when there is none."""
    return _current.get().trace_id


def under(trace_id: str) -> Work:
    """All log lines inside the block carry the id: `with trace.under(…):`."""
    return Work(trace_id)


# --- spans ---


def span(name: str, **facts: Fact) -> AbstractContextManager[None]:
    """The block is a step of the work at hand. An error that leaves it is noted, and goes on."""
    return _NOTHING if _take is None else _Step(name, facts)


def around(name: str, block: AbstractContextManager[T]) -> AbstractContextManager[T]:
    """`block` as a step of the work at hand."""
    return block if _take is None else _around(name, block)


def step(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """For a function that is a step, whoever calls it."""

    def named(action: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(action)
        def run(*arguments: P.args, **options: P.kwargs) -> T:
            if _take is None:
                return action(*arguments, **options)
            with _Step(name, {}):
                return action(*arguments, **options)

        return run

    return named


@contextlib.contextmanager
def round_of(kind: str, name: str) -> Iterator[None]:
    """Work that nobody asked for: a span as a whole when it had any step, so not each time that nothing was due."""
    work, error = Work(new_id(kind)), ""
    try:
        with work:
            yield
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        if work.has_steps:
            done(work, name, error)


def carried(action: Callable[P, T]) -> Callable[P, T]:
    """The same, for another thread: what it does there belongs to the work at hand here."""
    context = contextvars.copy_context()
    return lambda *arguments, **options: context.run(action, *arguments, **options)


def is_followed() -> bool:
    """Whether somebody wants spans."""
    return _take is not None


def done(work: Work, name: str, error: str = "", **facts: Fact) -> None:
    """The work as a whole has ended."""
    if _take is None or not work.span_id:
        return
    known = {"face": work.face, "method": work.method, "user": work.user}
    facts = {**{key: value for key, value in known.items() if value}, **facts}
    _take(Span(name, work.trace_id, work.span_id, 0, work.begun_ns, time.time_ns(), error, facts))


@contextlib.contextmanager
def spans_to(take: Callable[[Span], None]) -> Iterator[None]:
    """Give each span that ends to `take`, which must neither wait nor raise. For the whole process."""
    global _take
    before = _take
    _take = take
    try:
        yield
    finally:
        _take = before


class _Nothing:
    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, at: object) -> None:
        return None


_NOTHING = _Nothing()


class _Step:
    __slots__ = ("_begun_ns", "_facts", "_id", "_name", "_parent", "_token")

    def __init__(self, name: str, facts: Mapping[str, Fact]) -> None:
        self._name, self._facts = name, facts

    def __enter__(self) -> None:
        self._parent, self._id = _open_span.get(), getrandbits(64)
        self._token = _open_span.set(self._id)
        self._begun_ns = time.time_ns()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _open_span.reset(self._token)
        if _take is not None:
            what = "" if kind is None else kind.__name__  # its words may name a file
            work, ended = _current.get(), time.time_ns()
            work.has_steps = True
            _take(Span(self._name, work.trace_id, self._id, self._parent, self._begun_ns, ended, what, self._facts))


@contextlib.contextmanager
def _around(name: str, block: AbstractContextManager[T]) -> Iterator[T]:
    with _Step(name, {}), block as inner:
        yield inner


# --- the log ---


class _AddTrace(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.trace = _current.get().trace_id
        return True


class JsonLines(logging.Formatter):
    """One object a line. What is not known is left out."""

    def format(self, record: logging.LogRecord) -> str:
        work, span_id = _current.get(), _open_span.get()
        when = datetime.fromtimestamp(record.created, UTC)
        facts = {
            "time": when.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace": "" if work is _nobody else work.trace_id,
            "span": f"{span_id:016x}" if span_id else "",
            "user": work.user,
            "face": work.face,
            "method": work.method,
            "process": record.process,
            "thread": record.threadName,
            "exception": self._exception(record),
        }
        return json.dumps({key: value for key, value in facts.items() if value}, ensure_ascii=False)

    def _exception(self, record: logging.LogRecord) -> str:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text or ""


def set_up_log(level: str = "INFO", form: str = "text") -> None:
    """Send the log to standard error, one line a record: time, level, trace id, module, message; or as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.addFilter(_AddTrace())
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(trace)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
