"""Whose fault it was: an entry's, or an outage's, which uses up no retry.

While the NAS is down nothing is tried but one probe every few seconds: `vfs/operations/nas_outage.py`.
"""

from __future__ import annotations

from vfs.errors import KelpError, KeyMissing, StoreError, StoreUnavailable
from vfs.operations.nas_outage import declare, is_full, is_up, probe

_LONGEST = 1000  # characters of a reason

__all__ = ["declare", "is_entry_fault", "is_full", "is_outage", "is_up", "probe", "reason"]


def is_entry_fault(error: Exception) -> bool:
    """A fault of one entry (its name, its rights, its bytes): the only kind that uses up a retry."""
    return isinstance(error, StoreError) and not is_outage(error)


def is_outage(error: Exception) -> bool:
    """NAS, cache or database do not answer, or the key of a vault is not here: tried again for as long as it takes. A
    content that is lost is the entry's fault."""
    return isinstance(error, StoreUnavailable | KeyMissing)


def reason(error: Exception) -> str:
    """One line for the event's error_message. It may name a file of a NAS, whose bytes need not be text: what no
    database takes is written as an escape."""
    said = str(error) if isinstance(error, KelpError) else f"{type(error).__name__}: {error}"
    line = said.encode("utf-8", "backslashreplace").decode()
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line[:_LONGEST])
