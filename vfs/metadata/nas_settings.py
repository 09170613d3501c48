"""SQL of what an admin set for the NAS while the drive ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class NasSettingRows:
    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def every(self) -> dict[str, str]:
        """Values by name, as JSON."""
        return {row[0]: row[1] for row in self._tx.all("SELECT name, value FROM nas_settings")}

    def set(self, name: str, value: str, now_ns: int) -> None:
        self._tx.run(
            """INSERT INTO nas_settings (name, value, changed_ns) VALUES (:name, :value, :now)
               ON CONFLICT (name) DO UPDATE SET value = :value, changed_ns = :now""",
            name=name,
            value=value,
            now=now_ns,
        )

    def forget(self, name: str) -> None:
        self._tx.run("DELETE FROM nas_settings WHERE name = :name", name=name)
