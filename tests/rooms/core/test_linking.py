"""Symbolic links as files of the drive: the format that others read, and what a link stays one through."""

from __future__ import annotations

import hashlib
import random

import pytest

from tests import symbolic_links
from tests.adopted import unlearn
from tests.rooms.core.drive import Drive, rest
from vfs import links
from vfs.errors import AlreadyExists, Forbidden, Locked, NameTooLong
from vfs.model import ROOT_ID, Entry, OnConflict
from vfs.operations import learning, linking, posix, trashing, versioning

# What `ln -s ../there here` leaves on a share that Linux has mounted with mfsymlinks.
THERE = b"XSym\n0008\n" + hashlib.md5(b"../there").hexdigest().encode() + b"\n../there\n" + b" " * 1015


def link(drive: Drive, path: str, target: bytes) -> Entry:
    return linking.make_link(drive.kelp, drive.editor, drive.place(path), target)


def leads_to(drive: Drive, path: str) -> bytes | None:
    return symbolic_links.leads_to(drive.kelp, drive.entry(path))


def test_the_format_is_the_one_that_others_know() -> None:
    assert links.packed(b"../there") == THERE and len(THERE) == links.SIZE
    assert links.target_of(THERE) == b"../there"
    longest = b"x" * 1024
    assert links.packed(longest).endswith(longest) and links.target_of(links.packed(longest)) == longest
    for target in (b"a", b"two\nlines \n", b"\xff\xfe", b" ", b"x" * 1023):
        assert len(links.packed(target)) == links.SIZE and links.target_of(links.packed(target)) == target
    for target in (b"", b"x" * 1025, b"a\0b"):
        with pytest.raises(ValueError):
            links.packed(target)


def test_what_is_no_link() -> None:
    broken = [THERE[:-1], THERE + b" ", b"", b" " * links.SIZE, b"\n" * links.SIZE, THERE.replace(b"there", b"where")]
    broken += [THERE.replace(b"0008", number) for number in (b"0009", b"0000", b"9999", b"+008", b"  8\n")]
    seeded = random.Random(1)
    for _ in range(500):
        data = bytearray(THERE)
        data[seeded.randrange(51)] ^= 1 << seeded.randrange(7)
        broken.append(bytes(data))
    assert [data for data in broken if links.target_of(data) is not None] == []


def test_a_link_is_a_file_and_stays_a_link(drive: Drive) -> None:
    made = link(drive, "a", b"../there")
    assert (made.size, made.mime_type, drive.read("a")) == (links.SIZE, "inode/symlink", THERE)
    drive.folder("d")
    drive.move("a", "b.txt")
    assert leads_to(drive, "b.txt") == b"../there"
    drive.copy("b.txt", "c.txt")
    drive.put("e.txt")
    drive.copy("b.txt", "e.txt", OnConflict.OVERWRITE)
    drive.copy("d", "d2")
    drive.move("c.txt", "d/c")
    drive.copy("d", "d3")
    assert [leads_to(drive, path) for path in ("e.txt", "d/c", "d3/c")] == [b"../there"] * 3
    drive.put("f.txt")
    drive.move("b.txt", "f.txt", OnConflict.OVERWRITE)
    assert leads_to(drive, "f.txt") == b"../there"
    drive.mirror()
    drive.remove("f.txt")
    trashing.restore(drive.kelp, drive.editor, drive.trash()[0].entry.uuid)
    assert leads_to(drive, "f.txt") == b"../there"
    drive.mirror()
    assert sorted(file.read_bytes() == THERE for file in drive.nas.rglob("*__?.txt")).count(True) >= 2
    drive.put("f.txt", b"x")
    assert leads_to(drive, "f.txt") is None and drive.entry("f.txt").mime_type == "text/plain"


def test_what_only_says_that_it_is_a_link(drive: Drive) -> None:
    drive.put("a", b"x", mime_type=links.TYPE)
    drive.put("b", b"x" * links.SIZE, mime_type=links.TYPE)
    drive.put("c", THERE)
    assert [leads_to(drive, path) for path in "abc"] == [None] * 3
    assert [node.is_link for node in posix.pages(drive.kelp, drive.viewer, ROOT_ID, 0, 10)] == [False, True, False]


def test_a_version_that_was_a_link_is_one_again(drive: Drive) -> None:
    link(drive, "a.txt", b"x")
    drive.clock.advance(6)
    drive.put("a.txt", b"text")
    (version,) = versioning.list_versions(drive.kelp, drive.editor, drive.entry("a.txt").id)
    drive.clock.advance(6)
    versioning.restore_version(drive.kelp, drive.editor, version.uuid)
    assert leads_to(drive, "a.txt") == b"x"
    version = versioning.list_versions(drive.kelp, drive.editor, drive.entry("a.txt").id)[0]
    versioning.restore_version(drive.kelp, drive.editor, version.uuid)
    assert leads_to(drive, "a.txt") is None and drive.read("a.txt") == b"text"


def test_who_may_not_make_one(drive: Drive) -> None:
    with pytest.raises(NameTooLong):
        link(drive, "a", b"x" * 1025)
    drive.put("a")
    with pytest.raises(AlreadyExists):
        link(drive, "a", b"x")
    with pytest.raises(Forbidden):
        linking.make_link(drive.kelp, drive.viewer, drive.place("b"), b"x")
    drive.folder("d")
    drive.lock("d", drive.other, deep=True)
    with pytest.raises(Locked):
        link(drive, "d/a", b"x")


def test_one_that_others_put_on_the_nas_is_known_once_it_was_read(drive: Drive) -> None:
    drive.put("a", THERE)
    drive.put("b", b"x" * links.SIZE)
    drive.mirror()
    for path in "ab":
        content_id = drive.entry(path).content_id
        assert content_id is not None
        unlearn(drive.kelp, content_id)
        learning.learn(drive.kelp, content_id)
    assert [leads_to(drive, path) for path in "ab"] == [b"../there", None]


def test_all_that_show_its_content_are_known_at_once(drive: Drive) -> None:
    """Copies that were made before anybody had read it; what it was written over has a version."""
    drive.put("a", THERE)
    drive.mirror()
    content_id = drive.entry("a").content_id
    assert content_id is not None
    unlearn(drive.kelp, content_id)
    drive.folder("d")
    drive.copy("a", "d/copy")
    drive.copy("d", "d2")
    drive.copy("a", "to the trash")
    drive.remove("to the trash", rest(drive.editor))
    drive.move("a", "moved")
    drive.clock.advance(6)
    drive.put("moved", b"text")
    learning.learn(drive.kelp, content_id)
    assert [leads_to(drive, path) for path in ("d/copy", "d2/copy", "moved")] == [b"../there", b"../there", None]
    trashing.restore(drive.kelp, drive.editor, drive.trash()[0].entry.uuid)
    assert leads_to(drive, "to the trash") == b"../there"
    (version,) = versioning.list_versions(drive.kelp, drive.editor, drive.entry("moved").id)
    versioning.restore_version(drive.kelp, drive.editor, version.uuid)
    assert leads_to(drive, "moved") == b"../there"
