"""Paths of requests and destinations: decoded exactly once, never above the root."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav_provider.paths import (
    ElsewhereError,
    decode_path,
    encode,
    host_name,
    href,
    parse_destination,
    parse_target,
    tag_path,
)
from vfs.errors import InvalidName, InvalidRequest, NameTooLong
from vfs.names import check_segment

HOSTS = frozenset({"drive.example", "drive.example:8443"})


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", ()),
        ("/dav", ("dav",)),
        ("/dav/", ("dav",)),
        ("/dav//a/./b/", ("dav", "a", "b")),
        ("/dav/a%2520b", ("dav", "a%20b")),
        ("/dav/a+b", ("dav", "a+b")),
        ("/dav/%c3%a9", ("dav", "é")),
        ("/dav/\xc3\xa9", ("dav", "é")),  # raw UTF-8, as WSGI shows it
        ("/dav/a;b%3Fc?query=/x", ("dav", "a;b?c")),
        ("/dav/../../x", ("x",)),
        ("/a/%2e%2E/b", ("b",)),
        ("http://u:p@host:1/dav/x", ("dav", "x")),
        ("http://host", ()),
    ],
)
def test_targets(target, segments) -> None:
    assert parse_target(target) == segments


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/a%2Fb", InvalidName),
        ("/%00", InvalidName),
        ("/%0a", InvalidName),
        ("/%ff", InvalidName),
        ("/%", InvalidRequest),
        ("/%4", InvalidRequest),
        ("/%gg", InvalidRequest),
        ("relative", InvalidRequest),
        ("/" + "n" * 256, NameTooLong),
    ],
)
def test_what_no_entry_can_be_called(path, error) -> None:
    with pytest.raises(error):
        decode_path(path)


@given(st.lists(st.text(min_size=1, max_size=40), max_size=4))
def test_an_href_decoded_once_is_the_path(names) -> None:
    try:
        segments = tuple(check_segment(name) for name in names)
    except InvalidName:
        return
    for folder in (True, False):
        assert decode_path(href(segments, folder=folder)) == segments
    assert all(ord(character) < 128 for name in segments for character in encode(name))


@pytest.mark.parametrize(
    "header",
    [
        "/dav/x",
        "http://drive.example/dav/x",
        "https://DRIVE.example:443/dav/x",
        "http://drive.example:80/dav/x",
        "https://user:p@ss@drive.example:8443/dav/x",
    ],
)
def test_destinations_here(header) -> None:
    assert parse_destination(header, HOSTS) == ("dav", "x")


@pytest.mark.parametrize("header", ["http://other.example/dav/x", "http://drive.example:81/dav/x"])
def test_destinations_elsewhere(header) -> None:
    with pytest.raises(ElsewhereError) as caught:
        parse_destination(header, HOSTS)
    assert not caught.value.same_host


@pytest.mark.parametrize("header", ["", "x", "dav/x", "/dav/x?y", "/dav/x#y", "http:/dav"])
def test_destinations_that_make_no_sense(header) -> None:
    with pytest.raises(InvalidRequest):
        parse_destination(header, HOSTS)


def test_hosts_and_tags() -> None:
    assert host_name("u:p@HOST:443") == "host"
    assert host_name("[::1]:8080") == "[::1]:8080"
    assert tag_path("http://any/dav/a%20b/") == ("dav", "a b")
    assert tag_path("urn:x") is None
