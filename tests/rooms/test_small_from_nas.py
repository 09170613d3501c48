"""A small file that only the NAS has: what somebody changed there is not given out for the file's own bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from vfs.errors import ContentLost


def test_what_is_not_the_content_is_neither_given_nor_remembered(tmp_path: Path) -> None:
    drive = MirrorDrive(tmp_path)
    drive.put("f", b"good")
    drive.drain()
    entry = drive.entry("f")
    assert entry.content_id is not None
    drive.kelp.cache.delete(entry.content_id)
    drive.close()
    drive = MirrorDrive(tmp_path)  # a process that has not read it yet
    (on_nas,) = drive.root.glob("*__f")
    on_nas.write_bytes(b"evil")  # of the same size
    with pytest.raises(ContentLost):
        drive.read("f")
    on_nas.write_bytes(b"good")
    assert drive.read("f") == b"good"
    on_nas.unlink()
    assert drive.read("f") == b"good"  # this one is remembered
    drive.close()
