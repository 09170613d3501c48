"""What the kernel asks, call by call.

Names are (folder's inode, bytes): the same as the core's `Place`. The kernel holds a folder's lock while it lists it or
changes a name in it, so no two such calls of one folder are at work at the same time; everything else is.
Rights: the kernel checks mode and owner of who calls (`default_permissions`), the core what the mount's account may.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext, SetattrFields, StatvfsData

from fuse_mount import attributes, changing
from fuse_mount.account import Account
from fuse_mount.attributes import Looks
from fuse_mount.bridge import Bridge, answering, refuse
from fuse_mount.drafts import OpenFile, OpenFiles
from fuse_mount.following import Following
from fuse_mount.handles import Handles
from fuse_mount.inodes import Inodes, Known
from fuse_mount.links import Links
from fuse_mount.listing import Listing, position_after
from fuse_mount.naming import Naming
from fuse_mount.syncing import Syncing
from vfs.core import Kelp
from vfs.errors import AlreadyExists, InvalidName, KelpError, NameTooLong, NotFound, StoreUnavailable
from vfs.model import ROOT_ID, Level
from vfs.operations import drafting, posix, reading
from vfs.operations.posix import Node


class Handlers(Naming):
    supports_dot_lookup = True
    enable_writeback_cache = False  # it would mix what two have written (docs/fuse.md)

    def __init__(
        self, kelp: Kelp, account: Account, looks: Looks, bridge: Bridge, inodes: Inodes, files: OpenFiles
    ) -> None:
        self._kelp, self._account, self._looks = kelp, account, looks
        self._bridge, self._inodes, self._open_files = bridge, inodes, files
        self._numbers = count(1)
        self._folders: dict[int, Listing] = {}
        self._handles = Handles()
        self._links = Links(kelp)
        self._syncing = Syncing(kelp, bridge)
        self._finding, self._opening = Following(), Following()

    # --- looking ---

    @answering
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if name in (b".", b".."):
            node = await self._node(parent_inode)
            node = node if name == b"." else await self._node(node.parent_id or ROOT_ID)
            return self._told(node)
        found = await self._child(parent_inode, name)
        if found is not None:
            return self._told(found, name)
        return attributes.nothing(self._absent_for(parent_inode, name))

    async def _child(self, folder_id: int, name: bytes) -> Node | None:
        try:
            text, coming = name.decode(), self._open_files.coming
            if coming and coming.has(folder_id, text):
                await self._settled()
            caller, ahead = self._account.caller, self._finding.ahead
            found = await self._bridge.look(posix.child, self._kelp, caller, folder_id, text, ahead=ahead)
        except NameTooLong:
            raise
        except (InvalidName, UnicodeDecodeError):
            return None  # what cannot be there is not there
        if found is not None:
            self._finding.found(folder_id, found.id)
            if found.is_link:
                await self._read_links((found,))
        return found

    async def _read_links(self, nodes: Sequence[Node]) -> None:
        """Before links are shown. While a store is away they have no length, and a folder can be listed."""
        if unread := self._links.unread(nodes):
            with suppress(KelpError, FUSEError):
                await self._bridge.work(self._links.read, unread)

    def _absent_for(self, folder_id: int, name: bytes) -> float:
        """For how long it is remembered that there is nothing. Where one entry answers to several names, another name
        may bring this one into being unseen; and of the root nothing is forgotten as a whole (`coherence`)."""
        if not (self._kelp.settings.drive.case_sensitive and name.isascii()):
            return 0.0
        return min(self._looks.timeout, 1.0) if folder_id == ROOT_ID else self._looks.timeout

    async def _node(self, inode: int) -> Node:
        """Raises NotFound, also for an open file that was deleted: see `_shown_by_id`."""
        coming = self._open_files.coming
        if coming and (inode in coming or coming.is_in(inode)):
            await self._settled()
        node = await self._bridge.look(posix.node, self._kelp, self._account.caller, inode)
        if node.is_link:
            await self._read_links((node,))
        return node

    @answering
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return await self._shown_by_id(inode)

    async def _shown_by_id(self, inode: int) -> EntryAttributes:
        opened, draft = self._handles.of(inode), self._open_files.attributes(inode)
        if inode in self._open_files.coming and opened is not None:
            return self._shown(opened.node, draft)
        try:
            node = await self._node(inode)
        except NotFound:
            if opened is None:
                raise
            return self._shown(opened.node, draft or self._open_files.last(inode), links=0)
        if opened is not None:
            opened.node = node
        self._inodes.refreshed(inode, _known(node))
        return self._shown(node, draft)

    def _shown(self, node: Node, draft: tuple[int, int] | None = None, links: int = 1) -> EntryAttributes:
        """`draft`: what an open file was before the row was read: it may have been committed in between."""
        size, mtime_ns = self._open_files.attributes(node.id) or draft or (None, None)
        if said := self._open_files.said(node.id):
            node = changing.with_columns(node, said)
        shown = self._looks.of(node, size=size, mtime_ns=mtime_ns, links=links, target=self._links.length(node))
        if node.is_folder:
            self._inodes.note_group(node.id, shown.st_gid if shown.st_mode & stat.S_ISGID else None)
        return shown

    def _told(self, node: Node, name: bytes | None = None) -> EntryAttributes:
        """The answer to a call that the kernel counts. An entry that was found by another name than its own (Unicode
        has several forms of one) is not remembered by that one: nobody could tell when it ends."""
        self._inodes.told(node.id, _known(node))
        shown = self._shown(node)
        if name is not None and name != node.name.encode():
            shown.entry_timeout = 0.0
        return shown

    @answering
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return attributes.statistics(await self._bridge.briefly(reading.usage, self._kelp))

    # --- folders ---

    @answering
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        node = await self._node(inode)
        if node.level < Level.READ and not node.is_root:
            refuse(errno.ENOENT)  # only a way to what is in it; and no name that is stale, as NotFound would say
        handle = next(self._numbers)
        self._folders[handle] = Listing(
            inode, partial(posix.pages, self._kelp, self._account.caller, inode), self._bridge
        )
        return handle

    @answering
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        listing, position = self._folders[fh], start_id
        await self._settled(listing.folder_id)
        if position < 2 and not await self._dots(listing.folder_id, position, token):
            return
        position = max(position, 2)
        while nodes := await listing.after(position, self._inodes.changes):
            await self._read_links(nodes)
            for node in nodes:
                if not pyfuse3.readdir_reply(token, node.name.encode(), self._shown(node), position_after(node)):
                    return
                self._inodes.told(node.id, _known(node))
            position = position_after(nodes[-1])

    async def _dots(self, folder_id: int, position: int, token: pyfuse3.ReaddirToken) -> bool:
        """ "." and "..", which the kernel neither counts nor remembers. False: there was no room."""
        folder = await self._node(folder_id)
        if position == 0 and not pyfuse3.readdir_reply(token, b".", self._shown(folder), 1):
            return False
        above = folder if folder.parent_id is None else await self._node(folder.parent_id)
        return bool(pyfuse3.readdir_reply(token, b"..", self._shown(above), 2))

    @answering
    async def releasedir(self, fh: int) -> None:
        self._folders.pop(fh, None)

    # --- attributes ---

    @answering
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        if fields.update_size:
            await self._resize(inode, attr.st_size, fh)
        wanted = changing.Wanted(
            stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            attr.st_uid if fields.update_uid else None,
            attr.st_gid if fields.update_gid else None,
            attr.st_mtime_ns if fields.update_mtime and not fields.update_size else None,
        )
        if wanted != changing.Wanted():
            await self._set(inode, wanted)
        return await self._shown_by_id(inode)

    async def _set(self, inode: int, wanted: changing.Wanted) -> None:
        if self._open_files.say(inode, wanted.columns, wanted.mtime_ns):
            return
        coming = self._open_files.coming
        if inode in coming or coming.is_in(inode):
            await self._settled()
        try:
            await self._set_attributes(inode, wanted)
        except NotFound:
            opened = self._handles.of(inode)
            if opened is None:
                raise
            # It has no name any more: who has it open sees them, and nobody else.
            opened.node = opened.node._replace(**{k: v for k, v in wanted._asdict().items() if v is not None})

    async def _resize(self, inode: int, size: int, fh: int | None) -> None:
        if fh is not None:
            await self._bridge.work(self._handles[fh].file.truncate, size)
        else:
            node, caller = await self._node(inode), self._account.caller
            await self._bridge.persist(self._open_files.truncate, node, size, caller)

    # --- files ---

    @answering
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        known = self._inodes.known(inode)
        if known is not None and flags & os.O_ACCMODE == os.O_RDONLY and self._kelp.database.is_near:
            folder_id = known.parent_id
            with suppress(KelpError):  # whatever it is, the next look tells it
                ahead = partial(self._opening.ahead, folder_id)
                drafting.foresee(self._kelp, self._account.caller, folder_id, inode, ahead)
            self._opening.found(folder_id, inode)
        node = await self._node(inode)
        # Who opens a file that is open may have to wait for its commit.
        run = self._bridge.work if self._open_files.knows(inode) else self._bridge.look
        file = await run(self._open_files.open, node, flags, self._account.caller)
        same = known is not None and known.content_id == node.content_id
        self._inodes.refreshed(inode, _known(node))
        return FileInfo(fh=self._handles.add(node, file), keep_cache=same)

    @answering
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        try:
            node, file = await self._create(parent_inode, name, mode & ~ctx.umask, flags, ctx)
        except AlreadyExists:
            if flags & os.O_EXCL:
                raise
            node, file = await self._open_instead(parent_inode, name, flags)
        return FileInfo(fh=self._handles.add(node, file), keep_cache=False), self._told(node)

    async def _open_instead(self, folder_id: int, name: bytes, flags: int) -> tuple[Node, OpenFile]:
        """Somebody else made it in this moment."""
        node = await self._child(folder_id, name)
        if node is None or node.is_link:
            refuse(errno.EAGAIN)
        return node, await self._bridge.work(self._open_files.open, node, flags, self._account.caller)

    @answering
    async def read(self, fh: int, off: int, size: int) -> bytes:
        file = self._handles[fh].file
        found = file.read_at_once(off, size)
        if found is None:
            return await self._bridge.work(file.read, off, size)
        return found  # type: ignore[return-value]  # any buffer will do

    @answering
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        file, done = self._handles[fh].file, None
        with suppress(StoreUnavailable):  # it may be waited for
            done = file.write_at_once(off, buf)
        return done if done is not None else await self._bridge.work(file.write, off, buf)

    @answering
    async def flush(self, fh: int) -> None:
        inode, file = self._handles[fh]
        if self._has_draft(file) or file.unsynced:
            if self._bridge.looks_at_once and not (file.has_row or self._has_draft(file)):
                self._open_files.coming.settle_at_once(inode)  # then only the disk is waited for
            await self._bridge.persist(file.flush)
            self._committed(inode, file)

    @answering
    async def fsync(self, fh: int, datasync: bool) -> None:
        inode, file = self._handles[fh]
        if self._has_draft(file) or not file.has_row:
            await self._bridge.persist(file.fsync)
            self._committed(inode, file)
        else:
            await self._syncing.sync()  # its name and attributes

    def _committed(self, inode: int, file: OpenFile) -> None:
        """Of this change the kernel knows."""
        entry = file.entry
        if entry.id == inode:
            self._inodes.changed(inode, Known(entry.parent_id or ROOT_ID, entry.name, entry.version, entry.content_id))

    def _has_draft(self, file: OpenFile) -> bool:
        return self._open_files.attributes(file.inode) is not None

    @answering
    async def release(self, fh: int) -> None:
        file = self._handles.pop(fh).file
        if self._has_draft(file) or not file.has_row or not file.release(wait=False):
            await self._bridge.persist(file.release)

    # --- what the kernel gives back ---

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        self._inodes.forget(inode_list)


def _known(node: Node) -> Known:
    return Known(node.parent_id or ROOT_ID, node.name, node.version, node.content_id)
