"""Symbolic links as a file system shows them, for tests of what carries them."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.model import Entry
from vfs.operations import access, linking, posix


def leads_to(kelp: Kelp, entry: Entry) -> bytes | None:
    """None: it is no link."""
    found = posix.node(kelp, access.system_caller(kelp, "fuse"), entry.id)
    assert found.content_id is not None
    return linking.target_of(kelp, found.content_id) if found.is_link else None
