"""The If header, the other conditional headers, and ranges."""

from __future__ import annotations

import pytest

from dav_provider import conditions
from dav_provider.if_header import parse_if
from dav_provider.request import Request
from vfs.errors import InvalidRequest, NotModified, PreconditionFailed, RangeNotSatisfiable
from vfs.model import ByteRange, Entry, Kind, State, StoreStatus
from vfs.web.conditions import wanted_range

HERE = ("dav", "f")


def a_request(method="PUT", **headers) -> Request:
    environ = {"REQUEST_METHOD": method, "REQUEST_URI": "/dav/f", "PATH_INFO": "/dav/f"}
    environ.update({"HTTP_" + name.upper(): value for name, value in headers.items()})
    return Request(environ, "dav-test")


def a_file(size=10, kind=Kind.FILE) -> Entry:
    content = "tag" if kind == Kind.FILE else None
    return Entry(
        *(7, "u", 1, "f", kind, State.ACTIVE, content, size, "", 0, 784111777, 0, None, 1, StoreStatus.AVAILABLE)
    )


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        ("(<T>)", True),
        ("(<U>)", False),
        ("(<U>) (<T>)", True),
        ("(<T> <U>)", False),
        ("(Not <U>)", True),
        ("(not <T>)", False),
        ('(["tag"])', True),
        ('([W/"tag"])', False),
        ('(<T>["other"])', False),
        ('(<T> ["tag"] Not <DAV:no-lock>)', True),
        ("</dav/f> (<U>)", False),
        ("</dav/other> (<U>)", True),
        ("</dav/other> (<T>) <http://x/dav/f/>(<U>)(<T>)", True),
        ("<urn:not-a-path> (<U>)", True),
        ('(["with ] bracket"])', False),
    ],
)
def test_if_lists(header, holds) -> None:
    assert parse_if(header).holds(HERE, '"tag"', frozenset({"T"})) is holds


def test_if_on_what_does_not_exist() -> None:
    assert not parse_if('(["tag"])').holds(HERE, None, frozenset())
    assert parse_if('(Not ["tag"])').holds(HERE, None, frozenset())


def test_every_token_counts_as_submitted() -> None:
    assert parse_if('</a> (<A>["e"]) (Not <B>) </b>(<C> <D>)').tokens == {"A", "C", "D"}


@pytest.mark.parametrize(
    "header", ["", "()", "(", ")", "<a>", "(<a)", "(Not)", "(Not Not <a>)", "x", "(<a>) x", '(["a)']
)
def test_if_that_is_none(header) -> None:
    with pytest.raises(InvalidRequest):
        parse_if(header)


def test_no_condition_costs_nothing() -> None:
    assert conditions.for_change(a_request()) is None


@pytest.mark.parametrize(
    ("headers", "on_file", "on_nothing"),
    [
        ({"if_match": "*"}, True, False),
        ({"if_match": '"tag"'}, True, False),
        ({"if_match": '"x", "tag"'}, True, False),
        ({"if_match": 'W/"tag"'}, False, False),
        ({"if_none_match": "*"}, False, True),
        ({"if_none_match": 'W/"tag"'}, False, True),
        ({"if_none_match": '"x"'}, True, True),
        ({"if_unmodified_since": "Sun, 06 Nov 1994 08:49:37 GMT"}, True, True),
        ({"if_unmodified_since": "Sun, 06 Nov 1994 08:49:36 GMT"}, False, True),
        ({"if_unmodified_since": "nonsense"}, True, True),
        ({"if_match": '"tag"', "if_unmodified_since": "Sun, 06 Nov 1994 08:49:36 GMT"}, True, False),
        ({"if": "(<T>)"}, True, True),
        ({"if": "(<U>)"}, False, False),
    ],
)
def test_conditions_of_a_change(headers, on_file, on_nothing) -> None:
    condition = conditions.for_change(a_request(**headers))
    assert condition is not None
    for entry, passes in ((a_file(), on_file), (None, on_nothing)):
        if passes:
            condition(entry, frozenset({"T"}))
        else:
            with pytest.raises(PreconditionFailed):
                condition(entry, frozenset({"T"}))


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"if_none_match": '"tag"'}, NotModified),
        ({"if_none_match": '"x"', "if_modified_since": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        ({"if_modified_since": "Sun, 06 Nov 1994 08:49:37 GMT"}, NotModified),
        ({"if_modified_since": "Sun, 06 Nov 1994 08:49:38 GMT"}, None),
        ({"if_match": '"x"', "if_none_match": '"tag"'}, PreconditionFailed),
    ],
)
def test_conditions_of_a_read(headers, error) -> None:
    request = a_request("GET", **headers)
    if error is None:
        conditions.check_read(request, a_file(), frozenset())
    else:
        with pytest.raises(error):
            conditions.check_read(request, a_file(), frozenset())


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-3", ByteRange(0, 4)),
        ("bytes=4-", ByteRange(4, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-30", ByteRange(0, 10)),
        ("bytes = 9-99", ByteRange(9, 10)),
        ("bytes=-", None),
        ("bytes=3-2", None),
        ("bytes=0-1,3-4", None),
        ("rows=0-1", None),
        ("bytes=²-³", None),
    ],
)
def test_ranges(header, wanted) -> None:
    assert wanted_range(a_request("GET", range=header).header, a_file()) == wanted


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_ranges_outside(header, size) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        wanted_range(a_request("GET", range=header).header, a_file(size))
    assert caught.value.size == size
