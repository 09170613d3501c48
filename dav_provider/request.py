"""One request and its answer, as values: the handlers of this face never see WSGI's dictionary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeAlias

from dav_provider.forwarding import Front, Origin, is_forwarded, is_loopback
from dav_provider.http_body import Body, SizedBody
from dav_provider.if_header import IfHeader, parse_if
from dav_provider.paths import Segments, host_name, parse_target
from vfs.errors import InvalidRequest
from vfs.model import Caller, Peer
from vfs.web.contents import close

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers: TypeAlias = list[tuple[str, str]]

_log = logging.getLogger(__name__)


_LOGGED = "kelp.logged"


def logged(environ: Mapping[str, Any], target: str) -> str:
    """The target of a request as the log may tell it: see `tell_by`."""
    tell: Callable[[str], str] = environ.get(_LOGGED, str)
    return tell(target)


def tell_by(environ: Environ, tell: Callable[[str], str]) -> None:
    """From here on the log has what `tell` makes of the target."""
    environ[_LOGGED] = tell


class Request:
    """What the client asks. `caller` is set by the authentication; nothing before it may need one."""

    caller: Caller

    def __init__(self, environ: Environ, trace_id: str, front: Front | None = None) -> None:
        """Raises what `paths.parse_target` raises."""
        self.method: str = environ["REQUEST_METHOD"]
        self.trace_id = trace_id
        self.target: str = environ.get("REQUEST_URI") or environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
        self.path: Segments = () if self.target == "*" else parse_target(self.target)
        self.secure: bool = environ.get("wsgi.url_scheme") == "https"
        self.remote_address: str = environ.get("REMOTE_ADDR", "")  # the client's, as far as it is known
        self._front = front
        self._origin: Origin | None = None
        if front is not None:
            self._take(front.origin(environ))
        self.chunked = bool(environ.get("wsgi.input_terminated"))
        self._environ: Mapping[str, Any] = environ

    def _take(self, origin: Origin | None) -> None:
        if origin is not None:
            self._origin, self.remote_address = origin, origin.address
            self.secure = self.secure if origin.secure is None else origin.secure

    @property
    def client_address(self) -> str | None:
        """The client's own address; None when it may be that of a proxy, trusted or not, which speaks for others."""
        if self._origin is None:
            return None if is_forwarded(self._environ) else self.remote_address
        is_proxy = self._front is not None and self._front.trusts(self._origin.address)
        return self._origin.address if self._origin.local or not is_proxy else None

    @property
    def local(self) -> bool:
        """Whether the client is on this machine, so that its password crosses no network."""
        return self._origin.local if self._origin is not None else is_loopback(self.remote_address)

    @property
    def peer(self) -> Peer:
        return Peer(self.remote_address, self.secure, self.local, self.client_address is not None)

    @property
    def logged(self) -> str:
        """The target as the log may tell it."""
        return logged(self._environ, self.target)

    def header(self, name: str) -> str | None:
        """A header's value, one character per byte as WSGI gives it; None when it was not sent."""
        return self._environ.get("HTTP_" + name.upper().replace("-", "_"))

    @cached_property
    def length(self) -> int | None:
        """Bytes announced by Content-Length; None when it was not sent."""
        text: str | None = self._environ.get("CONTENT_LENGTH")
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise InvalidRequest("malformed Content-Length")
        return int(text)

    @cached_property
    def body(self) -> Body:
        stream = self._environ["wsgi.input"]
        return stream if isinstance(stream, Body) else SizedBody(stream, self.length or 0)

    @cached_property
    def if_header(self) -> IfHeader | None:
        """Raises InvalidRequest when it is malformed."""
        text = self.header("If")
        return parse_if(text) if text is not None else None

    @property
    def depth(self) -> str | None:
        """ "0", "1", "infinity" or None when absent. Raises InvalidRequest for anything else (RFC 4918 §10.2)."""
        text = self.header("Depth")
        value = text.strip().lower() if text is not None else None
        if value not in (None, "0", "1", "infinity"):
            raise InvalidRequest("Depth must be 0, 1 or infinity")
        return value

    @property
    def hosts(self) -> frozenset[str]:
        """The names this server was asked by: Host, what trusted proxies were asked by, and its public one (R16)."""
        return _hosts(self._environ, self._front, self._origin)


def peer_of(environ: Environ, front: Front | None) -> Peer:
    """The client of a request that is not ours to answer, or not yet looked at."""
    origin = front.origin(environ) if front is not None else None
    secure = environ.get("wsgi.url_scheme") == "https"
    address: str = environ.get("REMOTE_ADDR", "")
    if front is None or origin is None:
        return Peer(address, secure, is_loopback(address), not is_forwarded(environ))
    known = origin.local or not front.trusts(origin.address)
    return Peer(origin.address, secure if origin.secure is None else origin.secure, origin.local, known)


def hosts_of(environ: Environ, front: Front | None) -> frozenset[str]:
    """`Request.hosts` of a request that is not ours to answer."""
    return _hosts(environ, front, front.origin(environ) if front is not None else None)


def _hosts(environ: Mapping[str, Any], front: Front | None, origin: Origin | None) -> frozenset[str]:
    names = {host_name(environ.get("HTTP_HOST", ""))}
    if front is not None:
        names.add(front.public_host)
    if origin is not None:
        names |= origin.hosts
    return frozenset(filter(None, names))


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is all of it, or an iterable of pieces; with pieces the headers should hold Content-Length."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], (text + "\n").encode())


def send(answer: Answer, method: str, start_response: StartResponse, trace_id: str = "") -> Iterable[bytes]:
    """Begin the response, and return its body for WSGI. HEAD gets the headers of GET and no body (R3).

    With the trace id, who complains can tell which lines of the log are about it.
    """
    headers = list(answer.headers)
    if trace_id:
        headers.append(("X-Request-Id", trace_id))
    bodiless = answer.status in (204, 304)  # these carry neither body nor Content-Length (RFC 9110 §8.6)
    if isinstance(answer.body, bytes) and not bodiless and not any(name == "Content-Length" for name, _ in headers):
        headers.append(("Content-Length", str(len(answer.body))))
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    if bodiless or method == "HEAD":
        close(answer.body)
        return [b""]
    return [answer.body] if isinstance(answer.body, bytes) else answer.body
