"""SQL of what is being read: leases of readers, and how often and when objects were read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import portions

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class Reading:
    """Nothing in here changes what `Database.recall` may have kept, so its changes may be quiet ones."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def publish(self, owner: str, content_ids: Iterable[str], expires_ns: int) -> None:
        """Note that `owner` reads these contents, or that it still does."""
        self._tx.many(
            """INSERT INTO reader_leases (content_id, owner, expires_ns) VALUES (:id, :owner, :expires)
               ON CONFLICT (content_id, owner) DO UPDATE SET expires_ns = excluded.expires_ns""",
            [{"id": id, "owner": owner, "expires": expires_ns} for id in sorted(content_ids)],
        )

    renew = publish  # a lease that ran out meanwhile, and was forgotten, is there again

    def release(self, owner: str, content_ids: Iterable[str]) -> None:
        self._tx.many(
            "DELETE FROM reader_leases WHERE content_id = :id AND owner = :owner",
            [{"id": id, "owner": owner} for id in sorted(content_ids)],
        )

    def forget_expired(self, now_ns: int, absurd_ns: int) -> int:
        """Of processes that died, also with a clock that was ahead: nobody holds for so long; how many."""
        sql = "DELETE FROM reader_leases WHERE expires_ns <= :now OR expires_ns > :absurd"
        return self._tx.count(sql, now=now_ns, absurd=absurd_ns)

    def any_expired(self, now_ns: int, absurd_ns: int) -> bool:
        sql = "SELECT 1 FROM reader_leases WHERE expires_ns <= :now OR expires_ns > :absurd LIMIT 1"
        return self._tx.one(sql, now=now_ns, absurd=absurd_ns) is not None

    def leased(self, content_id: str, now_ns: int) -> bool:
        """Somebody reads this content, as far as that was noted."""
        sql = "SELECT 1 FROM reader_leases WHERE content_id = :id AND expires_ns > :now LIMIT 1"
        return self._tx.one(sql, id=content_id, now=now_ns) is not None

    def leased_among(self, content_ids: Sequence[str], now_ns: int) -> set[str]:
        found: set[str] = set()
        for marks, values in portions(content_ids):
            sql = f"SELECT content_id FROM reader_leases WHERE content_id IN ({marks}) AND expires_ns > :now"
            found.update(row[0] for row in self._tx.all(sql, now=now_ns, **values))
        return found

    def count(self, now_ns: int) -> int:
        """Leases of all processes."""
        return int(self._tx.one("SELECT COUNT(*) FROM reader_leases WHERE expires_ns > :now", now=now_ns)[0])

    def accessed(self, reads: Sequence[tuple[str, int]], now_ns: int) -> None:
        """Count reads of objects: (key, how often), the one read last at the end, whose time is now.

        Those before it get a nanosecond less each, so that their order is not lost.
        """
        first = now_ns - len(reads) + 1
        rows = [{"key": key, "count": count, "at": first + n} for n, (key, count) in enumerate(reads)]
        self._tx.many(
            """UPDATE objects SET access_count = access_count + :count, last_accessed_ns = :at WHERE key = :key""",
            sorted(rows, key=lambda row: str(row["key"])),
        )
