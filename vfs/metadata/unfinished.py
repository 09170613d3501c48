"""SQL of objects of uploads that have been under way for long, where their keys do not say what they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.metadata.lists import listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class UnfinishedObjects:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def note(self, upload: str, keys: Sequence[str], expires_ns: int) -> None:
        """More objects of an upload; all of it is somebody's until then."""
        self._tx.run(
            "UPDATE unfinished_objects SET expires_ns = :expires WHERE upload = :upload",
            expires=expires_ns,
            upload=upload,
        )
        self._tx.many(
            "INSERT INTO unfinished_objects (object_key, upload, expires_ns) VALUES (:key, :upload, :expires)",
            [{"key": key, "upload": upload, "expires": expires_ns} for key in keys],
        )

    def among(self, keys: Sequence[str], now_ns: int) -> set[str]:
        """Those that are somebody's."""
        marks, values = listed(keys)
        sql = f"SELECT object_key FROM unfinished_objects WHERE object_key IN ({marks}) AND expires_ns > :now"
        return {row[0] for row in self._tx.all(sql, now=now_ns, **values)}

    def forget_expired(self, now_ns: int) -> int:
        """How many; nobody will miss them, whatever became of their uploads."""
        return self._tx.count("DELETE FROM unfinished_objects WHERE expires_ns <= :now", now=now_ns)
