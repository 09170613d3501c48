"""The text format of replays: what a client sends, step by step, and what has to come back.

    # a comment
    always User-Agent: DavClnt             sent with every request from here on
    == 5 Word locks it                     a step; every line up to the next one belongs to it
    @ as U2                                who asks: U1 (when nothing is said), U2 …, nobody, stranger (wrong password)
    > LOCK {drive}/a%20b.txt               request line, then header fields as they go out
    > Timeout: Second-3600
    >> <D:lockinfo xmlns:D="DAV:">…        body, as text; its lines are joined
    @ send new[:7000000]                   … or made-up content: a name and a range of bytes
    @ send new[:7000000] chunked           … in chunks
    @ send new[:3] of 100                  … cut: 100 bytes are announced, then the client is gone
    @ send new[:3] of chunks               … cut before the last chunk
    @ read 1000                            the client goes away after so many bytes of the answer
    < 200|201                              the status
    < Lock-Token: <{T?}>                   a field of the answer: * is anything, {T?} is kept as {T}
    <! Content-Encoding                    a field that must be absent
    <~ <D:href>*b.txt</D:href>             a part of the body; <!~ one that must be absent
    <= new[100:150]                        the whole body
    ? {seconds} <= 3600                    numbers: <= < == != > >=

    @ given file {drive}/x 1234            done before the request: what was there already (or: given folder PATH)
    @ wait 3                               … seconds pass
    @ mirror                               … the mirror, where one runs, comes to rest
    @ restart                              … the server is stopped and started again

    repeat n in 1..100, 8 wide             steps up to `end` as a chain of their own for each {n}, so many at once
    end
    tally 200: 1, 423: 19                  how often each status came in the repeat before it

Known from the start: {drive} (path of an empty folder, without a final slash), {host}, {base} (http://{host});
{sha1} in a request is that of its body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_REPEAT = re.compile(r"repeat (\w+) in (\d+)\.\.(\d+), (\d+) wide")
_CONTENT = re.compile(r"(\w+)\[(\d*):(\d+)\]")
_SEND = re.compile(r"(\S+)(?: (chunked)| of (chunks|\d+))?")


@dataclass(frozen=True)
class Content:
    """Made-up bytes `start` to `stop` of an endless content `name`."""

    name: str
    start: int
    stop: int


@dataclass
class Step:
    title: str
    line: int
    user: str = "U1"
    before: list[tuple[str, ...]] = field(default_factory=list)  # actions: ("wait", "3")
    request: str = ""  # method and target; empty: actions only
    headers: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] | None = None
    content: Content | None = None
    chunked: bool = False
    announced: int | None = None  # more bytes than are sent
    cut: bool = False
    read: int | None = None
    statuses: frozenset[int] = frozenset()
    fields: list[tuple[str, str]] = field(default_factory=list)  # name, pattern
    absent: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  # patterns
    no_parts: list[str] = field(default_factory=list)
    whole: Content | None = None
    numbers: list[str] = field(default_factory=list)


@dataclass
class Repeat:
    variable: str
    values: range
    wide: int
    line: int
    steps: list[Step] = field(default_factory=list)
    tally: dict[int, int] | None = None


class Malformed(Exception):
    """A line that is no replay; the message names file and line."""


def parse(file: Path) -> list[Step | Repeat]:
    """Raises Malformed."""
    parsed: list[Step | Repeat] = []
    group: Repeat | None = None
    always: list[tuple[str, str]] = []
    for number, line in _lines(file):
        try:
            if line.startswith("=="):
                step = Step(line[2:].strip(), number, headers=[*always])
                (group.steps if group else parsed).append(step)  # type: ignore[arg-type]
            elif line.startswith("always "):
                always.append(_field(line[7:]))
            elif match := _REPEAT.fullmatch(line):
                group = Repeat(match[1], range(int(match[2]), int(match[3]) + 1), int(match[4]), number)
                parsed.append(group)
            elif line == "end" and group:
                group = None
            elif line.startswith("tally "):
                pairs = (pair.split(":") for pair in line[6:].split(","))
                parsed[-1].tally = {int(status): int(count) for status, count in pairs}  # type: ignore[union-attr]
            else:
                _add(group.steps[-1] if group else parsed[-1], line)  # type: ignore[arg-type]
        except (ValueError, IndexError, AttributeError, TypeError) as error:
            raise Malformed(f"{file.name}:{number}: {line!r} ({error})") from error
    return parsed


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.rstrip("\n")


def _add(step: Step, line: str) -> None:
    mark, _, rest = line.partition(" ")
    if mark == ">" and not step.request:
        step.request = rest
    elif mark == ">":
        name, value = _field(rest)
        step.headers = [pair for pair in step.headers if pair[0].lower() != name.lower()] + [(name, value)]
    elif mark == ">>":
        step.text = [*(step.text or []), rest]
    elif mark == "<" and rest[:1].isdigit():
        step.statuses = frozenset(map(int, rest.split("|")))
    elif mark == "<":
        step.fields.append(_field(rest))
    elif mark == "<!":
        step.absent.append(rest)
    elif mark == "<~":
        step.parts.append(rest)
    elif mark == "<!~":
        step.no_parts.append(rest)
    elif mark == "<=":
        step.whole = content(rest)
    elif mark == "?":
        step.numbers.append(rest)
    elif mark == "@":
        _add_action(step, *rest.split())
    else:
        raise ValueError("no such mark")


def _add_action(step: Step, verb: str, *words: str) -> None:
    if verb == "as":
        (step.user,) = words
    elif verb == "read":
        step.read = int(words[0])
    elif verb == "send":
        match = _SEND.fullmatch(" ".join(words))
        assert match is not None
        step.content = content(match[1])
        step.cut = match[3] is not None
        step.chunked = match[2] is not None or match[3] == "chunks"
        step.announced = int(match[3]) if step.cut and not step.chunked else None
    elif verb in ("given", "wait", "mirror", "restart"):
        step.before.append((verb, *words))
    else:
        raise ValueError("no such action")


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("a header field has a colon")
    return name, value.strip()


def content(text: str) -> Content:
    match = _CONTENT.fullmatch(text)
    if match is None:
        raise ValueError("content is written name[start:stop]")
    return Content(match[1], int(match[2] or 0), int(match[3]))
