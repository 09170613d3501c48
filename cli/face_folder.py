"""A folder on the drive, and what clients do in it, one finding each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

from cli import face_advice
from cli.display import size_in_words
from cli.face_probe import BrokenOff, Probe, Reply, TooSlow, made_up
from vfs.operations.diagnosing import Area, Finding, Mark

_AREA = Area("face")
_LONG = 20 * 1024 * 1024  # bytes: more than the limits that proxies come with
_CHUNKED = 100 * 1024 + 1  # bytes: under every limit, more than one chunk
_SMALL = b"written by kelp doctor, and gone at once\n"
_FILES = ("small", "moved", "chunked", "asked", "locked", "long")
_LOCK = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>kelp doctor</D:owner></D:lockinfo>"
)


class _Wrong(Exception):
    """An answer that is not the right one. `mark`: how bad that is."""

    def __init__(self, fact: str, advice: str, mark: Mark = Mark.ERROR) -> None:
        super().__init__(fact)
        self.advice, self.mark = advice, mark


class Folder:
    """Of its own at the root. `remains`: why it could not be removed.

    Its name is one of those that programs leave beside documents: what is deleted there leaves no trash, and the
    mirror does not carry it before it is gone.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.name = f".kelp-doctor-{secrets.token_hex(6)}.tmp"
        self.path = f"/dav/{self.name}"
        self._token = ""
        self._made = False
        self.remains = ""

    def steps(self) -> Iterator[Finding]:
        self._made = True  # also when the answer is lost
        first = self._tried("folder", self._make_folder)
        yield first
        if first.advice:
            return
        steps: dict[str, Callable[[], str]] = {
            "put": self._put,
            "range": self._range,
            "listing": self._listing,
            "chunked put": self._chunked,
            "100-continue": self._continue,
            "lock": self._lock,
            "move": self._move,
            "long put": self._long,
        }
        for check, step in steps.items():
            yield self._tried(check, step)
        yield self._tried("delete", self._delete)

    def remove(self) -> None:
        """Whatever the steps have left. Never raises."""
        if not self._made:
            return
        try:
            self._empty()
            reply = self._probe.ask("DELETE", self.path, None, **self._held())
            self.remains = "" if reply.status in (204, 404) else f"DELETE is {reply.status}"
        except (OSError, BrokenOff) as error:
            self.remains = str(error)
        self._made = False

    def _tried(self, check: str, step: Callable[[], str]) -> Finding:
        try:
            return _AREA.ok(check, step())
        except _Wrong as wrong:
            return Finding(wrong.mark, _AREA.name, check, str(wrong), wrong.advice)
        except TooSlow as slow:
            fact = f"only {size_in_words(slow.sent)} went out in time; nobody refused"
            return _AREA.warning(check, fact, "a slow line, or a proxy that stalls")
        except BrokenOff as broken:
            return _AREA.error(check, f"cut off: {broken}", face_advice.LENGTH if broken.sent else face_advice.SILENT)
        except OSError as error:
            return _AREA.error(check, str(error), face_advice.for_connection(error))

    def _ask(self, method: str, name: str, wanted: int, body: bytes | None = None, **headers: str) -> Reply:
        path = f"{self.path}/{name}" if name else self.path
        return self._right(method, self._probe.ask(method, path, body, **headers), wanted)

    @staticmethod
    def _right(method: str, reply: Reply, *wanted: int) -> Reply:
        if reply.status not in wanted:
            raise _Wrong(f"{method} is {reply.status}, not {wanted[0]}", face_advice.for_reply(method, reply))
        return reply

    def _url(self, name: str) -> str:
        return f"{self._probe.address.scheme}://{self._probe.address.authority}{self.path}/{name}"

    def _empty(self) -> None:
        """File by file: what is below a deleted folder keeps its bytes in the cache, and its place in the backlog, for
        a minute. A lock may be there still, also where `If` does not pass."""
        if (
            self._token
            and self._probe.ask("UNLOCK", f"{self.path}/locked", Lock_Token=f"<{self._token}>").status == 204
        ):
            self._token = ""
        for name in _FILES:
            self._probe.ask("DELETE", f"{self.path}/{name}", None, **self._held())

    def _held(self) -> dict[str, str]:
        """For what a lock that could not be released still covers (RFC 4918 §10.4.3)."""
        return {"If": f"<{self._url('locked')}> (<{self._token}>)"} if self._token else {}

    def _make_folder(self) -> str:
        self._ask("MKCOL", "", 201)
        return f"{self.name} made"

    def _put(self) -> str:
        begun = time.perf_counter()
        self._ask("PUT", "small", 201, _SMALL)
        return f"{len(_SMALL)} bytes in {(time.perf_counter() - begun) * 1000:.0f} ms"

    def _range(self) -> str:
        reply = self._probe.ask("GET", f"{self.path}/small", Range="bytes=8-10")
        if reply.status == 200:
            raise _Wrong("the whole file instead of three bytes", face_advice.RANGE)
        if self._right("GET", reply, 206).body != _SMALL[8:11]:
            raise _Wrong("other bytes than were asked for", face_advice.RANGE)
        return "three bytes of a file"

    def _listing(self) -> str:
        reply = self._ask("PROPFIND", "", 207, b"", Depth="1")
        if f"{self.path}/small<".encode() not in reply.body:
            raise _Wrong("the file is not in the listing", "the proxy must leave bodies and paths as they are")
        return "PROPFIND of depth 1"

    def _chunked(self) -> str:
        sent = {"X_Expected_Entity_Length": str(_CHUNKED)}  # as macOS does
        reply = self._probe.put(f"{self.path}/chunked", made_up(_CHUNKED), None, **sent)
        self._right("PUT", reply, 201)
        there = self._ask("HEAD", "chunked", 200).headers.get("content-length")
        if there != str(_CHUNKED):
            raise _Wrong(f"{there} of {_CHUNKED} bytes arrived", face_advice.CHUNKED)
        return f"{size_in_words(_CHUNKED)} of unknown length"

    def _continue(self) -> str:
        reply = self._probe.put_when_asked(f"{self.path}/asked", _SMALL)
        self._right("PUT", reply, 201)
        if not reply.continued:
            raise _Wrong("no 100 Continue within 3 s", face_advice.CONTINUE, Mark.WARNING)
        return "asked before it is sent"

    def _lock(self) -> str:
        made = self._probe.ask("LOCK", f"{self.path}/locked", _LOCK, Timeout="Second-60", Depth="0")
        token = self._right("LOCK", made, 201, 200).headers.get("lock-token", "").strip("<> ")
        if not token:
            raise _Wrong("no Lock-Token in the answer", face_advice.LOCKS)
        self._token = token
        without = self._probe.ask("PUT", f"{self.path}/locked", b"without the token")
        if without.status != 423:
            raise _Wrong(f"PUT without the token is {without.status}, not 423", face_advice.LOCKS)
        having = self._probe.ask("PUT", f"{self.path}/locked", b"with it", If=f"(<{token}>)")
        if having.status in (412, 423):
            raise _Wrong(f"PUT with the token is {having.status}, not 204", face_advice.LOCKS)
        self._right("PUT", having, 204)
        self._ask("UNLOCK", "locked", 204, Lock_Token=f"<{token}>")
        self._token = ""
        return "LOCK, PUT with and without the token, UNLOCK"

    def _move(self) -> str:
        path, target = f"{self.path}/small", self._url("moved")
        reply = self._probe.ask("MOVE", path, Destination=target, Overwrite="F")
        if reply.status in (400, 502) and "retry-after" not in reply.headers:
            raise _Wrong(f"MOVE to {target} is {reply.status}: it counts as another server", face_advice.HOST)
        self._right("MOVE", reply, 201)
        self._ask("HEAD", "moved", 200)
        return "MOVE to an absolute address"

    def _long(self) -> str:
        begun = time.perf_counter()
        reply = self._probe.put(f"{self.path}/long", made_up(_LONG), _LONG)
        self._right("PUT", reply, 201)
        return f"{size_in_words(_LONG)} at {_LONG / 1e6 / (time.perf_counter() - begun):.0f} MB/s"

    def _delete(self) -> str:
        self._empty()
        self._ask("DELETE", "", 204, None, **self._held())
        self._made = False
        return "the folder, with all in it"
