"""The door: who may not come from his network address is answered here, before anything else is looked at."""

from __future__ import annotations

from dav_provider.counted import Counted
from dav_provider.errors import status_of
from dav_provider.forwarding import Front
from dav_provider.request import Answer, Environ, peer_of, text_answer
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.operations import doorkeeping


def refusal(kelp: Kelp, front: Front | None, environ: Environ, counted: Counted) -> Answer | None:
    """None: come in. Without a challenge (RFC 9110 §15.5.4): no password would help."""
    try:
        if doorkeeping.are_needed(kelp):
            with counted:
                doorkeeping.let_in(kelp, peer_of(environ, front), "dav")
    except KelpError as error:
        wait = getattr(error, "retry_after", None)
        headers = () if wait is None else (("Retry-After", str(wait)),)
        return text_answer(status_of(error), f"{error} (trace {counted.trace_id})", *headers)
    return None
