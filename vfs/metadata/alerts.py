"""SQL of alerts: at most one is open for a kind and a subject."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


@dataclass(frozen=True, slots=True)
class Untold:
    """An alert with something to tell. `untold`: "mail:begin webhook:end", in the order in which it came."""

    id: int
    uuid: str
    kind: str
    subject: str
    severity: str
    message: str
    count: int
    trace_id: str
    opened_ns: int
    closed_ns: int | None
    untold: str
    tries: int
    next_ns: int


class Alerts:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def open(self, kind: str, subject: str, severity: str, message: str, trace_id: str, now_ns: int, told: str) -> bool:
        """True when it is new; else the open one counts one more and has this message. `told`: the words for `untold`.

        Two that open it at once: one of them waits at the index, and counts then.
        """
        made = self._tx.count(
            """INSERT INTO alerts (uuid, kind, subject, severity, message, count, trace_id, opened_ns, last_ns, untold)
               VALUES (:uuid, :kind, :subject, :severity, :message, 1, :trace, :now, :now, :untold)
               ON CONFLICT (kind, subject) WHERE closed_ns IS NULL DO NOTHING""",
            uuid=str(uuid.uuid4()), kind=kind, subject=subject, severity=severity, message=message, trace=trace_id,
            now=now_ns, untold=told,
        )  # fmt: skip
        if made:
            return True
        self._tx.run(
            """UPDATE alerts SET count = count + 1, message = :message, last_ns = :now
               WHERE kind = :kind AND subject = :subject AND closed_ns IS NULL""",
            kind=kind, subject=subject, message=message, now=now_ns,
        )  # fmt: skip
        return False

    def close(self, kind: str, subject: str | None, message: str, now_ns: int, told: str) -> int:
        """End the open alerts of a kind (None: of all its subjects); how many. `told` is added to `untold`."""
        return self._tx.count(
            """UPDATE alerts SET closed_ns = :now, last_ns = :now, message = :message,
                      untold = CASE WHEN untold = '' THEN :told ELSE untold || ' ' || :told END
               WHERE kind = :kind AND (CAST(:subject AS TEXT) IS NULL OR subject = :subject) AND closed_ns IS NULL""",
            kind=kind, subject=subject, message=message, now=now_ns, told=told,
        )  # fmt: skip

    def is_open(self, kind: str, subject: str | None = None) -> bool:
        sql = """SELECT 1 FROM alerts WHERE kind = :kind AND closed_ns IS NULL
                 AND (CAST(:subject AS TEXT) IS NULL OR subject = :subject)"""
        return self._tx.one(sql, kind=kind, subject=subject) is not None

    def count_open(self, kind: str) -> int:
        return int(self._tx.one("SELECT COUNT(*) FROM alerts WHERE kind = :kind AND closed_ns IS NULL", kind=kind)[0])

    def is_quiet(self, kind: str, since_ns: int) -> bool:
        """One is open, and what it tells of has not happened again since then."""
        sql = "SELECT MAX(last_ns) FROM alerts WHERE kind = :kind AND closed_ns IS NULL"
        last_ns = self._tx.one(sql, kind=kind)[0]
        return last_ns is not None and last_ns < since_ns

    def open_subjects(self, kind: str) -> list[str]:
        sql = "SELECT subject FROM alerts WHERE kind = :kind AND closed_ns IS NULL"
        return [row[0] for row in self._tx.all(sql, kind=kind)]

    def listing(self, limit: int, *, only_open: bool) -> list[tuple[Any, ...]]:
        """(uuid, kind, subject, severity, message, count, opened_ns, last_ns, closed_ns), newest first."""
        return self._tx.all(
            f"""SELECT uuid, kind, subject, severity, message, count, opened_ns, last_ns, closed_ns FROM alerts
                {"WHERE closed_ns IS NULL" if only_open else ""} ORDER BY id DESC LIMIT :limit""",
            limit=limit,
        )

    def close_one(self, uuid: str, message: str, now_ns: int, told: str) -> tuple[str, str] | None:
        """End the open alert of that uuid; its kind and subject."""
        row: tuple[str, str] | None = self._tx.one(
            "SELECT kind, subject FROM alerts WHERE uuid = :uuid AND closed_ns IS NULL", uuid=uuid
        )
        if row is not None:
            self.close(row[0], row[1], message, now_ns, told)
        return row

    # --- telling the sinks ---

    def untold(self, now_ns: int, limit: int) -> list[Untold]:
        """What is due to be told, oldest first."""
        rows = self._tx.all(
            """SELECT id, uuid, kind, subject, severity, message, count, trace_id, opened_ns, closed_ns, untold, tries,
                      next_ns FROM alerts WHERE untold <> '' AND next_ns <= :now ORDER BY id LIMIT :limit""",
            now=now_ns,
            limit=limit,
        )
        return [Untold(*row) for row in rows]

    def take(self, seen: Untold, until_ns: int) -> bool:
        """Keep others from telling it until then; False when it is no longer as it was seen."""
        taken = self._tx.count(
            "UPDATE alerts SET next_ns = :until WHERE id = :id AND untold = :untold AND next_ns = :next",
            until=until_ns,
            id=seen.id,
            untold=seen.untold,
            next=seen.next_ns,
        )
        return taken == 1

    def told(self, id: int, words: Collection[str], next_ns: int, *, failed: bool) -> None:
        """Cross out these words, and look again at `next_ns`: a word that came meanwhile (its end) stays."""
        row = self._tx.one("UPDATE alerts SET tries = tries WHERE id = :id RETURNING untold", id=id)  # and locks it
        left = [word for word in row[0].split() if word not in words] if row else []
        self._tx.run(
            """UPDATE alerts SET untold = :left, tries = CASE WHEN :failed THEN tries + 1 ELSE 0 END, next_ns = :next
               WHERE id = :id""",
            id=id,
            left=" ".join(left),
            failed=failed,
            next=next_ns,
        )

    def tell_soon(self, waits_beyond_ns: int, now_ns: int) -> None:
        """What waits for longer than that to be tried again is due now."""
        sql = "UPDATE alerts SET next_ns = :now WHERE untold <> '' AND next_ns > :beyond"
        self._tx.run(sql, now=now_ns, beyond=waits_beyond_ns)
