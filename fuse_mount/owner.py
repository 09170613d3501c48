"""What an open inode wants of who has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fuse_mount.draft_disk import DraftDisk
from vfs.background import Background
from vfs.core import Kelp

if TYPE_CHECKING:
    from fuse_mount.open_inode import OpenInode


class Owner(Protocol):
    """What an open inode wants of who has them all."""

    @property
    def kelp(self) -> Kelp: ...

    @property
    def disk(self) -> DraftDisk: ...

    @property
    def storing(self) -> Background:
        """Threads that store parts of drafts before their commit."""

    def changed(self, inode: int) -> None:
        """The kernel believes what is not so."""

    def renumber(self, file: OpenInode, inode: int) -> None:
        """Its descriptors go on with another inode."""

    def forget(self, file: OpenInode, *, forced: bool) -> bool:
        """Nobody finds it any more; False when somebody has it open."""

    def came(self, inode: int) -> None:
        """It has a row now."""
