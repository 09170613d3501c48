"""Symbolic links: files that say where they lead (`vfs/links.py`), and have the media type of one.

No operation follows a link: that is for who looks at the drive as a file system, and what it leads to is looked for
there, with its rights.
"""

from __future__ import annotations

from vfs import links
from vfs.core import Kelp
from vfs.errors import NameTooLong, StoreUnavailable
from vfs.model import Caller, Entry, Expected, OnConflict, Place
from vfs.operations import sealed_contents, unsealing, writing


def make_link(kelp: Kelp, caller: Caller, place: Place, target: bytes) -> Entry:
    """Raises NameTooLong (a target of more than 1,024 bytes), AlreadyExists, and as `writing.put_file`."""
    if len(target) > links.MOST:
        raise NameTooLong(f"a link can lead to a path of {links.MOST} bytes at most")
    written = writing.put_file(
        kelp,
        caller,
        place,
        [links.packed(target)],
        expected=Expected(length=links.SIZE),
        mime_type=links.TYPE,
        on_conflict=OnConflict.ERROR,
    )
    return written.entry


def target_of(kelp: Kelp, content_id: str) -> bytes | None:
    """Where a file with this content leads; None: nowhere, it is no link's. Raises StoreUnavailable, ContentLost."""
    content = kelp.database.keep(content_id, lambda tx: tx.contents.get(content_id))
    if content is None:
        raise StoreUnavailable("the content has just been freed", retry_after=1)
    if sealed_contents.plain_size(content) != links.SIZE:
        return None
    return links.target_of(b"".join(unsealing.reader(kelp, content).chunks()))
