"""Extended attributes (`-o xattr`): those of users, shared with WebDAV's properties, and how far a file is.

Where nobody asked for them the kernel is told once that there are none: else it would ask for each file of a listing.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import RequestContext

from fuse_mount.bridge import answering, decoded, refuse
from fuse_mount.handlers import Handlers
from vfs.operations import extended_attributes, reading, sync_states

_USER = b"user."
_OURS = "kelp."  # what the drive says of an entry
_SYNC = "kelp.sync"
_VAULT = "kelp.vault"  # root, inside; not there where nothing is sealed
_WORDS = {"SYNCING": "pending", "AVAILABLE": "synced", "ERROR": "failed"}


class ExtendedHandlers(Handlers):
    """setxattr's flags are looked at by pyfuse3, which asks for the attribute before."""

    @answering
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        known = _known(name)
        await self._settled()
        if known == _SYNC:
            state = await self._bridge.look(sync_states.of_entry, self._kelp, self._account.caller, inode)
            return _WORDS.get(state.status, state.status).encode()
        if known == _VAULT:
            entry = await self._bridge.look(reading.stat, self._kelp, self._account.caller, inode)
            if entry.vault_id is None:
                refuse(pyfuse3.ENOATTR)
            return b"root" if entry.is_vault else b"inside"
        value = (await self._attributes(inode)).get(known)
        return refuse(pyfuse3.ENOATTR) if value is None else value

    @answering
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        """What the drive says is not listed: programs that copy attributes could not set it elsewhere."""
        await self._settled()
        names = [_USER + name.encode() for name in await self._attributes(inode) if not name.startswith(_OURS)]
        # The library would answer one empty name, which the kernel takes for an error of the disk.
        return names or refuse(errno.ENOTSUP)

    @answering
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        known = _changeable(name)
        await self._settled()
        await self._bridge.work(extended_attributes.put, self._kelp, self._account.caller, inode, known, value)

    @answering
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        known = _changeable(name)
        await self._settled()
        if not await self._bridge.work(extended_attributes.remove, self._kelp, self._account.caller, inode, known):
            refuse(pyfuse3.ENOATTR)

    async def _attributes(self, inode: int) -> dict[str, bytes]:
        return await self._bridge.look(extended_attributes.attributes, self._kelp, self._account.caller, inode)


def _known(name: bytes) -> str:
    """Without "user.". Raises FUSEError (ENOTSUP): of the system's, of security modules' and of root's there are none.
    The kernel asks for one of them at each write."""
    return decoded(name.removeprefix(_USER)) if name.startswith(_USER) else refuse(errno.ENOTSUP)


def _changeable(name: bytes) -> str:
    """Raises FUSEError (EPERM): the drive says it."""
    known = _known(name)
    return refuse(errno.EPERM) if known.startswith(_OURS) else known
