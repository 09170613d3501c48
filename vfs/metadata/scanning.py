"""SQL of who compares what the NAS is recorded to have with what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vfs.metadata.lists import listed
from vfs.nas_model import Spot

if TYPE_CHECKING:
    from vfs.metadata.tx import Tx


class Known(NamedTuple):
    """An entry as recorded in a folder of the NAS. `busy`: it is on its way to somewhere or something else."""

    id: int
    kind: str
    state: str
    nas_name: str
    size: int | None
    mtime_ns: int | None
    inode: int | None
    busy: bool
    sealed: bool  # in a vault, and not the root of it


_COLUMNS = """e.id, e.kind, e.state, e.nas_name, e.nas_size, e.nas_mtime_ns, e.nas_inode,
       e.active_sync_event_id IS NOT NULL OR EXISTS (SELECT 1 FROM mirror_leases l WHERE l.entry_id = e.id),
       e.vault_id IS NOT NULL AND e.name LIKE '/%'"""


def _known(row: Sequence[Any]) -> Known:
    return Known(row[0], row[1], row[2], row[3], row[4], row[5], row[6], bool(row[7]), bool(row[8]))


def in_folder(tx: Tx, folder_id: int) -> list[Known]:
    """What is recorded directly in a folder of the NAS."""
    sql = f"SELECT {_COLUMNS} FROM entries e WHERE e.nas_parent_id = :id AND e.nas_name IS NOT NULL"
    return [_known(row) for row in tx.all(sql, id=folder_id)]


def entry(tx: Tx, id: int) -> Known | None:
    """One entry that is recorded on the NAS."""
    row = tx.one(f"SELECT {_COLUMNS} FROM entries e WHERE e.id = :id AND e.nas_name IS NOT NULL", id=id)
    return _known(row) if row else None


def others_in(tx: Tx, folder_id: int) -> set[str]:
    """NAS names in a folder that are no entry's but known: of versions there, and of what a running plan puts there."""
    versions = tx.all("SELECT nas_path FROM versions WHERE nas_parent_id = :id AND nas_path IS NOT NULL", id=folder_id)
    plans = tx.all("SELECT nas_key FROM mirror_leases WHERE nas_parent_id = :id AND nas_key IS NOT NULL", id=folder_id)
    return {row[0] for row in [*versions, *plans]}


def moves_above(tx: Tx, folder_id: int) -> bool:
    """The folder, or one that it is in on the NAS, is being moved or removed just now."""
    chain = tx.mirror.nas_chain(folder_id)
    if chain is None:
        return True
    marks, values = listed(chain[0])
    sql = f"SELECT 1 FROM path_leases WHERE exclusive AND entry_id IN ({marks}) LIMIT 1"
    return tx.one(sql, **values) is not None


def is_free(tx: Tx, spot: Spot, nas_key: str, but: int = 0) -> bool:
    """No entry (`but` that one) is, wants to be, or is about to be at a place on the NAS."""
    return (
        tx.mirror.holder(spot, nas_key, but) is None
        and spot.name not in others_in(tx, spot.parent_id)
        and not tx.entries.nas_name_taken(spot.parent_id, nas_key, but)
        and not tx.leases.heads_for(spot.parent_id, nas_key)
    )


def renumber(tx: Tx, id: int, inode: int) -> None:
    """The NAS numbers its files anew; nothing else of this one is another."""
    tx.run("UPDATE entries SET nas_inode = :inode WHERE id = :id", id=id, inode=inode)
