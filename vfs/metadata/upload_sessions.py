"""SQL of multipart uploads that nobody ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfs.metadata.lists import listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


@dataclass(frozen=True, slots=True)
class Session:
    """`sent`: bytes of its parts so far; `size`: as announced."""

    id: int
    uuid: str
    content_id: str
    name: str
    user_name: str
    size: int | None
    sent: int
    expires_ns: int


_SELECT = """SELECT s.id, s.uuid, s.content_id, s.name, COALESCE(u.name, ''), s.size,
                    (SELECT COALESCE(SUM(p.size), 0) FROM upload_parts p WHERE p.session_id = s.id), s.expires_ns
             FROM upload_sessions s LEFT JOIN users u ON u.id = s.user_id"""
_RUNNING = "status IN ('INIT', 'UPLOADING')"


class UploadSessions:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def expired(self, now_ns: int, limit: int) -> list[Session]:
        """Running ones past their time, the longest first."""
        sql = f"{_SELECT} WHERE s.{_RUNNING} AND s.expires_ns <= :now ORDER BY s.expires_ns LIMIT :limit"
        return [Session(*row) for row in self._tx.all(sql, now=now_ns, limit=limit)]

    def expire(self, session: Session, now_ns: int) -> bool:
        """False when somebody sent a part, completed or aborted it meanwhile."""
        sql = f"UPDATE upload_sessions SET status = 'EXPIRED' WHERE id = :id AND {_RUNNING} AND expires_ns <= :now"
        return self._tx.count(sql, id=session.id, now=now_ns) == 1

    def uncleaned(self, limit: int) -> list[Session]:
        """Ended ones whose parts have still to go."""
        sql = f"""{_SELECT} WHERE s.status IN ('EXPIRED', 'ABORTED') AND s.cleaned_ns IS NULL
                  ORDER BY s.id DESC LIMIT :limit"""
        return [Session(*row) for row in self._tx.all(sql, limit=limit)]

    def cleaned(self, session: Session, now_ns: int) -> None:
        self._tx.run("DELETE FROM upload_parts WHERE session_id = :id", id=session.id)
        sql = "UPDATE upload_sessions SET cleaned_ns = :now WHERE id = :id AND status IN ('EXPIRED', 'ABORTED')"
        self._tx.run(sql, id=session.id, now=now_ns)

    def unreminded(self, now_ns: int, before_ns: int, limit: int) -> list[Session]:
        """Running ones that will end before then, and whose reminder was not sent."""
        sql = f"""{_SELECT} WHERE s.{_RUNNING} AND s.expires_ns > :now AND s.expires_ns <= :before
                  AND s.reminded_ns IS NULL ORDER BY s.expires_ns LIMIT :limit"""
        return [Session(*row) for row in self._tx.all(sql, now=now_ns, before=before_ns, limit=limit)]

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
