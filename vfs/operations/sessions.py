"""Uploads in parts: begun, looked at, given up (spec §6; seed 001 §1-B). Their parts are `session_parts`, their end as
a file `session_ending`, those that nobody ends `session_expiry`.

    INIT --first part--> UPLOADING --complete--> COMPLETED
      |                      |
      +----------+-----------+---- abort ------> ABORTED
                 +---------------- in time ----> EXPIRED

Who changes a session or its parts holds its row (`UploadSessions.hold`) to the commit: a part that comes while the
upload is completed, aborted or expires is either in before, or finds that it ended and takes its objects away again.
No file exists, and no name is taken, before it is complete.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from blake3 import blake3

from vfs import names, trace
from vfs.core import Kelp
from vfs.errors import InvalidRequest, KelpError, SessionCompleted, SessionExpired, SessionNotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.metadata.upload_sessions import Piece, Sending
from vfs.model import PART_SIZE, Caller, OnConflict, Place
from vfs.operations import changes, contents, guard, session_expiry, uploading, writing

MOST_PARTS = 10_000  # numbers that a client may give; a part of any size is one
UNTOUCHED_NS = 24 * 3600 * changes.SECOND  # an upload lives so long before its first part …
RESTING_NS = 72 * 3600 * changes.SECOND  # … and so long after its last
_LARGEST = 1 << 50  # bytes of a file
_MOST_RUNNING = 1000  # uploads of one user at a time
_AT_ONCE = 200  # objects of an aborted upload that go before the answer; more go in the background


class Status(StrEnum):
    INIT = "INIT"
    UPLOADING = "UPLOADING"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"
    EXPIRED = "EXPIRED"


class Protocol(StrEnum):
    PARTS = "parts"  # numbered, in any order
    TUS = "tus"  # in order


@dataclass(frozen=True, slots=True)
class SentPart:
    """`etag` tells the part's bytes: their BLAKE3, or, of a part in N pieces, the BLAKE3 of theirs, and "-N"; in a
    vault, those of its sealed bytes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Progress:
    """An upload as it is now. `file_uuid`: what it became, while that is there."""

    uuid: str
    status: Status
    name: str
    size: int | None
    mime_type: str
    part_size: int
    parts: tuple[SentPart, ...]
    expires_ns: int
    metadata: str | None = None
    file_uuid: str | None = None

    @property
    def sent(self) -> int:
        if self.status is Status.COMPLETED:  # its parts are the file's
            return self.size or 0
        return sum(part.size for part in self.parts)

    @property
    def remaining(self) -> int | None:
        return None if self.size is None else max(self.size - self.sent, 0)

    @property
    def total_parts(self) -> int | None:
        """When all have the size that was agreed on; a client may cut as it likes."""
        return None if self.size is None else -(-self.size // self.part_size)

    @property
    def next_number(self) -> int:
        """The first that has not come."""
        have = {part.number for part in self.parts}
        return next(number for number in range(1, len(have) + 2) if number not in have)


def begin(
    kelp: Kelp,
    caller: Caller,
    folder_uuid: str | None,
    name: str,
    size: int | None,
    *,
    mime_type: str | None = None,
    on_conflict: OnConflict | None = None,
    part_size: int | None = None,
    protocol: Protocol = Protocol.PARTS,
    metadata: str | None = None,
) -> Progress:
    """Begin an upload. What can be refused is refused now, and looked at again when it is complete.

    `size`: None when nobody knows it yet. `part_size`: as the client would have it. Raises what
    `uploading.folder_of` raises, AlreadyExists, InvalidName, InvalidRequest, Locked, Forbidden, NoSpace, StillSyncing.
    """
    names.check_segment(name)
    part_size = _part_size(kelp, size, part_size)
    wanted = uploading.strategy(kelp, on_conflict)
    with trace.span("db.folder_validate"):
        folder = uploading.folder_of(kelp, caller, folder_uuid)
    put = writing.Put(caller, Place(folder.id, name), mime_type, None, wanted, None, kelp.clock.now_ns())
    with kelp.database.read() as tx:
        writing.check(kelp, tx, put)
        if tx.uploads.running_of(caller.user_id) >= _MOST_RUNNING:
            raise InvalidRequest(f"you have {_MOST_RUNNING} uploads under way: end some of them first")
    guard.require_space(kelp, size)
    sending = Sending(
        id=0,
        uuid=str(uuid.uuid4()),
        content_id=str(uuid.uuid4()),
        folder_id=folder.id,
        name=name,
        size=size,
        mime_type=mime_type or changes.mime_type(name),
        on_conflict=wanted.value,
        user_id=caller.user_id,
        status=Status.INIT.value,
        created_ns=put.began_ns,
        expires_ns=put.began_ns + UNTOUCHED_NS,
        entry_id=None,
        protocol=protocol.value,
        part_size=part_size,
        metadata=metadata,
    )
    _insert(kelp, sending, caller.trace_id)
    return progress_of(kelp, sending, ())


@trace.step("db.session_create")
@retried
def _insert(kelp: Kelp, sending: Sending, trace_id: str) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.uploads.begin(sending, trace_id)


def _part_size(kelp: Kelp, size: int | None, wanted: int | None) -> int:
    """Raises InvalidRequest."""
    limit = kelp.settings.upload.part_limit
    if size is not None and not 0 <= size <= min(_LARGEST, MOST_PARTS * limit):
        raise InvalidRequest("no upload can be so large")
    if wanted is not None:
        if not 1 <= wanted <= limit or (size or 0) > wanted * MOST_PARTS:
            raise InvalidRequest(f"a part has at most {limit} bytes, and an upload {MOST_PARTS} parts")
        return wanted
    needed = -(-(size or 0) // MOST_PARTS)
    return min(max(-(-needed // PART_SIZE), 1) * PART_SIZE, max(limit, needed))


@trace.step("db.session_lookup")
def find(kelp: Kelp, caller: Caller, uuid: str, protocol: Protocol = Protocol.PARTS) -> Sending:
    """An upload of the caller's own; an admin sees all. Raises SessionNotFound, KeyMissing."""
    with kelp.database.read() as tx:
        sending = tx.uploads.get(uuid)
    return require_own(sending, caller, protocol)


def require_own(sending: Sending | None, caller: Caller, protocol: Protocol) -> Sending:
    if sending is None or sending.protocol != protocol:
        raise SessionNotFound("there is no such upload")
    if sending.user_id != caller.user_id and not caller.administers:
        raise SessionNotFound("there is no such upload")
    return sending


def status_of(sending: Sending, now_ns: int) -> Status:
    """It is over at its time, also when the batch comes later."""
    if sending.status in (Status.INIT, Status.UPLOADING) and sending.expires_ns <= now_ns:
        return Status.EXPIRED
    return Status(sending.status)


def require_running(sending: Sending, now_ns: int) -> None:
    """Raises SessionNotFound (given up), SessionExpired, SessionCompleted."""
    status = status_of(sending, now_ns)
    if status is Status.COMPLETED:
        raise SessionCompleted("the upload is complete")
    if status is Status.EXPIRED:
        raise SessionExpired("the upload was not ended in time")
    if status is Status.ABORTED:
        raise SessionNotFound("the upload was given up")


def progress(kelp: Kelp, caller: Caller, uuid: str, protocol: Protocol = Protocol.PARTS) -> Progress:
    """Raises SessionNotFound."""
    sending = find(kelp, caller, uuid, protocol)
    with trace.span("db.uploaded_parts_list"), kelp.database.read() as tx:
        pieces = tx.uploads.pieces(sending.id)
    return progress_of(kelp, sending, pieces, _file_uuid(kelp, caller, sending))


def _file_uuid(kelp: Kelp, caller: Caller, sending: Sending) -> str | None:
    if sending.entry_id is None:
        return None
    with kelp.database.read() as tx:
        entry = tx.entries.as_stored(sending.entry_id)
    return entry.uuid if entry is not None else None


def progress_of(kelp: Kelp, sending: Sending, pieces: Sequence[Piece], file_uuid: str | None = None) -> Progress:
    status = status_of(sending, kelp.clock.now_ns())
    return Progress(
        uuid=sending.uuid,
        status=status,
        name=sending.name,
        size=sending.size,
        mime_type=sending.mime_type,
        part_size=sending.part_size,
        parts=sent_parts(pieces) if status in (Status.INIT, Status.UPLOADING) else (),
        expires_ns=sending.expires_ns,
        metadata=sending.metadata,
        file_uuid=file_uuid,
    )


def sent_parts(pieces: Sequence[Piece]) -> tuple[SentPart, ...]:
    found = []
    for number, of_part in groupby(pieces, key=attrgetter("number")):
        some = list(of_part)
        found.append(
            SentPart(number, sum(piece.shown_size for piece in some), etag([piece.checksum for piece in some]))
        )
    return tuple(found)


def etag(checksums: Sequence[str]) -> str:
    """Of a part, by those of its pieces: see `SentPart`."""
    if len(checksums) == 1:
        return checksums[0]
    return f"{blake3(''.join(checksums).encode()).hexdigest()}-{len(checksums)}"


def abort(kelp: Kelp, caller: Caller, uuid: str, protocol: Protocol = Protocol.PARTS) -> Status:
    """Give an upload up, and what came of it; one that ended without becoming a file stays as it is.

    Raises SessionNotFound, SessionCompleted.
    """
    status, objects = _abort(kelp, caller, uuid, protocol)
    if status is Status.ABORTED and objects <= _AT_ONCE:
        _clean(kelp, uuid)
    elif status is Status.ABORTED:
        kelp.background.submit(("aborted", uuid), lambda: _clean(kelp, uuid))
    return status


@retried
def _abort(kelp: Kelp, caller: Caller, uuid: str, protocol: Protocol) -> tuple[Status, int]:
    with kelp.database.write(quiet=True) as tx:
        sending = require_own(tx.uploads.hold(uuid, shown=True), caller, protocol)
        status = status_of(sending, kelp.clock.now_ns())
        if status is Status.COMPLETED:
            raise SessionCompleted("the upload is complete")
        if status in (Status.ABORTED, Status.EXPIRED):
            return status, 0
        objects = len(tx.uploads.pieces(sending.id))
        tx.uploads.abort(sending.id)
    return Status.ABORTED, objects


def _clean(kelp: Kelp, uuid: str) -> None:
    """What stays behind now, the batch finds."""
    with kelp.database.read() as tx:
        session = tx.uploads.ended(uuid)
    if session is None:
        return
    try:
        session_expiry.clean(kelp, session)
    except KelpError as error:
        session_expiry.log.warning("the parts of an upload that was given up stay for now: %s", error)


def discard(kelp: Kelp, uuid: str, keys: Sequence[str], *, in_doubt: bool) -> None:
    """Objects of a part whose transaction failed; those that the database knows after all stay.

    `in_doubt`: the commit itself failed: see `contents.discard`.
    """
    if not keys:
        return
    try:
        with kelp.database.write() if in_doubt else kelp.database.read() as tx:
            if _is_kept(tx, uuid, keys[0], in_doubt=in_doubt):
                return
    except KelpError as error:
        session_expiry.log.warning("objects of a part are left to a batch: %s", error)
        return
    contents.remove(kelp, keys)


def _is_kept(tx: Tx, uuid: str, key: str, *, in_doubt: bool) -> bool:
    if in_doubt:
        tx.uploads.hold(uuid, shown=True)
    if tx.uploads.has_object(key):
        return True
    if in_doubt:
        tx.accounts.set_value("discarded", key)  # any change: a commit of nothing writes nothing
    return False
