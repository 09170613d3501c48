"""The rows alone: every rule that holds in each state that was ever committed."""

from __future__ import annotations

from functools import partial

from vfs import trace
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.metadata.rules import Rule, all_rules
from vfs.model import EventType, Kind
from vfs.operations.checks.findings import Look

_AGAIN_AT_ONCE = 100  # entries in one transaction
_HOUR_NS = 3600 * 1_000_000_000


def look(look: Look) -> int:
    """The number of entries that are not DELETED."""
    now = look.kelp.clock.now_ns()
    wrong: list[Rule] = []
    with look.kelp.database.scan() as tx:
        entries = int(tx.one("SELECT COUNT(*) FROM entries WHERE state <> 'DELETED'")[0])
        for number, rule in enumerate(all_rules()):
            look.progress("rules", number)
            if look.repairs and (rule.repair or rule.again):
                wrong += [rule] if tx.one(rule.find, old=now - _HOUR_NS) else []
            else:
                for subject, detail in tx.each(rule.find, old=now - _HOUR_NS):
                    look.found(rule.kind, subject, detail)
        if look.mirrored:
            _unfinished(look, tx)
    for rule in wrong:
        _repair(look, rule, now)
    return entries


def _unfinished(look: Look, tx: Tx) -> None:
    sql = """SELECT uuid, event_type, status FROM sync_events
             WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') AND NOT (litter AND status = 'PENDING')"""
    for uuid, kind, status in tx.each(sql):
        look.found(f"event still {status}", uuid, kind)


def _repair(look: Look, rule: Rule, now_ns: int) -> None:
    """Found again in the transaction that repairs it; what is wrong afterwards stays a problem."""
    while True:
        before, after = _repair_some(look, rule, now_ns)
        for subject, detail in before:
            look.found(rule.kind, subject, detail, partial(_is_not, subject, after))
        if not rule.again or not before or after:
            return


def _is_not(subject: object, wrong: set[object]) -> bool:
    return subject not in wrong


@retried
def _repair_some(look: Look, rule: Rule, now_ns: int) -> tuple[list[tuple[object, object]], set[object]]:
    """What the rule found (of those that the mirror shall look at: the first hundred), and what of it is still so."""
    with look.kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree(exclusive=True)
        some = f" LIMIT {_AGAIN_AT_ONCE}" if rule.again else ""
        before = [(row[0], row[1]) for row in tx.all(rule.find + some, old=now_ns - _HOUR_NS)]
        if rule.repair:
            tx.run(rule.repair, old=now_ns - _HOUR_NS, now=now_ns)
        if rule.again:
            for id, _ in before:
                _due_again(tx, int(str(id)), now_ns)
        after = {row[0] for row in tx.all(rule.find, old=now_ns - _HOUR_NS)}
        return before, after & {subject for subject, _ in before}


def _due_again(tx: Tx, entry_id: int, now_ns: int) -> None:
    kind = Kind(tx.mirror.row(entry_id)[2])
    tx.events.add(
        entry_id, kind, EventType.SYNC, source=None, target=None,
        trace_id=trace.current(), now_ns=now_ns, scheduled_ns=now_ns, litter=False,
    )  # fmt: skip
