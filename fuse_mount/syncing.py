"""Syncs of names, begun before they are asked for.

Who syncs the folder after each name that he removes waits for the disk each time. The disk can be at it while the
kernel is still told that the name is gone, and until the program asks for the sync: of 825 µs for both that saved
86. So after one change and its sync, the sync of the next change begins with the change. If nobody asks for it, it was
for nothing once.
"""

from __future__ import annotations

from fuse_mount.bridge import Bridge
from fuse_mount.threads import Call
from vfs.core import Kelp


class Syncing:
    """For one mount; in the loop's thread only."""

    def __init__(self, kelp: Kelp, bridge: Bridge) -> None:
        self._database, self._bridge = kelp.database, bridge
        self._changes = 0  # since the last sync that was asked for
        self._is_expected = False  # to be asked for after the next change
        self._begun: Call | None = None

    def changed(self) -> None:
        """A name was changed, and is not durable yet."""
        self._changes += 1
        if self._is_expected and self._begun is None and self._database.is_near:
            self._is_expected = False
            self._begun = self._bridge.ahead(self._database.sync)

    async def sync(self) -> None:
        """What was changed before is durable. Raises FUSEError, and StoreUnavailable: also when a sync that was begun
        ahead has failed."""
        self._is_expected, self._changes = self._changes == 1, 0
        begun, self._begun = self._begun, None
        if begun is not None:
            await self._bridge.shortly(self._database.sync, begun)
        if not self._database.is_synced:
            await self._bridge.shortly(self._database.sync)
