"""What the handlers share: the way from a request to a resource of the drive, and a resource's headers."""

from __future__ import annotations

from dav_provider.paths import MOUNT
from dav_provider.request import Headers, Request
from vfs.core import Kelp
from vfs.errors import NotFound, ParentNotFound
from vfs.model import Entry, Found, Place
from vfs.operations import reading
from vfs.web.dates import parse_time_ns


def locate(kelp: Kelp, request: Request) -> Found:
    """What the request's path leads to, existing or not. Raises NotFound outside the drive (`/DAV/` is)."""
    if request.path[: len(MOUNT)] != MOUNT:
        raise NotFound("there is nothing at this address")
    return reading.resolve(kelp, request.caller, request.path[len(MOUNT) :])


def locate_existing(kelp: Kelp, request: Request) -> tuple[Found, Entry]:
    """The same for a method that needs something to be there. Raises NotFound."""
    found = locate(kelp, request)
    if found.entry is None:
        raise NotFound("there is nothing at this address")
    return found, found.entry


def place_of(found: Found) -> Place:
    """Where the last name of a path is or would be. Raises ParentNotFound when a folder on the way is missing."""
    place = found.place
    if place is None and found.entry is not None and not found.entry.is_root:
        return found.entry.place  # in a folder that the caller may not see: the core knows what that allows
    if place is None:
        raise ParentNotFound("the folder that should hold it does not exist")
    return place


def tokens_on(kelp: Kelp, request: Request, found: Found) -> frozenset[str]:
    """Tokens of the locks that cover a resource, looked up only when the request has an `If` to hold against them."""
    return reading.entry_tokens(kelp, found) if request.if_header is not None else frozenset()


def client_mtime(request: Request) -> tuple[int | None, Headers]:
    """The time of X-OC-Mtime, and the header that tells it was taken; nothing when absent or unreadable (R18)."""
    text = request.header("X-OC-Mtime")
    mtime_ns = parse_time_ns(text) if text is not None else None
    return mtime_ns, [] if mtime_ns is None else [("X-OC-Mtime", "accepted")]
