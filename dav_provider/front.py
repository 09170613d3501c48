"""What is above the drive: clients probe `/` and every parent of a mount before they trust it (clients.md §1.1)."""

from __future__ import annotations

from dav_provider import listing, xmlio
from dav_provider.live_properties import QUOTA_AVAILABLE, QUOTA_USED, View
from dav_provider.paths import MOUNT, MOUNT_HREF
from dav_provider.provider import OwnHandlers, options
from dav_provider.quirks import quota_left_out
from dav_provider.request import Answer, Request, text_answer
from vfs.core import Kelp
from vfs.errors import Forbidden, NotFound
from vfs.model import Kind, Row
from vfs.operations import reading

_READING = "OPTIONS, GET, HEAD, PROPFIND"
_PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Kelp</title>\n'
    f'<p>This is Kelp, a network drive. Mount {MOUNT_HREF} by WebDAV: <a href="/connect">how</a>.</p></html>\n'
).encode()


class FrontProvider(OwnHandlers):
    """`/`: an almost empty folder that holds the drive, readable by every user and writable by nobody."""

    def __init__(self, kelp: Kelp) -> None:
        super().__init__()
        self._kelp = kelp
        # Ids no entry of the drive has; the times are those of the epoch, since nothing here ever changes.
        self._root = Row(-1, "Kelp", Kind.FOLDER, None, 0, "", 0, 0)
        self._drive = Row(-2, MOUNT[-1], Kind.FOLDER, None, 0, "", 0, 0)

    def answer(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return options(request)
        if request.method not in ("GET", "HEAD", "PROPFIND"):
            if request.path:
                raise Forbidden(f"the drive is at {MOUNT_HREF}; nothing can be made outside it")
            return text_answer(405, f"{request.method} is not supported here", ("Allow", _READING))
        if request.path:
            raise NotFound(f"there is nothing here; the drive is at {MOUNT_HREF}")
        if request.method == "PROPFIND":
            return self._propfind(request)
        return Answer(200, [("Content-Type", "text/html; charset=utf-8")], _PAGE)

    def _propfind(self, request: Request) -> Answer:
        wanted = listing.parse_propfind(xmlio.read_bounded(request.body, request.length))
        depth = request.depth
        if depth not in ("0", "1"):
            return listing.finite_depth_only()
        view = View(lockable=False)
        left_out = quota_left_out(self._kelp.settings.dav, request.header("User-Agent"))
        if wanted.asks(QUOTA_USED, QUOTA_AVAILABLE) and not left_out:  # gvfs asks here for the whole server
            usage = reading.usage(self._kelp)
            view.quota = (usage.used, usage.free)
        responses = [listing.response("/", self._root, wanted, view)]
        if depth == "1":
            responses.append(listing.response(MOUNT_HREF, self._drive, wanted, view))
        return listing.multistatus(responses)
