"""What the server logged that nobody expects: warnings, errors, tracebacks."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>\w+)\s+(?P<trace>\S+) (?P<name>[\w.]+): ")
_HARMLESS = ("DEBUG", "INFO")

# Lines that come in good order, each with its reason.
EXPECTED: dict[str, str] = {
    r"vfs\.operations\.opening: cache: .*: reading from the NAS$": "it was evicted: that is what the NAS is for",
    r"jobs\.mirror: entry \d+: the file is on its way on the NAS$": "another job moves what this one reads: it waits",
    r"jobs\.mirror: entry \d+: a content that is needed elsewhere is not in the cache yet": "it is restored first",
    r": planned anew$": "a file was written again while it was on its way to the NAS",
}
_EXPECTED = re.compile("|".join(f"(?:{pattern})" for pattern in EXPECTED), re.MULTILINE)


def unexpected(text: str) -> list[str]:
    """Records (with the lines that belong to them) that are neither harmless nor expected."""
    return [record for level, record in records(text) if level not in _HARMLESS and not _EXPECTED.search(record)]


def records(text: str) -> Iterator[tuple[str, str]]:
    """Level and text of each; what is no record of the log at all (the interpreter speaks) has the level ""."""
    level, lines = "", list[str]()
    for line in text.splitlines():
        if found := _LINE.match(line):
            if lines:
                yield level, "\n".join(lines)
            level, lines = found["level"], [line]
        elif line:
            lines.append(line)
            if not line.startswith(" ") and level in _HARMLESS:  # not the second line of a message that was harmless
                level = ""
    if lines:
        yield level, "\n".join(lines)
