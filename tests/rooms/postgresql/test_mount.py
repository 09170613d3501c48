"""The loop of a mount serves all its programs: it waits for no server."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from fuse_mount import changing
from fuse_mount.inodes import Inodes
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files, close, files_of
from vfs.metadata.postgresql import PostgresEngine
from vfs.model import Kind

__all__ = ["files_of"]


def test_nothing_is_asked_in_the_loops_own_thread(
    drive: Drive, files_of: Callable[..., Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(drive)
    files.save("a", b"1")
    drive.folder("folder")
    handle = files.create("open")
    asked: list[int] = []
    places = {name: drive.place(name) for name in ("a", "folder", "new")}
    inode, inodes, wanted = drive.entry("folder").id, Inodes(), changing.Wanted(mode=0o711)
    connection = PostgresEngine._connection

    def counted(engine: PostgresEngine) -> AbstractContextManager[psycopg.Connection[Any]]:
        asked.append(1)
        return connection(engine)

    with monkeypatch.context() as patch:
        patch.setattr(PostgresEngine, "_connection", counted)
        assert not changing.remove_at_once(files.open_files, inodes, files.caller, places["a"], Kind.FILE)
        assert not changing.remove_at_once(files.open_files, inodes, files.caller, places["folder"], Kind.FOLDER)
        assert changing.make_folder_at_once(drive.kelp, files.caller, places["new"]) is None
        assert changing.make_file_at_once(files.open_files, files.caller, places["new"], wanted, os.O_RDWR) is None
        assert changing.set_at_once(files.open_files, files.caller, inode, wanted) is None
    assert not asked and sorted(drive.names()) == ["a", "folder", "open"]
    close(handle)
