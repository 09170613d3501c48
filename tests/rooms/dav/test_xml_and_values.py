"""XML bodies, dates, timeouts, property updates, and that the table of errors has a line for every class."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pytest

from dav_provider import errors as table
from dav_provider import xmlio
from dav_provider.http_body import SizedBody
from dav_provider.listing import parse_propfind
from dav_provider.locking import parse_lockinfo, timeout_of
from dav_provider.properties import parse_propertyupdate
from vfs.errors import InvalidRequest, KelpError
from vfs.model import Scope
from vfs.web.dates import http_date, iso_date, parse_http_date, parse_time_ns


def test_dates() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert iso_date(784111777) == "1994-11-06T08:49:37Z"
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert parse_http_date(text) == 784111777
    for text in ("", "soon", "06 Foo 1994", "Sun, 06 Nov 99999 08:49:37 GMT", "-1"):
        assert parse_http_date(text) is None, text
    assert parse_http_date("Wed, 01 Jan 1969 00:00:00 GMT") == -31_536_000
    assert parse_http_date("Mon, 01 Jan 1601 00:00:00 GMT") == -9_223_372_035  # what a row can hold


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1600000000", 1_600_000_000_000_000_000),
        ("1600000000.5", 1_600_000_000_500_000_000),
        (" 1600000000.123456789 ", 1_600_000_000_123_456_789),
        ("Sun, 13 Sep 2020 12:26:40 GMT", 1_600_000_000_000_000_000),
        ("-5", None),
        ("1e9", None),
        ("999999999999", None),
        ("9" * 400, None),
        ("", None),
    ],
)
def test_times_that_clients_set(text, nanoseconds) -> None:
    assert parse_time_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 3600),
        ("Second-180", 180),
        ("second-0", 1),
        ("Infinite", None),
        ("Extend, Infinite, Second-5", None),
        ("Second-" + "9" * 19, 2**32 - 1),
        ("nonsense", 3600),
    ],
)
def test_timeouts(header, seconds) -> None:
    assert timeout_of(header) == seconds


def test_serialized_elements_stand_alone() -> None:
    source = (
        '<a xmlns="urn:one" xmlns:t="urn:two" xml:lang="de" t:k="&lt;&quot;&#10;">x &amp; y'
        '<t:b/>tail<D:href xmlns:D="DAV:">z</D:href><none xmlns=""/></a>'
    )
    written = xmlio.serialize(ET.fromstring(source))
    again = ET.fromstring(f'<D:r xmlns:D="DAV:">{written}</D:r>')[0]
    assert ET.canonicalize(ET.tostring(again)) == ET.canonicalize(ET.tostring(ET.fromstring(source)))
    assert "xmlns=" not in written


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text",
        b"<a>",
        b'<a xmlns:b=""/>',
        b"<a/>",
        b'<!DOCTYPE a><D:propfind xmlns:D="DAV:"/>',
        b'<D:propfind xmlns:D="DAV:">' + b"<a>" * 60 + b"</a>" * 60 + b"</D:propfind>",
        b'<D:propfind xmlns:D="DAV:">' + b"<a/>" * 30_000 + b"</D:propfind>",
        b'<?xml version="1.0" encoding="klingon"?><a/>',
        b"\x00\x01",
    ],
)
def test_refused_xml(body) -> None:
    with pytest.raises(InvalidRequest):
        xmlio.parse(body, "propfind")


def test_bodies_are_bounded() -> None:
    limit = 1024 * 1024
    assert len(xmlio.read_bounded(SizedBody(io.BytesIO(bytes(limit)), limit), None)) == limit
    for announced in (limit + 1, None):
        with pytest.raises(xmlio.TooLarge):
            xmlio.read_bounded(SizedBody(io.BytesIO(bytes(limit + 1)), limit + 1), announced)


def dav(inner: str, root: str) -> bytes:
    return f'<D:{root} xmlns:D="DAV:" xmlns:x="urn:x">{inner}</D:{root}>'.encode()


def test_propfind_bodies() -> None:
    assert parse_propfind(b" ").everything
    assert parse_propfind(dav("<D:propname/>", "propfind")).names_only
    wanted = parse_propfind(dav("<D:prop><D:getetag/><x:a/><none/><x:a/></D:prop>", "propfind"))
    assert wanted.names == ("{DAV:}getetag", "{urn:x}a", "{}none")
    both = parse_propfind(dav("<D:allprop/><D:include><x:a/></D:include>", "propfind"))
    assert both.everything and both.names == ("{urn:x}a",)
    for inner in ("", "<D:allprop/><D:propname/>", "<x:other/>"):
        with pytest.raises(InvalidRequest):
            parse_propfind(dav(inner, "propfind"))


def test_lockinfo_bodies() -> None:
    kind = "<D:locktype><D:write/></D:locktype>"
    shared = "<D:lockscope><D:shared/></D:lockscope>"
    assert parse_lockinfo(dav(shared + kind, "lockinfo")) == (Scope.SHARED, "")
    owner = "<D:owner>a &amp; b <D:href>http://x</D:href></D:owner>"
    exclusive = "<D:lockscope><D:exclusive/></D:lockscope>"
    assert parse_lockinfo(dav(exclusive + kind + owner, "lockinfo")) == (
        Scope.EXCLUSIVE,
        "a &amp; b <D:href>http://x</D:href>",
    )
    for inner in (kind, shared, shared + exclusive + kind, "<D:lockscope><D:other/></D:lockscope>" + kind):
        with pytest.raises(InvalidRequest):
            parse_lockinfo(dav(inner, "lockinfo"))


def test_property_updates_keep_order_and_language() -> None:
    changes = parse_propertyupdate(
        dav(
            "<D:set><D:prop xml:lang='ko'><x:a>1</x:a><x:b/></D:prop></D:set>"
            "<D:remove><D:prop><x:a/></D:prop></D:remove><D:set><D:prop><x:c xml:lang='en'>3</x:c></D:prop></D:set>",
            "propertyupdate",
        )
    )
    assert [(change.name, change.value is None) for change in changes] == [
        ("{urn:x}b", False),
        ("{urn:x}a", True),
        ("{urn:x}c", False),
    ]
    assert 'xml:lang="ko"' in (changes[0].value or "") and 'xml:lang="en"' in (changes[2].value or "")
    with pytest.raises(InvalidRequest):
        parse_propertyupdate(dav("", "propertyupdate"))


def test_every_error_of_the_core_has_a_status() -> None:
    pending = [KelpError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__ == "vfs.errors":
            assert kind in table.STATUS, kind
            assert 300 <= table.STATUS[kind] != 500
