"""What is known of the NAS without asking it: is it up, and how much room has it. Rows that every process reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

from vfs.core import Kelp
from vfs.errors import NoSpace
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.operations import alerts, nas_settings
from vfs.operations.alerts import AlertKind, Severity

_MIB = 1024 * 1024
_NOTED = _MIB  # a change of the room below this is not worth a commit
RESERVE = 16 * _MIB  # bytes that must be free again before a NAS that was full counts as up
_TIGHT = 1024 * _MIB  # with less room than this, what waits is added up at each request
_SCARCE = 0.05  # of the NAS free, and it is nearly full …
_SCARCE_MOST = 50 * 1024 * _MIB  # … but never with so much free
_AT_EASE = 1.2  # times as much must be free before the alert is over


@dataclass(frozen=True, slots=True)
class NasState:
    up: bool
    reason: str
    since_ns: int
    full: bool = False  # down for want of space
    # Machines that do not reach the NAS: since when, and when last heard of; `confirmed_ns`: when another last did.
    # Kept by `nas_outage`.
    away: dict[str, tuple[int, int]] = field(default_factory=dict)
    confirmed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bytes of the NAS as last measured, and of what was to be carried there at that time."""

    total: int
    free: int
    waiting: int
    measured_ns: int

    @property
    def used(self) -> int:
        """By whomever; also what the file system keeps for itself."""
        return self.total - self.free


def read(kelp: Kelp) -> NasState:
    with kelp.database.read() as tx:
        return read_in(tx)


def read_in(tx: Tx) -> NasState:
    return parse(tx.accounts.value("nas"))


def parse(value: str | None) -> NasState:
    """What the row says; up when there is none yet."""
    if not value:
        return NasState(True, "", 0)
    state = NasState(**json.loads(value))
    return replace(state, away={host: (since, last) for host, (since, last) in state.away.items()})


# --- room ---


def measure(kelp: Kelp) -> Capacity:
    """Ask the NAS how much room it has, and note it, so that no request need ask a NAS that may hang.

    Raises NasDown.
    """
    usage = kelp.nas.usage()
    with kelp.database.scan() as tx:
        waiting = tx.events.backlog_bytes()
    found = Capacity(usage.total, usage.free, waiting, kelp.clock.now_ns())
    _note(kelp, found)
    _tell(kelp, found)
    return found


def count_waiting(kelp: Kelp) -> Done:
    """Note how much waits for the NAS, without asking it: it may be away for hours while files come in."""
    known = capacity(kelp)
    if known is not None:
        with kelp.database.scan() as tx:
            waiting = tx.events.backlog_bytes()
        _note(kelp, Capacity(known.total, known.free, waiting, known.measured_ns))
    return Done()


def _note(kelp: Kelp, found: Capacity) -> None:
    known = capacity(kelp)
    if known is None or any(
        abs(now - before) >= _NOTED
        for now, before in (
            (found.total, known.total),
            (found.free, known.free),
            (found.waiting, known.waiting),
        )
    ):
        _write_capacity(kelp, found)


@retried
def _write_capacity(kelp: Kelp, found: Capacity) -> None:
    with kelp.database.write() as tx:
        tx.accounts.set_value("nas_capacity", json.dumps(asdict(found)))


def _tell(kelp: Kelp, found: Capacity) -> None:
    room = found.free - found.waiting
    scarce = max(2 * nas_settings.read(kelp).reserve, min(int(found.total * _SCARCE), _SCARCE_MOST))
    if room < scarce:
        with kelp.database.read() as tx:
            if tx.alerts.is_open(AlertKind.NAS_NEARLY_FULL, ""):
                return
        # No exact number: it would be an old one for as long as the alert lasts.
        message = f"less than {scarce // _MIB} MiB of {found.total // _MIB} MiB are left on the NAS: make room there"
        alerts.open_(kelp, AlertKind.NAS_NEARLY_FULL, message, severity=Severity.WARNING)
    elif room >= scarce * _AT_EASE:
        alerts.close(kelp, AlertKind.NAS_NEARLY_FULL, f"{room // _MIB} MiB are left on the NAS")


def capacity(kelp: Kelp) -> Capacity | None:
    """As last measured; None when it never was."""
    return kelp.database.recall("nas_capacity", _capacity_and_state)[0]


def _capacity_and_state(tx: Tx) -> tuple[Capacity | None, bool]:
    value = tx.accounts.value("nas_capacity")
    return Capacity(**json.loads(value)) if value else None, read_in(tx).up


def free_bytes(kelp: Kelp, unknown: int) -> int:
    """What may still be written; `unknown` when it was never measured, or while the cache takes what comes."""
    room = _room(kelp, *kelp.database.recall("nas_capacity", _capacity_and_state))
    return unknown if room is None else max(room, 0)


def _room(kelp: Kelp, known: Capacity | None, up: bool) -> int | None:
    """Bytes that Kelp may still fill; None where it is not for Kelp to say.

    What Kelp carries takes whole blocks, so it ends somewhat below the reserve: that is still its own doing. Only far
    below it was somebody else.
    """
    reserve = nas_settings.read(kelp).reserve
    if known is None or not up or known.free <= reserve // 2:
        return None
    return known.free - reserve - known.waiting


def require_room(kelp: Kelp, size: int) -> None:
    """`size` more bytes find room on the NAS beside all that is on its way there. Does not ask the NAS.

    So Kelp itself never fills it up. Where somebody else did, or it is away, that is an outage: the cache takes what
    comes, up to its own limit (spec §5). Raises NoSpace.
    """
    known, up = kelp.database.recall("nas_capacity", _capacity_and_state)
    room = _room(kelp, known, up)
    if known is None or room is None or not size:
        return
    if room - size < _TIGHT:
        # What came since it was measured; what was carried since then is on the NAS, and was waiting when measured.
        with kelp.database.read() as tx:
            room -= max(0, tx.events.backlog_bytes() - known.waiting)
    if size > room:
        raise NoSpace(f"{size} bytes do not fit on the NAS: {max(room, 0)} are free")


def smallest_waiting(kelp: Kelp) -> int:
    """Bytes of the smallest file that is still to be carried to the NAS."""
    with kelp.database.scan() as tx:
        row = tx.one(
            """SELECT COALESCE(MIN(e.size), 0) FROM sync_events s JOIN entries e ON e.id = s.aggregate_id
               WHERE s.status = 'PENDING' AND e.nas_content_id IS DISTINCT FROM e.content_id"""
        )
    return int(row[0])
