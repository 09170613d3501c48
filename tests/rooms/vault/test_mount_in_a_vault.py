"""What holds of the open files of a mount holds in a vault: tests of that room, whose `drive` is one here. And what a
mount does to be quick is sealed and opened as all else."""

from __future__ import annotations

import os
import random

import pytest

from fuse_mount.drafts import OpenFile
from tests.leaks import leaked
from tests.rooms.core.vault_of_drive import content_of
from tests.rooms.fuse import test_coming, test_open_files, test_recovering, test_sharing, test_two_writers
from tests.rooms.fuse.files import Files, close, whole
from tests.rooms.vault.drive import VaultDrive, with_keys
from tests.rooms.vault.drive import close as without_keys
from vfs.errors import KeyMissing
from vfs.model import PIECE_SIZE
from vfs.operations import drafting, posix

_ELSEWHERE = {
    "test_what_was_closed_can_be_read_at_once",  # in `test_sealed_drafts`, as far as the loop opens frames
    "test_a_kill_leaves_the_old_version_or_the_new_one",  # in tests/crash/test_mount_kills.py
}
_ON_SQLITE = pytest.mark.engine(database="sqlite", reason="elsewhere a file has a row at once")

for _module in (test_coming, test_open_files, test_recovering, test_sharing, test_two_writers):
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and callable(_test) and _name not in _ELSEWHERE:
            _marked = _ON_SQLITE(_test) if _module is test_coming else _test
            globals()[f"{_name}__{_module.__name__.rpartition('test_')[2]}"] = _marked

_SECRET = "geheimnis ü.txt"


def _expected(files: Files, path: str) -> OpenFile:
    files.open_files.coming.prepare()
    made = files.open_files.expect(files.drive.place(path), 0o640, files.caller)
    assert made is not None
    return made[1]


@_ON_SQLITE
@pytest.mark.parametrize("size", [0, 10, 3 * PIECE_SIZE + 5])
@pytest.mark.parametrize("settled", [False, True])
def test_what_comes_later_is_sealed(drive: VaultDrive, files: Files, size: int, settled: bool) -> None:
    data, handle = os.urandom(size), _expected(files, _SECRET)
    handle.write(0, data) if data else None
    assert handle.entry.vault_id == drive.entry("").vault_id, "so no log names it, and its draft stays in there"
    if settled:
        files.open_files.coming.settle()
        assert content_of(drive.kelp, drive.entry(_SECRET)).seal is not None
        assert drive.read(_SECRET) == b""
    assert whole(handle) == data
    assert files.open_files.say(handle.inode, {"mode": 0o604}, 5_000_000_007) == bool(data)
    close(handle)
    entry, root = drive.entry(_SECRET), drive.entry("")
    assert (entry.id, entry.vault_id, entry.size) == (handle.inode, root.vault_id, size)
    assert entry.seal_id not in (None, root.seal_id)
    content = content_of(drive.kelp, entry)
    assert content.seal is not None and content.seal.vault_id == root.vault_id
    assert drive.read(_SECRET) == data
    with drive.kelp.database.read() as tx:
        told = [each for each in tx.manifests.subjects([entry.id]) if not each.version]
    assert [each.described_content_id for each in told] == [content.id]
    assert leaked(drive.kelp, [_SECRET]) == []


@_ON_SQLITE
def test_attributes_that_come_with_the_bytes_are_told_to_the_nas(drive: VaultDrive, files: Files) -> None:
    drive.put("a", b"12")
    handle = files.open("a")
    handle.write(0, b"3")
    with drive.kelp.database.read() as tx:
        (before,) = tx.manifests.subjects([handle.inode])
    assert files.open_files.say(handle.inode, {"mode": 0o604, "uid": 7}, 5_000_000_007)
    close(handle)
    with drive.kelp.database.read() as tx:
        (after,) = (each for each in tx.manifests.subjects([handle.inode]) if not each.version)
    assert (after.mtime_ns, after.sequence > before.sequence, after.basis != before.basis) == (
        5_000_000_007,
        True,
        True,
    )
    node = posix.node(drive.kelp, files.caller, handle.inode)
    assert (node.mode, node.uid, node.mtime_ns) == (0o604, 7, 5_000_000_007)


@_ON_SQLITE
def test_without_a_key_nothing_is_expected_or_looked_at_ahead(drive: VaultDrive, files: Files) -> None:
    drive.put("a", b"1")
    entry, place = drive.entry("a"), drive.place("b")
    files.open_files.coming.prepare()
    without_keys(drive.kelp)
    with pytest.raises(KeyMissing):
        files.open_files.expect(place, None, files.caller)
    with pytest.raises(KeyMissing):
        drafting.foresee(drive.kelp, drive.editor, place.folder_id, entry.id, lambda: 3)
    with_keys(drive.kelp, drive.kelp.keys)
    close(_expected(files, "b"))
    assert drive.names() == ["a", "b"]


def test_what_was_looked_at_ahead_is_read_at_once(drive: VaultDrive, files: Files) -> None:
    """Names, types and sizes are the opened ones, and the contents what they are when each is looked at alone."""
    chance = random.Random(1)
    bodies = {f"{_SECRET} {number}": chance.randbytes(size) for number, size in enumerate((1, 70_000, 200_000, 0))}
    ids = [drive.put(name, data).id for name, data in bodies.items()]
    drafting.foresee(drive.kelp, files.caller, drive.root_id, ids[0], lambda: 10)
    for id, (name, data) in zip(ids, bodies.items(), strict=True):
        node = posix.node(drive.kelp, files.caller, id)
        assert (node.name, node.size) == (name, len(data))
        handle = files.open_files.open(node, os.O_RDONLY, files.caller)
        assert handle.entry == drive.entry(name)
        assert whole(handle) == data
        found = handle.read_at_once(5, 1000)
        assert found is None or bytes(found) == data[5:1005]
        close(handle)
