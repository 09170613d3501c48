"""A folder of a drive that is a vault, with a key that this process knows and nobody else."""

from __future__ import annotations

from dataclasses import replace

from tests.rooms.core.drive import Drive
from tests.rooms.core.key_pairs_made import plain_pem
from vfs.core import Kelp
from vfs.crypto import key_files
from vfs.crypto.key_files import Found
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.opened_lists import OpenedLists
from vfs.model import Content, Entry
from vfs.operations import server_keys, vaulting
from vfs.storage.small_contents import SmallContents


def make_vault(drive: Drive, path: str = "vault") -> Entry:
    """The folder; its key is in the memory of the drive's process."""
    key_files.write_new(key_files.server_file(drive.kelp.settings), plain_pem("a"))
    server_keys.init(drive.kelp, "this one")
    return vaulting.create(drive.kelp, drive.admin, drive.place(path))


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
    return {info.key: info.size for info in drive.kelp.cache.list()}
