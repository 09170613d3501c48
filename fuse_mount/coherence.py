"""Keeps the kernel's memory true: what other processes change is asked for again, well within a second.

Entries and attributes may be remembered for long, since whoever changes them is heard of by the change feed. What this
mount changed itself the kernel knows already: that shows by the row version it was told last.

A thread of its own: invalidating an entry waits until what the kernel has under way in that folder has ended. Because
of that wait no look-up is missed either that read the row before the change and is answered after it.

In that wait the thread cannot be stopped, by nothing and nobody: a debugger or profiler that stops all threads of this
process (py-spy without --nonblocking) waits for it for ever, while it waits for one that is stopped. So it is told as
little as can be: nothing of what this mount did itself, and of a change one look later, when the kernel has the answer
to what it asked for itself.
"""

from __future__ import annotations

import errno
import logging
import threading

import pyfuse3

from fuse_mount.inodes import Inodes, Known
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import ROOT_ID
from vfs.operations.watching import Changed, Changes, Feed

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds
_EVERY = 0.2  # seconds between two looks; while nothing changes one costs nothing on SQLite, a round trip elsewhere


class Coherence:
    """Runs from `start` to `stop`. Raises StoreUnavailable when it is made."""

    def __init__(self, kelp: Kelp, inodes: Inodes) -> None:
        self._inodes = inodes
        self._feed = Feed(kelp)
        self._over = threading.Event()
        self._doubts = threading.Event()
        self._is_away = False
        self._seen: tuple[Changed, ...] = ()  # at the look before
        self._thread = threading.Thread(target=self._run, name="coherence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A call that it is in ends as soon as nothing else is under way in that folder."""
        self._over.set()
        self._thread.join(_PATIENCE)

    def forget_everything(self) -> None:
        """Soon, by whatever thread it is asked."""
        self._doubts.set()

    def _run(self) -> None:
        while not self._over.wait(_EVERY):
            try:
                self.look()
            except Exception:
                _log.exception("the kernel could not be told what changed")

    def look(self) -> None:
        """Tell the kernel what changed since the last time."""
        try:
            changes = self._feed.look()
        except KelpError as error:
            if not self._is_away:
                _log.warning("changes of others are not seen until the database is back: %s", error)
            self._is_away = True
            return
        self._is_away = False
        if changes != Changes():
            self._inodes.note_change()
        if self._doubts.is_set() or changes.everything:
            self._doubts.clear()
            self._forget_everything()
        due, self._seen = self._seen, changes.entries
        folders: set[int] = set()
        for changed in due:
            folders |= self._forget(changed)
        for folder_id in folders:
            if folder_id == ROOT_ID or self._inodes.known(folder_id) is not None:
                _forget_inode(folder_id, attributes_only=True)
        places, inodes = self._inodes.take_outdated()
        for place in places:
            _forget_entry(*place)
        for inode in inodes:
            _forget_inode(inode, attributes_only=False)

    def _forget(self, changed: Changed) -> set[int]:
        """The folders that have other times now, as far as the kernel knew what is in them."""
        known = self._inodes.known(changed.id)
        place = None if changed.parent_id is None else (changed.parent_id, changed.name)
        if known is not None and changed.is_active and known.version >= changed.version and _place(known) == place:
            return set()
        if not changed.is_active and self._inodes.take_removed(changed.id):
            return set()
        if place is not None and (place[0] == ROOT_ID or self._inodes.known(place[0]) is not None):
            # What was there before, that nothing was, or an answer that is on its way.
            _forget_entry(*place)
        folders = set() if place is None else {place[0]}
        known = self._inodes.known(changed.id)
        if known is None:
            return folders | ({ROOT_ID} if changed.id == ROOT_ID else set())
        if _place(known) != place:
            _forget_entry(*_place(known))
        _forget_inode(changed.id, attributes_only=known.content_id == changed.content_id)
        return folders | {known.parent_id}

    def _forget_everything(self) -> None:
        """That something was not there is forgotten with the folder it was not in; for the root the kernel remembers
        that for a moment only (`handlers`)."""
        for inode, known in self._inodes.all():
            if inode != ROOT_ID:
                _forget_entry(*_place(known))
            _forget_inode(inode, attributes_only=False)
        _forget_inode(ROOT_ID, attributes_only=True)


def _place(known: Known) -> tuple[int, str]:
    return known.parent_id, known.name


def _forget_entry(folder_id: int, name: str) -> None:
    try:
        pyfuse3.invalidate_entry(folder_id, name.encode())
    except OSError as error:
        _report(error)


def _forget_inode(inode: int, *, attributes_only: bool) -> None:
    try:
        pyfuse3.invalidate_inode(inode, attributes_only)
    except OSError as error:
        _report(error)


def _report(error: OSError) -> None:
    """The kernel did not have it, or the mount has just ended."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EBADF):
        _log.warning("the kernel could not be told what changed: %s", error)
