"""The mirror's side of the database: what the NAS shall have and has, leases, what is due (design §5).

A claim (`claiming`) is one commit, which is on the disk before the NAS shows anything of it. Then comes NAS work, with
no transaction open. Then one commit records it (`recording`), which no disk need have: who finds an expired lease, or
after a power cut one that was recorded already, settles its plan by looking first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from vfs import names, trace
from vfs.core import Kelp
from vfs.errors import ObjectMissing
from vfs.metadata.claimable import Claimable
from vfs.metadata.database import Tx
from vfs.metadata.manifests import Kept
from vfs.metadata.retrying import retried
from vfs.metadata.verifying import NasCopy
from vfs.model import ROOT_ID, Content, EventType, Kind, State
from vfs.nas_model import (
    TEMPORARY,
    TRASH,
    VERSIONS,
    Desired,
    Job,
    NasVersion,
    Recorded,
    Situation,
    Spot,
    Step,
    is_private,
    is_sealed,
    load_steps,
    note_of,
    spots_of,
)

SECOND = 1_000_000_000
_REMOVALS = (EventType.TRASH, EventType.DELETE)
_MANY = 10_000  # changes that wait: who looks at each of them ten times a second is slower than who carries them
_ABSURD_NS = 3600 * SECOND  # no lease is so far ahead, by clocks that are right

# --- what the NAS shall have, and has -------------------------------------------------------------


class Ways:
    """What leads to entries, asked once by a transaction that changes nothing of it: they come in neighbours."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._chains: dict[int, tuple[list[int], str] | None] = {}
        self._gone: dict[int, bool] = {}

    def chain(self, folder_id: int) -> tuple[list[int], str] | None:
        """See `Mirror.nas_chain`."""
        if folder_id not in self._chains:
            self._chains[folder_id] = self._tx.mirror.nas_chain(folder_id)
        return self._chains[folder_id]

    def is_gone(self, folder_id: int) -> bool:
        """It is DELETED, itself or with what it is in."""
        if folder_id not in self._gone:
            above = self._tx.entries.ancestors(folder_id)
            nearest = next((own for _, own, _ in above if own != State.ACTIVE), State.ACTIVE)
            self._gone[folder_id] = nearest == State.DELETED
        return self._gone[folder_id]


def read(
    kelp: Kelp, tx: Tx, entry_id: int, event_id: int, ways: Ways | None = None, row: Sequence[Any] | None = None
) -> Situation:
    """All that the planner looks at, for one entry; `row` (see `Mirror.row`) where it was asked for already."""
    ways = ways or Ways(tx)
    row = row or tx.mirror.row(entry_id)
    (_, uuid, kind, name, state, parent_id, content_id, mtime_ns, desired_name, *recorded, manifest) = row
    spot = _desired_spot(tx, ways, entry_id, uuid, State(state), parent_id, desired_name)
    nas_parent, nas_name, *seen = recorded
    have = Recorded(None if nas_name is None else Spot(nas_parent, nas_name), *seen)
    desired = Desired(spot, content_id if spot else None, mtime_ns, manifest=manifest if spot else None)
    versions = _versions(tx, ways, entry_id, name, desired, have) if kind == Kind.FILE.value else ()
    desired = replace(desired, note=_note(ways, name, spot, versions))
    return Situation(entry_id, uuid, Kind(kind), name, desired, have, versions, event_id)


def read_plain(ways: Ways, facts: Claimable) -> Situation:
    """The same of a file that has no versions, and whose bytes on the NAS no version shall have."""
    (id, uuid, kind, name, state, parent_id, content_id, mtime_ns, desired_name, *recorded, manifest) = facts.row
    spot = None
    if state == State.TRASHED.value:
        spot = _trash_spot(uuid, facts.trashed_ns, desired_name)
    elif state == State.ACTIVE.value and not ways.is_gone(parent_id):
        spot = Spot(parent_id, desired_name)
    nas_parent, nas_name, *seen = recorded
    have = Recorded(None if nas_name is None else Spot(nas_parent, nas_name), *seen)
    wanted = content_id if spot else None
    desired = Desired(spot, wanted, mtime_ns, _note(ways, name, spot, ()), manifest if spot else None)
    return Situation(id, uuid, Kind(kind), name, desired, have, (), facts.newest or 0)


def _note(ways: Ways, name: str, spot: Spot | None, versions: tuple[NasVersion, ...]) -> str | None:
    if spot is None:
        return None
    kept = any(version.wanted is not None and is_private(version.wanted) for version in versions)
    chain = ways.chain(spot.parent_id) if kept else None
    return note_of(name, spot.name, chain[1] if chain is not None else None)


def _desired_spot(
    tx: Tx, ways: Ways, id: int, uuid: str, state: State, parent_id: int, desired_name: str
) -> Spot | None:
    """In its folder, wherever that is; in the trash when trashed itself; nowhere when it or what it is in is gone."""
    if state == State.DELETED:
        return None
    if state == State.TRASHED:
        record = tx.trash.record(id)
        return _trash_spot(uuid, record[1] if record else None, desired_name)
    return None if ways.is_gone(parent_id) else Spot(parent_id, desired_name)


def _trash_spot(uuid: str, trashed_ns: int | None, desired_name: str) -> Spot:
    stamp = "00000000000000" if trashed_ns is None else names.stamp(trashed_ns)
    return Spot(ROOT_ID, f"{TRASH}/{stamp}__{uuid}/{desired_name}")


def _versions(tx: Tx, ways: Ways, entry_id: int, name: str, desired: Desired, have: Recorded) -> tuple[NasVersion, ...]:
    """Older contents; a removed file may hand its bytes to the version that another file keeps of them."""
    found = []
    for uuid, state, content_id, created_ns, own_name, manifest, *seen_there in tx.versions.on_nas(entry_id):
        seen = _recorded_version(content_id, *seen_there)
        wanted = None
        if state == "kept":
            wanted = _version_spot(entry_id, uuid, created_ns, name, desired.spot, own_name, seen.spot)
        found.append(NasVersion(uuid, content_id, created_ns, seen, wanted, manifest))
    if desired.spot is None and have.content_id is not None and have.spot is not None:
        found += _heir(tx, ways, entry_id, name, have.content_id, have.spot)
    return tuple(found)


def _recorded_version(
    content_id: str, parent_id: int, path: str | None, size: int, mtime_ns: int, inode: int, manifest: str | None
) -> Recorded:
    spot = None if path is None else Spot(parent_id, path)
    return Recorded(spot, content_id, size, mtime_ns, inode, manifest=manifest)


def _version_spot(
    entry_id: int, uuid: str, created_ns: int, name: str, file: Spot | None, own_name: str | None, there: Spot | None
) -> Spot | None:
    """Below .kelp, or with a name of its own beside the file, wherever that is; it goes when the file's folder does."""
    if own_name is None:
        kept_there = there is not None and there.name.startswith(f"{VERSIONS}/")
        return there if kept_there else Spot(ROOT_ID, _version_path(entry_id, uuid, created_ns, name))
    return there if file is None else file._replace(name=f"{file.name.rpartition('/')[0]}/{own_name}".lstrip("/"))


def _heir(tx: Tx, ways: Ways, entry_id: int, name: str, content_id: str, file: Spot) -> list[NasVersion]:
    """A file in the tree is handed over where it is; a second name below .kelp can be given it from anywhere."""
    for uuid, owner_id, created_ns, own_name in tx.mirror.heirs(content_id, entry_id):
        if tx.leases.held(owner_id):
            continue
        spot: Spot | None = Spot(ROOT_ID, _version_path(owner_id, uuid, created_ns, name))
        if own_name is not None:
            (_, owner_uuid, _, _, state, parent_id, _, _, desired_name, *_) = tx.mirror.row(owner_id)
            beside = _desired_spot(tx, ways, owner_id, owner_uuid, State(state), parent_id, desired_name)
            spot = _version_spot(owner_id, uuid, created_ns, name, beside, own_name, None)
            if spot != file:
                continue
        return [NasVersion(uuid, content_id, created_ns, Recorded(), spot, tx.manifests.digest(uuid))]
    return []


def _version_path(entry_id: int, uuid: str, created_ns: int, name: str) -> str:
    extension = "" if is_sealed(name) else names.extension(name)
    return f"{VERSIONS}/{entry_id}/{names.stamp(created_ns)}~{names.short(uuid)}{extension}"


def content_of(kelp: Kelp, content_id: str) -> Content:
    """Raises ObjectMissing."""
    content = kelp.database.keep(content_id, lambda tx: tx.contents.get(content_id))
    if content is None:
        raise ObjectMissing(f"content {content_id} is unknown")
    return content


def copies_of(kelp: Kelp, content_id: str) -> list[NasCopy]:
    """Files on the NAS that are recorded to have a content."""
    with kelp.database.read() as tx:
        return tx.verifying.copies(content_id)


def manifest_of(kelp: Kelp, subject: str) -> Kept | None:
    """The manifest that an entry of a vault (its id), or a version (its uuid), shall have now."""
    with kelp.database.read() as tx:
        return tx.manifests.get(subject)


def tree_of(kelp: Kelp, folder_id: int) -> list[tuple[str, str, int | None, int | None, int | None, bool]]:
    """What is recorded below a folder on the NAS, deepest first: (relative path, kind, size, mtime_ns, id if noted,
    whether it has a manifest)."""
    with kelp.database.scan() as tx:
        return tx.mirror.tree_below(folder_id)


# --- leases ---------------------------------------------------------------------------------------


def still_mine(kelp: Kelp, job: Job) -> bool:
    """The fence check, right before a step touches the tree.

    What is in memory may be from before the last renewal, which is a quiet commit; a take-over is none.
    """
    expires = kelp.database.ahead(("lease", job.fence), partial(_expiries, job.fence))
    if expires is not None and expires <= kelp.clock.now_ns():
        with kelp.database.read() as tx:
            expires = tx.leases.expires(job.fence)
    return expires is not None and expires > kelp.clock.now_ns()


def _expiries(fence: int, tx: Tx, more: list[tuple[Hashable, int | None]]) -> int | None:
    """Of a lease; those that come after it are asked for next."""
    found = tx.leases.expires_from(fence)
    more.extend((("lease", id), expires) for id, expires in found.items())
    return found.get(fence)


@retried
def renew(kelp: Kelp, owner: str) -> None:
    """Whoever holds no lease commits nothing."""
    with kelp.database.read() as tx:
        if not tx.leases.any_of(owner):
            return
    with kelp.database.write(quiet=True) as tx:
        tx.leases.renew(owner, kelp.clock.now_ns() + int(kelp.settings.mirror.lease * SECOND))


@retried
def expire_all(kelp: Kelp) -> None:
    """For the process that alone runs the jobs of an embedded drive: all earlier holders are dead."""
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.leases.expire_all()


@retried
def take_over(kelp: Kelp, owner: str, limit: int) -> list[Job]:
    """Expired leases with their plans, under new fences, to be settled. Paths are as recorded now."""
    now = kelp.clock.now_ns()
    expires = now + int(kelp.settings.mirror.lease * SECOND)
    with kelp.database.read() as tx:
        if not tx.leases.any_stale(now, expires + _ABSURD_NS):
            return []
    jobs = []
    with kelp.database.write() as tx:
        tx.lock_mirror()
        for fence, entry_id, plan in tx.leases.take_over(owner, now, expires, expires + _ABSURD_NS, limit):
            steps = load_steps(plan)
            situation = _with_others_versions(tx, read(kelp, tx, entry_id, 0), steps)
            jobs.append(Job(fence, situation, tuple(steps), _places(tx, steps)))
    return jobs


def _with_others_versions(tx: Tx, situation: Situation, steps: Iterable[Step]) -> Situation:
    """A version that the plan is about may be another file's by now."""
    own = {version.uuid for version in situation.versions}
    others = {uuid for step in steps if (uuid := getattr(step, "version", "")) and uuid not in own}
    found = [version for uuid in sorted(others) for version in _version(tx, uuid)]
    return replace(situation, versions=(*situation.versions, *found)) if found else situation


def _version(tx: Tx, uuid: str) -> Iterable[NasVersion]:
    for content_id, created_ns, *seen_there in tx.versions.on_nas_of(uuid):
        seen = _recorded_version(content_id, *seen_there)
        yield NasVersion(uuid, content_id, created_ns, seen, seen.spot)


def _places(tx: Tx, steps: Iterable[Step]) -> dict[int, str]:
    places = {ROOT_ID: ""}
    for parent_id in {spot.parent_id for spot in spots_of(steps)} - {ROOT_ID}:
        if (chain := tx.mirror.nas_chain(parent_id)) is not None:
            places[parent_id] = chain[1]
    return places


@retried
def abandon(kelp: Kelp, jobs: Sequence[Job]) -> None:
    """Nobody knows how far these came (the NAS went away): whoever works next settles them by looking."""
    with kelp.database.write() as tx:
        for job in jobs:
            tx.run("UPDATE mirror_leases SET expires_ns = 0 WHERE id = :id", id=job.fence)


# --- what is due ---


def make_due(tx: Tx, entry_id: int, now_ns: int) -> None:
    """The entry is carried soon, whatever it waits for by itself; a FAILED one is tried again."""
    tx.events.retry_failed(entry_id, now_ns)
    tx.events.expedite(entry_id, now_ns)
    if tx.events.newest(entry_id) is None:
        kind = Kind(tx.mirror.row(entry_id)[2])
        tx.events.add(
            entry_id, kind, EventType.SYNC, source=None, target=None,
            trace_id=trace.current(), now_ns=now_ns, scheduled_ns=now_ns, litter=False,
        )  # fmt: skip


def sweep(kelp: Kelp) -> bool:
    """Give back what a dead worker had, and what a clock set back keeps waiting; True when something is due."""
    _give_back(kelp)
    return is_due(kelp, 1)


@retried
def _give_back(kelp: Kelp) -> None:
    """It looks first: a commit a second would empty the memories of all processes each time."""
    with kelp.database.read() as tx:
        if not tx.events.any_abandoned(kelp.clock.now_ns()):
            return
    with kelp.database.write() as tx:
        tx.lock_mirror()
        tx.events.give_back_abandoned()
        tx.events.pull_back(kelp.clock.now_ns())


def is_due(kelp: Kelp, at_least: int) -> bool:
    """At least so many changes wait to be carried now, or something is to be settled."""
    with kelp.database.read() as tx:
        now = kelp.clock.now_ns()
        stale = tx.leases.any_stale(now, now + int(kelp.settings.mirror.lease * SECOND) + _ABSURD_NS)
        return stale or len(tx.events.due(now, at_least)) >= at_least


def only_removes(kelp: Kelp) -> bool:
    """Whatever waits to be carried now takes something away, and it is not very much: say, while the NAS is away."""
    with kelp.database.read() as tx:
        return tx.events.due_are(_REMOVALS, kelp.clock.now_ns(), _MANY)


def leftovers(kelp: Kelp, found: Iterable[str]) -> list[str]:
    """Of the names found in the NAS's temporary folder, those that nobody needs any more."""
    with kelp.database.scan() as tx:
        held = tx.mirror.held_aside()
        plans = tx.leases.plans()
    # A plan names its temporary files under the fence it was made with, also when a successor holds it.
    needed = {part for plan in plans.values() for part in plan.split('"')} | held
    return [
        name
        for name in found
        if f"{TEMPORARY}/{name}" not in needed
        and not any(part.isdigit() and int(part) in plans for part in name.split("-"))
    ]
