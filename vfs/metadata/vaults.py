"""SQL of vaults and of their wrapped keys."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from vfs.vault_model import ClosedVault, WrappedKey

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# One whose folder was purged needs nobody's key any more; one that is just being made has none yet.
STANDS = """(v.entry_id IS NULL
    OR EXISTS (SELECT 1 FROM entries root WHERE root.id = v.entry_id AND root.state <> 'DELETED'))"""
# Vaults whose key, as it is now, is not wrapped for somebody who is active.
_BEHIND = f"""FROM vaults v, recipients r WHERE {STANDS} AND r.retired_ns IS NULL AND NOT EXISTS (
    SELECT 1 FROM vault_recipients w
    WHERE w.vault_id = v.id AND w.recipient_id = r.id AND w.generation = v.generation)"""


class Vaults:
    """Whoever changes wrapped keys takes `Tx.lock_keys` first."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def closed(self, id: int) -> ClosedVault | None:
        """With the wraps of its key as it is now, those for active recipients first. One statement."""
        return next(iter(self._closed("v.id = :id", id=id)), None)

    def every(self) -> list[ClosedVault]:
        """But purged ones, as `closed`."""
        return self._closed(STANDS)

    def _closed(self, which: str, **values: object) -> list[ClosedVault]:
        rows = self._tx.all(
            f"""SELECT v.id, v.uuid, v.generation, v.version, r.key_id, w.wrapped_key FROM vaults v
                LEFT JOIN vault_recipients w ON w.vault_id = v.id AND w.generation = v.generation
                LEFT JOIN recipients r ON r.id = w.recipient_id
                WHERE {which} ORDER BY v.id, CASE WHEN r.retired_ns IS NULL THEN 0 ELSE 1 END, r.id""",
            **values,
        )
        found = []
        for (id, uuid, generation, version), wraps in groupby(rows, lambda row: tuple(row[:4])):
            keys = tuple(WrappedKey(*row[4:]) for row in wraps if row[4] is not None)
            found.append(ClosedVault(id, uuid, generation, version, keys))
        return found

    def facts(self, id: int) -> tuple[str, int, int]:
        """(uuid, generation, id of its folder)."""
        row: tuple[str, int, int] = self._tx.one("SELECT uuid, generation, entry_id FROM vaults WHERE id = :id", id=id)
        return row

    def root(self, id: int) -> int:
        """The id of its folder."""
        return int(self._tx.one("SELECT entry_id FROM vaults WHERE id = :id", id=id)[0])

    def any(self) -> bool:
        """Purged ones count, too."""
        return self._tx.one("SELECT 1 FROM vaults LIMIT 1") is not None

    def count(self) -> int:
        """Without those that were purged."""
        return int(self._tx.one(f"SELECT COUNT(*) FROM vaults v WHERE {STANDS}")[0])

    def insert(self, uuid: str, generation: int, user_id: int | None, now_ns: int, entry_id: int | None = None) -> int:
        """The row's id."""
        return self._tx.insert(
            """INSERT INTO vaults (uuid, entry_id, generation, user_id, created_ns)
               VALUES (:uuid, :entry, :generation, :user, :now)""",
            uuid=uuid, entry=entry_id, generation=generation, user=user_id, now=now_ns,
        )  # fmt: skip

    def set_root(self, id: int, entry_id: int) -> None:
        """Its folder, for a vault that was made before it."""
        self._tx.run("UPDATE vaults SET entry_id = :entry WHERE id = :id", id=id, entry=entry_id)

    def wrap(self, id: int, recipient_id: int, generation: int, wrapped_key: str) -> None:
        self._tx.run(
            """INSERT INTO vault_recipients (vault_id, recipient_id, generation, wrapped_key)
               VALUES (:vault, :recipient, :generation, :wrapped)""",
            vault=id, recipient=recipient_id, generation=generation, wrapped=wrapped_key,
        )  # fmt: skip

    def changed(self, id: int) -> None:
        """Who may open it: what is remembered of it anywhere is old now, and so is vault.json."""
        self._tx.run("UPDATE vaults SET version = version + 1 WHERE id = :id", id=id)

    def mirrored(self, id: int, version: int) -> None:
        """vault.json says this version."""
        self._tx.run("UPDATE vaults SET mirrored_version = :version WHERE id = :id", id=id, version=version)

    def of_recipient(self, recipient_id: int) -> list[int]:
        """Vaults, but purged ones, with a key that is wrapped for it."""
        sql = f"""SELECT DISTINCT v.id FROM vault_recipients w JOIN vaults v ON v.id = w.vault_id
                  WHERE w.recipient_id = :id AND {STANDS} ORDER BY v.id"""
        return [row[0] for row in self._tx.all(sql, id=recipient_id)]

    def drop_wraps(self, recipient_id: int) -> None:
        """Of all vaults, purged ones too, which have another version by that."""
        self._tx.run(
            """UPDATE vaults SET version = version + 1
               WHERE id IN (SELECT vault_id FROM vault_recipients WHERE recipient_id = :id)""",
            id=recipient_id,
        )
        self._tx.run("DELETE FROM vault_recipients WHERE recipient_id = :id", id=recipient_id)

    def behind(self) -> list[int]:
        """Whose key is not wrapped for all who are active."""
        return [row[0] for row in self._tx.all(f"SELECT DISTINCT v.id {_BEHIND} ORDER BY v.id")]

    def lacking(self, id: int) -> list[int]:
        """Active recipients for whom the vault's key is not wrapped."""
        return [row[0] for row in self._tx.all(f"SELECT r.id {_BEHIND} AND v.id = :id ORDER BY r.id", id=id)]
