"""SQL of what folders list: a number for each, another with every change of that."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from vfs.metadata.lists import MOST, listed

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx

# Names of the folders {f}, and of those that the entries {n} are in, have changed; of those of {e} what is in one of
# them, as in the folders {t}; of the folders {d} the time, which somebody set.
_BUMP = """INSERT INTO folder_versions (folder_id, version, changed_ns)
    SELECT f.id, 1, CASE WHEN f.id IN ({f}) OR f.id IN (SELECT e.parent_id FROM entries e WHERE e.id IN ({n}))
                         THEN CAST(:now AS BIGINT) END
    FROM entries f WHERE f.id IN ({f}) OR f.id IN ({t}) OR f.id IN ({d})
    OR f.id IN (SELECT e.parent_id FROM entries e WHERE e.id IN ({e}) OR e.id IN ({n})) ORDER BY f.id
    ON CONFLICT (folder_id) DO UPDATE SET version = folder_versions.version + 1,
        changed_ns = CASE WHEN folder_versions.folder_id IN ({d}) THEN NULL
                          ELSE COALESCE(excluded.changed_ns, folder_versions.changed_ns) END"""

# The same of one folder, which is there, as nearly every change has it: a third of the time.
_BUMP_ONE = """INSERT INTO folder_versions (folder_id, version, changed_ns) VALUES (:id, 1, CAST(:changed AS BIGINT))
    ON CONFLICT (folder_id) DO UPDATE SET version = folder_versions.version + 1,
        changed_ns = COALESCE(excluded.changed_ns, folder_versions.changed_ns)"""


class FolderVersions:
    """Of one transaction, which says what it changes and writes it down last (design §7)."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._touched: set[int] = set()  # folders: what is in one of their entries is another
        self._entries: set[int] = set()  # the same of the folders that these are in
        self._named: set[int] = set()  # names have changed in the folders that these are in
        self.times: dict[int, int] | None = {}  # of folders in which names have changed; None: also of others

    def note(self, entry_id: int, within: int | None, *, names: bool) -> None:
        """An entry changes. `names`: it comes, goes, or is called otherwise. `within` as in `Entries.update`."""
        if within is None:
            (self._named if names else self._entries).add(entry_id)
        elif names:
            self._tx.changed_folders.add(within)
        else:
            self._touched.add(within)

    def finish(self) -> None:
        folders = self._tx.changed_folders - {None}
        if folders or self._touched or self._entries or self._named:
            self.bump(folders, self._touched, self._entries - self._named, self._named, self._tx.dated_folders)

    def bump(
        self,
        folders: Collection[int],
        touched: Collection[int] = (),
        of_entries: Collection[int] = (),
        named: Collection[int] = (),
        dated: Collection[int] = (),
    ) -> None:
        """What these folders, the touched ones, and those of these entries list is another now.

        In the first, and in those of the `named` entries, names have changed. Of the `dated` folders only the time has:
        their own counts again.
        """
        now = time.time_ns()
        self.times = None if named or self.times is None else {**self.times, **dict.fromkeys(folders, now)}
        if not (of_entries or named or dated) and len(folders) + len(touched) == 1:
            (id,) = (*folders, *touched)
            self._tx.run(_BUMP_ONE, id=id, changed=now if folders else None)
            return
        parts = ("f", folders), ("t", touched), ("e", of_entries), ("n", named), ("d", dated)
        wanted = [(kind, id) for kind, ids in parts for id in sorted(set(ids))]
        for at in range(0, len(wanted), MOST):
            piece, marks = wanted[at : at + MOST], {}
            values: dict[str, object] = {"now": now}
            for kind, _ in parts:
                marks[kind], more = listed([id for each, id in piece if each == kind], kind)
                values |= more
            self._tx.run(_BUMP.format(**marks), **values)
