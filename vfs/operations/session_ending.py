"""An upload in parts becomes a file: everything is there, then one transaction, which merges no bytes.

What a client can lose is only the answer: whoever asks again gets the file that it became. While the name is taken,
or the place is gone, session and parts stay, and it may be completed under another name or with another strategy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from vfs import names, trace
from vfs.core import Kelp
from vfs.crypto.part_lists import Slice
from vfs.crypto.upload_keys import open_part_key
from vfs.errors import Conflict, ContentCorrupt, NotFound, ObjectMissing, PartsIncomplete, SessionNotFound
from vfs.metadata.retrying import retried
from vfs.metadata.upload_sessions import Piece, Sending
from vfs.model import ByteRange, Caller, Content, Entry, Expected, Kind, OnConflict, Part, Place, Written
from vfs.operations import by_id, contents, guard, sealed_contents, sessions, uploading, vaults_of, verified, writing
from vfs.operations.sealed_contents import SealedParts, Vault
from vfs.operations.sessions import Protocol, SentPart, Status

_TRIES = 5  # looks at parts that are sent again all the time
_TOLD = 100  # numbers of missing parts in one answer


class _OtherParts(Exception):
    """Parts came between the look at them and the transaction."""


@dataclass(slots=True)
class _Ending:
    put: writing.Put
    sending: Sending
    pieces: list[Piece]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(piece.shown_size for piece in self.pieces)

    @property
    def is_copied(self) -> bool:
        """The object of a content in one part is named as the content is, and a part that is sent again has another
        name each time: so these few bytes are stored once more. In a vault the content takes the name of its part."""
        return len(self.pieces) == 1 and self.pieces[0].sealed_key is None


def complete(
    kelp: Kelp,
    caller: Caller,
    uuid: str,
    *,
    name: str | None = None,
    on_conflict: OnConflict | None = None,
    wanted: Mapping[int, str | None] | None = None,
    protocol: Protocol = Protocol.PARTS,
) -> Entry:
    """The file that the upload is from now on; the same again when it was complete before.

    `name`, `on_conflict`: instead of what was said at the beginning. `wanted`: the parts as the client knows them,
    their numbers and etags. Raises SessionNotFound, SessionExpired, PartsIncomplete, what `writing.put_file` raises,
    and, of a file that it was, NotFound, Deleted, InTrash.
    """
    for _ in range(_TRIES):
        ending = _looked_at(kelp, caller, uuid, protocol, name, on_conflict)
        if isinstance(ending, Sending):
            return _became(kelp, caller, ending)
        _require_whole(ending.sending, ending.pieces, wanted)
        try:
            _require_cached(kelp, ending)
            written = _end(kelp, ending)
        except _OtherParts:
            continue
        contents.remove(kelp, [piece.key for piece in ending.pieces] if ending.is_copied else ())
        return written.entry
    raise Conflict("parts of the upload come all the time")


def _became(kelp: Kelp, caller: Caller, sending: Sending) -> Entry:
    with kelp.database.read() as tx:
        entry = tx.entries.as_stored(sending.entry_id) if sending.entry_id is not None else None
    if entry is None:
        raise NotFound("the file that it was is gone")
    return by_id.find(kelp, caller, entry.uuid, Kind.FILE)


def _looked_at(
    kelp: Kelp, caller: Caller, uuid: str, protocol: Protocol, name: str | None, on_conflict: OnConflict | None
) -> _Ending | Sending:
    """The parts, and what can be refused before any of them is touched; or a session that is complete. All of one
    snapshot: what another request completes meanwhile is not taken for somebody else's file."""
    now = kelp.clock.now_ns()
    with kelp.database.read() as tx:
        sending = sessions.require_own(tx.uploads.get(uuid), caller, protocol)
        if sessions.status_of(sending, now) is Status.COMPLETED:
            return sending
        sessions.require_running(sending, now)
        name = names.check_segment(name or sending.name)
        wanted = OnConflict(sending.on_conflict) if on_conflict is None else uploading.strategy(kelp, on_conflict)
        mime_type = sending.mime_type if name == sending.name else None
        put = writing.Put(caller, Place(sending.folder_id, name), mime_type, None, wanted, None, now)
        put.seen = writing.check(kelp, tx, put).entry
        return _Ending(put, sending, tx.uploads.pieces(sending.id))


def _require_whole(sending: Sending, pieces: Sequence[Piece], wanted: Mapping[int, str | None] | None) -> None:
    """A part without bytes leaves no trace: it is there when its etag is named, or no byte is lacking without it.

    Raises PartsIncomplete.
    """
    sent = {part.number: part for part in sessions.sent_parts(pieces)}
    size = sum(part.size for part in sent.values())
    named = wanted or {}
    empty = {number for number, told in named.items() if number not in sent and told == sessions.etag(())}
    if not sent and not empty and sending.size is None:
        raise PartsIncomplete("no part has come", [1])
    last = max([0, *sent, *(named if size != sending.size else ()), _as_agreed(sending, sent)])
    missing = [number for number in range(1, last + 1) if number not in sent and number not in empty]
    if missing:
        raise PartsIncomplete(f"parts that are missing: {len(missing)}", missing[:_TOLD])
    if wanted is not None:
        others = [number for number, part in sent.items() if wanted.get(number, "") not in (None, part.etag)]
        if others:
            raise PartsIncomplete(f"parts that are not those that you named: {len(others)}", others[:_TOLD])
    if sending.size is not None and size != sending.size:
        more = [last + 1] if size < sending.size and sending.protocol == Protocol.PARTS else []
        raise PartsIncomplete(f"{size} bytes came instead of {sending.size}", more)


def _as_agreed(sending: Sending, sent: Mapping[int, SentPart]) -> int:
    """How many parts there will be, when those that came have the size that was agreed on; 0: nobody knows, since the
    client cuts as it likes."""
    if sending.size is None or sending.protocol != Protocol.PARTS:
        return 0
    count, rest = divmod(sending.size, sending.part_size)
    sizes = {count + 1: rest} if rest else {}
    agreed = all(part.size == sizes.get(number, sending.part_size) for number, part in sent.items())
    return count + len(sizes) if agreed and max(sent, default=0) <= count + len(sizes) else 0


@trace.step("seaweed.complete_multipart")
def _require_cached(kelp: Kelp, ending: _Ending) -> None:
    """The cache has them, of the size that was recorded; what it lost must be sent again. Raises PartsIncomplete."""
    pieces = ending.pieces
    is_sealed = bool(pieces) and pieces[0].sealed_key is not None
    keys = [piece.key for piece in pieces]
    there = contents.sizes(kelp, keys, "" if is_sealed else ending.sending.content_id)
    lost = {piece.key for piece in pieces if there.get(piece.key) != piece.size}
    if lost:
        raise _forgotten(kelp, ending.sending, lost)


def _forgotten(kelp: Kelp, sending: Sending, lost: AbstractSet[str]) -> PartsIncomplete:
    """The parts with these objects are not there from now on, for everybody who asks. Raises as `_drop`."""
    numbers, keys = _drop(kelp, sending, lost)
    contents.remove(kelp, keys)
    return PartsIncomplete(f"parts that were lost and must be sent again: {len(numbers)}", numbers[:_TOLD])


@retried
def _drop(kelp: Kelp, sending: Sending, lost: AbstractSet[str]) -> tuple[list[int], list[str]]:
    """Forget the parts with these objects: their numbers, and all their objects. Where bytes come in order no hole can
    be filled: then what follows goes too, and the upload goes on from there.

    Raises _OtherParts when there are none any more: they were sent again, which took the objects away.
    """
    with kelp.database.write(quiet=True) as tx:
        if tx.uploads.hold(sending.uuid) is None:
            raise SessionNotFound("there is no such upload")
        pieces = tx.uploads.pieces(sending.id)
        numbers = sorted({piece.number for piece in pieces if piece.key in lost})
        if not numbers:
            raise _OtherParts
        if sending.protocol == Protocol.TUS:
            numbers = sorted({piece.number for piece in pieces if piece.number >= numbers[0]})
        tx.uploads.drop_parts(sending.id, numbers)
    return numbers, [piece.key for piece in pieces if piece.number in numbers]


def _end(kelp: Kelp, ending: _Ending) -> Written:
    pieces = ending.pieces
    if pieces and not ending.is_copied:
        ending.put.shows = ending.size
        return _change(kelp, ending, _content_of(kelp, ending), is_sent=True)
    return writing.bring(
        kelp,
        ending.put,
        _bytes_of(kelp, ending.sending, pieces[0]) if pieces else (),
        Expected(length=ending.size),
        lambda content: _change(kelp, ending, content),
        counted=True,
    )


def _content_of(kelp: Kelp, ending: _Ending) -> Content:
    """Of the objects that came. Raises KeyMissing, ContentCorrupt."""
    sending, pieces = ending.sending, ending.pieces
    vault = vaults_of.vault_of(kelp, sending.folder_id)
    if vault is None:
        return Content(sending.content_id, ending.size, "", None, ())
    parts = tuple(Part(piece.key, piece.size, piece.checksum) for piece in pieces)
    slices = tuple(_slice(vault, piece) for piece in pieces)
    return sealed_contents.content_of(vault, SealedParts(parts, slices, ending.size), sending.content_id)


def _slice(vault: Vault, piece: Piece) -> Slice:
    if piece.sealed_key is None or piece.plain_size is None:
        raise ContentCorrupt(f"part {piece.number} of the upload is not sealed")
    part_id = sealed_contents.part_id_of(piece.key)
    return Slice.whole(open_part_key(vault.key, part_id, piece.sealed_key), piece.plain_size)


def _bytes_of(kelp: Kelp, sending: Sending, piece: Piece) -> Iterator[bytes]:
    try:
        yield from _verified(kelp, piece)
    except ObjectMissing as error:
        raise _OtherParts from error
    except ContentCorrupt as error:
        if _is_spoilt(kelp, piece):
            raise _forgotten(kelp, sending, {piece.key}) from error
        raise _OtherParts from error


def _is_spoilt(kelp: Kelp, piece: Piece) -> bool:
    """Looked at again, before what was acknowledged is given up."""
    try:
        for _ in _verified(kelp, piece):
            pass
    except ContentCorrupt:
        return True
    except ObjectMissing:
        pass
    return False


def _verified(kelp: Kelp, piece: Piece) -> Iterator[bytes]:
    verifier = verified.Verifier(Part(piece.key, piece.size, piece.checksum), None)
    return verifier.pieces(kelp.cache.get(piece.key), ByteRange(0, piece.size), "cache")


@retried
def _change(kelp: Kelp, ending: _Ending, content: Content, *, is_sent: bool = False) -> Written:
    """`is_sent`: its objects are those of the parts, which have rows."""
    put = ending.put
    put.committing = False
    with kelp.database.write() as tx:
        guard.lock(kelp, tx, put.place)
        sending = tx.uploads.hold(ending.sending.uuid)
        if sending is None:
            raise SessionNotFound("there is no such upload")
        if sending.status == Status.COMPLETED or tx.uploads.pieces(sending.id) != ending.pieces:
            raise _OtherParts
        sessions.require_running(sending, kelp.clock.now_ns())

        def insert(now_ns: int) -> None:
            if is_sent:
                tx.uploads.become_content(ending.sending.id, content, now_ns)
            else:
                tx.contents.insert(content, now_ns)

        row, created = writing.commit(kelp, tx, put, content, insert)
        tx.uploads.complete(sending.id, row.id, ending.size)
        shown = tx.last(lambda: row.now(tx))
        put.committing = True
    return Written(shown.value, created)
