"""Extended attributes are properties of WebDAV, whatever bytes they have."""

from __future__ import annotations

import random

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import Forbidden, InvalidRequest, Locked
from vfs.model import ROOT_ID
from vfs.operations import extended_attributes, properties, reading


def test_any_name_and_any_bytes_come_back(drive: Drive) -> None:
    file = drive.put("a")
    seeded = random.Random(3)
    names = [
        "a",
        "com.apple.FinderInfo",
        "rsync.%stat",
        "1x",
        "_x41_",
        "__x",
        "_",
        "-",
        "x:y $DATA",
        "ä",
        "中",
        "😀",
        "a\tb",
    ]
    values = [
        b"",
        b"text",
        b' a <b> & "c" ]]> \r\n\t',
        "ä 中 😀".encode(),
        b"\0",
        b"\xff\xfe",
        b"\x1b[0m",
        "\ufffe".encode(),
    ]
    values += [seeded.randbytes(seeded.randrange(300)) for _ in range(20)]
    wanted: dict[str, bytes] = {}
    for number, value in enumerate(values):
        for name in (names[number % len(names)], f"n{number}"):
            extended_attributes.put(drive.kelp, drive.editor, file.id, name, value)
            wanted[name] = value
    assert extended_attributes.attributes(drive.kelp, drive.viewer, file.id) == wanted
    drive.copy("a", "b")
    assert extended_attributes.attributes(drive.kelp, drive.viewer, drive.entry("b").id) == wanted
    for name in list(wanted):
        assert extended_attributes.remove(drive.kelp, drive.editor, file.id, name)
    assert not extended_attributes.remove(drive.kelp, drive.editor, file.id, "a")
    assert reading.properties_of(drive.kelp, drive.viewer, file.id) == {}
    assert drive.entry("a").content_id == file.content_id


def test_webdav_shows_and_sets_them(drive: Drive) -> None:
    extended_attributes.put(drive.kelp, drive.editor, ROOT_ID, "origin:url", b"<x>")
    assert reading.properties_of(drive.kelp, drive.viewer, ROOT_ID) == {
        "{urn:kelp:xattr}origin_x3A_url": '<X:origin_x3A_url xmlns:X="urn:kelp:xattr">&lt;x&gt;</X:origin_x3A_url>'
    }
    there = {
        "{urn:kelp:xattr}a": '<n0:a xmlns:n0="urn:kelp:xattr" xml:lang="de">t<D:x>e</D:x>xt</n0:a>',
        "{urn:kelp:xattr}b": '<n0:b xmlns:n0="urn:kelp:xattr" encoding="base64">no base64</n0:b>',
        "{urn:kelp:xattr}_x41_": '<n0:_x41_ xmlns:n0="urn:kelp:xattr">a name that none has</n0:_x41_>',
        "{urn:kelp:xattr}_xD800_": '<n0:_xD800_ xmlns:n0="urn:kelp:xattr"/>',
        "{urn:kelp:xattr}_xFFFFFF_": '<n0:_xFFFFFF_ xmlns:n0="urn:kelp:xattr"/>',
        "{urn:else}a": '<n0:a xmlns:n0="urn:else">of others</n0:a>',
    }
    properties.patch(drive.kelp, drive.editor, ROOT_ID, list(there.items()))
    found = extended_attributes.attributes(drive.kelp, drive.viewer, ROOT_ID)
    assert found == {"origin:url": b"<x>", "a": b"text", "b": b"no base64"}


def test_rights_locks_and_sizes(drive: Drive) -> None:
    file = drive.put("a")
    with pytest.raises(Forbidden):
        extended_attributes.put(drive.kelp, drive.viewer, file.id, "a", b"x")
    with pytest.raises(InvalidRequest):
        extended_attributes.put(drive.kelp, drive.editor, file.id, "a", bytes(properties.MAX_BYTES))
    drive.lock("a", drive.other)
    for change in (lambda: extended_attributes.put(drive.kelp, drive.editor, file.id, "a", b"x"),):
        with pytest.raises(Locked):
            change()
