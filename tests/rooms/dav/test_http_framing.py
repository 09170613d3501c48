"""Bodies and header fields: bounded memory, nothing cut in silence, nothing ambiguous."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav_provider.http_body import ChunkedBody, SizedBody
from dav_provider.http_fields import FieldReader, body_framing
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


def fields(text: bytes) -> dict[bytes, bytes]:
    return FieldReader()(io.BytesIO(text), None)


def test_fields() -> None:
    assert fields(b"host: x\r\nACCEPT:a\r\nAccept: \tb \r\n\r\n") == {b"Host": b"x", b"Accept": b"a, b"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Host: x\r\n",
        b"Host: x\n\r\n",
        b"Host : x\r\n\r\n",
        b"Ho st: x\r\n\r\n",
        b"Content_Length: 5\r\n\r\n",
        b"Host: x\r\n folded\r\n\r\n",
        b": x\r\n\r\n",
        b"no colon\r\n\r\n",
        b"X: a\0b\r\n\r\n",
        b"X: a\rb\r\n\r\n",
        b"Content-Length: 5\r\ncontent-length: 6\r\n\r\n",
        b"If: (<a>)\r\nIf: (<b>)\r\n\r\n",
        b"X: y\r\n" * 500 + b"\r\n",
    ],
)
def test_malformed_fields(text) -> None:
    with pytest.raises(ValueError):
        fields(text)


def test_framing() -> None:
    assert body_framing({}) == (0, False)
    assert body_framing({b"Content-Length": b"12"}) == (12, False)
    assert body_framing({b"Transfer-Encoding": b"Chunked"}) == (0, True)
    for length in (b"-1", b"+1", b"1.0", b"", b"0x1", b"1, 1", b"9" * 30):
        with pytest.raises(ValueError):
            body_framing({b"Content-Length": length})
    with pytest.raises(ValueError):
        body_framing({b"Content-Length": b"1", b"Transfer-Encoding": b"chunked"})
    with pytest.raises(NotImplementedError):
        body_framing({b"Transfer-Encoding": b"gzip, chunked"})
