"""The core's drive, and the open files of a mount on it, without a mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from fuse_mount.drafts import OpenFiles
from tests.rooms.core.conftest import drive, drive_with, finished
from tests.rooms.core.drive import Drive
from tests.rooms.fuse.files import Files

__all__ = ["drive", "drive_with", "files", "files_of", "finished"]


@pytest.fixture
def files_of() -> Iterator[Callable[..., Files]]:
    """A function that gives the open files of one more mount of a drive."""
    opened: list[Files] = []

    def mount(drive: Drive) -> Files:
        changed: list[int] = []
        open_files = OpenFiles(drive.kelp, changed=changed.append)
        opened.append(Files(drive, open_files, replace(drive.editor, face="fuse"), changed))
        return opened[-1]

    yield mount
    for files in opened:
        files.open_files.close()


@pytest.fixture
def files(drive: Drive, files_of: Callable[..., Files]) -> Files:
    return files_of(drive)
