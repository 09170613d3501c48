"""Claim what is due: the first of the two commits of a mirror job (design §5).

In one transaction an entry's situation is read, its plan made, its lease taken with fence and plan, and the paths
leased that the plan relies on: shared on every folder above, exclusive on a folder that moves or goes. What is not
free, or not possible yet, waits a moment and uses up no retry.

The commit does not wait for the disk while it has SQLite's write lock, for which people wait too: whoever carries out
the plans syncs the database before the first step that can be seen on the NAS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from vfs import trace
from vfs.core import Kelp
from vfs.errors import KeyMissing
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Kind
from vfs.nas_model import (
    TEMPORARY,
    TRASH,
    Job,
    Move,
    MoveVersion,
    Situation,
    Spot,
    Step,
    dump_steps,
    spots_of,
    version_targets,
)
from vfs.operations import changes, homing, plain_claims, protecting
from vfs.operations.claims import Claims, Goal, goal_of
from vfs.operations.mirroring import SECOND, Ways, make_due, read
from vfs.operations.plain_claims import Foreseen, PlainClaims, Planner, written
from vfs.operations.protecting import Protection
from vfs.operations.under_way import key_of

log = logging.getLogger(__name__)

_BUSY_NS = SECOND // 5  # how long an entry waits that is in another's way
_FAILED_NS = 5 * SECOND  # … or below a folder that could not be made
_READ_NS = 5 * SECOND  # … or is to leave its place while somebody reads it (spec §5)


@retried
def claim(kelp: Kelp, owner: str, limit: int, planner: Planner, before: Iterable[Job] = ()) -> tuple[list[Job], int]:
    """Take up to `limit` due entries, oldest first; the jobs, and how many entries needed no work at all. `before`:
    claimed by the same worker, not carried out yet."""
    now = kelp.clock.now_ns()
    foreseen = Foreseen()
    with kelp.database.read() as tx:
        due = list(dict.fromkeys(tx.events.due(now, limit)))
        if not due:
            return [], 0
        if tx.holds_all:  # looking first costs another round trip elsewhere, and nobody waits there for what is read
            foreseen = plain_claims.foresee(kelp, tx, due, planner, now)
    with kelp.database.deferring(makes=True), kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        expires = now + int(kelp.settings.mirror.lease * SECOND)
        taken = {job.situation.entry_id for job in before}
        claims = Claims(owner, expires, now, Ways(tx), taken=taken, fence=(tx.leases.upcoming() or 1) - 1)
        _claim_due(kelp, tx, claims, limit, planner, foreseen)
        known = _look_up(tx, claims.jobs, foreseen)
    for entry_id in sorted(claims.homeless):
        try:
            homing.bring_home(kelp, entry_id)
        except KeyMissing as error:  # its name is sealed for its folder: a process that has the key does it
            log.warning("entry %s has no folder any more, and stays where it is: %s", entry_id, error)
    return [_with(job, known) for job in claims.jobs], claims.covered


def _claim_due(kelp: Kelp, tx: Tx, claims: Claims, limit: int, planner: Planner, foreseen: Foreseen) -> None:
    """A second look, for more, is needed only when some of the first ones were not to be had."""
    seen: set[int] = set()
    for most in (limit, limit * 4) if tx.holds_all else (limit * 4,):
        found = tx.events.due(claims.now_ns, most)
        due = [id for id in dict.fromkeys(found) if id not in seen]
        seen.update(due)
        tx.lock_rows(due)
        for at in range(0, len(due), limit):
            if len(claims.jobs) + claims.covered < limit:
                _claim_several(kelp, tx, claims, due[at : at + limit], limit, planner, foreseen)
        if len(found) < most or len(claims.jobs) + claims.covered >= limit:
            break
    if claims.jobs:
        tx.events.start(sorted(job.situation.entry_id for job in claims.jobs))


def _look_up(tx: Tx, jobs: Iterable[Job], foreseen: Foreseen) -> Foreseen:
    """What else the work on them needs, asked for all together."""
    late = [job for job in jobs if job.situation.event_id not in foreseen.traces]
    if not late:
        return foreseen
    traces = foreseen.traces | tx.events.traces([job.situation.event_id for job in late])
    small = tx.contents.of_one_object(sorted(written(step for job in late for step in job.steps)))
    return Foreseen(foreseen.drafts, traces, foreseen.contents | small)


def _with(job: Job, known: Foreseen) -> Job:
    contents = {id: known.contents[id] for id in written(job.steps) if id in known.contents}
    return replace(job, trace_id=known.traces.get(job.situation.event_id, ""), contents=contents)


def _claim_several(
    kelp: Kelp, tx: Tx, claims: Claims, entry_ids: list[int], limit: int, planner: Planner, foreseen: Foreseen
) -> None:
    """Claim these as far as `limit` allows."""
    tx.foresee_ids("mirror_leases", len(entry_ids))
    plain = PlainClaims(kelp, tx, claims, entry_ids, planner, foreseen)
    for entry_id in entry_ids:
        if len(claims.jobs) >= limit:
            break
        if entry_id not in claims.taken and not plain.take(entry_id):
            plain.flush()
            _claim_one(kelp, tx, claims, entry_id, planner)
    plain.flush()


def _claim_one(kelp: Kelp, tx: Tx, claims: Claims, entry_id: int, planner: Planner) -> None:
    """Claim an entry, or give it back for later."""
    events = tx.events.span(entry_id)
    if events is None:
        return
    oldest, event_id = events
    situation = read(kelp, tx, entry_id, event_id, claims.ways)
    wanted = situation.desired.spot
    steps = planner(situation, 0)
    if not steps:
        was_there = wanted is not None or situation.recorded.spot is not None
        with trace.span("db.sync_event_done"), trace.span("db.storage_available"):
            tx.events.cover({entry_id: event_id}, claims.now_ns, "DONE" if was_there else "CANCELLED")
            tx.events.await_none({entry_id: event_id})
        claims.covered += 1
        return
    if wanted is not None and not _parent_is_there(tx, claims, entry_id, wanted):
        return
    if _is_read(tx, claims, situation):
        tx.events.put_off(entry_id, claims.now_ns + _READ_NS)
        return
    obstacle = _obstacle(kelp, tx, claims.ways, situation, steps)
    if obstacle is not None:
        _move_aside(kelp, tx, claims, entry_id, *obstacle)
        return
    protection = _secure_before(tx, claims, situation, steps)
    if protection is None:
        return

    def secured(fence: int) -> list[Step]:
        return protecting.secured(planner(situation, fence), protection)

    _take(kelp, tx, claims, situation, protecting.secured(steps, protection), secured, oldest)


def _parent_is_there(tx: Tx, claims: Claims, entry_id: int, wanted: Spot) -> bool:
    """Parents first: without one on the NAS the entry waits, and the parent is made due."""
    if claims.ways.chain(wanted.parent_id) is not None:
        return True
    if wanted.parent_id not in claims.taken:
        lost = homing.homeless(tx, entry_id)
        if lost is not None:
            claims.homeless.add(lost)
        tx.events.expedite(wanted.parent_id, claims.now_ns)
        waiting = tx.events.newest(wanted.parent_id) is not None
        tx.events.put_off(entry_id, claims.now_ns + (_BUSY_NS if waiting else _FAILED_NS))
    return False


def _is_read(tx: Tx, claims: Claims, situation: Situation) -> bool:
    """A file that is to be trashed or deleted stays where it is while somebody reads it."""
    spot, wanted, content_id = situation.recorded.spot, situation.desired.spot, situation.recorded.content_id
    if spot is None or content_id is None or spot == wanted:
        return False
    leaves = wanted is None or (wanted.parent_id == ROOT_ID and wanted.name.startswith(f"{TRASH}/"))
    return leaves and tx.reading.leased(content_id, claims.now_ns)


def _obstacle(kelp: Kelp, tx: Tx, ways: Ways, situation: Situation, steps: list[Step]) -> tuple[int, str | None] | None:
    """Who is in the way: the holder of a name that the entry or a version (its uuid) of it shall have, or what leads to
    its spot and is still inside the entry."""
    entry_id, wanted = situation.entry_id, situation.desired.spot
    targets = version_targets(steps)
    if wanted is not None and wanted != situation.recorded.spot:
        targets.add(wanted)
    for target in sorted(targets):
        holder = tx.mirror.holder(target, key_of(kelp, target), entry_id)
        if holder is not None:
            return holder
    if wanted is None or wanted == situation.recorded.spot or situation.kind != Kind.FOLDER:
        return None
    chain = ways.chain(wanted.parent_id)
    if chain is None or entry_id not in chain[0]:
        return None
    # On the drive the way to the spot does not lead through the entry, so one of these has left its folder there.
    inside = chain[0][: chain[0].index(entry_id)]
    return next(((id, None) for id in reversed(inside) if tx.mirror.is_misplaced(id)), None)


def _move_aside(kelp: Kelp, tx: Tx, claims: Claims, entry_id: int, holder: int, version: str | None = None) -> None:
    """What is in the way is never waited for: it moves aside and is then due itself."""
    if holder in claims.taken:
        return
    if tx.leases.held(holder):
        tx.events.put_off(entry_id, claims.now_ns + _BUSY_NS)
        return
    situation = read(kelp, tx, holder, 0, claims.ways)
    source = situation.recorded.spot
    if version is not None:
        source = next((v.spot for v in situation.versions if v.uuid == version), None)  # None: in place
    if source is None and version is None:
        return
    if source is None or source in _rightful(situation):  # two changes at once chose one name: this one comes second
        changes.choose_nas_names(kelp, tx, entry_id)
        tx.events.put_off(entry_id, claims.now_ns + _BUSY_NS)
        return
    make_due(tx, holder, claims.now_ns)

    def aside(fence: int) -> list[Step]:
        if version is None:
            return [Move(source, Spot(ROOT_ID, f"{TEMPORARY}/held-{holder}-{fence}"))]
        return [MoveVersion(version, source, Spot(ROOT_ID, f"{TEMPORARY}/held-{version}-{fence}"))]

    _take(kelp, tx, claims, situation, aside(0), aside, None, instead_of=entry_id)


def _rightful(situation: Situation) -> set[Spot | None]:
    """Where the entry and its versions shall be."""
    return {situation.desired.spot, *(version.wanted for version in situation.versions)} - {None}


def _secure_before(tx: Tx, claims: Claims, situation: Situation, steps: list[Step]) -> Protection | None:
    """What must be somewhere else before these steps; None when others must be carried first, and are due now: what is
    recorded inside a folder but does not go with it, and those who need the only copy of a content."""
    staying: list[int] = []
    if situation.kind == Kind.FOLDER and situation.desired.spot is None:
        staying = tx.mirror.stays_below(situation.entry_id)
    if not staying:
        protection = protecting.look(tx, situation, steps)
        if not protection.first and not protection.unclear:
            return protection
        staying = list(protection.first)
    for id in staying:
        make_due(tx, id, claims.now_ns)
    tx.events.put_off(situation.entry_id, claims.now_ns + _BUSY_NS)
    return None


def _take(
    kelp: Kelp,
    tx: Tx,
    claims: Claims,
    situation: Situation,
    draft: list[Step],
    steps_for: Callable[[int], list[Step]],
    oldest: int | None,
    *,
    instead_of: int | None = None,
) -> None:
    """Lease, plan and path leases in this commit; when the paths are not free, the entry waits a moment.

    `draft`: the steps but for their fence. `oldest` of the changes that it carries; None: it only makes way (for
    `instead_of`).
    """
    entry_id, final = situation.entry_id, oldest is not None
    places, shared = claims.ways_of(frozenset(spot.parent_id for spot in spots_of(draft)))
    moves = situation.kind == Kind.FOLDER and situation.recorded.spot is not None
    exclusive = [entry_id] if moves else []
    goal = goal_of(kelp, situation) if final else None
    tx.foresee(partial(tx.leases.blocked, shared, exclusive))
    if goal is not None:
        tx.foresee(partial(tx.leases.heads_for, *goal))
    # Compared by the oldest change of each, which gives one order for all: no two entries wait for each other.
    in_the_way = oldest is not None and claims.waits_before(tx, entry_id, shared, oldest)
    if in_the_way or _is_aimed_at(kelp, tx, claims, draft, goal) or claims.is_blocked(tx, shared, exclusive):
        tx.events.put_off(instead_of or entry_id, claims.now_ns + _BUSY_NS)
        return
    steps: list[Step] = []

    def plan_for(fence: int) -> str:
        steps[:] = steps_for(fence)
        return dump_steps(steps)

    fence = tx.leases.take(entry_id, claims.owner, claims.expires_ns, plan_for, goal or (None, None))
    tx.leases.take_paths(fence, shared, exclusive)
    claims.add_versions(kelp, steps)
    claims.add(Job(fence, situation, tuple(steps), places, final), exclusive=bool(exclusive))


def _is_aimed_at(kelp: Kelp, tx: Tx, claims: Claims, steps: list[Step], goal: Goal | None) -> bool:
    """Somebody's plan puts something where these steps would, or is about the same version."""
    if goal is not None and tx.leases.heads_for(*goal):
        return True
    versions = claims.versions(kelp, tx)
    if goal in versions.places or versions.meets(kelp, steps):
        return True
    return any(tx.leases.heads_for(spot.parent_id, key_of(kelp, spot)) for spot in version_targets(steps))
