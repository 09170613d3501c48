"""The only copies on the NAS: what a plan would destroy that somebody else still needs (design §1.4).

Contents are shared, and the cache may have lost or evicted what the NAS has. So before a file there is replaced or
deleted, each other reachable content that lives in it is whole in the cache, or elsewhere on the NAS, recorded, where
nobody is at work; else those who need it are carried first, or its objects are restored first. Asked inside the claim,
under the mirror's lock, as eviction asks the reverse: what one relies on the other sees. What was recorded is proved
by looking, before the first step (`Secure`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vfs.metadata.database import Tx
from vfs.model import Kind, State
from vfs.nas_model import DropVersion, Keep, Remove, Secure, Situation, Step, Write


@dataclass(frozen=True, slots=True)
class Protection:
    """`secure`: contents that must be whole in the cache before the plan goes on; `elsewhere`: or in another file on
    the NAS. `first`: entries to be carried before; until then the plan waits. `unclear`: it waits too, for a change
    that is not committed yet and shares such a content (a copy of a large folder, on PostgreSQL)."""

    secure: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    first: tuple[int, ...] = ()
    unclear: bool = False


def look(tx: Tx, situation: Situation, steps: Iterable[Step]) -> Protection:
    """What must be done before these steps of an entry."""
    secure: list[str] = []
    elsewhere: list[str] = []
    first: set[int] = set()
    unclear = False
    for content_id in _destroyed(tx, situation, list(steps)):
        shared = tx.is_being_shared(content_id)  # before: whoever is not seen so has committed by the next look
        needers = _reachable(tx, tx.mirror.needers(content_id, situation.entry_id), situation)
        if not needers:
            unclear = unclear or shared
            continue
        if _is_elsewhere(tx, content_id, situation):
            elsewhere.append(content_id)
        elif tx.contents.cached(content_id) or not all(_can_go(tx, id) for id in needers):
            secure.append(content_id)
        else:
            first |= set(needers)
    return Protection(tuple(secure), tuple(elsewhere), tuple(sorted(first)), unclear)


def secured(steps: list[Step], protection: Protection) -> list[Step]:
    """The steps, after a look at the cache and the NAS: first of all, while everything is where it is recorded to be,
    since what the cache lacks is read from there. The leases of the job keep eviction away from then on."""
    if not protection.secure and not protection.elsewhere:
        return steps
    return [Secure(protection.secure, protection.elsewhere), *steps]


def destroys(step: Step) -> bool:
    """What is there before it is gone after it."""
    return isinstance(step, Remove | DropVersion) or (isinstance(step, Write) and step.replace)


def _destroyed(tx: Tx, situation: Situation, steps: list[Step]) -> list[str]:
    """Contents that have a place less after these steps, and none of the entry's own."""
    lost: set[str | None] = set()
    for step in steps:
        if isinstance(step, Remove) and step.folder:
            lost |= set(tx.mirror.needed_outside(situation.entry_id))
        elif isinstance(step, DropVersion):
            lost |= {v.content_id for v in situation.versions if v.uuid == step.version}
        elif destroys(step) and not any(isinstance(other, Keep) for other in steps):
            lost.add(situation.recorded.content_id)
    stays = {v.content_id for v in situation.versions if v.wanted is not None}
    if situation.desired.spot is not None:
        stays.add(situation.desired.content_id or "")
    return sorted(content for content in lost if content is not None and content not in stays)


def _reachable(tx: Tx, ids: Iterable[int], situation: Situation) -> list[int]:
    """Those of them that no DELETED folder takes with it; nor this one, which is on its way out."""
    going = situation.entry_id if situation.kind == Kind.FOLDER else 0
    found = []
    for id in ids:
        above = tx.entries.ancestors(id)
        ended = next(((own, state) for own, state, _ in above if state != State.ACTIVE), None)
        if ended is None or (ended[1] != State.DELETED and ended[0] != going):
            found.append(id)
    return found


def _is_elsewhere(tx: Tx, content_id: str, situation: Situation) -> bool:
    """Some other place has it: the way there leads to the root, past nothing that moves or goes just now."""
    for entry_id, parent_id in tx.mirror.places_of(content_id, situation.entry_id):
        chain = tx.mirror.nas_chain(parent_id)
        if chain is None or situation.entry_id in chain[0]:
            continue
        if not tx.leases.held(entry_id) and not tx.leases.blocked(chain[0], []):
            return True
    return False


def _can_go(tx: Tx, entry_id: int) -> bool:
    """Its own change waits for nothing of this kind, nor for a person: then it may be waited for."""
    if tx.leases.held(entry_id):
        return True
    if tx.events.newest(entry_id) is None or tx.events.has_failed(entry_id):
        return False
    row = tx.mirror.row(entry_id)
    replaced = row[11]
    if replaced is None or replaced == row[6]:
        return True
    return tx.contents.cached(replaced) or not tx.mirror.needers(replaced, entry_id)
