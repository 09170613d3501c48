"""What tests do with the open files of a mount, and the fixtures for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fuse_mount.drafts import OpenFile, OpenFiles
from tests.rooms.core.drive import Drive
from vfs.crypto import frames
from vfs.model import PART_SIZE, Caller


@dataclass
class Files:
    """Paths are those of `Drive`."""

    drive: Drive
    open_files: OpenFiles
    caller: Caller
    changed: list[int] = field(default_factory=list)

    def create(self, path: str, data: bytes = b"") -> OpenFile:
        _, handle = self.open_files.create(self.drive.place(path), 0o644, self.caller)
        if data:
            handle.write(0, data)
        return handle

    def open(self, path: str, flags: int = os.O_RDWR, caller: Caller | None = None) -> OpenFile:
        return self.open_files.open(self.drive.entry(path), flags, caller or self.caller)

    def save(self, path: str, data: bytes) -> None:
        """Create, write, close."""
        close(self.create(path, data))

    def remove(self, path: str) -> None:
        with self.open_files.removing(self.drive.entry(path).id):
            self.drive.remove(path, self.caller)

    @property
    def part_size(self) -> int:
        """Bytes that a whole part takes in the cache."""
        sealed = self.drive.entry("").vault_id is not None
        return frames.sealed_length(PART_SIZE) if sealed else PART_SIZE

    def objects(self, path: str) -> list[str]:
        """Keys of what the file is made of."""
        entry = self.drive.entry(path)
        assert entry.content_id is not None
        with self.drive.kelp.database.read() as tx:
            content = tx.contents.get(entry.content_id)
        assert content is not None
        return [part.key for part in content.parts]


def close(handle: OpenFile) -> None:
    """As the kernel does."""
    try:
        handle.flush()
    finally:
        handle.release()


EDITED = b"01xx4567\0\0\0\0\0\0yy"


def edit_digits(handle: OpenFile) -> None:
    """Of b"0123456789" it makes EDITED: a part stays, one is written over, one is cut off, and there is a hole."""
    handle.write(2, b"xx")
    handle.truncate(8)
    handle.truncate(12)
    handle.write(14, b"yy")


def whole(handle: OpenFile) -> bytes:
    return handle.read(0, handle.size)


def tells_what_is_in_memory(folder: Path) -> bool:
    """Whether the disk of a folder knows RWF_NOWAIT: of those that are in memory themselves not each does."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
        file.flush()
        try:
            os.preadv(file.fileno(), (bytearray(1),), 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


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
