"""What tests do with the open files of a mount."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from fuse_mount.drafts import OpenFile, OpenFiles
from tests.rooms.core.drive import Drive
from vfs.model import Caller


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


def whole(handle: OpenFile) -> bytes:
    return handle.read(0, handle.size)
