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
from dataclasses import dataclass, field, replace
from functools import partial

from vfs import trace
from vfs.core import Kelp
from vfs.errors import KeyMissing
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import ROOT_ID, Content, Kind
from vfs.nas_model import (
    TEMPORARY,
    TRASH,
    Job,
    Move,
    MoveVersion,
    Situation,
    Spot,
    Step,
    Write,
    dump_steps,
    spots_of,
    version_targets,
)
from vfs.operations import changes, homing, protecting
from vfs.operations.mirroring import SECOND, Ways, make_due, read
from vfs.operations.protecting import Protection
from vfs.operations.under_way import VersionsUnderWay, key_of

log = logging.getLogger(__name__)

_BUSY_NS = SECOND // 5  # how long an entry waits that is in another's way
_FAILED_NS = 5 * SECOND  # … or below a folder that could not be made
_READ_NS = 5 * SECOND  # … or is to leave its place while somebody reads it (spec §5)

Planner = Callable[[Situation, int], list[Step]]


@dataclass(slots=True)
class _Claims:
    """What one claiming transaction has taken so far."""

    owner: str
    expires_ns: int
    now_ns: int
    jobs: list[Job] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    homeless: set[int] = field(default_factory=set)
    versions: VersionsUnderWay | None = None
    ways: Ways = field(kw_only=True)
    waiting: dict[tuple[int, ...], int | None] = field(default_factory=dict)  # see `Mirror.waits_to_move`
    free: set[tuple[int, ...]] = field(default_factory=set)  # ways that nobody blocks


@retried
def claim(kelp: Kelp, owner: str, limit: int, planner: Planner) -> tuple[list[Job], int]:
    """Take up to `limit` due entries, oldest first; the jobs, and how many entries needed no work at all."""
    now = kelp.clock.now_ns()
    covered = 0
    with kelp.database.read() as tx:
        if not tx.events.due(now, 1):
            return [], 0
    with kelp.database.deferring(makes=True), kelp.database.write() as tx:
        tx.lock_mirror()
        tx.lock_tree()
        claims = _Claims(owner, now + int(kelp.settings.mirror.lease * SECOND), now, ways=Ways(tx))
        due = list(dict.fromkeys(tx.events.due(now, limit * 4)))
        tx.lock_rows(due)
        for at in range(0, len(due), limit):
            if len(claims.jobs) >= limit:
                break
            covered += _claim_several(kelp, tx, claims, due[at : at + limit], limit, planner)
        traces: dict[int, str] = {}
        small: dict[str, Content] = {}
        if claims.jobs:
            tx.events.start(sorted(claims.taken))
            traces = tx.events.traces([job.situation.event_id for job in claims.jobs])
            small = tx.contents.of_one_object(sorted(_written(claims.jobs)))
    for entry_id in sorted(claims.homeless):
        try:
            homing.bring_home(kelp, entry_id)
        except KeyMissing as error:  # its name is sealed for its folder: a process that has the key does it
            log.warning("entry %s has no folder any more, and stays where it is: %s", entry_id, error)
    return [
        replace(job, trace_id=traces.get(job.situation.event_id, ""), contents=_of(job, small)) for job in claims.jobs
    ], covered


def _written(jobs: Iterable[Job]) -> set[str]:
    """Contents that are to be written; "" for none."""
    return {step.content_id for job in jobs for step in job.steps if isinstance(step, Write)} | {""}


def _of(job: Job, known: dict[str, Content]) -> dict[str, Content]:
    return {id: known[id] for id in _written([job]) if id in known}


def _claim_several(kelp: Kelp, tx: Tx, claims: _Claims, entry_ids: list[int], limit: int, planner: Planner) -> int:
    """Claim these as far as `limit` allows; how many of them needed no work at all."""
    covered = 0
    tx.foresee_ids("mirror_leases", len(entry_ids))
    for entry_id in entry_ids:
        tx.foresee(
            partial(tx.events.span, entry_id),
            partial(tx.mirror.row, entry_id),
            partial(tx.versions.on_nas, entry_id),
        )
    for entry_id in entry_ids:
        if len(claims.jobs) >= limit:
            break
        if entry_id not in claims.taken:
            covered += _claim_one(kelp, tx, claims, entry_id, planner)
    return covered


def _claim_one(kelp: Kelp, tx: Tx, claims: _Claims, entry_id: int, planner: Planner) -> bool:
    """Claim an entry, or give it back for later; True when there was nothing to do for it."""
    events = tx.events.span(entry_id)
    if events is None:
        return False
    oldest, event_id = events
    situation = read(kelp, tx, entry_id, event_id, claims.ways)
    wanted = situation.desired.spot
    steps = planner(situation, 0)
    if not steps:
        was_there = wanted is not None or situation.recorded.spot is not None
        with trace.span("db.sync_event_done"), trace.span("db.storage_available"):
            tx.events.cover({entry_id: event_id}, claims.now_ns, "DONE" if was_there else "CANCELLED")
            tx.events.await_none({entry_id: event_id})
        return True
    if wanted is not None and not _parent_is_there(tx, claims, entry_id, wanted):
        return False
    if _is_read(tx, claims, situation):
        tx.events.put_off(entry_id, claims.now_ns + _READ_NS)
        return False
    obstacle = _obstacle(kelp, tx, claims.ways, situation, steps)
    if obstacle is not None:
        _move_aside(kelp, tx, claims, entry_id, *obstacle)
        return False
    protection = _secure_before(tx, claims, situation, steps)
    if protection is None:
        return False

    def secured(fence: int) -> list[Step]:
        return protecting.secured(planner(situation, fence), protection)

    _take(kelp, tx, claims, situation, protecting.secured(steps, protection), secured, oldest)
    return False


def _parent_is_there(tx: Tx, claims: _Claims, entry_id: int, wanted: Spot) -> bool:
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


def _is_read(tx: Tx, claims: _Claims, situation: Situation) -> bool:
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


def _move_aside(kelp: Kelp, tx: Tx, claims: _Claims, entry_id: int, holder: int, version: str | None = None) -> None:
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


def _secure_before(tx: Tx, claims: _Claims, situation: Situation, steps: list[Step]) -> Protection | None:
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
    claims: _Claims,
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
    places, shared = _ways(claims.ways, spots_of(draft))
    moves = situation.kind == Kind.FOLDER and situation.recorded.spot is not None
    exclusive = [entry_id] if moves else []
    ancestors = sorted(shared - {ROOT_ID, entry_id})
    target = situation.desired.spot if final else None
    goal = (target.parent_id, key_of(kelp, target)) if target is not None else None
    tx.foresee(partial(tx.leases.blocked, sorted(shared), exclusive))
    if goal is not None:
        tx.foresee(partial(tx.leases.heads_for, *goal))
    # Compared by the oldest change of each, which gives one order for all: no two entries wait for each other.
    in_the_way = oldest is not None and _waits_before(tx, claims, ancestors, oldest)
    if in_the_way or _is_aimed_at(kelp, tx, claims, draft, goal) or _is_blocked(tx, claims, shared, exclusive):
        tx.events.put_off(instead_of or entry_id, claims.now_ns + _BUSY_NS)
        return
    steps: list[Step] = []

    def plan_for(fence: int) -> str:
        steps[:] = steps_for(fence)
        return dump_steps(steps)

    fence = tx.leases.take(entry_id, claims.owner, claims.expires_ns, plan_for, goal or (None, None))
    tx.leases.take_paths(fence, sorted(shared), exclusive)
    claims.taken.add(entry_id)
    if exclusive:
        claims.free.clear()
    if claims.versions is not None:
        claims.versions.add(kelp, steps)
    claims.jobs.append(Job(fence, situation, tuple(steps), places, final))


def _waits_before(tx: Tx, claims: _Claims, folders: list[int], event_id: int) -> bool:
    """One of these folders has an older change of its own place: it goes first, else steady writing below it would keep
    it from ever moving."""
    key = tuple(folders)
    if key not in claims.waiting:
        claims.waiting[key] = tx.mirror.waits_to_move(folders) if folders else None
    oldest = claims.waiting[key]
    return oldest is not None and oldest < event_id


def _is_blocked(tx: Tx, claims: _Claims, shared: set[int], exclusive: list[int]) -> bool:
    """What nobody blocks stays so until this transaction itself takes something for one alone."""
    key = tuple(sorted(shared))
    if not exclusive and key in claims.free:
        return False
    blocked = tx.leases.blocked(key, exclusive)
    if not blocked and not exclusive:
        claims.free.add(key)
    return blocked


def _ways(ways: Ways, spots: set[Spot]) -> tuple[dict[int, str], set[int]]:
    """Recorded paths of the folders that these spots are in, and all folders on the ways there."""
    places: dict[int, str] = {ROOT_ID: ""}
    shared: set[int] = set()
    for parent_id in {spot.parent_id for spot in spots}:
        chain = ways.chain(parent_id)
        if chain is not None:
            shared |= set(chain[0])
            places[parent_id] = chain[1]
    return places, shared


def _is_aimed_at(kelp: Kelp, tx: Tx, claims: _Claims, steps: list[Step], goal: tuple[int, str] | None) -> bool:
    """Somebody's plan puts something where these steps would, or is about the same version."""
    if goal is not None and tx.leases.heads_for(*goal):
        return True
    if claims.versions is None:
        claims.versions = VersionsUnderWay.of_all_leases(kelp, tx)
    if goal in claims.versions.places or claims.versions.meets(kelp, steps):
        return True
    return any(tx.leases.heads_for(spot.parent_id, key_of(kelp, spot)) for spot in version_targets(steps))
