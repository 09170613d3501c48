"""SQL of a file that goes into a vault or out of it, where it is another row: what goes along, what must not stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfs.metadata.lists import portions
from vfs.metadata.seals import TEXT_MARK

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

_SUCCEEDED = """SELECT succeeded_by, id FROM entries WHERE state = 'DELETED' AND succeeded_by IS NOT NULL
                AND parent_id = (SELECT o.parent_id FROM entries o WHERE o.id = :id)"""


class Crossings:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def hand_over(self, old_id: int, new_id: int) -> None:
        """What a file has beside its row's own columns, versions, locks and properties. Raises KeyMissing."""
        run = self._tx.run
        for column in ("mode", "uid", "gid", "content_user_id", "content_ns"):
            of_old = f"(SELECT o.{column} FROM entries o WHERE o.id = :old)"
            run(f"UPDATE entries SET {column} = {of_old} WHERE id = :new", old=old_id, new=new_id)
        run("UPDATE cache_pins SET entry_id = :new WHERE entry_id = :old", old=old_id, new=new_id)
        self._hand_over_history(old_id, new_id)

    def _hand_over_history(self, old_id: int, new_id: int) -> None:
        """What was sealed stays so, also where the file is plain from now on: it tells of the vault."""
        seals = self._tx.seals
        seal = seals.of(new_id)
        if seal is not None:
            rows = self._tx.all(
                "SELECT id, detail FROM file_events WHERE entry_id = :old AND detail <> '' AND detail IS NOT NULL",
                old=old_id,
            )
            plain = [(id, detail) for id, detail in rows if detail[:1] != TEXT_MARK]
            self._tx.many(
                "UPDATE file_events SET detail = :detail WHERE id = :id",
                [{"id": id, "detail": seals.text(seal, "history", detail)} for id, detail in plain],
            )
        self._tx.run("UPDATE file_events SET entry_id = :new WHERE entry_id = :old", old=old_id, new=new_id)
        self._tx.untold(old_id)

    def forget_plain(self, id: int, new_id: int) -> None:
        """Of a file that went into a vault: what its DELETED row, and those before it, would tell of it for months.

        Where the NAS has it they know until it has gone there, too.
        """
        rows = self._with_those_before(id)
        self._tx.name_memory.settle_all(rows)
        for marks, values in portions(rows):
            of_rows = f"WHERE entry_id IN ({marks})"
            for sql in (
                f"""UPDATE entries SET name = uuid, name_key = uuid, mime_type = '', nas_desired_name = uuid,
                           nas_desired_key = uuid, nas_stamp = NULL WHERE id IN ({marks})""",
                f"UPDATE versions SET stamp = NULL, nas_desired_name = NULL, nas_desired_key = NULL {of_rows}",
                f"DELETE FROM dav_properties {of_rows}",
                f"UPDATE file_events SET detail = '' {of_rows}",
                f"""UPDATE sync_events SET source_path = NULL, target_path = NULL, error_message = NULL
                    WHERE aggregate_id IN ({marks})""",
            ):
                self._tx.run(sql, **values)
            sql = f"UPDATE upload_sessions SET name = '', metadata = NULL, entry_id = :new {of_rows}"
            self._tx.run(f"{sql} AND status = 'COMPLETED'", new=new_id, **values)

    def _with_those_before(self, id: int) -> list[int]:
        """And the rows in its folder that its document had before: editors save by renaming."""
        before: dict[int, list[int]] = {}
        for successor, old in self._tx.all(_SUCCEEDED, id=id):
            before.setdefault(successor, []).append(old)
        found = {id}
        waiting = [id]
        while waiting:
            new = [old for old in before.get(waiting.pop(), ()) if old not in found]
            found.update(new)
            waiting += new
        return sorted(found)
