"""What a program has open on a mount stays readable, whatever other processes do with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.crash.ledger import content
from tests.faces.fuse.conftest import MountedDrive, mounted_drive
from tests.faces.fuse.outage_program import from_mount
from vfs.errors import ObjectMissing
from vfs.model import Place
from vfs.operations import backlog, evicting, freeing, reading, trashing, writing
from vfs.operations.backlog import Waited

_SIZE = 9 << 20
_LEASE = 4  # seconds; it is renewed in time on a busy machine too
_ENOUGH = 150.0


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedDrive]:
    with mounted_drive(tmp_path_factory.mktemp("open"), cache_lease=_LEASE) as drive:
        yield drive


def opened(drive: MountedDrive, name: str) -> tuple[int, list[str]]:
    """A file that is on the NAS too and has been read from: its descriptor, and the keys of its objects."""
    (drive.top / name).write_bytes(content(1, _SIZE))
    assert backlog.wait_until_mirrored(drive.kelp, timeout=_ENOUGH) is Waited.MIRRORED
    fd = os.open(drive.top / name, os.O_RDONLY | os.O_DIRECT)
    assert from_mount(fd, 4096, 0) == content(1, 4096)
    entry = reading.resolve(drive.kelp, drive.caller(), [*drive.above, name]).entry
    assert entry is not None and entry.content_id is not None
    with drive.kelp.database.read() as tx:
        found = tx.contents.get(entry.content_id)
    assert found is not None
    return fd, [part.key for part in found.parts]


def is_whole(fd: int) -> bool:
    return b"".join(from_mount(fd, 1 << 20, at) for at in range(0, _SIZE, 1 << 20)) == content(1, _SIZE)


def there(drive: MountedDrive, keys: list[str]) -> int:
    count = 0
    for key in keys:
        try:
            drive.kelp.cache.stat(key)
            count += 1
        except ObjectMissing:
            pass
    return count


def test_it_is_not_evicted(drive: MountedDrive) -> None:
    fd, keys = opened(drive, "evicted")
    time.sleep(1.5 * _LEASE)  # its hold was told, and told again
    assert evicting.evict(drive.kelp, 1 << 40).count == 0
    assert there(drive, keys) == len(keys) and is_whole(fd)
    os.close(fd)
    end = time.monotonic() + _ENOUGH
    while there(drive, keys):
        assert time.monotonic() < end
        evicting.evict(drive.kelp, 1 << 40)
        time.sleep(0.2)
    assert (drive.top / "evicted").read_bytes() == content(1, _SIZE)


def test_it_is_not_freed(drive: MountedDrive) -> None:
    kelp, caller, place = drive.kelp, drive.caller(), Place(drive.top.stat().st_ino, "freed")
    fd, keys = opened(drive, "freed")
    writing.put_file(kelp, caller, place, [b"another"])
    trashing.remove(kelp, caller, place)
    for item in trashing.list_trash(kelp, caller):
        trashing.purge(kelp, caller, item.entry.uuid)
    end = time.monotonic() + 1.5 * _LEASE
    while time.monotonic() < end:
        freeing.free_contents(kelp)
        freeing.delete_pending(kelp)
        time.sleep(0.2)
    assert there(drive, keys) == len(keys) and is_whole(fd)
    os.close(fd)
    end = time.monotonic() + _ENOUGH
    while there(drive, keys):  # now it goes: contents without an owner are looked for once a minute
        assert time.monotonic() < end
        freeing.free_contents(kelp)
        freeing.delete_pending(kelp)
        time.sleep(1)
