"""Claims of what is as usual, which are nearly all: files without versions, whose bytes nobody else needs.

What decides about them is asked for many at once, and before the lock: there they are planned, and their plans put
into words. Under the lock the same is asked again, and what is still the same is taken as it was planned. Whatever is
in somebody's way, or is not as usual, is left to `claiming`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from vfs import trace
from vfs.core import Kelp
from vfs.metadata import claimable
from vfs.metadata.claimable import Claimable
from vfs.metadata.database import Tx
from vfs.metadata.leases import Taken
from vfs.model import Content, State
from vfs.nas_model import Job, Situation, Step, Write, dump_steps, spots_of
from vfs.operations import protecting
from vfs.operations.claims import Claims, Goal, goal_of
from vfs.operations.mirroring import Ways, read_plain

Planner = Callable[[Situation, int], list[Step]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan under a fence that may be another's by then. `plan`: its steps as text; `folders`: those that they name;
    `destroyed`: the content that has a place less after them."""

    facts: Claimable
    situation: Situation
    goal: Goal | None
    fence: int
    steps: tuple[Step, ...]
    plan: str
    folders: frozenset[int]
    destroyed: str | None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What was looked at before the lock; `traces` by event, `contents` by id."""

    drafts: dict[int, Draft] = field(default_factory=dict)
    traces: dict[int, str] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)


def foresee(kelp: Kelp, tx: Tx, entry_ids: Sequence[int], planner: Planner, now_ns: int) -> Foreseen:
    """Of entries that are due; `tx` holds no lock."""
    fence, ways = tx.leases.upcoming() or 0, Ways(tx)
    drafts: dict[int, Draft] = {}
    for facts in claimable.look(tx, entry_ids, now_ns).values():
        if not facts.is_special and facts.newest is not None:
            drafts[facts.row[0]] = _draft(kelp, ways, facts, fence, planner)
            fence += 1
    traces = tx.events.traces([draft.situation.event_id for draft in drafts.values()])
    wanted = written(step for draft in drafts.values() for step in draft.steps)
    return Foreseen(drafts, traces, tx.contents.of_one_object(sorted(wanted)) if wanted else {})


def written(steps: Iterable[Step]) -> set[str]:
    """Contents that are to be written."""
    return {step.content_id for step in steps if isinstance(step, Write)}


def _draft(kelp: Kelp, ways: Ways, facts: Claimable, fence: int, planner: Planner) -> Draft:
    situation = read_plain(ways, facts)
    steps = tuple(planner(situation, fence))
    folders = frozenset(spot.parent_id for spot in spots_of(steps))
    destroyed = situation.recorded.content_id if any(protecting.destroys(step) for step in steps) else None
    goal = goal_of(kelp, situation)
    return Draft(facts, situation, goal, fence, steps, dump_steps(steps), folders, destroyed)


class PlainClaims:
    """Some due entries, under the lock. What is taken is written by `flush`, before anything else is looked at."""

    def __init__(
        self, kelp: Kelp, tx: Tx, claims: Claims, entry_ids: Sequence[int], planner: Planner, foreseen: Foreseen
    ) -> None:
        self._kelp, self._tx, self._claims, self._planner = kelp, tx, claims, planner
        self.facts = claimable.look(tx, entry_ids, claims.now_ns)
        self._foreseen = foreseen
        self._drafts: dict[int, Draft] = {}
        for id in entry_ids:
            draft = self._redraft(id)
            if draft is not None:
                self._drafts[id] = draft
        self._met = self._names_taken()
        self._leave_what_is_shared()
        self._leases: list[Taken] = []
        self._done: dict[str, dict[int, int]] = {"DONE": {}, "CANCELLED": {}}

    def _leave_what_is_shared(self) -> None:
        """… just now, or since it was looked at: who needs it is asked after who is about to, else one is missed who
        commits in between."""
        if self._tx.holds_all:
            return
        going = {id: draft.destroyed for id, draft in self._drafts.items() if draft.destroyed is not None}
        contents = sorted(set(going.values()))
        self._tx.foresee(*(partial(self._tx.is_being_shared, content) for content in contents))
        shared = {content for content in contents if self._tx.is_being_shared(content)}
        needed = claimable.others_have(self._tx, sorted(going)) if going else set()
        for id, content in going.items():
            if content in shared or id in needed:
                del self._drafts[id]

    def _redraft(self, id: int) -> Draft | None:
        """As it was foreseen, or anew when something is another by now; None: it is not as usual."""
        facts, draft = self.facts.get(id), self._foreseen.drafts.get(id)
        if facts is None or facts.is_special or facts.newest is None:
            return None
        if draft is not None and draft.facts == facts and self._is_in_its_folder(draft.situation, facts):
            return draft
        return _draft(self._kelp, self._claims.ways, facts, self._tx.new_id("mirror_leases") or 0, self._planner)

    def _is_in_its_folder(self, situation: Situation, facts: Claimable) -> bool:
        """… or not, as the folder is there or not."""
        state, parent_id = facts.row[4:6]
        if state != State.ACTIVE.value:
            return True
        return (situation.desired.spot is None) == self._claims.ways.is_gone(parent_id)

    def _names_taken(self) -> dict[Goal, set[int]]:
        """Who is where these shall come, or is about to; 0: somebody's plan says so."""
        keys: dict[int, set[str]] = {}
        for draft in self._drafts.values():
            if draft.steps and draft.goal is not None:
                keys.setdefault(draft.goal[0], set()).add(draft.goal[1])
        met: dict[Goal, set[int]] = {}
        for parent_id, wanted in keys.items():
            for key, id in claimable.names_taken(self._tx, parent_id, sorted(wanted)):
                met.setdefault((parent_id, key), set()).add(id)
        return met

    def take(self, id: int) -> bool:
        """False: it is not as usual, or something is in its way."""
        draft = self._drafts.get(id)
        if draft is None:
            return False
        situation = draft.situation
        if not draft.steps:
            was_there = situation.desired.spot is not None or situation.recorded.spot is not None
            self._done["DONE" if was_there else "CANCELLED"][id] = situation.event_id
            self._claims.covered += 1
            return True
        places, ways = self._claims.ways_of(draft.folders)
        draft = self._numbered(draft)
        if not draft.fence or self._is_in_a_way(draft, ways):
            return False
        self._leases.append(Taken(draft.fence, id, draft.plan, draft.goal or (None, None), ways))
        self._claims.add(Job(draft.fence, situation, draft.steps, places), draft.goal)
        return True

    def _is_in_a_way(self, draft: Draft, ways: tuple[int, ...]) -> bool:
        """Its own, or another's."""
        tx, claims, id, goal = self._tx, self._claims, draft.situation.entry_id, draft.goal
        if goal is not None and (
            claims.ways.chain(goal[0]) is None
            or goal in claims.goals
            or self._met.get(goal, set()) - {id}
            or goal in claims.versions(self._kelp, tx).places
        ):
            return True
        return claims.waits_before(tx, id, ways, draft.facts.oldest or 0) or claims.is_blocked(tx, ways, [])

    def _numbered(self, draft: Draft) -> Draft:
        """Fences grow, whoever takes them; on PostgreSQL by a sequence, which has been asked."""
        fence = max(self._claims.fence + 1, draft.fence) if self._tx.commits_in_order else draft.fence
        if fence == draft.fence:
            return draft
        steps = tuple(self._planner(draft.situation, fence))
        return replace(draft, fence=fence, steps=steps, plan=dump_steps(steps))

    def flush(self) -> None:
        """Write what was taken."""
        tx, claims = self._tx, self._claims
        for status, upto in self._done.items():
            if upto:
                with trace.span("db.sync_event_done"), trace.span("db.storage_available"):
                    tx.events.cover(upto, claims.now_ns, status)
                    tx.events.await_none(upto)
                upto.clear()
        if self._leases:
            tx.leases.take_all(self._leases, claims.owner, claims.expires_ns)
            self._leases.clear()
