"""The calls by which names come and go; `handlers` has all the others."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import partial

import pyfuse3
from pyfuse3 import EntryAttributes, RequestContext

from fuse_mount import changing
from fuse_mount.account import Account
from fuse_mount.attributes import Looks
from fuse_mount.bridge import Bridge, answering, decoded, refuse
from fuse_mount.drafts import OpenFile, OpenFiles
from fuse_mount.inodes import Inodes, Known
from fuse_mount.links import Links
from fuse_mount.syncing import Syncing
from vfs.core import Kelp
from vfs.errors import KelpError, StoreUnavailable
from vfs.model import Kind, OnConflict, Place
from vfs.operations import posix
from vfs.operations.posix import Node

_RENAME_FLAGS = pyfuse3.RENAME_NOREPLACE  # of an exchange, which no other face knows, the core has no notion


class Naming(pyfuse3.Operations):
    """Each begins with `_settled`, or with `_settled_at`: of the names that it is about a row has to tell."""

    _kelp: Kelp
    _account: Account
    _looks: Looks
    _bridge: Bridge
    _inodes: Inodes
    _open_files: OpenFiles
    _links: Links
    _syncing: Syncing

    async def _node(self, inode: int) -> Node:
        raise NotImplementedError

    def _told(self, node: Node, name: bytes | None = None) -> EntryAttributes:
        raise NotImplementedError

    async def _create(
        self, folder_id: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[Node, OpenFile]:
        place, wanted = Place(folder_id, decoded(name)), self._wanted(folder_id, mode, ctx, folder=False)
        self._inodes.note_change()
        caller = self._account.caller
        asked = self._open_files, caller, place, wanted, flags
        if self._bridge.looks_at_once:
            with suppress(StoreUnavailable):  # it may be waited for
                made = changing.expect_file(*asked) or changing.make_file_at_once(*asked)
                if made is not None:
                    return made
        return await self._bridge.work(changing.make_file, *asked)

    async def _settled(self, folder_id: int | None = None) -> None:
        """Files that were just made, in that folder or anywhere, have their rows (`coming`)."""
        coming = self._open_files.coming
        if coming and (folder_id is None or coming.is_in(folder_id)):
            await self._settle()

    async def _settle(self) -> None:
        coming = self._open_files.coming
        if not (self._bridge.looks_at_once and coming.settle_at_once()):
            await self._bridge.work(coming.settle)

    async def _settled_at(self, place: Place, *, goes: bool = False) -> None:
        """… of this name. `goes`: and in what has the name, when that is a folder, which has to be empty then."""
        coming = self._open_files.coming
        if not coming:
            return
        concerned = coming.has(place.folder_id, place.name)
        if goes and not concerned:
            caller, folder_id = self._account.caller, place.folder_id
            try:
                there = await self._bridge.look(posix.child, self._kelp, caller, folder_id, place.name)
                concerned = there is not None and coming.is_in(there.id)
            except KelpError:
                concerned = True
        if concerned:
            await self._settle()

    @answering
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._settled()
        await self._syncing.sync()

    @answering
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        place = Place(parent_inode, decoded(name))
        wanted = self._wanted(parent_inode, mode & ~ctx.umask, ctx, folder=True)
        await self._settled_at(place)
        self._inodes.note_change()
        asked = self._kelp, self._account.caller, place
        node = changing.make_folder_at_once(*asked)
        if node is None:
            node = await self._bridge.work(changing.make_folder, *asked)
        return self._told(await self._with(node, wanted))

    @answering
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        if not stat.S_ISREG(mode):
            refuse(errno.EPERM)  # no other face could show a device, a pipe or a socket
        node, file = await self._create(parent_inode, name, mode & ~ctx.umask, os.O_WRONLY | os.O_EXCL, ctx)
        await self._bridge.persist(changing.close, file)
        return self._told(node)

    @answering
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        place, wanted = Place(parent_inode, decoded(name)), self._wanted(parent_inode, 0, ctx, folder=False)
        await self._settled_at(place)
        self._inodes.note_change()
        caller, uid, gid = self._account.caller, wanted.uid, wanted.gid
        make = partial(changing.make_link, self._kelp, self._links, caller, place, target, uid, gid)
        return self._told(await self._bridge.work(make))

    @answering
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        target = await self._bridge.work(self._links.target, await self._node(inode))
        return refuse(errno.EINVAL) if target is None else target

    @answering
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        refuse(errno.EPERM)

    @answering
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._remove(Place(parent_inode, decoded(name)), Kind.FILE)

    @answering
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._remove(Place(parent_inode, decoded(name)), Kind.FOLDER)

    async def _remove(self, place: Place, kind: Kind) -> None:
        await self._settled_at(place, goes=kind == Kind.FOLDER)
        self._inodes.note_change()
        files, inodes, caller = self._open_files, self._inodes, self._account.caller
        if not changing.remove_at_once(files, inodes, caller, place, kind):
            await self._bridge.work(changing.remove, files, inodes, caller, place, kind)
        self._syncing.changed()

    @answering
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        if flags & ~_RENAME_FLAGS:
            refuse(errno.EINVAL)
        how = OnConflict.ERROR if flags & pyfuse3.RENAME_NOREPLACE else OnConflict.OVERWRITE
        source, target = Place(parent_inode_old, decoded(name_old)), Place(parent_inode_new, decoded(name_new))
        await self._settled_at(source)
        await self._settled_at(target, goes=True)
        self._inodes.note_change()
        caller = self._account.caller
        entry = (await self._bridge.work(changing.rename, self._open_files, caller, source, target, how)).entry
        self._inodes.changed(entry.id, Known(target.folder_id, entry.name, entry.version, entry.content_id))

    async def _with(self, made: Node, wanted: changing.Wanted) -> Node:
        """What was just made, with the attributes that it is to have."""
        if wanted == changing.Wanted():
            return made
        return await self._set_attributes(made.id, wanted) or made

    async def _set_attributes(self, inode: int, wanted: changing.Wanted) -> Node | None:
        """As `changing.set_attributes`."""
        asked = self._open_files, self._account.caller, inode, wanted
        done = changing.set_at_once(*asked)
        return await self._bridge.work(changing.set_attributes, *asked) if done is None else done[0]

    def _wanted(self, folder_id: int, mode: int, ctx: RequestContext, *, folder: bool) -> changing.Wanted:
        """What of a new entry is not as it would be shown anyway: only that is stored. In a set-group-ID folder it has
        that one's group, and a folder the bit too (inode(7)): the kernel leaves it to us."""
        looks, mode, group = self._looks, stat.S_IMODE(mode), self._inodes.group_kept(folder_id)
        if group is not None and folder:
            mode |= stat.S_ISGID
        gid = ctx.gid if group is None else group
        return changing.Wanted(
            None if mode == looks.mode_of(folder=folder) else mode,
            None if ctx.uid == looks.uid else ctx.uid,
            None if gid == looks.gid else gid,
            None,
        )
