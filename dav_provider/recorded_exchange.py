"""From one exchange to one step of a replay: which lines say it without saying anything about its user."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from dav_provider.known_paths import KnownPaths
from dav_provider.pseudonyms import Pseudonyms, xml_without_values
from dav_provider.request import Headers

_VERBATIM = (
    "Depth Overwrite Timeout Range Content-Type Content-Range X-Expected-Entity-Length Expect User-Agent Translate "
    "X-OC-Mtime Apply-To-Redirect-Ref Accept Accept-Encoding TE"
).split()
_DATES_AND_TAGS = "If-Match If-None-Match If-Modified-Since If-Unmodified-Since If-Range".split()
_OWN = "Authorization Host Connection Content-Length Transfer-Encoding Destination If Lock-Token OC-Checksum".split()
_XML_METHODS = frozenset(("PROPFIND", "PROPPATCH", "LOCK", "MKCOL"))
_LEARNED = (("Lock-Token", "T"), ("ETag", "E"), ("Last-Modified", "D"))
_MOST_LEARNED = 10_000
_RESPONSE = re.compile(r"<D:response><D:href>([^<]+)</D:href>(.*?)</D:response>", re.DOTALL)
_ETAG = re.compile(r"<D:getetag>([^<]+)</D:getetag>")
_ANGLE = re.compile(r"<([^>]*)>")
_BRACKET = re.compile(r"\[([^]]*)\]")
_UNKNOWN_TOKEN = "opaquelocktoken:00000000-0000-0000-0000-000000000000"


class Heard(Protocol):
    """A body that went by."""

    received: int  # bytes
    first: bytes
    complete: bool
    broken: bool


@dataclass(frozen=True)
class Exchange:
    """`environ` holds the strings of WSGI's dictionary, `said` the first of the answer's body."""

    environ: Mapping[str, str]
    chunked: bool
    body: Heard | None
    status: str
    headers: Headers
    said: bytes

    @property
    def method(self) -> str:
        return self.environ["REQUEST_METHOD"]

    @property
    def code(self) -> int:
        return int(self.status[:3])

    def header(self, name: str) -> str | None:
        key = name.upper().replace("-", "_")
        return self.environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")


class Session:
    """What the exchanges so far have taught: users, lock tokens, ETags, dates, and what is on the drive."""

    def __init__(self, secret: bytes, mount: str) -> None:
        self._names = Pseudonyms(secret, mount)
        self._known = KnownPaths()
        self._users: dict[str, str] = {}
        self._variables: dict[str, str] = {}  # value → name
        self._count = 0

    def step(self, exchange: Exchange) -> str:
        """The lines of one exchange, an empty one at the end."""
        self._count += 1
        target = exchange.environ.get("REQUEST_URI") or exchange.environ.get("PATH_INFO", "/")
        path = "*" if target == "*" else self._names.url(target, self._hosts(exchange))
        path = path.partition("{host}")[2] or path  # an absolute URL, as a proxy would send it
        destination = self._destination(exchange)
        answers = [
            (self._names.path(href), _ETAG.search(inner), inner)
            for href, inner in _RESPONSE.findall(exchange.said.decode("utf-8", "replace"))
        ]
        self._known.hear([(shown, inner) for shown, _, inner in answers])
        lines = [f"== {self._count} {exchange.method}"]
        who, scheme = self._who(exchange)
        lines += [f"@ as {who}"] if who != "U1" else []
        arrival = (destination or "").rpartition("{host}")[2] or None
        given = self._known.needed(exchange.method, exchange.code, path, arrival, dict(exchange.headers))
        lines += [f"@ given {each}" for each in given]
        lines.append(f"> {exchange.method} {path}")
        lines += [f"> {name}: {value}" for name, value in (*scheme, *self._fields(exchange, path, destination))]
        lines += self._body(exchange)
        lines.append(f"< {exchange.code}")
        lines += self._learned(exchange, path, answers)
        self._known.after(exchange.method, exchange.code, path, arrival)
        return "\n".join((*self._unsaid(exchange), *lines)) + "\n\n"

    def _hosts(self, exchange: Exchange) -> frozenset[str]:
        return frozenset((exchange.header("Host") or "").lower().split())

    def _who(self, exchange: Exchange) -> tuple[str, list[tuple[str, str]]]:
        """U1, U2 …, stranger or nobody; and what is left of an Authorization that is not Basic."""
        scheme, _, credentials = (exchange.header("Authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return "nobody", [("Authorization", _plain(scheme))] if scheme else []
        if exchange.code == 401:
            return "stranger", []
        try:
            user = base64.b64decode(credentials).partition(b":")[0].decode("latin-1").casefold()
        except binascii.Error:
            return "stranger", []
        return self._users.setdefault(user, f"U{len(self._users) + 1}"), []

    def _fields(self, exchange: Exchange, path: str, destination: str | None) -> list[tuple[str, str]]:
        given = [(name, value) for name in _VERBATIM if (value := exchange.header(name))]
        fields = [(name, self._scrubbed(value, exchange)) for name, value in given]
        for name in _DATES_AND_TAGS:
            if (value := exchange.header(name)) is not None:
                fields.append((name, ", ".join(self._variable(each.strip(), path) for each in _values(value))))
        if destination is not None:
            fields.append(("Destination", destination))
        if (value := exchange.header("If")) is not None:
            value = _ANGLE.sub(lambda match: f"<{self._coded_url(match[1], exchange)}>", value)
            fields.append(("If", _BRACKET.sub(lambda match: f"[{self._variable(match[1], path)}]", value)))
        if (value := exchange.header("Lock-Token")) is not None:
            fields.append(("Lock-Token", f"<{self._token(value.strip('<> '))}>"))
        if (exchange.header("OC-Checksum") or "").upper().startswith("SHA1:"):
            fields.append(("OC-Checksum", "SHA1:{sha1}" if exchange.code != 400 else "SHA1:" + "0" * 40))
        return fields

    def _scrubbed(self, value: str, exchange: Exchange) -> str:
        """Some programs put names of people and machines into what they say about themselves."""
        for word in (*self._users, *self._hosts(exchange)):
            if len(word) > 2:
                value = re.sub(re.escape(word), "x", value, flags=re.IGNORECASE)
        return _plain(value)

    def _destination(self, exchange: Exchange) -> str | None:
        value = exchange.header("Destination")
        return None if value is None else self._names.url(value.strip(), self._hosts(exchange))

    def _coded_url(self, text: str, exchange: Exchange) -> str:
        if text.upper() == "DAV:NO-LOCK":
            return text
        is_place = text.startswith("/") or text.lower().startswith(("http:", "https:"))
        return self._names.url(text, self._hosts(exchange)) if is_place else self._token(text)

    def _token(self, text: str) -> str:
        return f"{{{self._variables[text]}}}" if text in self._variables else _UNKNOWN_TOKEN

    def _variable(self, text: str, path: str) -> str:
        """An ETag or a date of `path`, by the name it was learned under."""
        weak, bare = ("W/", text[2:]) if text.startswith("W/") else ("", text)
        for known in (bare, f"{path} {bare}"):
            if known in self._variables:
                return f"{weak}{{{self._variables[known]}}}"
        return weak + ('"unknown"' if bare.startswith('"') else _plain(bare))

    def _body(self, exchange: Exchange) -> list[str]:
        body, announced = exchange.body, int(exchange.header("Content-Length") or 0)
        received = body.received if body is not None else announced
        if exchange.method in _XML_METHODS and body is not None and body.first and body.complete:
            text = xml_without_values(body.first) if received == len(body.first) else None
            if text is not None:
                return [f">> {text}"]
        kind = re.sub(r"\W.*", "", exchange.header("Content-Type") or "") or "data"
        name = f"{kind}{self._count}"
        cut = body is not None and body.broken
        if exchange.chunked:
            return [f"@ send {name}[:{received}] {'of chunks' if cut else 'chunked'}"]
        if exchange.header("Content-Length") is None:
            return []
        return [f"@ send {name}[:{received}] of {announced}" if cut else f"@ send {name}[:{announced}]"]

    def _learned(
        self, exchange: Exchange, path: str, answers: list[tuple[str, re.Match[str] | None, str]]
    ) -> list[str]:
        """What later requests may refer to: lines that keep it under a name, or find it again."""
        lines = []
        sent = {name.lower(): value for name, value in exchange.headers}
        for header, kind in _LEARNED:
            value = sent.get(header.lower())
            if value is not None and exchange.code < 300:
                # Files of one second share a date, but need not when it is played back.
                bare = value.strip("<>") if kind == "T" else f"{path} {value}" if kind == "D" else value
                learned = self._learn(bare, kind)
                if learned and (kind != "D" or learned.endswith("?}")):
                    lines.append(f"< {header}: {f'<{learned}>' if kind == 'T' else learned}")
        for shown, etag, _ in answers[:20]:
            if etag is not None and (learned := self._learn(etag[1], "E")).endswith("?}"):
                lines.append(f"<~ <D:href>{shown}</D:href>*<D:getetag>{learned}</D:getetag>")
        return lines

    def _learn(self, value: str, kind: str) -> str:
        if value in self._variables:
            return f"{{{self._variables[value]}}}"
        if len(self._variables) >= _MOST_LEARNED:
            return ""
        self._variables[value] = f"{kind}{len(self._variables) + 1}"
        return f"{{{self._variables[value]}?}}"

    def _unsaid(self, exchange: Exchange) -> list[str]:
        """Names of other header fields: their values may be anybody's secrets."""
        recorded = {name.upper().replace("-", "_") for name in (*_VERBATIM, *_DATES_AND_TAGS, *_OWN)}
        others = {key[5:] for key in exchange.environ if key.startswith("HTTP_")} - recorded
        return [f"# also sent: {', '.join(sorted(others))}"] if others else []


def _values(header: str) -> list[str]:
    """The ETags of a list; a date is one value, comma and all."""
    return re.findall(r'(?:W/)?"[^"]*"|\*', header) or [header]


def _plain(text: str) -> str:
    """One line without variables of the format."""
    return "".join(char if char.isprintable() and char not in "{}" else "?" for char in text)
