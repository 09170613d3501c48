"""Answers that no S3 endpoint should give (one that errs, a proxy before it, something else behind its name): none is
taken for another's, none for success, and none is waited for without end."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BufferedReader

import pytest

from vfs.errors import ObjectMissing, StoreUnavailable
from vfs.model import ByteRange
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address

TIMEOUT = 0.4  # seconds
PATIENCE = 60.0  # … where nothing is late
HURRY = 30 * TIMEOUT  # half of what the quickest of the slow answers takes as a whole
STORED = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"

Says = Callable[[socket.socket], None]


def plainly(data: bytes) -> Says:
    return lambda sock: sock.sendall(data)


def drop_by_drop(data: bytes) -> Says:
    """A byte at a time, always before the silence would be too long."""

    def say(sock: socket.socket) -> None:
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
            time.sleep(TIMEOUT / 4)

    return say


def _head(reader: BufferedReader) -> bytes:
    """Of the next request, in small letters; nothing at the end of the connection."""
    lines = []
    while (line := reader.readline()) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines).lower()


class Endpoint:
    """Answers each request by what `says` has next, the last again and again; connections stay open."""

    def __init__(self) -> None:
        self.says: list[Says] = [plainly(STORED)]
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), sock, sock.makefile("rb") as reader:
            while head := _head(reader):
                _, found, rest = head.partition(b"content-length:")
                reader.read(int(rest.split()[0]) if found else 0)
                say = self.says.pop(0) if len(self.says) > 1 else self.says[0]
                say(sock)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def store(endpoint: Endpoint) -> Iterator[S3ObjectStore]:
    with closing(store_at(endpoint, PATIENCE)) as store:
        yield store


@pytest.fixture
def hasty(endpoint: Endpoint) -> Iterator[S3ObjectStore]:
    with closing(store_at(endpoint, TIMEOUT)) as store:
        yield store


def store_at(endpoint: Endpoint, timeout: float) -> S3ObjectStore:
    address = S3Address.parse(f"s3://kelp?endpoint=http://127.0.0.1:{endpoint.port}")
    return S3ObjectStore(address, "key", "secret", timeout)


def new_key() -> str:
    return str(uuid.uuid4())


# --- an answer is of its own request


@pytest.mark.parametrize(
    "answer",
    [
        GONE + STORED,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + STORED,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno" + STORED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + STORED,
    ],
    ids=["204", "empty", "404", "chunked"],
)
def test_what_follows_an_answer_is_not_the_next_one(endpoint: Endpoint, store: S3ObjectStore, answer: bytes) -> None:
    """Taken for the answer of the next put, it would be "stored", and the file lost."""
    endpoint.says = [plainly(answer), plainly(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")]
    store.delete(new_key())
    with pytest.raises(StoreUnavailable):
        store.put(new_key(), [b"body"])


def test_a_connection_rests_after_a_put_and_not_after_one_that_was_refused(
    endpoint: Endpoint, store: S3ObjectStore
) -> None:
    """Who refuses before it has read the body may take the rest of it for requests, and answer those."""
    store.put(new_key(), [b"body"])
    store.put(new_key(), [b"body"])
    assert endpoint.connections == 1
    endpoint.says = [plainly(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), plainly(STORED)]
    with pytest.raises(StoreUnavailable):
        store.put(new_key(), [b"body"])
    store.put(new_key(), [b"body"])
    assert endpoint.connections == 2


# --- success is what S3 calls so


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["a web page", "202", "204"],
)
def test_only_what_s3_says_is_stored(endpoint: Endpoint, store: S3ObjectStore, answer: bytes) -> None:
    endpoint.says = [plainly(answer)]
    with pytest.raises(StoreUnavailable):
        store.put(new_key(), [b"body"])


@pytest.mark.parametrize("said", ["bytes 0-3/8", "bytes 2-5/8", "bytes 4-7/8x", ""])
def test_another_range_is_not_taken(endpoint: Endpoint, store: S3ObjectStore, said: str) -> None:
    field = f"Content-Range: {said}\r\n" if said else ""
    endpoint.says = [plainly(f"HTTP/1.1 206 Partial\r\n{field}Content-Length: 4\r\n\r\nabcd".encode())]
    if said.startswith("bytes 4-7/"):
        assert b"".join(store.get(new_key(), ByteRange(4, 8))) == b"abcd"
    else:
        with pytest.raises(StoreUnavailable):
            store.get(new_key(), ByteRange(4, 8))


def test_a_length_that_is_no_number_of_ours(endpoint: Endpoint, store: S3ObjectStore) -> None:
    endpoint.says = [plainly(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")]
    for call in (lambda: store.get(new_key()), lambda: store.stat(new_key())):
        with pytest.raises(StoreUnavailable):
            call()


# --- listings


def page(*keys: str, more: bool, encoding: str = "utf-8", doctype: str = "") -> Says:
    items = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        for key in keys
    )
    text = f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{items}</ListBucketResult>"
    body = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}{text}'.encode(encoding)
    return plainly(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@pytest.mark.parametrize("second", [("a", "b"), ("b",), ()], ids=["again", "the last again", "nothing"])
def test_a_listing_that_does_not_go_on_is_not_a_whole_one(
    endpoint: Endpoint, store: S3ObjectStore, second: tuple[str, ...]
) -> None:
    endpoint.says = [page("a", "b", more=True), page(*second, more=True)]
    with pytest.raises(StoreUnavailable):
        list(store.list())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_a_document_type_is_refused_however_it_is_written(
    endpoint: Endpoint, store: S3ObjectStore, encoding: str
) -> None:
    endpoint.says = [page("&k;", more=False, encoding=encoding, doctype='<!DOCTYPE l [<!ENTITY k "bomb">]>')]
    with pytest.raises(StoreUnavailable):
        list(store.list())


# --- an end comes


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 200\r\n\r\n" + b"x" * 200,
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40,
        b"HTTP/1.1 404 Not Found\r\n\r\n" + b"x" * 200,
    ],
    ids=["head", "1xx", "body", "chunks", "until the end"],
)
def test_an_answer_that_drips_counts_as_silence(endpoint: Endpoint, hasty: S3ObjectStore, answer: bytes) -> None:
    endpoint.says = [drop_by_drop(answer)]
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        hasty.put(new_key(), [b"body"])
    assert time.monotonic() - begun < HURRY


def test_a_download_that_drips_counts_as_silence(endpoint: Endpoint, hasty: S3ObjectStore) -> None:
    def say(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        drop_by_drop(b"x" * 1000)(sock)

    endpoint.says = [say]
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        list(hasty.get(new_key()))
    assert time.monotonic() - begun < HURRY


def test_a_slow_reader_is_no_silence(endpoint: Endpoint) -> None:
    body = b"x" * 3_000_000
    endpoint.says = [plainly(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)]
    got = 0
    with closing(store_at(endpoint, 1.0)) as store:
        for piece in store.get(new_key()):
            got += len(piece)
            time.sleep(1.5)
    assert got == len(body)


def test_a_name_that_nobody_resolves_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver asks servers that are away for 10 to 30 s, and cannot be told to stop."""
    done = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        done.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    store = S3ObjectStore(S3Address.parse("s3://kelp?endpoint=http://s3.example"), "key", "secret", TIMEOUT)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.stat(new_key())
    assert time.monotonic() - begun < HURRY
    done.set()


# --- connections are for all


def test_who_reads_slowly_takes_no_connection_from_others(endpoint: Endpoint) -> None:
    """64 threads wait for their clients at most, and each may have asked for its next part already."""
    store = store_at(endpoint, 5.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    endpoint.says = [plainly(head)]
    slow = [store.get(new_key()) for _ in range(128)]
    endpoint.says = [plainly(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
    with pytest.raises(ObjectMissing):
        store.get(new_key())
    del slow
    store.close()
