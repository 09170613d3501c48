"""Claim what is due: the first of the two commits of a mirror job (design §5).

In one transaction an entry's situation is read, its plan made, its lease taken with fence and plan, and the paths
leased that the plan relies on: shared on every folder above, exclusive on a folder that moves or goes. What is not
free, or not possible yet, waits a moment and uses up no retry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from vfs import names
from vfs.core import Kelp
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Kind
from vfs.nas_model import TEMPORARY, Job, Move, Situation, Spot, Step, dump_steps
from vfs.operations.mirroring import SECOND, read

_BUSY_NS = SECOND // 5  # how long an entry waits that is in another's way
_FAILED_NS = 5 * SECOND  # … or below a folder that could not be made

Planner = Callable[[Situation, int], list[Step]]


@dataclass(slots=True)
class _Claims:
    """What one claiming transaction has taken so far."""

    owner: str
    expires_ns: int
    now_ns: int
    jobs: list[Job] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)


@retried
def claim(kelp: Kelp, owner: str, limit: int, planner: Planner) -> tuple[list[Job], int]:
    """Take up to `limit` due entries, oldest first; the jobs, and how many entries needed no work at all."""
    now = kelp.clock.now_ns()
    covered = 0
    with kelp.database.read() as tx:
        if not tx.events.due(now, 1):
            return [], 0
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        claims = _Claims(owner, now + int(kelp.settings.mirror.lease * SECOND), now)
        due = list(dict.fromkeys(tx.events.due(now, limit * 4)))
        tx.lock_rows(due)
        for at in range(0, len(due), limit):
            if len(claims.jobs) >= limit:
                break
            covered += _claim_several(kelp, tx, claims, due[at : at + limit], limit, planner)
        for entry_id in claims.taken:
            tx.events.start(entry_id)
    return claims.jobs, covered


def _claim_several(kelp: Kelp, tx: Tx, claims: _Claims, entry_ids: list[int], limit: int, planner: Planner) -> int:
    """Claim these as far as `limit` allows; how many of them needed no work at all."""
    covered = 0
    tx.foresee_ids("mirror_leases", len(entry_ids))
    for entry_id in entry_ids:
        tx.foresee(
            partial(tx.events.newest, entry_id),
            partial(tx.mirror.row, entry_id),
            partial(tx.versions.on_nas, entry_id),
            partial(tx.events.oldest, entry_id),
        )
    for entry_id in entry_ids:
        if len(claims.jobs) >= limit:
            break
        if entry_id not in claims.taken:
            covered += _claim_one(kelp, tx, claims, entry_id, planner)
    return covered


def _claim_one(kelp: Kelp, tx: Tx, claims: _Claims, entry_id: int, planner: Planner) -> bool:
    """Claim an entry, or give it back for later; True when there was nothing to do for it."""
    event_id = tx.events.newest(entry_id)
    if event_id is None:
        return False
    situation = read(kelp, tx, entry_id, event_id)
    wanted = situation.desired.spot
    steps = planner(situation, 0)
    if not steps:
        was_there = wanted is not None or situation.recorded.spot is not None
        tx.events.cover(entry_id, event_id, claims.now_ns, "DONE" if was_there else "CANCELLED")
        return True
    if wanted is not None and not _parent_is_there(tx, claims, entry_id, wanted):
        return False
    if wanted is not None and wanted != situation.recorded.spot:
        obstacle = _obstacle(kelp, tx, entry_id, wanted)
        if obstacle is not None:
            _move_aside(kelp, tx, claims, entry_id, obstacle)
            return False
    if wanted is None and not _may_go(tx, claims, situation):
        return False
    _take(kelp, tx, claims, situation, lambda fence: planner(situation, fence))
    return False


def _parent_is_there(tx: Tx, claims: _Claims, entry_id: int, wanted: Spot) -> bool:
    """Parents first: without one on the NAS the entry waits, and the parent is made due."""
    if tx.mirror.nas_chain(wanted.parent_id) is not None:
        return True
    if wanted.parent_id not in claims.taken:
        tx.events.expedite(wanted.parent_id, claims.now_ns)
        waiting = tx.events.newest(wanted.parent_id) is not None
        tx.events.put_off(entry_id, claims.now_ns + (_BUSY_NS if waiting else _FAILED_NS))
    return False


def _obstacle(kelp: Kelp, tx: Tx, entry_id: int, wanted: Spot) -> int | None:
    """Who is in the way to a spot: the holder of its name, or what leads to it and is still inside the entry."""
    key = names.nas_key(wanted.name, kelp.nas.properties.folds_case)
    holder = tx.mirror.holder(wanted, key, entry_id)
    if holder is not None:
        return holder
    chain = tx.mirror.nas_chain(wanted.parent_id)
    if chain is None or entry_id not in chain[0]:
        return None
    # On the drive the way to the spot does not lead through the entry, so one of these has left its folder there.
    inside = chain[0][: chain[0].index(entry_id)]
    return next((id for id in reversed(inside) if tx.mirror.is_misplaced(id)), None)


def _move_aside(kelp: Kelp, tx: Tx, claims: _Claims, entry_id: int, holder: int) -> None:
    """What is in the way is never waited for: it moves aside and is then due itself."""
    if holder in claims.taken:
        return
    if tx.leases.held(holder):
        tx.events.put_off(entry_id, claims.now_ns + _BUSY_NS)
        return
    tx.events.retry_failed(holder, claims.now_ns)
    tx.events.expedite(holder, claims.now_ns)
    situation = read(kelp, tx, holder, 0)
    source = situation.recorded.spot
    if source is None:
        return
    _take(
        kelp,
        tx,
        claims,
        situation,
        lambda fence: [Move(source, Spot(ROOT_ID, f"{TEMPORARY}/held-{holder}-{fence}"))],
        final=False,
        instead_of=entry_id,
    )


def _may_go(tx: Tx, claims: _Claims, situation: Situation) -> bool:
    """What is recorded inside a folder but does not go with it leaves first; so does the only copy of a content."""
    content_id = situation.recorded.content_id
    if situation.kind == Kind.FOLDER:
        staying = tx.mirror.stays_below(situation.entry_id)
    elif content_id is not None and tx.mirror.only_copy(content_id, situation.entry_id):
        staying = tx.contents.other_holders(content_id, situation.entry_id)
    else:
        return True
    for id in staying:
        tx.events.retry_failed(id, claims.now_ns)
        tx.events.expedite(id, claims.now_ns)
    if staying:
        tx.events.put_off(situation.entry_id, claims.now_ns + _BUSY_NS)
    return not staying


def _take(
    kelp: Kelp,
    tx: Tx,
    claims: _Claims,
    situation: Situation,
    steps_for: Callable[[int], list[Step]],
    *,
    final: bool = True,
    instead_of: int | None = None,
) -> None:
    """Lease, plan and path leases in this commit; when the paths are not free, the entry waits a moment."""
    spots = {spot for spot in (situation.recorded.spot, situation.desired.spot if final else None) if spot is not None}
    places: dict[int, str] = {ROOT_ID: ""}
    shared: set[int] = set()
    for spot in spots:
        chain = tx.mirror.nas_chain(spot.parent_id)
        if chain is not None:
            shared |= set(chain[0])
            places[spot.parent_id] = chain[1]
    moves = situation.kind == Kind.FOLDER and situation.recorded.spot is not None
    exclusive = [situation.entry_id] if moves else []
    ancestors = sorted(shared - {ROOT_ID, situation.entry_id})
    # Compared by the oldest change of each, which gives one order for all: no two entries wait for each other.
    oldest = tx.events.oldest(situation.entry_id)
    target = situation.desired.spot if final else None
    key = names.nas_key(target.name, kelp.nas.properties.folds_case) if target else None
    tx.foresee(partial(tx.leases.blocked, sorted(shared), exclusive))
    if target is not None and key is not None:
        tx.foresee(partial(tx.leases.heads_for, target.parent_id, key))
    in_the_way = final and ancestors and oldest is not None and tx.mirror.waits_to_move(ancestors, oldest)
    aimed_at = target is not None and key is not None and tx.leases.heads_for(target.parent_id, key)
    if in_the_way or aimed_at or tx.leases.blocked(sorted(shared), exclusive):
        tx.events.put_off(instead_of or situation.entry_id, claims.now_ns + _BUSY_NS)
        return
    goal = (target.parent_id, key) if target else (None, None)
    steps: list[Step] = []

    def plan_for(fence: int) -> str:
        steps[:] = steps_for(fence)
        return dump_steps(steps)

    fence = tx.leases.take(situation.entry_id, claims.owner, claims.expires_ns, plan_for, goal)
    tx.leases.take_paths(fence, sorted(shared), exclusive)
    claims.taken.add(situation.entry_id)
    claims.jobs.append(Job(fence, situation, tuple(steps), places, final))
