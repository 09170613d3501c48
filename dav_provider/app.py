"""The WSGI application: our layers around WsgiDAV. It knows nothing of the server.

trace id → the door (some addresses may not come) → catch-all → authentication → KelpProvider | FrontProvider, for the
methods that clients repeat directly and for the others by WsgiDAV, whose routing costs as much as a small GET (200 µs →
110 µs without it).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from wsgidav.dav_error import DAVError
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from dav_provider import connect, door
from dav_provider.caller import admit
from dav_provider.counted import Counted
from dav_provider.errors import answer_for, status_of
from dav_provider.forwarding import Front
from dav_provider.front import FrontProvider
from dav_provider.health import HEALTHY, READY, Health
from dav_provider.metrics_page import METRICS, MetricsPage
from dav_provider.paths import MOUNT, MOUNT_HREF, origin_form
from dav_provider.provider import ALLOW, REQUEST_KEY, START_KEY, KelpProvider
from dav_provider.request import (
    Answer,
    Environ,
    Headers,
    Request,
    StartResponse,
    WsgiApp,
    hosts_of,
    peer_of,
    send,
    tell_by,
    text_answer,
)
from vfs import trace
from vfs.core import Kelp
from vfs.counts import Counting
from vfs.errors import KelpError
from vfs.operations import logged, reading
from vfs.operations.onlookers import Onlookers
from vfs.settings import Settings
from vfs.web.contents import close

_log = logging.getLogger(__name__)
_MOUNT_PATH = MOUNT_HREF.rstrip("/")
_API, _PEER, _HOSTS = "/api/", "kelp.peer", "kelp.hosts"
_FOR_ALL = frozenset((HEALTHY, READY))  # whatever watches the server may ask from anywhere
_DIRECT = frozenset(("OPTIONS", "GET", "HEAD", "PUT", "PROPFIND", "LOCK", "UNLOCK", "COPY", "MOVE"))


def check_settings(settings: Settings) -> None:
    """Raises ConfigurationError for what `make_app` would refuse."""
    Front.of(settings.server)
    Onlookers(settings.telemetry)


def make_app(kelp: Kelp, counting: Counting | None = None, api: WsgiApp | None = None) -> WsgiApp:
    """The drive at `/dav/`, a small folder above it for clients that probe `/`, `/connect`, and what monitors ask.

    `counting`: what the processes that share a port count together. `api`: who answers below `/api/`; it gets the
    client of the connection as `kelp.peer`, and for an `Origin` to be compared `kelp.hosts`. Raises ConfigurationError
    for wrong settings of what is in front of it, or of who may look at it.
    """
    in_front = Front.of(kelp.settings.server)
    drive, front = KelpProvider(kelp), FrontProvider(kelp)
    about_us = _about_us(kelp, counting or Counting(), in_front)
    others, told = _wsgidav(drive, front), partial(logged.target, kelp)

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        tell_by(environ, told)
        method: str = environ["REQUEST_METHOD"]
        path = origin_form(environ.get("REQUEST_URI") or environ["PATH_INFO"]).partition("?")[0]
        tells = about_us.get(path)
        if tells is not None and path in _FOR_ALL:
            return send(tells(environ), method, start_response)
        if api is not None and (environ["PATH_INFO"] + "/").startswith(_API):  # it has a door of its own
            environ[_PEER] = peer_of(environ, in_front)
            if "HTTP_ORIGIN" in environ:
                environ[_HOSTS] = hosts_of(environ, in_front)
            return api(environ, start_response)
        counted = Counted(method)
        refused = door.refusal(kelp, in_front, environ, counted)
        if refused is not None:
            return counted.whole(refused, start_response)
        if tells is not None:
            return send(tells(environ), method, start_response)
        try:
            request = Request(environ, counted.trace_id, in_front)
        except KelpError as error:  # a path that no entry can have
            return counted.whole(text_answer(status_of(error), str(error)), start_response)
        with counted, reading.moment(kelp):
            try:
                asks_how = connect.answers(request)
                answer = connect.answer(kelp.settings, request) if asks_how else admit(kelp, request)
                if answer is None:
                    counted.user = request.caller.name
                    if method in _DIRECT:
                        answer = (drive if request.path[:1] == MOUNT else front).respond(request)
            except Exception:
                answer = _failed(request)
        if answer is None:
            start_response = counted.listening(start_response)
            pieces = others(_for_wsgidav(environ, request, start_response), start_response)
            return _Guarded(request, pieces, start_response, counted)
        if isinstance(answer.body, bytes):
            return counted.whole(answer, start_response)
        counted.status = answer.status
        pieces = send(answer, method, start_response, counted.trace_id)
        return _Guarded(request, pieces, start_response, counted)

    return app


def _about_us(kelp: Kelp, counting: Counting, in_front: Front | None) -> dict[str, Callable[[Environ], Answer]]:
    """What monitors ask, by path."""
    health, page = Health(kelp), MetricsPage(kelp, counting)

    def metrics(environ: Environ) -> Answer:
        trace_id = trace.new_id("metrics")
        with trace.under(trace_id):
            return page.answer(Request(environ, trace_id, in_front))

    looks = {path: partial(_of_health, health, path) for path in (HEALTHY, READY)}
    return {**looks, METRICS: metrics}


def _of_health(health: Health, path: str, environ: Environ) -> Answer:
    return health.answer(path, environ["REQUEST_METHOD"])


def _wsgidav(drive: KelpProvider, front: FrontProvider) -> WsgiApp:
    app: WsgiApp = WsgiDAVApp(
        {
            "provider_mapping": {_MOUNT_PATH: drive, "/": front},
            "middleware_stack": [RequestResolver],
            "lock_storage": False,  # locks and properties live in our database
            "property_manager": False,
            "http_authenticator": {"accept_basic": False},
            "hotfixes": {"re_encode_path_info": False},
            "logging": {"enable": False},
            "verbose": 1,
        }
    )
    return app


def _for_wsgidav(environ: Environ, request: Request, start_response: StartResponse) -> Environ:
    """What WsgiDAV needs to route, and keep its hands off."""
    environ[REQUEST_KEY], environ[START_KEY] = request, start_response
    # Only the first segment decides; the rest, decoded once, is in the Request.
    environ["PATH_INFO"] = _MOUNT_PATH if request.path[:1] == MOUNT else "/"
    environ["SCRIPT_NAME"] = ""
    environ["wsgidav.auth.user_name"] = request.caller.name
    # Otherwise it reads a refused body into memory, whole. The server drains what is small and closes else.
    environ["wsgidav.some_input_read"] = environ["wsgidav.all_input_read"] = 1
    return environ


def _failed(request: Request) -> Answer:
    """For what nobody foresaw: inside its `except` block, with the traceback in the log and none in the answer."""
    _log.exception("%s %s failed", request.method, request.logged)
    return text_answer(500, f"Something went wrong here. It was logged under {request.trace_id}.")


class _Guarded(Iterator[bytes]):
    """The body of a response, and the last place where an error can go.

    Before the headers went out an error becomes a plain 500 with the trace id, after that the connection
    ends early (R3: the client sees it by the length). The traceback of what nobody foresaw goes to the log.
    """

    def __init__(
        self, request: Request, pieces: Iterable[bytes], start_response: StartResponse, counted: Counted
    ) -> None:
        self._request, self._counted = request, counted
        self._source = pieces
        self._pieces = iter(pieces)
        self._start_response = start_response
        self._begun = False

    def __next__(self) -> bytes:
        with self._counted:
            try:
                piece = next(self._pieces)
            except StopIteration:
                raise
            except DAVError as error:  # WsgiDAV's own refusals: a method it does not know
                text = f"{self._request.method} is not supported here"
                return self._instead(text_answer(error.value, text, ("Allow", ALLOW)), error)
            except KelpError as error:  # foreseen: a store that fails in the middle, a content that is lost
                _log.warning("%s %s ended early: %s", self._request.method, self._request.logged, error)
                return self._instead(answer_for(error, self._request), error)
            except Exception as error:
                return self._instead(_failed(self._request), error)
        self._begun = True
        return piece

    def _instead(self, answer: Answer, error: Exception) -> bytes:
        if self._begun:
            raise ConnectionAbortedError("the answer could not be completed") from error
        self._begun = True
        self._counted.status = answer.status
        self._pieces = iter(())
        again = (type(error), error, error.__traceback__)  # PEP 3333: headers were set, but not sent yet

        def start_response(status: str, headers: Headers) -> None:
            self._start_response(status, headers, again)

        return b"".join(send(answer, self._request.method, start_response, self._request.trace_id))

    def close(self) -> None:
        close(self._source)
        self._counted.end()
