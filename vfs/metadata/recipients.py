"""SQL of the public keys for which vaults' keys are wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.metadata.vaults import STANDS
from vfs.vault_model import Recipient, RecipientRole

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SELECT = f"""SELECT r.id, r.key_id, r.role, r.label, r.public_pem, r.created_ns, r.retired_ns,
                     (SELECT COUNT(DISTINCT w.vault_id) FROM vault_recipients w JOIN vaults v ON v.id = w.vault_id
                      WHERE w.recipient_id = r.id AND {STANDS})
              FROM recipients r"""


def _recipient(row: Sequence[Any]) -> Recipient:
    return Recipient(row[0], row[1], RecipientRole(row[2]), *row[3:])


class Recipients:
    """Whoever changes them, or wraps for them, takes `Tx.lock_keys` first."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def every(self) -> list[Recipient]:
        """Also retired ones, oldest first."""
        return [_recipient(row) for row in self._tx.all(f"{_SELECT} ORDER BY r.id")]

    def active(self) -> list[Recipient]:
        return [_recipient(row) for row in self._tx.all(f"{_SELECT} WHERE r.retired_ns IS NULL ORDER BY r.id")]

    def of_vault(self, vault_id: int) -> list[Recipient]:
        """For whom its key, as it is now, is wrapped."""
        sql = f"""{_SELECT} WHERE r.id IN (
                      SELECT w.recipient_id FROM vault_recipients w JOIN vaults v ON v.id = w.vault_id
                      WHERE v.id = :vault AND w.generation = v.generation) ORDER BY r.id"""
        return [_recipient(row) for row in self._tx.all(sql, vault=vault_id)]

    def find(self, key_id: str) -> Recipient | None:
        row = self._tx.one(f"{_SELECT} WHERE r.key_id = :key", key=key_id)
        return _recipient(row) if row else None

    def insert(self, key_id: str, role: RecipientRole, label: str, public_pem: str, now_ns: int) -> int:
        """The row's id."""
        return self._tx.insert(
            """INSERT INTO recipients (key_id, role, label, public_pem, created_ns)
               VALUES (:key, :role, :label, :pem, :now)""",
            key=key_id, role=role.value, label=label, pem=public_pem, now=now_ns,
        )  # fmt: skip

    def retire(self, id: int, now_ns: int) -> None:
        """Once is enough: the first time stays."""
        self._tx.run("UPDATE recipients SET retired_ns = :now WHERE id = :id AND retired_ns IS NULL", id=id, now=now_ns)

    def bring_back(self, id: int, role: RecipientRole, label: str) -> None:
        """One that was retired is active again."""
        sql = "UPDATE recipients SET retired_ns = NULL, role = :role, label = :label WHERE id = :id"
        self._tx.run(sql, id=id, role=role.value, label=label)
