"""How much the cache may hold, and does: of what the NAS has too (`cache.limit`) and of what only it has.

Nothing is asked in a request's way: `look`, a batch, adds up what the cache holds and notes it for all processes. What
keeps unmirrored bytes below `cache.hard_limit` at every instant is `reserving`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Done, StoreStatus
from vfs.operations import alerts
from vfs.operations.alerts import AlertKind, Severity
from vfs.settings import Amount
from vfs.storage.object_store import Usage

_MIB = 1024 * 1024
_SECOND = 1_000_000_000
_LIMIT, _HARD_LIMIT = Amount(percent=70.0), Amount(percent=90.0)  # where the settings say nothing
_NOBODY_KNOWS = 1 << 50  # bytes: what a store says that cannot tell how large its disk is (S3)
_NOTED = 64 * 1024  # a change of what the cache holds below this, and below a thousandth of it, is not worth a commit
_SHARE = 25  # adding up takes at most one of so many seconds
_EACH, _LEAST = 20e-6, 0.05  # seconds for an object, and for few: who took longer waited for the processor, or a turn
_ALERT, _AT_EASE = 0.80, 0.75  # of the hard limit: an alert begins, and ends
_RESTORED = 0.03  # of the limit: what the restores of one process may bring back between two looks
_AS_IT_WAS_NS = 30 * _SECOND
_NAME = "cache_holds"
ABSURD_NS = 3600 * _SECOND  # no grant holds for so long, by clocks that are right


@dataclass(frozen=True, slots=True)
class Holdings:
    """Bytes in the cache, as added up at `measured_ns`, which took `took` seconds.

    `clean` the NAS has too, `dirty` only the cache has; `pending` waits to be deleted, `evicting` is on its way out.
    `limit`, of clean bytes, as it was then; None: there is none.
    """

    clean: int = 0
    dirty: int = 0
    pending: int = 0
    evicting: int = 0
    objects: int = 0
    limit: int | None = None
    measured_ns: int = 0
    took: float = 0.0

    @property
    def total(self) -> int:
        return self.clean + self.dirty + self.pending + self.evicting


def hard_limit(kelp: Kelp, usage: Usage | None = None) -> int | None:
    """Bytes that only the cache may have; None: the store's own "full" counts. `usage`: when it was just asked for.
    Raises StoreUnavailable."""
    return _bytes(kelp, kelp.settings.cache.hard_limit, _HARD_LIMIT, usage)


def limit(kelp: Kelp, clean: int, dirty: int) -> int | None:
    """Bytes of what the NAS has too that may stay, beside so many that it has not; None: any number.

    What others put on the cache's disk counts as well: else writes would be refused while room could be made.
    Raises StoreUnavailable.
    """
    found = [size for size in (_bytes(kelp, kelp.settings.cache.limit, _LIMIT),) if size is not None]
    hard = hard_limit(kelp)
    if hard is not None:
        found.append(hard - dirty)
    usage = kelp.cache.usage()
    if usage.total < _NOBODY_KNOWS:
        found.append(clean + usage.free - 2 * kelp.settings.cache.reserve)
    return max(min(found), 0) if found else None


def _bytes(kelp: Kelp, amount: Amount, default: Amount, usage: Usage | None = None) -> int | None:
    if amount.bytes is not None or amount.unlimited:
        return amount.bytes
    total = (usage or kelp.cache.usage()).total
    return None if total >= _NOBODY_KNOWS else (default if amount.is_default else amount).of(total)


def measure(kelp: Kelp) -> Holdings:
    """Add up what the cache holds: one look at every object, one at all that waits for the NAS."""
    return _measure(kelp)[0]


def _measure(kelp: Kelp) -> tuple[Holdings, int]:
    """… and the base of the account, as it should be."""
    began, now = time.monotonic(), kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        found = tx.holdings.by_status()
        dirty, base = _dirty_and_base(tx, now)
    available = found.get(StoreStatus.AVAILABLE, (0, 0))[1] + found.get(StoreStatus.SYNCING, (0, 0))[1]
    clean = max(available - dirty, 0)
    holdings = Holdings(
        clean=clean,
        dirty=dirty,
        pending=found.get(StoreStatus.PENDING, (0, 0))[1],
        evicting=found.get(StoreStatus.EVICTING, (0, 0))[1],
        objects=sum(count for status, (count, _) in found.items() if status != StoreStatus.MISSING),
        limit=limit(kelp, clean, dirty),
        measured_ns=now,
        took=time.monotonic() - began,
    )
    return holdings, base


def _dirty_and_base(tx: Tx, now_ns: int) -> tuple[int, int]:
    dirty = tx.holdings.dirty()
    account = tx.holdings.account()
    granted = account[1] if account else 0
    return dirty, dirty + tx.holdings.all_grants(now_ns, now_ns + ABSURD_NS) - granted


def rebase(kelp: Kelp) -> None:
    """Take from the account what is on the NAS by now, or gone, and grants of processes that died (`reserving`)."""
    now = kelp.clock.now_ns()
    with kelp.database.scan() as tx:
        _, base = _dirty_and_base(tx, now)
    _set_base(kelp, base, now)


@retried
def _set_base(kelp: Kelp, base: int, now_ns: int) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.lock_grants()
        if tx.holdings.account() is None:
            tx.holdings.set_granted(0)
        tx.holdings.set_base(base)
        tx.holdings.forget_void(now_ns - ABSURD_NS)


def left(kelp: Kelp, hard: int) -> int:
    """Bytes that may still come before `hard`, the hard limit, as far as is known without adding up."""
    with kelp.database.read() as tx:
        account = tx.holdings.account()
        noted = _known(tx) if account is None else None
    waiting = sum(account) if account else noted.dirty if noted else 0
    return max(hard - waiting, 0)


def known(kelp: Kelp) -> Holdings | None:
    """As last noted, by whichever process; None when it never was."""
    with kelp.database.read() as tx:
        return _known(tx)


def _known(tx: Tx) -> Holdings | None:
    value = tx.accounts.value(_NAME)
    return Holdings(**json.loads(value)) if value else None


def is_due(kelp: Kelp, noted: Holdings | None) -> bool:
    """Adding up again would not take more of the time than it may. A busy machine makes it look long, and is the very
    one whose cache fills up fast."""
    if noted is None:
        return True
    took = min(noted.took, _LEAST + _EACH * noted.objects)
    return not 0 <= kelp.clock.now_ns() - noted.measured_ns < int(took * _SHARE * _SECOND)


def note(kelp: Kelp, found: Holdings, before: Holdings | None) -> None:
    """Tell all processes, when it differs by anything worth it or took long."""
    if before is not None and before.limit == found.limit and before.took * 2 > found.took:
        small = max(_NOTED, min(before.total, before.limit or before.total) // 1000)
        pairs = ((found.clean, before.clean), (found.dirty, before.dirty), (found.total, before.total))
        if all(abs(now - then) < small for now, then in pairs):
            return
    _write(kelp, found)


@retried
def _write(kelp: Kelp, found: Holdings) -> None:
    with kelp.database.write(quiet=True) as tx:  # nobody recalls this row
        tx.accounts.set_value(_NAME, json.dumps(asdict(found)))


def look(kelp: Kelp) -> Done:
    """A batch: how full the cache is, for all who want to know, and an alert when it nearly is."""
    before = known(kelp)
    kelp.within_limits.version = None  # others may have filled the cache's disk
    if is_due(kelp, before):
        found, base = _measure(kelp)
        note(kelp, found, before)
        _settle(kelp, base)
        _tell(kelp, found)
    return Done()


def refresh(kelp: Kelp) -> Holdings:
    """Add up now, for all who want to know."""
    found = measure(kelp)
    _write(kelp, found)
    return found


def _settle(kelp: Kelp, base: int) -> None:
    """What is told to be free (quota) follows the account."""
    with kelp.database.read() as tx:
        account = tx.holdings.account()
    if account is not None and abs(account[0] - base) >= _NOTED:
        _set_base(kelp, base, kelp.clock.now_ns())


def _tell(kelp: Kelp, found: Holdings) -> None:
    hard = hard_limit(kelp)
    if hard is None:
        return
    share = found.dirty / hard if hard else 1.0
    message = f"{found.dirty // _MIB} MiB of at most {hard // _MIB} MiB wait in the cache for the NAS"
    if share >= _ALERT:
        with kelp.database.read() as tx:
            if tx.alerts.is_open(AlertKind.CACHE_NEARLY_FULL, ""):
                return
        advice = "see that the NAS works, or new files will be refused"
        alerts.open_(kelp, AlertKind.CACHE_NEARLY_FULL, f"{message}: {advice}", severity=Severity.WARNING)
    elif share < _AT_EASE:
        alerts.close(kelp, AlertKind.CACHE_NEARLY_FULL, message)


def room_for(kelp: Kelp, size: int) -> bool:
    """A restore may bring `size` bytes back: the cache stays within its limit with them.

    Processes do not ask each other: each has a small share of the limit until the next look.
    """
    noted = known(kelp)
    if noted is None:
        noted = measure(kelp)
        note(kelp, noted, None)
    if noted.limit is None:
        return True
    most = int(noted.limit * _RESTORED)
    stamp = (noted.measured_ns, kelp.clock.now_ns() // _AS_IT_WAS_NS)  # what is not noted anew has not changed
    return kelp.allowance.take(size, stamp, noted.limit - noted.clean, most)
