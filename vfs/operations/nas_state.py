"""Whether the NAS is up: one row that every process reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from vfs.core import Kelp
from vfs.metadata.retrying import retried

_NOTED = 1024 * 1024  # a change of the free space below this is not worth a commit
RESERVE = 16 * 1024 * 1024  # bytes of the NAS that stay free


@dataclass(frozen=True, slots=True)
class NasState:
    up: bool
    reason: str
    since_ns: int
    full: bool = False  # down for want of space


def read(kelp: Kelp) -> NasState:
    with kelp.database.read() as tx:
        value = tx.accounts.value("nas")
    return NasState(**json.loads(value)) if value else NasState(True, "", 0)


@retried
def write(kelp: Kelp, state: NasState) -> None:
    with kelp.database.write() as tx:
        tx.accounts.set_value("nas", json.dumps(asdict(state)))


def measure(kelp: Kelp) -> None:
    """Note how much room the NAS has, so that whoever is asked for it need not ask a NAS that may hang.

    Raises NasDown.
    """
    usage = kelp.nas.usage()
    if abs(usage.free - free_bytes(kelp, usage.free + _NOTED)) >= _NOTED:
        with kelp.database.write() as tx:
            tx.accounts.set_value("nas_free", str(usage.free))


def free_bytes(kelp: Kelp, unknown: int) -> int:
    """As last measured; `unknown` when it never was."""
    with kelp.database.read() as tx:
        value = tx.accounts.value("nas_free")
    return int(value) if value else unknown


def smallest_waiting(kelp: Kelp) -> int:
    """Bytes of the smallest file that is still to be carried to the NAS."""
    with kelp.database.scan() as tx:
        row = tx.one(
            """SELECT COALESCE(MIN(e.size), 0) FROM sync_events s JOIN entries e ON e.id = s.aggregate_id
               WHERE s.status = 'PENDING' AND e.nas_content_id IS DISTINCT FROM e.content_id"""
        )
    return int(row[0])
