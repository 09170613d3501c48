"""What of a drive with a vault lies where, and a process that has no key for it."""

from __future__ import annotations

from dataclasses import replace

from tests import cache_listing
from tests.rooms.core.drive import Drive
from vfs.core import Kelp
from vfs.crypto.key_files import Found
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.opened_lists import OpenedLists
from vfs.model import Content, Entry
from vfs.storage.small_contents import SmallContents


def forget_keys(kelp: Kelp) -> Kelp:
    """The same drive in a process that has no key, and nothing in its memory."""
    return replace(kelp, keys=KeyRing(Found), opened_lists=OpenedLists(), small=SmallContents())


def content_of(kelp: Kelp, entry: Entry) -> Content:
    assert entry.content_id is not None
    with kelp.database.read() as tx:
        content = tx.contents.get(entry.content_id)
    assert content is not None
    return content


def stored_bytes(drive: Drive, key: str) -> bytes:
    """Of an object of the cache, whichever that is."""
    return b"".join(drive.kelp.cache.get(key))


def store_others(drive: Drive, key: str, data: bytes) -> None:
    """Something else in its place."""
    drive.kelp.cache.put(key, [data], replace=True)


def cached(drive: Drive) -> dict[str, int]:
    return {info.key: info.size for info in cache_listing.objects(drive.kelp.cache)}
