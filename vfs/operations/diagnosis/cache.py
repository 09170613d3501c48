"""The cache: does it keep what it is given, and does that last."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from vfs.errors import AlreadyExists, KelpError, ObjectMissing, StoreUnavailable
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange
from vfs.operations.diagnosis import disks, words
from vfs.operations.diagnosis.findings import Area, ClockReading, Finding, Readings
from vfs.settings import Settings
from vfs.storage import s3_facts
from vfs.storage.folder import FolderObjectStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.retrying import RetryingObjectStore
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address

_AREA = Area("cache")
_SMALL = 4096  # bytes
_LONGEST = 3.0  # seconds without a byte from S3; the store tries again for two more
_SLOW = 0.5  # seconds of a small put
_SCARCE = 0.05  # of the disk
WHEN_SILENT = "it takes requests and does not answer: look at its log, its disk and the network"
_KEYS = "correct cache.access_key and cache.secret_key, and what they may do with the bucket"
_CAUSES = {
    "RequestTimeTooSkewed": "set the clocks of this machine and of the store by NTP",
    "PermanentRedirect": "correct the region in cache.url",
    "AuthorizationHeaderMalformed": "correct the region in cache.url",
}


def check(settings: Settings, readings: Readings) -> Iterator[Finding]:
    if not settings.cache.url.startswith("s3://"):
        folder = Path(settings.cache.url)
        if not folder.is_dir():
            advice = "`kelp serve` makes it at its start; correct cache.url when it should be there"
            yield _AREA.warning("place", f"{folder} is not there", advice)
            return
        yield _AREA.ok("place", f"folder {folder}")
        yield from _disk(folder)
        store: ObjectStore = FolderObjectStore(folder)
        yield _space(store, settings.cache.reserve)
        yield from _objects(store)
        return
    cache = settings.cache
    timeout = min(_LONGEST, cache.timeout)
    address = S3Address.parse(cache.url)
    answers = yield from _endpoint(address, settings, timeout, readings)
    if answers:
        bucket = S3ObjectStore(address, cache.access_key, cache.secret_key, timeout)
        try:
            yield from _objects(RetryingObjectStore(bucket))
        finally:
            bucket.close()


def _disk(folder: Path) -> Iterator[Finding]:
    mount = disks.mount_of(folder)
    if mount is None:
        return
    fact = f"{mount.kind} at {mount.place}"
    if mount.is_volatile:
        advice = "acknowledged files would not survive a power cut: move the cache to a disk"
        yield _AREA.error("disk", f"{fact}, in memory", advice)
    elif mount.is_network:
        advice = "slow, and what fsync promises is the other side's: a local disk is better"
        yield _AREA.warning("disk", f"{fact}, a network file system", advice)
    elif mount.is_layer:
        yield _AREA.warning("disk", f"{fact}, which goes with its container", "mount a volume for the cache")
    else:
        yield _AREA.ok("disk", fact)


def _space(store: ObjectStore, reserve: int) -> Finding:
    usage = store.usage()
    fact = f"{words.size(usage.free)} of {words.size(usage.total)} free"
    if usage.free <= reserve:
        advice = "uploads are refused: make room, or lower cache.reserve"
        return _AREA.error("space", f"{fact}, {words.size(reserve)} kept in reserve", advice)
    if usage.free < usage.total * _SCARCE:
        return _AREA.warning("space", fact, "uploads will be refused soon: make room")
    return _AREA.ok("space", fact)


def _endpoint(
    address: S3Address, settings: Settings, timeout: float, readings: Readings
) -> Generator[Finding, None, bool]:
    """Whether objects can be tried."""
    cache = settings.cache
    where = f"bucket {address.bucket} at {address.endpoint.label}"
    if not (cache.access_key and cache.secret_key):
        yield _AREA.error("place", where, "cache.access_key and cache.secret_key are not set")
        return False
    try:
        found = s3_facts.look(address, cache.access_key, cache.secret_key, timeout)
    except StoreUnavailable as error:
        advice = "start the store, or correct the endpoint in cache.url; a wrong scheme (http, https) looks so too"
        yield _AREA.error("place", str(error), advice)
        return False
    if found.clock_ahead is not None:
        readings.clocks.append(ClockReading("the object store", found.clock_ahead, 1.0))
    refused = found.refused
    if refused is not None and refused.code == "NoSuchBucket":
        yield _AREA.warning("place", f"{where} is not there", "`kelp serve` makes it at its start")
        return False
    if refused is not None:
        not_s3 = "" if refused.code else "it answers, but not as S3 does: correct the endpoint in cache.url"
        advice = not_s3 or _CAUSES.get(refused.code) or (_KEYS if refused.status == 403 else "see the log of the store")
        yield _AREA.error("place", f"{where}: {refused}", advice)
        return False
    yield _AREA.ok("place", where)
    yield _durability(found.product)
    return True


def _durability(product: str) -> Finding:
    """Whether a store syncs before it answers cannot be seen from outside."""
    if "seaweed" in product.lower():
        advice = "its data folder needs `chattr -R +S`, its filer PostgreSQL (docs/operations.md, SeaweedFS)"
        return _AREA.note("durability", f"{product}; its sync to disk cannot be seen from here", advice)
    advice = "see that it syncs to disk before it answers (docs/operations.md)"
    return _AREA.note("durability", f"{product or 'S3'}; its sync to disk cannot be seen from here", advice)


class _Wrong(Exception):
    """The store did something else than it was asked for."""


def _objects(store: ObjectStore) -> Iterator[Finding]:
    """Each way to use it, with an object of 4 KiB and one of 8 MiB, which go again whatever happens.

    What a store that goes away meanwhile keeps is an orphan, which is removed like every other.
    """
    for size in (_SMALL, PART_SIZE):
        key = f"doctor-{uuid.uuid4()}"
        try:
            yield from _object(store, key, _made_up(size))
        except _Wrong as wrong:
            advice = "this store cannot hold the drive: take another, or a newer version of it"
            yield _AREA.error(_name(size), str(wrong), advice)
        except KelpError as error:
            advice = (
                "make room there" if type(error).__name__ == "NoSpace" else "see the log of the store, and its disk"
            )
            yield _AREA.error(_name(size), str(error), advice)
            return
        finally:
            with suppress(KelpError):
                store.delete(key)


def _name(size: int) -> str:
    return "small object" if size == _SMALL else "large object"


def _made_up(size: int) -> list[bytes]:
    return [os.urandom(min(PIECE_SIZE, size)) for _ in range(0, size, PIECE_SIZE)]


def _object(store: ObjectStore, key: str, pieces: Sequence[bytes]) -> Iterator[Finding]:
    whole = b"".join(pieces)
    size, name = len(whole), _name(len(whole))
    put = words.timed(lambda: _put(store, key, pieces))
    get = words.timed(lambda: _expect("read", b"".join(store.get(key)), whole))
    start, stop = size // 3, size // 2
    _expect("a range", b"".join(store.get(key, ByteRange(start, stop))), whole[start:stop])
    _expect("the size", store.stat(key), size)
    _expect("the listing", [(info.key, info.size) for info in store.list(key)], [(key, size)])
    overwritten = False
    if size == _SMALL:
        try:
            store.put(key, [b"another"])
            overwritten = True
        except AlreadyExists:
            _expect("what was to be overwritten", b"".join(store.get(key)), whole)
    remove = words.timed(lambda: store.delete(key))
    try:
        store.stat(key)
        raise _Wrong("what was deleted is still there")
    except ObjectMissing:
        pass
    if size == _SMALL:
        fact = f"{words.size(size)}: put {words.seconds(put)}, get {words.seconds(get)}, "
        fact += f"delete {words.seconds(remove)}; range, list right"
        slow = put > _SLOW
        yield (
            _AREA.warning(name, fact, "each file saved waits so long: a faster disk") if slow else _AREA.ok(name, fact)
        )
        yield _overwriting(overwritten)
    else:
        yield _AREA.ok(
            name, f"{words.size(size)}: put {words.rate(size, put)}, get {words.rate(size, get)}; range, list right"
        )


def _put(store: ObjectStore, key: str, pieces: Sequence[bytes]) -> None:
    stored = store.put(key, pieces)
    digest = blake3()
    for piece in pieces:
        digest.update(piece)
    _expect("what was stored", (stored.size, stored.checksum), (sum(map(len, pieces)), digest.hexdigest()))


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise _Wrong(f"{what} is not what was put")


def _overwriting(happened: bool) -> Finding:
    if happened:
        advice = "keys are used once, so it is a net that is missing; newer versions of most stores have it"
        return _AREA.warning("overwriting", "the store ignores If-None-Match and overwrites", advice)
    return _AREA.ok("overwriting", "refused")
