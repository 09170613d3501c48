"""S3 over a network that errs: nothing is lost, nothing is short, nothing hangs."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import urlsplit

import pytest
from blake3 import blake3

from tests.contracts.object_store_contract import patterned
from tests.services import s3
from tests.services.faulty_proxy import Answer, Cut, FaultyProxy, Flip, Mode, Pass, Refuse, Reset, Silent, Slow
from tests.waiting import until
from vfs.errors import ObjectMissing, StoreUnavailable
from vfs.model import PIECE_SIZE, ByteRange, Stored
from vfs.storage.retrying import RetryingObjectStore
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address

BODY = patterned(3 * PIECE_SIZE)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
TIMEOUT, PATIENCE = 1.0, 60.0  # seconds of silence: where there is some, and where the machine is only busy


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.s3_endpoint() as url:
        yield url


@pytest.fixture
def proxy(endpoint: str) -> Iterator[FaultyProxy]:
    port = urlsplit(endpoint).port
    assert port
    with FaultyProxy(port) as proxy:
        yield proxy


@pytest.fixture
def address(proxy: FaultyProxy) -> S3Address:
    """Of a bucket that is there."""
    found = S3Address.parse(s3.bucket_url(f"http://127.0.0.1:{proxy.port}"))
    with store_at(found, PATIENCE) as store:
        store.prepare()
    return found


def store_at(address: S3Address, timeout: float) -> closing[S3ObjectStore]:
    return closing(S3ObjectStore(address, s3.ACCESS_KEY, s3.SECRET_KEY, timeout))


@pytest.fixture
def once(address: S3Address) -> Iterator[S3ObjectStore]:
    """The store that tries once."""
    with store_at(address, PATIENCE) as store:
        yield store


@pytest.fixture
def store(once: S3ObjectStore) -> RetryingObjectStore:
    return RetryingObjectStore(once)


def new_key() -> str:
    return str(uuid.uuid4())


PASSING: list[Mode] = [
    Reset(times=1),
    Reset(after=1_500_000, times=1),
    Cut(times=1),
    Cut(after=1_500_000, times=1),
    Reset(requests=True, times=1),
    Reset(after=1_500_000, requests=True, times=2),
    Cut(after=100, requests=True, times=1),
    Answer(answer("503 Slow Down", SLOW_DOWN), times=2),
    Answer(answer("500 Internal Server Error", b""), times=1),
    Answer(b"HTTP/1.1 200 OK\r\nContent-Le", times=1),
    Answer(b"", times=1),
    Slow(0.01),
]


@pytest.mark.parametrize("mode", PASSING, ids=str)
def test_a_fault_that_passes_is_not_noticed(proxy: FaultyProxy, store: RetryingObjectStore, mode: Mode) -> None:
    key = new_key()
    proxy.mode = mode
    assert store.put(key, [BODY]) == Stored(len(BODY), blake3(BODY).hexdigest())
    for wanted in (ByteRange(0, len(BODY)), ByteRange(12345, 2_000_000), None):
        proxy.mode = mode
        assert b"".join(store.get(key, wanted)) == BODY[slice(*wanted or (None,))]
    proxy.mode = mode
    assert store.stat(key) == len(BODY)
    proxy.mode = mode
    assert [info.key for info in store.list()] == [key]
    proxy.mode = mode
    store.delete(key)
    with pytest.raises(ObjectMissing):
        store.stat(key)


def test_an_answer_that_was_lost_after_the_put_is_found_out(proxy: FaultyProxy, store: RetryingObjectStore) -> None:
    key = new_key()
    proxy.mode = Reset(times=1)
    assert store.put(key, [BODY]).size == len(BODY)
    assert b"".join(store.get(key)) == BODY


@pytest.mark.parametrize("mode", PASSING, ids=str)
def test_a_replacement_gets_through(proxy: FaultyProxy, store: RetryingObjectStore, mode: Mode) -> None:
    key = new_key()
    store.put(key, [b"old"])
    proxy.mode = mode
    assert store.put(key, [BODY], replace=True) == Stored(len(BODY), blake3(BODY).hexdigest())
    proxy.mode = Pass()
    assert b"".join(store.get(key)) == BODY


@pytest.mark.parametrize("mode", [Reset(after=500_000), Cut(after=500_000), Cut(after=2 * PIECE_SIZE)], ids=str)
def test_a_cut_body_is_never_a_short_answer(proxy: FaultyProxy, once: S3ObjectStore, mode: Mode) -> None:
    key = new_key()
    once.put(key, [BODY])
    for wanted in (ByteRange(0, len(BODY)), None):
        proxy.mode = mode
        got = b""
        with pytest.raises(StoreUnavailable):
            for piece in once.get(key, wanted):
                got += piece
        assert BODY.startswith(got) and len(got) < len(BODY)
    proxy.mode = Pass()
    assert b"".join(once.get(key)) == BODY


@pytest.mark.parametrize(
    "mode",
    [
        Silent(),
        Refuse(),
        Reset(),
        Cut(),
        Answer(answer("503 Slow Down", SLOW_DOWN)),
        Answer(b"\x00\x01garbage\r\n\r\n"),
    ],
    ids=str,
)
def test_a_fault_that_stays_is_the_store_being_away(
    proxy: FaultyProxy, address: S3Address, once: S3ObjectStore, mode: Mode
) -> None:
    key = new_key()
    once.put(key, [BODY])
    with store_at(address, TIMEOUT if isinstance(mode, Silent) else PATIENCE) as hasty:
        store = RetryingObjectStore(hasty)
        proxy.mode = mode
        begun = time.monotonic()
        for call in (
            lambda: store.put(new_key(), [BODY]),
            lambda: b"".join(store.get(key)),
            lambda: store.stat(key),
            lambda: store.delete(new_key()),
            lambda: list(store.list()),
        ):
            with pytest.raises(StoreUnavailable):
                call()
        assert time.monotonic() - begun < PATIENCE, "a call that moves nothing has an end"
        proxy.mode = Pass()
        until(lambda: _is_read(store, key))


def _is_read(store: RetryingObjectStore, key: str) -> bool:
    with suppress(StoreUnavailable):  # a busy machine may be silent too, not always
        return b"".join(store.get(key)) == BODY
    return False


def test_silence_in_the_middle_of_a_body_ends(proxy: FaultyProxy, address: S3Address, once: S3ObjectStore) -> None:
    key, whole = new_key(), patterned(40 * PIECE_SIZE)  # more than sockets on the way can hold
    once.put(key, [whole])
    with store_at(address, 5 * TIMEOUT) as hasty:  # its first bytes may take a while
        pieces = hasty.get(key)
        assert next(pieces) == whole[:PIECE_SIZE]
        proxy.mode = Silent()
        with pytest.raises(StoreUnavailable):
            for _ in pieces:
                pass


def test_connections_that_died_while_they_rested(proxy: FaultyProxy, store: RetryingObjectStore) -> None:
    """The endpoint was restarted."""
    for size in (10, 300_000):
        for call in range(3):
            key = new_key()
            proxy.drop()
            store.put(key, [BODY[:size]])
            proxy.drop()
            assert store.stat(key) == size, call
            proxy.drop()
            assert b"".join(store.get(key)) == BODY[:size]


def test_a_large_put_that_breaks_is_aborted(proxy: FaultyProxy, store: RetryingObjectStore) -> None:
    proxy.mode = Reset(after=5 * PIECE_SIZE, requests=True)
    with pytest.raises(StoreUnavailable):
        store.put(new_key(), iter([BODY] * 10))
    proxy.mode = Pass()
    assert list(store.list()) == []
    key = new_key()
    assert store.put(key, iter([BODY] * 10)) == Stored(10 * len(BODY), blake3(BODY * 10).hexdigest())
    assert b"".join(store.get(key)) == BODY * 10


@pytest.mark.skipif("KELP_TEST_S3_ENDPOINT" not in os.environ, reason="moto does not look at checksums")
def test_a_body_changed_on_its_way_is_not_taken(
    proxy: FaultyProxy, once: S3ObjectStore, store: RetryingObjectStore
) -> None:
    key = new_key()
    proxy.mode = Flip(after=1_000_000)
    with pytest.raises(StoreUnavailable):
        once.put(key, [BODY])
    with pytest.raises(ObjectMissing):
        once.stat(key)
    proxy.mode = Flip(after=1_000_000, times=1)
    store.put(key, [BODY])
    assert b"".join(store.get(key)) == BODY
