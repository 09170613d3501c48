"""Drafts that no mount has any more: of one that was killed, or that could not commit them. `kelp mount --recover`."""

from __future__ import annotations

from collections.abc import Iterator

from fuse_mount.draft_file import Header
from fuse_mount.leftovers import Leftover, leftovers
from vfs.core import Kelp
from vfs.errors import NotFound
from vfs.model import ROOT_ID, ByteRange, Caller, Content, Entry, Place
from vfs.operations import committing, drafting, layouts, unsealing

WHY = "recovered"


def found(kelp: Kelp) -> list[Leftover]:
    """The oldest first."""
    return list(leftovers(kelp.settings.data / "drafts"))


def recover(kelp: Kelp, caller: Caller, leftover: Leftover) -> Entry:
    """Make it a file beside the one it was of, "name (recovered USER TIME).ext", or in the root, its vault's, when
    its folder is gone: whoever wrote was interrupted, so it may be half of something. Then the draft goes.

    Raises NotFound when what the file showed then is gone: see `without_content`; else as `committing.keep_beside`.
    """
    return _kept(kelp, caller, leftover, _content_of(kelp, leftover))


def without_content(kelp: Kelp, caller: Caller, leftover: Leftover) -> Entry:
    """The same, of a draft whose file showed a content that nobody has any more: what was not written is zero."""
    return _kept(kelp, caller, leftover, None)


def _content_of(kelp: Kelp, leftover: Leftover) -> Content | None:
    if leftover.written.limit == 0:
        return None
    content = drafting.content(kelp, leftover.header.content_id)
    if content is None:
        raise NotFound("what the file showed when it was written to is gone")
    return content


def _kept(kelp: Kelp, caller: Caller, leftover: Leftover, content: Content | None) -> Entry:
    header = leftover.header
    source = _Source(kelp, leftover, content)
    place = drafting.place_of(kelp, header.entry_id) or Place(header.folder_id, header.name)
    draft = drafting.Draft(header.entry_id, place, content or drafting.NOTHING, source, kelp.clock.now_ns())
    try:
        entry = committing.keep_beside(kelp, caller, draft, place, WHY).entry
    except NotFound:
        entry = committing.keep_beside(kelp, caller, draft, Place(_top(kelp, header), header.name), WHY).entry
    leftover.remove()
    return entry


def _top(kelp: Kelp, header: Header) -> int:
    """The folder that a file goes to whose own is gone: the root, or its vault's, never out of that."""
    if header.vault_id is None:
        return ROOT_ID
    with kelp.database.read() as tx:
        return tx.vaults.root(header.vault_id)


class _Source:
    """As `drafting.Source`."""

    def __init__(self, kelp: Kelp, leftover: Leftover, content: Content | None) -> None:
        self._kelp = kelp
        self._leftover = leftover
        self._content = content
        self.size = leftover.written.size
        self.limit = leftover.written.limit if content is not None else 0

    def is_written(self, start: int, stop: int) -> bool:
        return self._leftover.written.spans.touch(start, stop)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        for first, last, is_written in self._leftover.written.split(start, stop):
            if is_written:
                yield from self._leftover.pieces(first, last)
            elif first < self.limit and self._content is not None:
                shown = min(last, self.limit)
                yield from unsealing.reader(self._kelp, self._content).chunks(ByteRange(first, shown))
                yield from layouts.zeros(last - shown)
            else:
                yield from layouts.zeros(last - first)
