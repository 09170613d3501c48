"""Files as `kelp nas adopt` leaves them: on the NAS, recorded there, and read by nobody yet."""

from __future__ import annotations

from vfs.core import Kelp


def unlearn(kelp: Kelp, content_id: str) -> None:
    """A content that is on the NAS becomes an adopted one: nothing of it is in the cache, and no checksum is known."""
    with kelp.database.write() as tx:
        content = tx.contents.get(content_id)
        assert content is not None
        tx.run("UPDATE contents SET checksum = '' WHERE id = :id", id=content_id)
        for part in content.parts:
            sql = "UPDATE objects SET checksum = '', blocks = NULL, status = 'MISSING' WHERE key = :key"
            tx.run(sql, key=part.key)
    for part in content.parts:
        kelp.cache.delete(part.key)
