"""Uploads in parts in the core: when they expire, what they take of the cache, and what failures leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from blake3 import blake3

from tests.rooms.core.drive import SECOND, Drive
from tests.rooms.core.test_uploads_expire import Faulty
from vfs.errors import (
    NoSpace,
    PartsIncomplete,
    SessionExpired,
    SessionNotFound,
    StoreUnavailable,
    UploadIncomplete,
)
from vfs.model import Expected
from vfs.operations import (
    cache_limits,
    orphans,
    restoring,
    session_ending,
    session_expiry,
    session_parts,
    sessions,
)
from vfs.operations.sessions import Protocol, Status

HOUR = 3600
MIB = 1024 * 1024


class Upload:
    def __init__(self, drive: Drive, name: str = "file", size: int | None = None, **more: object) -> None:
        self.drive, self.kelp, self.caller = drive, drive.kelp, drive.editor
        self.uuid = sessions.begin(drive.kelp, drive.editor, None, name, size, **more).uuid  # type: ignore[arg-type]

    def put(self, number: int, data: bytes, expected: Expected | None = None) -> None:
        wanted = expected or Expected(length=len(data))
        session_parts.put(self.kelp, self.caller, self.uuid, number, pieces(data), expected=wanted)

    def append(self, offset: int, data: bytes) -> int:
        return session_parts.append(
            self.kelp, self.caller, self.uuid, offset, pieces(data), expected=Expected(length=len(data))
        )

    def complete(self, protocol: Protocol = Protocol.PARTS) -> None:
        session_ending.complete(self.kelp, self.caller, self.uuid, protocol=protocol)

    @property
    def now(self) -> sessions.Progress:
        return sessions.progress(self.kelp, self.caller, self.uuid)

    @property
    def left(self) -> int:
        """Seconds to its end."""
        return (self.now.expires_ns - self.drive.clock.now) // SECOND


def pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), MIB):
        yield data[at : at + MIB]


def pattern(size: int) -> bytes:
    return blake3(b"pattern").digest(length=size)


def test_each_part_moves_the_end(drive: Drive) -> None:
    upload = Upload(drive)
    assert upload.left == 24 * HOUR
    drive.clock.advance(23 * HOUR)
    upload.put(1, b"x")
    assert upload.left == 72 * HOUR
    drive.clock.advance(71 * HOUR)
    upload.put(2, b"x")
    drive.clock.advance(72 * HOUR)
    assert upload.now.status is Status.EXPIRED
    with pytest.raises(SessionExpired):
        upload.put(3, b"x")
    with pytest.raises(SessionExpired):
        upload.complete()
    assert session_expiry.expire(drive.kelp).count == 1
    assert not drive.objects()
    assert sessions.abort(drive.kelp, drive.editor, upload.uuid) is Status.EXPIRED


def test_an_upload_that_ends_while_a_part_comes(drive: Drive) -> None:
    """Whichever way: the part is refused, and nothing of it is left."""
    for ends, error in (("abort", SessionNotFound), ("expire", SessionExpired)):
        upload = Upload(drive)

        def slowly(upload: Upload = upload, ends: str = ends) -> Iterator[bytes]:
            yield b"x" * 100
            if ends == "abort":
                sessions.abort(drive.kelp, drive.editor, upload.uuid)
            else:
                drive.clock.advance(25 * HOUR)
                session_expiry.expire(drive.kelp)
            yield b"x" * 100

        with pytest.raises(error):
            session_parts.put(drive.kelp, drive.editor, upload.uuid, 1, slowly(), expected=Expected(length=200))
        assert not drive.objects()


def test_parts_count_among_what_only_the_cache_has(drive_with: Callable[..., Drive]) -> None:
    drive = drive_with(cache_hard_limit=f"{20 * MIB}")
    upload = Upload(drive)
    upload.put(1, pattern(9 * MIB))
    upload.put(2, pattern(9 * MIB))
    assert cache_limits.measure(drive.kelp).dirty == 18 * MIB
    with pytest.raises(NoSpace):
        upload.put(3, pattern(9 * MIB))
    upload.complete()
    assert cache_limits.measure(drive.kelp).dirty == 18 * MIB
    drive.mirror()
    assert cache_limits.measure(drive.kelp).dirty == 0
    drive.kelp.escrow.refused(0, 0.0)  # it may be asked again at once
    drive.kelp.escrow.measured(0.0)
    Upload(drive, "other").put(1, pattern(9 * MIB))


def test_what_is_stored_once_more_takes_no_more_room(drive_with: Callable[..., Drive]) -> None:
    """One object becomes the file's own by being stored again: the limit is for what waits, which stays the same."""
    drive = drive_with(cache_hard_limit=f"{20 * MIB}")
    Upload(drive, "other").put(1, pattern(9 * MIB))
    upload = Upload(drive)
    upload.put(1, pattern(8 * MIB))
    upload.complete()
    assert cache_limits.measure(drive.kelp).dirty == 17 * MIB
    with pytest.raises(NoSpace):
        Upload(drive, "more").put(1, pattern(4 * MIB))


def test_orphans_are_others(drive: Drive) -> None:
    """Parts of a running upload rest for days; what is nobody's goes, also under the name of one that is complete."""
    running, done = Upload(drive, "running"), Upload(drive, "done")
    for upload in (running, done):
        upload.put(1, pattern(9 * MIB))
        upload.put(2, b"x")
    done.complete()
    with drive.kelp.database.read() as tx:
        content_id = tx.one("SELECT content_id FROM upload_sessions WHERE uuid = :id", id=done.uuid)[0]
    before = drive.objects()
    drive.kelp.cache.put(f"{content_id}.staging-00001", [b"late"])
    orphans._ORPHAN_NS, resting = -3600 * SECOND, orphans._ORPHAN_NS
    try:
        assert orphans.seek_orphans(drive.kelp).count == 1
    finally:
        orphans._ORPHAN_NS = resting
    assert drive.objects() == before


def test_what_fails_leaves_the_part_as_it_was(drive: Drive) -> None:
    upload = Upload(drive)
    upload.put(1, b"first")
    keys = drive.objects()
    with pytest.raises(UploadIncomplete):
        upload.put(1, b"short", Expected(length=6))

    def fails(*_: object) -> None:
        raise StoreUnavailable("away")

    broken = Upload.__new__(Upload)
    broken.__dict__.update(upload.__dict__, kelp=replace(drive.kelp, cache=Faulty(drive.kelp.cache, "put", fails)))
    with pytest.raises(StoreUnavailable):
        broken.put(1, b"never")
    assert drive.objects() == keys
    broken.kelp = replace(drive.kelp, cache=Faulty(drive.kelp.cache, "list", fails))
    with pytest.raises(StoreUnavailable):
        broken.complete()
    upload.complete()
    assert drive.read("file") == b"first"


def test_known_part_by_part(drive: Drive) -> None:
    """The scrub has nothing to learn of it, what the cache lost comes back from the NAS, and it may be copied."""
    data = pattern(11 * MIB)
    upload = Upload(drive, size=len(data))
    upload.put(1, data[: 2 * MIB + 1])
    upload.put(2, data[2 * MIB + 1 :])
    upload.complete()
    with drive.kelp.database.read() as tx:
        assert not tx.verifying.unlearned("", 10)
    drive.copy("file", "copy")
    drive.mirror()
    assert sorted(drive.nas_files().values()) == [data, data]
    assert drive.problems(mirrored=True) == []
    entry = drive.entry("file")
    for key in drive.objects():
        drive.kelp.cache.delete(key)
    assert drive.read("copy") == data
    assert drive.kelp.background.wait(60)
    with drive.kelp.database.read() as tx:
        content = tx.contents.get(entry.content_id or "")
    assert content is not None and content.checksum == blake3(data).hexdigest()
    assert restoring.restore(drive.kelp, content).left == 0
    assert drive.read("file") == data


def test_overwritten_before_it_was_mirrored(drive: Drive) -> None:
    data = pattern(9 * MIB)
    upload = Upload(drive)
    upload.put(1, data)
    upload.complete()
    drive.clock.advance(10)
    drive.put("file", b"other")
    assert drive.versions("file") == [data]
    drive.mirror()
    assert drive.versions("file") == [data]
    assert drive.problems(mirrored=True) == []


def test_a_part_that_the_cache_spoilt(drive: Drive) -> None:
    """One object only: it is read when it becomes the file's own."""
    upload = Upload(drive)
    upload.put(1, b"right")
    [key] = drive.objects()
    drive.kelp.cache.delete(key)
    drive.kelp.cache.put(key, [b"wrong"])
    with pytest.raises(PartsIncomplete) as refused:
        upload.complete()
    assert list(refused.value.numbers) == [1]
    upload.put(1, b"right")
    upload.complete()
    assert drive.read("file") == b"right"


def test_bytes_that_go_on(drive: Drive) -> None:
    data = pattern(20 * MIB)
    upload = Upload(drive, size=len(data), protocol=Protocol.TUS)

    def cut() -> Iterator[bytes]:
        yield from pieces(data[: 9 * MIB])
        raise UploadIncomplete("cut")

    expected = Expected(length=len(data))
    with pytest.raises(UploadIncomplete):
        session_parts.append(drive.kelp, drive.editor, upload.uuid, 0, cut(), expected=expected)
    now = sessions.progress(drive.kelp, drive.editor, upload.uuid, Protocol.TUS)
    assert now.sent == 9 * MIB
    assert upload.append(9 * MIB, data[9 * MIB :]) == len(data)
    upload.complete(Protocol.TUS)
    assert drive.read("file") == data


def test_many_parts_at_once(drive: Drive) -> None:
    upload = Upload(drive)
    threads = [threading.Thread(target=upload.put, args=(n, b"%03d" % n)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    upload.complete()
    assert drive.read("file") == b"".join(b"%03d" % n for n in range(1, 9))


def test_bytes_that_the_cache_lost_are_sent_again_from_there_on(drive: Drive) -> None:
    """In order there is no hole to fill: the upload goes on where the first lost byte was."""
    data = pattern(20 * MIB)
    upload = Upload(drive, size=len(data), protocol=Protocol.TUS)
    upload.append(0, data)
    with drive.kelp.database.read() as tx:
        sending = tx.uploads.get(upload.uuid)
        assert sending is not None
        drive.kelp.cache.delete(tx.uploads.pieces(sending.id)[1].key)
    with pytest.raises(PartsIncomplete):
        upload.complete(Protocol.TUS)
    sent = sessions.progress(drive.kelp, drive.editor, upload.uuid, Protocol.TUS).sent
    assert sent == 8 * MIB
    assert upload.append(sent, data[sent:]) == len(data)
    upload.complete(Protocol.TUS)
    assert drive.read("file") == data


def test_bytes_that_the_cache_spoilt_are_sent_again(drive: Drive) -> None:
    upload = Upload(drive, size=5, protocol=Protocol.TUS)
    upload.append(0, b"right")
    [key] = drive.objects()
    drive.kelp.cache.delete(key)
    drive.kelp.cache.put(key, [b"wrong"])
    with pytest.raises(PartsIncomplete):
        upload.complete(Protocol.TUS)
    assert upload.append(0, b"right") == 5
    upload.complete(Protocol.TUS)
    assert drive.read("file") == b"right"


def test_parts_without_bytes(drive: Drive) -> None:
    """Some clients send one for an empty file, and some one more at the end."""
    for size in (0, None):
        empty = Upload(drive, f"empty {size}", size=size)
        empty.put(1, b"")
        session_ending.complete(drive.kelp, drive.editor, empty.uuid, wanted={1: sessions.etag(())})
        assert drive.read(f"empty {size}") == b""
    one_more = Upload(drive, "file", size=4)
    one_more.put(1, b"some")
    one_more.put(2, b"")
    session_ending.complete(drive.kelp, drive.editor, one_more.uuid, wanted={1: None, 2: None})
    assert drive.read("file") == b"some"
