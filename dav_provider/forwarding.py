"""Who really asks, when a proxy stands between: what a trusted one says of the client it speaks for (spec §10).

X-Forwarded-For, -Proto, -Host and -Port count, or RFC 7239's `Forwarded` where none of them is sent; both at once would
let a client write the one that its proxy does not. From anybody else all of them are ignored: anybody can write them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from dav_provider.paths import host_name
from vfs.addresses import Ip, Network, parse_address, plain
from vfs.errors import ConfigurationError
from vfs.settings import Server

_X_FIELDS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")
_NODE = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?|([^:]*):[0-9]{1,5}|([^\[\]]+)")
_LONGEST_HOP = 80  # characters; what is kept in memory was written by others
_PORT = re.compile(r"[0-9]{1,5}")
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/|/dav/?)?", re.IGNORECASE)
# RFC 7239 §4: a name, and a token or a quoted string; then the end of the pair, of the element or of all.
_PAIR = re.compile(r'\s*([A-Za-z]+)=([^\s",;=]+|"(?:[^"\\]|\\.)*")\s*(;|,|$)')


@dataclass(frozen=True, slots=True)
class Origin:
    """What trusted proxies say of a request. `secure` is None when they say nothing of it."""

    address: str  # the client's; that of the last proxy before it when nobody can tell
    local: bool  # the client is on this machine, and so is every proxy on its way
    secure: bool | None
    hosts: frozenset[str]  # the names it was asked for, as `paths.host_name` gives them


class _Hop(NamedTuple):
    address: str
    trusted: bool
    loopback: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """What the fields hold, before anybody judges it; hops from the client's side to ours."""

    hops: list[str]
    schemes: list[str]
    hosts: list[str]
    port: str = ""


class Front:
    """What stands in front of the server, by its settings. Made once; safe to use from many threads."""

    def __init__(self, trusted: Iterable[str], public_url: str = "") -> None:
        """Raises ConfigurationError, in one line, for what is no address, no network or no URL of a drive."""
        self._trusted = tuple(_network(entry) for entry in trusted)
        self.public_host = _public_host(public_url)
        self._hop = lru_cache(maxsize=1024)(self._look_at)

    @classmethod
    def of(cls, server: Server) -> Front | None:
        """None when nothing is said to be in front, so that nobody has to ask. Raises ConfigurationError."""
        return cls(server.trusted_proxies, server.public_url) if server.trusted_proxies or server.public_url else None

    def origin(self, environ: Mapping[str, Any]) -> Origin | None:
        """None when the request counts as its connection has it: no trusted peer, or one that forwards nothing."""
        peer = self._hop(environ.get("REMOTE_ADDR", ""))
        if peer is None or not peer.trusted:
            return None
        said = _x_forwarded(environ)
        if said is None:
            forwarded = environ.get("HTTP_FORWARDED")
            if forwarded is None:
                return None
            said = _forwarded(forwarded)
        address, local = self._client(peer, said.hops)
        secure = all(scheme == "https" for scheme in said.schemes) if said.schemes else None
        return Origin(address, local, secure, _names(said, environ.get("HTTP_HOST", "")))

    def trusts(self, address: str) -> bool:
        """Whether it is that of a trusted proxy."""
        hop = self._hop(address)
        return hop is not None and hop.trusted

    def _client(self, peer: _Hop, hops: list[str]) -> tuple[str, bool]:
        """The right-most hop that is no trusted proxy, since what is left of it anybody may have written; and whether
        it is on this machine. When all are trusted it is the first of them."""
        nearest, local = peer, peer.loopback and bool(hops)
        for text in reversed(hops):
            hop = self._hop(text) if len(text) <= _LONGEST_HOP else None
            if hop is None:
                return nearest.address, False
            nearest, local = hop, local and hop.loopback
            if not hop.trusted:
                break
        return nearest.address, local

    def _look_at(self, text: str) -> _Hop | None:
        """None for what is no address."""
        ip = _node(text)
        if ip is None:
            return None
        trusted = any(ip in network for network in self._trusted)  # of the other IP version: never
        return _Hop(str(ip), trusted, ip.is_loopback)


def is_forwarded(environ: Mapping[str, Any]) -> bool:
    """Whether somebody says that he speaks for another, believed or not."""
    return "HTTP_FORWARDED" in environ or any(field in environ for field in _X_FIELDS)


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    ip = parse_address(address)
    return ip is not None and ip.is_loopback


def _x_forwarded(environ: Mapping[str, Any]) -> _Said | None:
    """None when none of the fields was sent."""
    addresses, schemes, hosts, port = (environ.get(field) for field in _X_FIELDS)
    if addresses is None and schemes is None and hosts is None and port is None:
        return None
    return _Said(
        addresses.split(",") if addresses is not None else [],
        # Who appends instead of replacing leaves there what the client wrote: then all of it has to be https.
        [scheme.strip().lower() for scheme in schemes.split(",")] if schemes is not None else [],
        hosts.split(",") if hosts is not None else [],
        (port or "").strip(),
    )


def _forwarded(text: str) -> _Said:
    """Of `for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"` (RFC 7239 §4). Malformed: nobody can tell who asks."""
    said = _Said([], [], [])
    element: dict[str, str] = {}
    try:
        for name, value, end in _pairs(text):
            if name in element:
                raise ValueError(name)
            element[name] = value
            if end != ";":
                said.hops.append(element.get("for", ""))
                said.schemes.extend([element["proto"].lower()] if "proto" in element else [])
                said.hosts.extend([element["host"]] if "host" in element else [])
                element = {}
    except ValueError:
        return _Said([""], [""], [])
    return said


def _pairs(text: str) -> Iterator[tuple[str, str, str]]:
    """Name, value and what follows it. Raises ValueError for what does not follow the grammar."""
    at, end = 0, ","
    while end:
        match = _PAIR.match(text, at)
        if match is None:
            raise ValueError(text)
        name, value, end = match.groups()
        at = match.end()
        yield name.lower(), re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value, end


def _names(said: _Said, host: str) -> frozenset[str]:
    """Of the hosts that were asked for. A port that came alone belongs to those that have none."""
    names = {host_name(name) for name in said.hosts if name.strip()}
    if _PORT.fullmatch(said.port):
        alone = [name for name in names or {host_name(host)} if not re.search(r":[0-9]+$", name)]
        names.update(host_name(f"{name}:{said.port}") for name in alone)
    return frozenset(names)


def _node(text: str) -> Ip | None:
    """The address in `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`; None for anything else, such
    as the `unknown` and `_hidden` of RFC 7239 §6."""
    text = text.strip(" \t")
    if text.count(":") > 1 and text[:1] != "[":
        return parse_address(text)
    match = _NODE.fullmatch(text)
    return parse_address(match[1] or match[2] or match[3] or "") if match else None


def _network(entry: str) -> Network:
    try:
        network = plain(ipaddress.ip_network(entry))
    except ValueError as error:
        raise ConfigurationError(f"wrong value for server.trusted_proxies: {entry!r} ({error})") from error
    if not network.prefixlen:
        raise ConfigurationError(f"wrong value for server.trusted_proxies: {entry!r} would trust everybody")
    return network


def _public_host(url: str) -> str:
    if not url:
        return ""
    match = _PUBLIC_URL.fullmatch(url)
    if match is None:
        raise ConfigurationError(
            f"wrong value for server.public_url: {url!r}, it must be like https://drive.example, without a path"
        )
    return host_name(match[1] + (match[2] or ""))
