"""Bodies and header fields: bounded memory, nothing cut in silence, nothing ambiguous."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav_provider.http_body import ChunkedBody, SizedBody
from dav_provider.http_fields import (
    LARGEST_HEAD,
    RefusedError,
    body_framing,
    check_beginning,
    parse_fields,
    parse_head,
    parse_request_line,
)
from vfs.errors import UploadIncomplete


def everything(body, size=7) -> bytes:
    return b"".join(iter(lambda: body.read(size), b""))


def chunked(*chunks: bytes, end=b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 60))
def test_chunks_come_out_whole_whatever_the_reading_size(chunks, size) -> None:
    stream = io.BytesIO(chunked(*chunks) + b"next")
    body = ChunkedBody(stream)
    assert everything(body, size) == b"".join(chunks)
    assert body.complete and stream.read() == b"next" and body.read(1) == b""


@given(st.data())
def test_a_chunked_body_cut_anywhere_is_incomplete(data) -> None:
    whole = chunked(b"hello", b"w" * 20)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    body = ChunkedBody(io.BytesIO(cut))
    with pytest.raises(UploadIncomplete):
        everything(body)
    assert body.broken and not body.complete
    with pytest.raises(UploadIncomplete):
        body.read(1)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"-1\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n",
    ],
)
def test_malformed_chunks(data) -> None:
    with pytest.raises(UploadIncomplete):
        everything(ChunkedBody(io.BytesIO(data)))


def test_extensions_and_trailers_are_ignored() -> None:
    assert everything(ChunkedBody(io.BytesIO(b"5 ; a=b\r\nhello\r\n00\r\nX: y\r\n\r\n"))) == b"hello"


def test_sized_bodies() -> None:
    stream = io.BytesIO(b"hellonext")
    body = SizedBody(stream, 5)
    assert everything(body, 2) == b"hello" and body.complete and stream.read() == b"next"
    assert SizedBody(io.BytesIO(), 0).complete
    with pytest.raises(UploadIncomplete):
        everything(SizedBody(io.BytesIO(b"hell"), 5))


def test_drain_is_bounded() -> None:
    assert SizedBody(io.BytesIO(bytes(100)), 100).drain(100)
    stream = io.BytesIO(bytes(1000))
    assert not SizedBody(stream, 1000).drain(100)
    assert stream.tell() == 100
    assert not SizedBody(io.BytesIO(), 5).drain(100)


def test_a_lost_connection_is_an_incomplete_upload() -> None:
    class Lost(io.BytesIO):
        def read(self, size=-1, /):
            raise TimeoutError("timed out")

    with pytest.raises(UploadIncomplete):
        SizedBody(Lost(), 5).read(5)


def test_continue_is_asked_for_once_and_only_when_needed() -> None:
    asked: list[int] = []
    body = SizedBody(io.BytesIO(b"hello"), 5, lambda: asked.append(1))
    assert not asked
    everything(body, 1)
    assert asked == [1]


def fields(*lines: str) -> dict[str, str]:
    return parse_fields(lines)


def test_fields() -> None:
    assert fields("host: x", "ACCEPT:a", "Accept: \tb ", "content-TYPE: c", "Cookie: d=1", "cookie: e=2") == {
        "HTTP_HOST": "x",
        "HTTP_ACCEPT": "a, b",
        "CONTENT_TYPE": "c",
        "HTTP_COOKIE": "d=1; e=2",
    }


@pytest.mark.parametrize(
    "lines",
    [
        *(["Host : x"], ["Ho st: x"], ["Content_Length: 5"], ["Host: x", " folded"], ["Host: x", "\tfolded"], [": x"]),
        *(["no colon"], [""], ["Content-Length: 5", "content-length: 5"], ["If: (<a>)", "If: (<b>)"], ["H\xe9: x"]),
        *(["Depth: 0", "DEPTH: 1"], ["X: y"] * 500, [f"X-{number}: y" for number in range(201)]),
    ],
)
def test_malformed_fields(lines) -> None:
    with pytest.raises(RefusedError):
        fields(*lines)


def test_framing() -> None:
    assert body_framing({}) == (0, False)
    assert body_framing({"CONTENT_LENGTH": "12"}) == (12, False)
    assert body_framing({"HTTP_TRANSFER_ENCODING": "Chunked"}) == (0, True)
    for length in ("-1", "+1", "1.0", "", "0x1", "1, 1", "1_0", "9" * 30, "\xb2", "\u0665"):
        with pytest.raises(RefusedError):
            body_framing({"CONTENT_LENGTH": length})
    with pytest.raises(RefusedError):
        body_framing({"CONTENT_LENGTH": "1", "HTTP_TRANSFER_ENCODING": "chunked"})
    for coding, minor, status in (("gzip, chunked", 1, 501), ("identity", 1, 501), ("", 1, 501), ("chunked", 0, 400)):
        with pytest.raises(RefusedError) as refusal:
            body_framing({"HTTP_TRANSFER_ENCODING": coding}, minor)
        assert refusal.value.status == status


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", ("GET", "/", 1)),
        (b"GET / HTTP/1.0", ("GET", "/", 0)),
        (b"GET / HTTP/1.9", ("GET", "/", 1)),  # RFC 9110 \u00a72.5: a newer minor version is understood as ours
        (b"OPTIONS * HTTP/1.1", ("OPTIONS", "*", 1)),
        (b"GET http://host:1/a?b HTTP/1.1", ("GET", "http://host:1/a?b", 1)),
        (b"GET HTTPS://host HTTP/1.1", ("GET", "HTTPS://host", 1)),
        (b"GET /\xc3\xa9 HTTP/1.1", ("GET", "/\xc3\xa9", 1)),
        (b"GET * HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET ftp://host/ HTTP/1.1", 400),
        (b"GET http:///a HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /\tHTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"CONNECT host:443 HTTP/1.1", 400),
    ],
)
def test_request_lines(line, expected) -> None:
    if isinstance(expected, tuple):
        assert parse_request_line(line) == expected
        return
    with pytest.raises(RefusedError) as refusal:
        parse_request_line(line)
    assert refusal.value.status == expected


WRONG_HEADS = {
    "no host": (b"GET / HTTP/1.1", 400),
    "a host that is a path": (b"GET / HTTP/1.1\r\nHost: a/b", 400),
    "two names for the host": (b"GET / HTTP/1.1\r\nHost: a, b", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a", 400),
    "a bare return": (b"GET / HTTP/1.1\r\nHost: a\rX: b", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b", 400),
    "a long line": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a", 414),
}


@pytest.mark.parametrize(("data", "status"), WRONG_HEADS.values(), ids=WRONG_HEADS)
def test_malformed_heads(data, status) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_head(data)
    assert refusal.value.status == status


@given(st.data())
def test_a_good_head_is_never_refused_for_being_cut(data) -> None:
    whole = b"PUT /dav/a%20b?c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: \xff\t\r\n\r\n"
    check_beginning(whole[: data.draw(st.integers(0, len(whole)))])


def test_a_head_without_end_is_refused_when_it_is_too_long() -> None:
    for data, status in ((b"a" * 40_000, 414), (b"GET / HTTP/1.1\r\nX: " + b"y" * LARGEST_HEAD, 431)):
        with pytest.raises(RefusedError) as refusal:
            check_beginning(data)
        assert refusal.value.status == status
