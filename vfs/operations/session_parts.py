"""Parts of an upload as they come: numbered ones, in any order and again; or bytes that go on where the last ended.

Objects first, then one transaction that records them and moves the time at which the upload expires. A part is there
when that is committed: then its bytes and its row survive a power cut, and a part that had the number before is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vfs import trace
from vfs.core import Kelp
from vfs.crypto.upload_keys import seal_part_key
from vfs.errors import InvalidRequest, PreconditionFailed, SessionNotFound, UploadIncomplete
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.metadata.upload_sessions import Sending
from vfs.model import PART_SIZE, Caller, Expected, Part
from vfs.operations import contents, guard, reserving, sealed_contents, sessions, vaults_of
from vfs.operations.sealed_contents import Vault
from vfs.operations.sessions import MOST_PARTS, Protocol, SentPart


@dataclass(slots=True)
class _Recording:
    """A part on its way into the database."""

    sending: Sending
    place: Callable[[Tx], int]  # its number, found when the session is held; raises what stands against it
    committing: bool = False  # a commit was begun whose outcome is not known
    number: int = 0


def put(kelp: Kelp, caller: Caller, uuid: str, number: int, chunks: Iterable[bytes], *, expected: Expected) -> SentPart:
    """Part `number` of an upload, instead of one that had the number before.

    Raises SessionNotFound, SessionExpired, SessionCompleted, InvalidRequest, NoSpace, UploadIncomplete,
    StoreUnavailable, KeyMissing; then the part is as it was before.
    """
    sending = sessions.find(kelp, caller, uuid)
    sessions.require_running(sending, kelp.clock.now_ns())
    require_number(number)
    limit = min(kelp.settings.upload.part_limit, _endless(sending.size))
    _require_short(expected.length or 0, limit)
    recording = _Recording(sending, lambda tx: number)
    came = _bring(kelp, recording, _limited(chunks, limit), expected)
    return SentPart(number, came.size, sessions.etag([part.checksum for part in came.parts]))


def require_number(number: int) -> None:
    """Raises InvalidRequest."""
    if not 1 <= number <= MOST_PARTS:
        raise InvalidRequest(f"parts have the numbers from 1 to {MOST_PARTS}")


def append(kelp: Kelp, caller: Caller, uuid: str, offset: int, chunks: Iterable[bytes], *, expected: Expected) -> int:
    """Bytes that go on at `offset`, where the upload ended so far; where it ends now.

    Without a checksum each 8 MiB count as soon as they are stored, and so does what came before a body was cut, which
    raises UploadIncomplete all the same. Raises PreconditionFailed (it does not end there), and as `put`.
    """
    sending = sessions.find(kelp, caller, uuid, Protocol.TUS)
    sessions.require_running(sending, kelp.clock.now_ns())
    _require_offset(kelp, sending, offset)
    left = _endless(sending.size) - offset
    _require_short(expected.length or 0, left)
    bounded = _limited(chunks, left)
    if expected.md5 or expected.sha1:
        return offset + _append(kelp, sending, offset, bounded, expected)
    cut = _Cut(bounded)
    while cut.goes_on():
        offset += _append(kelp, sending, offset, cut.next_part(), Expected())
    if cut.fault is not None:
        raise cut.fault
    if expected.length is not None and cut.come != expected.length:
        raise UploadIncomplete(f"{cut.come} bytes came instead of {expected.length}")
    return offset


def _require_offset(kelp: Kelp, sending: Sending, offset: int) -> None:
    with kelp.database.read() as tx:
        _number_at(tx, sending, offset)


def _number_at(tx: Tx, sending: Sending, offset: int) -> int:
    """The number of the part that begins there, which is the next one. Raises PreconditionFailed."""
    sent, last = tx.uploads.sent(sending.id)
    if sent != offset:
        raise PreconditionFailed(f"the upload goes on at byte {sent}")
    return last + 1


def _append(kelp: Kelp, sending: Sending, offset: int, chunks: Iterable[bytes], expected: Expected) -> int:
    """Bytes that are recorded now."""
    recording = _Recording(sending, lambda tx: _number_at(tx, sending, offset))
    return _bring(kelp, recording, chunks, expected).size


@dataclass(frozen=True, slots=True)
class _Came:
    """What came of a part. `opens`: of each object, its plain size, and the key that opens it, sealed; for a vault."""

    parts: tuple[Part, ...]
    size: int
    opens: tuple[tuple[int, str], ...] = ()


def _bring(kelp: Kelp, recording: _Recording, chunks: Iterable[bytes], expected: Expected) -> _Came:
    """Store a part and record it; nothing is left when it fails."""
    sending = recording.sending
    vault = vaults_of.vault_of(kelp, sending.folder_id)
    size = None if expected.length is None else sealed_contents.stored_size(expected.length, vault)
    guard.require_space(kelp, size)
    with reserving.reserve(kelp, size or 0, sealed=vault is not None) as room:
        came = _stored(kelp, sending, room.counted(chunks), expected, vault)
        try:
            room.confirm()
            before = _record(kelp, recording, came)
        except BaseException:
            room.stays = recording.committing
            keys = [part.key for part in came.parts]
            sessions.discard(kelp, sending.uuid, keys, in_doubt=recording.committing)
            raise
        room.stays = True
    contents.remove(kelp, before)
    return came


def _stored(kelp: Kelp, sending: Sending, chunks: Iterable[bytes], expected: Expected, vault: Vault | None) -> _Came:
    if vault is None:
        content = contents.store(kelp, chunks, expected, f"{sending.content_id}.{secrets.token_hex(6)}")
        return _Came(content.parts, content.size)
    sealed = contents.store_parts(kelp, chunks, expected)
    opens = tuple((piece.length, seal_part_key(vault.key, piece.part)) for piece in sealed.slices)
    return _Came(sealed.parts, sealed.size, opens)


@trace.step("db.upload_part_create")
@retried
def _record(kelp: Kelp, recording: _Recording, came: _Came) -> list[str]:
    """Keys of the objects that the part had before."""
    recording.committing = False
    with kelp.database.write(quiet=True) as tx:
        sending = tx.uploads.hold(recording.sending.uuid)
        if sending is None:
            raise SessionNotFound("there is no such upload")
        now = kelp.clock.now_ns()
        sessions.require_running(sending, now)
        recording.number = recording.place(tx)
        before = tx.uploads.replace_part(sending.id, recording.number, came.parts, now, came.opens)
        tx.uploads.go_on(sending.id, now + sessions.RESTING_NS)
        recording.committing = True
    return before


def _endless(size: int | None) -> int:
    return 1 << 62 if size is None else size


def _require_short(length: int, limit: int) -> None:
    if length > limit:
        raise InvalidRequest(f"{length} bytes are more than the {limit} that this part may have")


def _limited(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    come = 0
    for chunk in chunks:
        come += len(chunk)
        _require_short(come, limit)
        yield chunk


class _Cut:
    """A body in runs of PART_SIZE, each of which is stored before the next is read; one that is cut ends early."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.come = 0
        self.fault: UploadIncomplete | None = None

    def goes_on(self) -> bool:
        while not self._rest:
            try:
                piece = next(self._chunks, None)
            except UploadIncomplete as error:
                self.fault, piece = error, None
            if piece is None:
                return False
            self._rest = piece
        return True

    def next_part(self) -> Iterator[bytes]:
        left = PART_SIZE
        while left and self.goes_on():
            piece, self._rest = self._rest[:left], self._rest[left:]
            left -= len(piece)
            self.come += len(piece)
            yield piece
