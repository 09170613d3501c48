"""The WSGI application below `/api`: routes from tables, authentication, errors as JSON, spans and counts.

It knows nothing of the server and nothing of the other faces. What is in front of it gives it three things in WSGI's
dictionary: `kelp.peer` (a `vfs.model.Peer`), for a request with an `Origin` `kelp.hosts` (the names this server was
asked by, in lower case, without the ports 80 and 443), and a `wsgi.input` that tells by an error where a body is cut.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Any, TypeAlias
from urllib.parse import quote

import falcon

from http_api import caller, errors, openapi, tables
from http_api.messages import language_of
from http_api.routing import Ask, Reply, Route, Streamed
from vfs import metrics, trace
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.operations import doorkeeping, reading

PREFIX = "/api"
PEER = "kelp.peer"

Environ: TypeAlias = dict[str, Any]
WsgiApp: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_log = logging.getLogger(__name__)
_SAFE = frozenset(("GET", "HEAD"))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BY_STATUS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 415: "UNSUPPORTED_MEDIA_TYPE"}


def make_api(kelp: Kelp) -> WsgiApp:
    """Everything below `/api`; paths come with that prefix."""
    app = falcon.App(middleware=[_Door(kelp)])
    app.req_options.strip_url_path_trailing_slash = False
    app.req_options.keep_blank_qs_values = True
    app.resp_options.secure_cookies_by_default = True
    routes = tables.ROUTES
    for path, at in _by_path(routes).items():
        app.add_route(PREFIX + path, _resource(kelp, at))
    app.add_route(PREFIX, _Entrance())
    openapi.add_to(app, PREFIX, routes)
    app.set_error_serializer(lambda request, response, error: None)
    app.add_error_handler(falcon.HTTPError, _of_falcon)
    app.add_error_handler(KelpError, _refused)
    app.add_error_handler(Exception, _failed)
    return _Counted(app)


class _Door:
    """Who may not come from his network address is refused before anything else is looked at."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        doorkeeping.let_in(self._kelp, request.env[PEER], "rest")


class _Entrance:
    """Who has only heard that there is an API finds its page."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.status = falcon.HTTP_308
        response.location = f"{PREFIX}/docs"


def _by_path(routes: Sequence[Route]) -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for route in routes:
        found.setdefault(route.path, []).append(route)
    return found


def _resource(kelp: Kelp, routes: Sequence[Route]) -> object:
    """Falcon's resource: one responder for each method of a path; HEAD where there is GET."""
    responders: dict[str, Any] = {}
    for route in routes:
        responder = _responder(kelp, route)
        responders[f"on_{route.method.lower()}"] = responder
        if route.method == "GET":
            responders.setdefault("on_head", responder)
    return type("Resource", (), {name: staticmethod(each) for name, each in responders.items()})()


def _responder(kelp: Kelp, route: Route) -> Callable[..., None]:
    def respond(request: falcon.Request, response: falcon.Response, **ids: str) -> None:
        request.context.route = route
        response.set_headers(list(route.always))
        work: trace.Work = request.env[_WORK]
        if route.trace != "api":
            work.become(trace.new_id(route.trace))
        # What only looks sees one moment, so it asks the database once; what changes something looks again and again.
        with reading.moment(kelp) if request.method in _SAFE else nullcontext():
            with trace.span("api.request_validate"):
                asks = caller.of(kelp, request, route, work.trace_id)
            work.user = asks.name
            reply = route.do(Ask(kelp, asks, request, ids))
            with trace.span("api.response"):
                _send(reply, response)

    return respond


def _send(reply: Reply | Streamed, response: falcon.Response) -> None:
    response.status = falcon.code_to_http_status(reply.status)
    for name, value in reply.headers:
        response.append_header(name, value)
    if isinstance(reply, Streamed):
        if isinstance(reply.pieces, bytes):
            response.data = reply.pieces
        else:
            response.stream = iter(reply.pieces)
        if reply.length is not None:
            response.content_length = reply.length
    elif reply.model is not None:
        _mark_as_json(response)
        response.data = reply.model.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _mark_as_json(response: falcon.Response) -> None:
    """What it tells is the caller's alone, and true now."""
    response.content_type = "application/json; charset=utf-8"
    response.set_header("X-Content-Type-Options", "nosniff")
    if "cache-control" not in response.headers:
        response.set_header("Cache-Control", "private, no-store")


# --- what goes wrong ---


def _of_falcon(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, _params: Any) -> None:
    """Falcon's own: a path or method that nobody has, a query string that cannot be read."""
    code = _BY_STATUS.get(error.status_code, "INVALID_REQUEST" if error.status_code < 500 else "INTERNAL_ERROR")
    _refuse(request, response, errors.ApiError(code))
    for name, value in dict(error.headers or {}).items():
        response.set_header(name, value)


def _refused(request: falcon.Request, response: falcon.Response, error: KelpError, _params: Any) -> None:
    _refuse(request, response, error)


def _failed(request: falcon.Request, response: falcon.Response, error: Exception, _params: Any) -> None:
    """What nobody foresaw: the traceback in the log, and none in the answer."""
    _log.error("%s %s failed", request.method, quote(request.path), exc_info=error)
    _refuse(request, response, errors.ApiError("INTERNAL_ERROR"))


def _refuse(request: falcon.Request, response: falcon.Response, error: KelpError) -> None:
    route: Route | None = getattr(request.context, "route", None)
    noun, target, actions = (route.noun, route.target, route.actions) if route else ("", False, ())
    language = language_of(request.get_header("Accept-Language"))
    found = errors.refusal(error, trace.current(), language, noun, target=target, actions=actions)
    if found.status >= 500:
        _log.warning("%s %s: %s: %s", request.method, quote(request.path), type(error).__name__, error)
    response.status = falcon.code_to_http_status(found.status)
    _mark_as_json(response)
    response.stream = None
    response.data = found.body.model_dump_json(by_alias=True).encode()
    for name, value in (*found.headers, ("Content-Language", language)):
        response.append_header(name, value)


# --- around all of it ---

_WORK = "kelp.work"


class _Counted:
    """Each request under its trace id, counted for `/metrics`, until the last piece of its answer has gone."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        work = trace.Work(trace.new_id("api"), "rest", environ["REQUEST_METHOD"])
        environ[_WORK] = work
        begun, status = perf_counter(), [500]

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            status[0] = int(line[:3])
            return start_response(line, [*headers, ("X-Request-Id", work.trace_id)], exc_info)

        def end() -> None:
            method = work.method if work.method in _METHODS else "other"
            metrics.REQUESTS.note(method, status[0], perf_counter() - begun)
            trace.done(work, method, "" if status[0] < 500 else str(status[0]), status=status[0])

        with work:
            pieces = self._app(environ, start)
        if isinstance(pieces, list):  # whole already
            end()
            return pieces
        return _Answer(work, pieces, end)


class _Answer(Iterator[bytes]):
    """The body of an answer. An error after its head ends the connection: the client sees by the length that it was
    cut."""

    def __init__(self, work: trace.Work, pieces: Iterable[bytes], end: Callable[[], None]) -> None:
        self._work, self._source, self._pieces, self._end = work, pieces, iter(pieces), end

    def __next__(self) -> bytes:
        with self._work:
            try:
                return next(self._pieces)
            except StopIteration:
                raise
            except KelpError as error:
                _log.warning("an answer ended early: %s", error)
                raise ConnectionAbortedError("the answer could not be completed") from error

    def close(self) -> None:
        closing = getattr(self._source, "close", None)
        try:
            if closing is not None:
                closing()
        finally:
            self._end()
