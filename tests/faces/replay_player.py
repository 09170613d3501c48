"""Plays a replay (see replay_format) against a server and compares every answer with what has to come."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import operator
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.faces.replay_format import Content, Repeat, Step, parse

PASSWORD = "correct horse"
_PATIENCE = 60  # seconds for an answer
_PERIOD = 65_537  # bytes after which made-up content repeats; a prime, so that no buffer size hides a shift
_VARIABLE = re.compile(r"\{([A-Za-z_]\w*)(\??)\}")
_NUMBERS = re.compile(r"(\S+) (<=|<|==|!=|>=|>) (\S+)")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le, "<": operator.lt, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

Transcript = list[tuple[str, object]]


@dataclass(frozen=True)
class Stage:
    """Where to play: `drive` is the path of an empty folder, without a final slash; `users` the names of U1, U2 …"""

    port: int
    drive: str
    users: Mapping[str, str]
    keep_connections: bool  # else a new one for each request, so that several processes take turns
    mirror: Callable[[], None] = lambda: None
    restart: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def play(file: Path, stage: Stage) -> Transcript:
    """The status of each step. Raises AssertionError at the first answer that is not as expected, Malformed."""
    host = f"127.0.0.1:{stage.port}"
    known = {"host": host, "base": f"http://{host}", "drive": stage.drive}
    transcript: Transcript = []
    with contextlib.closing(_Chain(file, stage, known)) as chain:
        chain.give("folder", stage.drive)
        for part in parse(file):
            if isinstance(part, Step):
                transcript.append((part.title, chain.step(part)))
            else:
                transcript.append((f"repeat {part.line}", _repeat(part, chain)))
    return transcript


def _repeat(group: Repeat, outer: _Chain) -> list[tuple[tuple[str, int], int]]:
    def one(value: int) -> list[tuple[str, int]]:
        known = {**outer.known, group.variable: str(value)}
        with contextlib.closing(_Chain(outer.file, outer.stage, known)) as chain:
            return [(step.title, chain.step(step)) for step in group.steps]

    with ThreadPoolExecutor(group.wide) as pool:
        done = [result for results in pool.map(one, group.values) for result in results]
    tally = dict(Counter(status for _, status in done))
    assert group.tally in (None, tally), f"{outer.file.name}:{group.line}: {tally}, not {group.tally}"
    return sorted(Counter(done).items())


class _Chain:
    """Steps one after another, with the variables they have learned and a connection for each user."""

    def __init__(self, file: Path, stage: Stage, known: dict[str, str]) -> None:
        self.file, self.stage, self.known = file, stage, known
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def step(self, step: Step) -> int:
        """The status that came; 0 for a step without a request."""
        for action in step.before:
            self._act(*action)
        if not step.request:
            return 0
        answer = self._ask(step)
        try:
            self._compare(step, answer)
        except AssertionError as error:
            said = "\n".join(f"  {name}: {value}" for name, value in answer.headers.items())
            raise AssertionError(
                f"{self.file.name}:{step.line} {step.title}: {step.request}\n{error}\n"
                f"answered {answer.status}\n{said}\n  {answer.body[:2000]!r}"
            ) from error
        return answer.status

    def _act(self, verb: str, *words: str) -> None:
        if verb == "wait":
            time.sleep(float(words[0]))
        elif verb == "given":
            self.give(words[0], self._filled(words[1]), int((*words, "0")[2]))
        else:
            self.close()
            (self.stage.mirror if verb == "mirror" else self.stage.restart)()

    def give(self, kind: str, path: str, size: int = 0) -> None:
        """Make what a replay starts from, and the folders above it."""
        above = path.strip("/").split("/")
        for depth in range(2, len(above) + (kind == "folder")):
            answer = self._ask(Step("given", 0, request=f"MKCOL /{'/'.join(above[:depth])}"))
            assert answer.status in (201, 405), f"given {path}: {answer}"
        if kind == "file":
            answer = self._ask(Step("given", 0, request=f"PUT {path}", content=Content("given", 0, size)))
            assert answer.status in (201, 204), f"given {path}: {answer}"

    def _ask(self, step: Step) -> Answer:
        connection = self._connections.pop(step.user, None) or http.client.HTTPConnection(
            "127.0.0.1", self.stage.port, timeout=_PATIENCE
        )
        try:
            self._send(connection, step)
            response = connection.getresponse()
            body = response.read(step.read) if step.read else response.read()
        except BaseException:
            connection.close()
            raise
        if self.stage.keep_connections and not step.cut and step.read is None and not response.will_close:
            self._connections[step.user] = connection
        else:
            connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def _send(self, connection: http.client.HTTPConnection, step: Step) -> None:
        body = self._body(step)
        method, target = self._filled(step.request).split(" ", 1)
        connection.putrequest(method, target, skip_accept_encoding=True)
        if credentials := _credentials(step.user, self.stage.users):
            connection.putheader("Authorization", credentials)
        for name, value in step.headers:
            filled = self._filled(value, sha1=hashlib.sha1(body or b"").hexdigest())
            connection.putheader(name, filled.encode())
        if step.chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            connection.putheader("Content-Length", str(len(body) if step.announced is None else step.announced))
        connection.endheaders()
        expects = any(name.lower() == "expect" for name, _ in step.headers)
        if body is not None and (not expects or _is_asked_to_continue(connection)):
            _send_body(connection, body, step)

    def _body(self, step: Step) -> bytes | None:
        if step.text is not None:
            return self._filled("".join(step.text)).encode()
        return made_up(step.content) if step.content is not None else None

    def _compare(self, step: Step, answer: Answer) -> None:
        assert answer.status in step.statuses, f"expected {sorted(step.statuses)}"
        for name, pattern in step.fields:
            value = answer.headers.get(name.lower())
            assert value is not None, f"no {name}"
            self._match(f"{name}: {pattern}", f"{name}: {value}", whole=True)
        for name in step.absent:
            assert name.lower() not in answer.headers, f"{name} should be absent"
        text = answer.body.decode("utf-8", "replace") if step.parts or step.no_parts else ""
        for pattern in step.parts:
            self._match(pattern, text)
        for pattern in step.no_parts:
            assert not self._pattern(pattern).search(text), f"should be absent: {pattern}"
        if step.whole is not None:
            assert answer.body == made_up(step.whole), f"{len(answer.body)} bytes are not {step.whole}"
        for comparison in step.numbers:
            found = _NUMBERS.fullmatch(self._filled(comparison))
            assert found and _COMPARE[found[2]](int(found[1]), int(found[3])), f"{comparison}: {found and found[0]}"

    def _match(self, pattern: str, text: str, whole: bool = False) -> None:
        compiled = self._pattern(pattern)
        found = compiled.fullmatch(text) if whole else compiled.search(text)
        assert found, f"expected {self._filled(pattern)}"
        self.known.update(found.groupdict())

    def _pattern(self, text: str) -> re.Pattern[str]:
        parts, end = [], 0
        for variable in _VARIABLE.finditer(text):
            parts.append(_loose(text[end : variable.start()]))
            name, new = variable[1], bool(variable[2])
            parts.append(f"(?P<{name}>[^<>]+?)" if new else re.escape(self.known[name]))
            end = variable.end()
        return re.compile("".join(parts) + _loose(text[end:]), re.DOTALL)

    def _filled(self, text: str, **more: str) -> str:
        """`text` with its variables; those that it would learn stay as they are."""
        values = {**self.known, **more}
        return _VARIABLE.sub(lambda variable: variable[0] if variable[2] else values[variable[1]], text)


def _loose(text: str) -> str:
    return ".*?".join(map(re.escape, text.split("*")))


def _credentials(user: str, users: Mapping[str, str]) -> str | None:
    if user == "nobody":
        return None
    pair = f"{users['U1']}:wrong" if user == "stranger" else f"{users[user]}:{PASSWORD}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_asked_to_continue(connection: http.client.HTTPConnection) -> bool:
    """Look at the first line of the answer; http.client skips an interim one later."""
    line = b""
    while b"\r\n" not in line and (line := connection.sock.recv(64, socket.MSG_PEEK)):
        pass
    return line.startswith(b"HTTP/1.1 100 ")


def _send_body(connection: http.client.HTTPConnection, body: bytes, step: Step) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused meanwhile: the answer tells
        if not step.chunked:
            connection.send(body)
        else:
            for start in range(0, len(body), 30_000):
                piece = body[start : start + 30_000]
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            if not step.cut:
                connection.send(b"0\r\n\r\n")
        if step.cut:
            connection.sock.shutdown(socket.SHUT_WR)


@lru_cache(maxsize=64)
def _period(name: str) -> bytes:
    return random.Random(name).randbytes(_PERIOD)


def made_up(content: Content) -> bytes:
    first = content.start // _PERIOD
    times = content.stop // _PERIOD - first + 1
    offset = first * _PERIOD
    return (_period(content.name) * times)[content.start - offset : content.stop - offset]
