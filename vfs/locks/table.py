"""The locks of the drive inside a transaction: every change of every face passes `confirm`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.errors import Locked
from vfs.locks import rules
from vfs.model import Caller, DavLock

if TYPE_CHECKING:
    from vfs.metadata.database import Tx


def covering(tx: Tx, chain: Sequence[int], now_ns: int) -> list[DavLock]:
    """Live locks that cover an entry; `chain` is its id first, then its ancestors'."""
    if not chain or not tx.locks.any():
        return []
    return [lock for lock in tx.locks.on(chain, now_ns) if rules.covers(lock, chain)]


def on_name(tx: Tx, folder_chain: Sequence[int], entry_id: int | None, now_ns: int) -> list[DavLock]:
    """Locks that cover a name: the entry's when there is one, else the deep ones of its folder and above."""
    if entry_id is not None:
        return covering(tx, [entry_id, *folder_chain], now_ns)
    return [lock for lock in covering(tx, folder_chain, now_ns) if lock.infinite]


def confirm(tx: Tx, caller: Caller, chain: Sequence[int], now_ns: int) -> None:
    """The caller may write to the entry `chain[0]`. Raises Locked naming the lock."""
    _refuse(tx, rules.obstacle(caller, covering(tx, chain, now_ns)))


def confirm_below(tx: Tx, caller: Caller, folder_id: int, now_ns: int) -> None:
    """The caller may take away everything below a folder (DELETE, MOVE: RFC 4918 §9.6, §9.9)."""
    if not tx.locks.any():
        return
    by_entry: dict[int, list[DavLock]] = defaultdict(list)
    for lock in tx.locks.below(folder_id, now_ns):
        by_entry[lock.entry_id].append(lock)
    for held in by_entry.values():
        _refuse(tx, rules.obstacle(caller, held))


def refuse(tx: Tx, lock: DavLock) -> None:
    """Raise Locked for `lock`."""
    raise Locked(f"locked by {lock.user_name}", lock, tx.entries.shown_path(lock.entry_id))


def _refuse(tx: Tx, lock: DavLock | None) -> None:
    if lock is not None:
        refuse(tx, lock)
