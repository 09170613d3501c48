"""The `If` header of WebDAV (RFC 4918 §10.4): its grammar, and whether its lists hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dav_provider.paths import Segments, tag_path
from vfs.errors import InvalidRequest

_TOKEN = re.compile(
    r"""\s*(?: <(?P<url>[^<>]*)>
             | \[ (?P<etag> \s*(?:W/)?"[^"]*"\s* | [^\]"]* ) \]
             | (?P<not>not)
             | (?P<mark>[()]) )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST_LISTS = 1000  # a header is at most 64 KiB anyway; this bounds the work of evaluating it


@dataclass(frozen=True, slots=True)
class State:
    """One condition of a list: a state token or an entity tag, perhaps negated."""

    value: str
    is_etag: bool
    negated: bool = False


@dataclass(frozen=True, slots=True)
class StateList:
    """`(…)`. `tag` is the resource it is about: None for the one of the request, () … for a path."""

    states: tuple[State, ...]
    tagged: bool = False
    tag: Segments | None = None  # None with `tagged`: a tag that is no path of ours

    def applies_to(self, path: Segments) -> bool:
        return not self.tagged or self.tag == path

    def holds(self, etag: str | None, tokens: frozenset[str]) -> bool:
        return all(
            (state.value == etag if state.is_etag else state.value in tokens) != state.negated for state in self.states
        )


@dataclass(frozen=True, slots=True)
class IfHeader:
    lists: tuple[StateList, ...]

    @property
    def tokens(self) -> frozenset[str]:
        """Every lock token named anywhere counts as submitted, whatever its tag (R14)."""
        return frozenset(
            state.value for one in self.lists for state in one.states if not state.is_etag and not state.negated
        )

    def holds(self, path: Segments, etag: str | None, tokens: frozenset[str]) -> bool:
        """False only when lists apply to `path` and none of them holds.

        Lists about other resources are not looked at: davfs2 sends tokens of unrelated files (R14), and the
        core checks every lock that is really in the way by itself.
        """
        relevant = [one for one in self.lists if one.applies_to(path)]
        return not relevant or any(one.holds(etag, tokens) for one in relevant)


def parse_if(header: str) -> IfHeader:
    """Raises InvalidRequest for what RFC 4918 §10.4.2 does not allow."""
    lists: list[StateList] = []
    tagged, tag = False, None
    tokens = _tokens(header)
    for kind, value in tokens:
        if kind == "url":
            tagged, tag = True, tag_path(value)
        elif (kind, value) == ("mark", "("):
            lists.append(StateList(_states(tokens), tagged, tag))
        else:
            raise InvalidRequest("malformed If header")
        if len(lists) > _MOST_LISTS:
            raise InvalidRequest("too many lists in the If header")
    if not lists:
        raise InvalidRequest("the If header has no list")
    return IfHeader(tuple(lists))


def _states(tokens: Iterator[tuple[str, str]]) -> tuple[State, ...]:
    """Consume the tokens of one list, up to its `)`."""
    states: list[State] = []
    negated = False
    for kind, value in tokens:
        if (kind, value) == ("mark", ")") and states and not negated:
            return tuple(states)
        if kind == "not" and not negated:
            negated = True
        elif kind in ("url", "etag"):
            states.append(State(value.strip(), kind == "etag", negated))
            negated = False
        else:
            break
    raise InvalidRequest("malformed list in the If header")


def _tokens(header: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(header):
        match = _TOKEN.match(header, position)
        if not match:
            raise InvalidRequest("malformed If header")
        position = match.end()
        kind = match.lastgroup or ""
        yield kind, match[kind]
