"""Parts that go straight to the cache: a client gets a URL for one object there, puts the part, and tells so.

What he puts lies under a staging key, where he may put again while the URL holds. `notify` reads it once, for size,
checksum and the sums of its blocks, and stores it as a part under keys of its own, which nobody but Kelp can write to.
"""

from __future__ import annotations

from dataclasses import dataclass

from vfs.core import Kelp
from vfs.errors import InvalidRequest, ObjectMissing, PartsIncomplete
from vfs.metadata.upload_sessions import Sending
from vfs.model import Caller, Expected
from vfs.operations import changes, contents, session_parts, sessions
from vfs.operations.sessions import SentPart
from vfs.storage.object_store import presigner_of

_LONGEST = 3600  # seconds that a URL holds


@dataclass(frozen=True, slots=True)
class Presigned:
    url: str
    expires_ns: int


def presign(kelp: Kelp, caller: Caller, uuid: str, number: int) -> Presigned:
    """Where to PUT part `number`.

    Raises SessionNotFound, SessionExpired, SessionCompleted, InvalidRequest (also in a vault, and where the cache is a
    folder).
    """
    sending = sessions.find(kelp, caller, uuid)
    now = kelp.clock.now_ns()
    sessions.require_running(sending, now)
    session_parts.require_number(number)
    _require_plain(kelp, sending)
    presigner = presigner_of(kelp.cache)
    if presigner is None:
        raise InvalidRequest("the cache of this drive takes no parts directly: send them to the server")
    seconds = max(min(_LONGEST, (sending.expires_ns - now) // changes.SECOND), 1)
    return Presigned(presigner.presign_put(_staging(sending, number), seconds), now + seconds * changes.SECOND)


def notify(kelp: Kelp, caller: Caller, uuid: str, number: int, size: int | None) -> SentPart:
    """Part `number` was put; `size` as the client knows it. Told again, it is the part that it is by now.

    Raises PartsIncomplete (nothing was put there), and what `session_parts.put` raises.
    """
    sending = sessions.find(kelp, caller, uuid)
    sessions.require_running(sending, kelp.clock.now_ns())
    session_parts.require_number(number)
    _require_plain(kelp, sending)
    key = _staging(sending, number)
    try:
        come = kelp.cache.stat(key)
        chunks = kelp.cache.get(key)
    except ObjectMissing as error:
        if (known := _recorded(kelp, sending, number)) is not None:
            return known
        raise PartsIncomplete("nothing was put there", [number]) from error
    part = session_parts.put(
        kelp, caller, uuid, number, chunks, expected=Expected(length=come if size is None else size)
    )
    contents.remove(kelp, [key])
    return part


def _require_plain(kelp: Kelp, sending: Sending) -> None:
    """What a client puts there is not sealed. Raises InvalidRequest."""
    with kelp.database.read() as tx:
        is_plain = tx.seals.sure(sending.folder_id) is None
    if not is_plain:
        raise InvalidRequest("the parts of a file in a vault cannot be sent to the cache: send them to the server")


def _recorded(kelp: Kelp, sending: Sending, number: int) -> SentPart | None:
    with kelp.database.read() as tx:
        parts = sessions.sent_parts(tx.uploads.pieces(sending.id))
    return next((part for part in parts if part.number == number), None)


def _staging(sending: Sending, number: int) -> str:
    return f"{sending.content_id}.staging-{number:05d}"
