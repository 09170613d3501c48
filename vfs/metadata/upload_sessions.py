"""SQL of uploads that come in parts: their sessions, their parts, and those that nobody ended.

Of one into a vault the name, the type and what the client says of it are sealed, bound to the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs.metadata.lists import listed
from vfs.metadata.seals import SEALED, TEXT_MARK
from vfs.model import Content, Part

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


@dataclass(frozen=True, slots=True)
class Session:
    """`sent`: bytes of its parts so far; `size`: as announced. `name`: SEALED in a vault, since alerts have it."""

    id: int
    uuid: str
    content_id: str
    name: str
    user_name: str
    size: int | None
    sent: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Sending:
    """An upload in parts, as its row says. `size` as announced, None: nobody knows; of a complete one as it came."""

    id: int
    uuid: str
    content_id: str
    folder_id: int
    name: str
    size: int | None
    mime_type: str
    on_conflict: str
    user_id: int | None
    status: str
    created_ns: int
    expires_ns: int
    entry_id: int | None  # what it became
    protocol: str
    part_size: int
    metadata: str | None


class Piece(NamedTuple):
    """One object of a part; pieces in the order of (number, piece) make the file."""

    number: int
    piece: int
    key: str
    size: int  # of the object; of one for a vault, these are sealed bytes
    checksum: str
    plain_size: int | None = None  # … and so many come out of them
    sealed_key: str | None = None  # … with this, which the vault's key opens

    @property
    def shown_size(self) -> int:
        """Bytes of the client's."""
        return self.size if self.plain_size is None else self.plain_size


_SHOWN = "COALESCE(p.plain_size, p.size)"
_SENDING = """SELECT id, uuid, content_id, folder_id, name, size, mime_type, on_conflict, user_id, status, created_ns,
                     expires_ns, entry_id, protocol, part_size, metadata FROM upload_sessions"""
_SELECT = f"""SELECT s.id, s.uuid, s.content_id, s.name, COALESCE(u.name, ''), s.size,
                    (SELECT COALESCE(SUM({_SHOWN}), 0) FROM upload_parts p WHERE p.session_id = s.id), s.expires_ns
             FROM upload_sessions s LEFT JOIN users u ON u.id = s.user_id"""
_RUNNING = "status IN ('INIT', 'UPLOADING')"


def _session(row: Sequence[Any]) -> Session:
    session = Session(*row)
    return replace(session, name=SEALED) if session.name.startswith(TEXT_MARK) else session


class UploadSessions:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    # --- sessions ---

    def begin(self, sending: Sending, trace_id: str) -> None:
        """`sending.id` is not looked at. Raises KeyMissing."""
        seals = self._tx.seals
        seal = seals.sure(sending.folder_id)
        told = sending.metadata and seals.text(seal, "upload-metadata", sending.metadata)
        self._tx.run(
            """INSERT INTO upload_sessions (uuid, content_id, folder_id, name, size, mime_type, on_conflict, user_id,
                                            status, trace_id, created_ns, expires_ns, protocol, part_size, metadata)
               VALUES (:uuid, :content, :folder, :name, :size, :mime, :conflict, :user, :status, :trace, :created,
                       :expires, :protocol, :part, :metadata)""",
            uuid=sending.uuid,
            content=sending.content_id,
            folder=sending.folder_id,
            name=seals.text(seal, "upload-name", sending.name),
            size=sending.size,
            mime=seals.text(seal, "type", sending.mime_type),
            conflict=sending.on_conflict,
            user=sending.user_id,
            status=sending.status,
            trace=trace_id,
            created=sending.created_ns,
            expires=sending.expires_ns,
            protocol=sending.protocol,
            part=sending.part_size,
            metadata=told,
        )

    def get(self, uuid: str, *, shown: bool = False) -> Sending | None:
        """`shown`: SEALED in place of what cannot be opened here. Raises KeyMissing, ContentCorrupt."""
        row = self._tx.one(f"{_SENDING} WHERE uuid = :uuid", uuid=uuid)
        if row is None:
            return None
        sending = Sending(*row)
        if not sending.name.startswith(TEXT_MARK):
            return sending
        open_text = self._tx.seals.shown_text if shown else self._tx.seals.open_text
        return replace(
            sending,
            name=open_text(sending.name),
            mime_type=open_text(sending.mime_type),
            metadata=sending.metadata and open_text(sending.metadata),
        )

    def hold(self, uuid: str, *, shown: bool = False) -> Sending | None:
        """As `get`: the session, which nobody else changes until this transaction ends, nor its parts."""
        self._tx.run("UPDATE upload_sessions SET status = status WHERE uuid = :uuid", uuid=uuid)
        return self.get(uuid, shown=shown)

    def go_on(self, id: int, expires_ns: int) -> None:
        """A part came."""
        sql = "UPDATE upload_sessions SET status = 'UPLOADING', expires_ns = :expires WHERE id = :id"
        self._tx.run(sql, id=id, expires=expires_ns)

    def complete(self, id: int, entry_id: int, size: int) -> None:
        """It has become a file, which has its objects now."""
        sql = "UPDATE upload_sessions SET status = 'COMPLETED', entry_id = :entry, size = :size WHERE id = :id"
        self._tx.run(sql, id=id, entry=entry_id, size=size)
        self._tx.run("DELETE FROM upload_parts WHERE session_id = :id", id=id)

    def abort(self, id: int) -> None:
        self._tx.run("UPDATE upload_sessions SET status = 'ABORTED' WHERE id = :id", id=id)

    def ended(self, uuid: str) -> Session | None:
        """An ended one whose parts have still to go."""
        row = self._tx.one(
            f"{_SELECT} WHERE s.uuid = :uuid AND s.status IN ('EXPIRED', 'ABORTED') AND s.cleaned_ns IS NULL", uuid=uuid
        )
        return _session(row) if row else None

    def running_of(self, user_id: int) -> int:
        sql = f"SELECT COUNT(*) FROM upload_sessions WHERE user_id = :user AND {_RUNNING}"
        return int(self._tx.one(sql, user=user_id)[0])

    # --- parts ---

    def pieces(self, id: int) -> list[Piece]:
        """Of all parts, in their order."""
        sql = """SELECT number, piece, object_key, size, checksum, plain_size, sealed_key FROM upload_parts
                 WHERE session_id = :id ORDER BY number, piece"""
        return [Piece(*row) for row in self._tx.all(sql, id=id)]

    def sent(self, id: int) -> tuple[int, int]:
        """(bytes, highest number) of what came."""
        sql = f"""SELECT COALESCE(SUM({_SHOWN}), 0), COALESCE(MAX(p.number), 0) FROM upload_parts p
                  WHERE p.session_id = :id"""
        size, number = self._tx.one(sql, id=id)
        return int(size), int(number)

    def replace_part(
        self, id: int, number: int, pieces: Sequence[Part], now_ns: int, opens: Sequence[tuple[int, str]] = ()
    ) -> list[str]:
        """The keys that the part had before. `opens`: plain size and sealed key of each piece, for a vault."""
        before = self._tx.all(
            "SELECT object_key FROM upload_parts WHERE session_id = :id AND number = :number", id=id, number=number
        )
        if before:
            self._tx.run("DELETE FROM upload_parts WHERE session_id = :id AND number = :number", id=id, number=number)
        self._tx.many(
            """INSERT INTO upload_parts (session_id, number, piece, object_key, size, checksum, blocks, created_ns,
                                         plain_size, sealed_key)
               VALUES (:id, :number, :piece, :key, :size, :checksum, :blocks, :now, :plain, :sealed)""",
            [
                {
                    "id": id,
                    "number": number,
                    "piece": n,
                    "now": now_ns,
                    "plain": plain,
                    "sealed": sealed,
                    "key": part.key,
                    "size": part.size,
                    "checksum": part.checksum,
                    "blocks": part.blocks,
                }
                for n, (part, (plain, sealed)) in enumerate(zip(pieces, opens or repeat((None, None)), strict=False))
            ],
        )
        return [row[0] for row in before]

    def drop_parts(self, id: int, numbers: Sequence[int]) -> None:
        """They must be sent again."""
        self._tx.many(
            "DELETE FROM upload_parts WHERE session_id = :id AND number = :number",
            [{"id": id, "number": number} for number in numbers],
        )

    def having(self, keys: Sequence[str], *, cleaned: bool) -> set[str]:
        """Those objects that are parts of uploads under way; `cleaned`: also of those whose parts have still to go."""
        marks, values = listed(keys)
        state = "s.status <> 'COMPLETED' AND s.cleaned_ns IS NULL" if cleaned else f"s.{_RUNNING}"
        sql = f"""SELECT p.object_key FROM upload_parts p JOIN upload_sessions s ON s.id = p.session_id
                  WHERE p.object_key IN ({marks}) AND {state}"""
        return {row[0] for row in self._tx.all(sql, **values)}

    def has_object(self, key: str) -> bool:
        """A part of an upload has it, or what became of one."""
        sql = """SELECT EXISTS (SELECT 1 FROM upload_parts WHERE object_key = :key)
                 OR EXISTS (SELECT 1 FROM objects WHERE key = :key)"""
        return bool(self._tx.one(sql, key=key)[0])

    def become_content(self, id: int, content: Content, now_ns: int) -> None:
        """Rows of a content are made of those of the parts, in their order; that of one part is named as it is."""
        count = int(self._tx.one("SELECT COUNT(*) FROM upload_parts WHERE session_id = :id", id=id)[0])
        self._tx.contents.insert_row(content, count, now_ns)
        self._tx.run(
            """INSERT INTO objects (key, size, checksum, blocks, status, cached_ns)
               SELECT object_key, size, checksum, blocks, 'AVAILABLE', CAST(:now AS BIGINT)
               FROM upload_parts WHERE session_id = :id""",
            now=now_ns, id=id,
        )  # fmt: skip
        if count > 1:
            self._tx.run(
                """INSERT INTO file_parts (content_id, sequence, object_key)
                   SELECT CAST(:content AS TEXT), ROW_NUMBER() OVER (ORDER BY number, piece) - 1, object_key
                   FROM upload_parts WHERE session_id = :id""",
                content=content.id, id=id,
            )  # fmt: skip

    # --- those that nobody ended ---

    def expired(self, now_ns: int, limit: int) -> list[Session]:
        """Running ones past their time, the longest first."""
        sql = f"{_SELECT} WHERE s.{_RUNNING} AND s.expires_ns <= :now ORDER BY s.expires_ns LIMIT :limit"
        return [_session(row) for row in self._tx.all(sql, now=now_ns, limit=limit)]

    def expire(self, session: Session, now_ns: int) -> bool:
        """False when somebody sent a part, completed or aborted it meanwhile."""
        sql = f"UPDATE upload_sessions SET status = 'EXPIRED' WHERE id = :id AND {_RUNNING} AND expires_ns <= :now"
        return self._tx.count(sql, id=session.id, now=now_ns) == 1

    def uncleaned(self, limit: int) -> list[Session]:
        """Ended ones whose parts have still to go."""
        sql = f"""{_SELECT} WHERE s.status IN ('EXPIRED', 'ABORTED') AND s.cleaned_ns IS NULL
                  ORDER BY s.id DESC LIMIT :limit"""
        return [_session(row) for row in self._tx.all(sql, limit=limit)]

    def cleaned(self, session: Session, now_ns: int) -> None:
        self._tx.run("DELETE FROM upload_parts WHERE session_id = :id", id=session.id)
        sql = "UPDATE upload_sessions SET cleaned_ns = :now WHERE id = :id AND status IN ('EXPIRED', 'ABORTED')"
        self._tx.run(sql, id=session.id, now=now_ns)

    def unreminded(self, now_ns: int, before_ns: int, limit: int) -> list[Session]:
        """Running ones that will end before then, and whose reminder was not sent."""
        sql = f"""{_SELECT} WHERE s.{_RUNNING} AND s.expires_ns > :now AND s.expires_ns <= :before
                  AND s.reminded_ns IS NULL ORDER BY s.expires_ns LIMIT :limit"""
        return [_session(row) for row in self._tx.all(sql, now=now_ns, before=before_ns, limit=limit)]

    def remind(self, session: Session, now_ns: int) -> bool:
        """False when somebody else did."""
        sql = f"UPDATE upload_sessions SET reminded_ns = :now WHERE id = :id AND {_RUNNING} AND reminded_ns IS NULL"
        return self._tx.count(sql, id=session.id, now=now_ns) == 1

    def no_longer_reminded(self, uuids: Sequence[str], before_ns: int) -> list[str]:
        """Those of these sessions that ended, or went on so that they will not end before then."""
        still = [
            row[0]
            for uuid in uuids
            for row in self._tx.all(
                f"SELECT uuid FROM upload_sessions WHERE uuid = :uuid AND {_RUNNING} AND expires_ns <= :before",
                uuid=uuid,
                before=before_ns,
            )
        ]
        return [uuid for uuid in uuids if uuid not in still]

    def forget_reminder(self, uuid: str) -> None:
        """It may be reminded of anew."""
        self._tx.run("UPDATE upload_sessions SET reminded_ns = NULL WHERE uuid = :uuid", uuid=uuid)

    def ended_before(self, before_ns: int, limit: int) -> list[int]:
        """Sessions that ended, are cleaned, and could have gone on until then at most."""
        rows = self._tx.all(
            """SELECT id FROM upload_sessions WHERE status IN ('COMPLETED', 'EXPIRED', 'ABORTED')
               AND expires_ns < :before AND (status = 'COMPLETED' OR cleaned_ns IS NOT NULL) LIMIT :limit""",
            before=before_ns,
            limit=limit,
        )
        return [row[0] for row in rows]

    def forget(self, ids: Sequence[int]) -> None:
        self._tx.many("DELETE FROM upload_sessions WHERE id = :id", [{"id": id} for id in ids])

    def without_row(self, keys: Sequence[str]) -> list[str]:
        """Those objects that no content has."""
        marks, values = listed(keys)
        known = {row[0] for row in self._tx.all(f"SELECT key FROM objects WHERE key IN ({marks})", **values)}
        return [key for key in keys if key not in known]
