"""What the log says of entries and requests: names in vaults are in no log, nor are drafts' (docs/vault-format.md)."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import KelpError, StoreError
from vfs.model import Entry

_UNSHOWN = "…"


def name(entry: Entry) -> str:
    """As people know it, in quotes; in a vault by the number of its row."""
    if entry.vault_id is None or entry.is_vault:
        return repr(entry.name)
    return f"entry {entry.id} in a vault"


def fault(error: KelpError, entry: Entry) -> str:
    """Why something failed that was to be done with the entry; messages may have its name, but for those of stores."""
    if entry.vault_id is None or isinstance(error, StoreError):
        return str(error)
    return type(error).__name__


def target(kelp: Kelp, target: str) -> str:
    """The target of a request. On a drive with vaults its first name only, which is never sealed: where vaults begin
    would have to be asked of a database that may be what failed."""
    if not kelp.database.has_vaults:
        return target
    path = target.partition("?")[0]
    shown = "/".join(path.split("/")[:3])
    return target if shown == target else f"{shown}/{_UNSHOWN}"
