"""The drive as a WsgiDAV provider that handles every method itself.

WsgiDAV's own handlers are correct for a plain folder but not for a drive that keeps its promises (clients.md
§3.0 lists what was measured), so each method has a small function here and WsgiDAV keeps the routing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsgidav.dav_provider import DAVProvider

from dav_provider import download, listing, locking, moving, properties, upload
from dav_provider.errors import answer_for
from dav_provider.request import Answer, Environ, Request, StartResponse, send, text_answer
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.operations import reading

REQUEST_KEY = "kelp.request"  # where the Request travels through WsgiDAV's layers
START_KEY = "kelp.start_response"  # the server's own start_response: WsgiDAV's forbids a 204 without a length

Handler = Callable[[Kelp, Request], Answer]


def options(request: Request) -> Answer:
    """The same everywhere, on unmapped addresses too (R1): clients decide by it whether a drive is writable."""
    headers = [("DAV", "1, 2"), ("MS-Author-Via", "DAV"), ("Allow", ALLOW)]
    return Answer(200, headers)


def handlers() -> dict[str, Handler]:
    """Each method's function, for one application: it has a cache of listings of its own."""
    return {
        "OPTIONS": lambda kelp, request: options(request),
        "GET": download.get,
        "HEAD": download.get,
        "PUT": upload.put,
        "PROPFIND": listing.Listings().propfind,
        "PROPPATCH": properties.proppatch,
        "MKCOL": moving.make_collection,
        "DELETE": moving.delete,
        "COPY": moving.copy,
        "MOVE": moving.move,
        "LOCK": locking.lock,
        "UNLOCK": locking.unlock,
    }


ALLOW = ", ".join(handlers())


class OwnHandlers(DAVProvider):
    """A provider whose `custom_request_handler` answers by a function of ours."""

    def set_lock_manager(self, lock_manager: object) -> None:
        """WsgiDAV offers LOCK and UNLOCK only where there is a lock manager; ours is the core."""
        self.lock_manager = self

    def get_resource_inst(self, path: str, environ: Environ) -> None:
        """Never asked, since no handler of WsgiDAV runs."""

    def custom_request_handler(
        self, environ: Environ, start_response: StartResponse, default_handler: Any
    ) -> Iterable[bytes]:
        request: Request = environ[REQUEST_KEY]
        return send(self.respond(request), request.method, environ[START_KEY], request.trace_id)

    def respond(self, request: Request) -> Answer:
        """The answer, also to what went wrong in a way that was foreseen."""
        try:
            return self.answer(request)
        except KelpError as error:
            return answer_for(error, request, lambda entry_id: self.is_folder(request, entry_id))

    def answer(self, request: Request) -> Answer:
        """Raises KelpError."""
        raise NotImplementedError

    def is_folder(self, request: Request, entry_id: int) -> bool:
        """For the href of an entry that an error names."""
        return False


class KelpProvider(OwnHandlers):
    """`/dav/`: the drive."""

    def __init__(self, kelp: Kelp) -> None:
        super().__init__()
        self._kelp = kelp
        self._handlers = handlers()

    def answer(self, request: Request) -> Answer:
        handler = self._handlers.get(request.method)
        if handler is None:
            return text_answer(405, f"{request.method} is not supported here", ("Allow", ALLOW))
        return handler(self._kelp, request)

    def is_folder(self, request: Request, entry_id: int) -> bool:
        try:
            return reading.stat(self._kelp, request.caller, entry_id).is_folder
        except KelpError:
            return False
