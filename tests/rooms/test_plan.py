"""The planner alone: carried out on a NAS that is a dict, its steps reach what is desired and lose nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import example, given
from hypothesis import strategies as st

from jobs.plan import plan
from vfs.model import Kind
from vfs.nas_model import Desired as Wish
from vfs.nas_model import (
    DropVersion,
    Keep,
    MakeFolder,
    Move,
    MoveVersion,
    NasVersion,
    Recorded,
    Remove,
    Situation,
    Spot,
    Step,
    Touch,
    Write,
    WriteVersion,
    dump_steps,
    is_private,
    load_steps,
)

FOLDER = "a folder"
SPOTS = (Spot(1, "20260101000000__f"), Spot(7, "20260101000000__f"), Spot(1, ".trash/20260102000000__u/f"))
ELSEWHERE = Spot(1, ".kelp/tmp/held-5-3")
CONTENTS = ("A", "B", "C")
TIMES = (0, 1_500_000_000, 1_700_000_000, 5_000_000_000)


def _versions(draw: st.DrawFn) -> tuple[NasVersion, ...]:
    versions = []
    for number in range(draw(st.integers(0, 3))):
        place = Spot(1, f".kelp/versions/5/{number}")
        here = place if draw(st.booleans()) else None
        wanted = place if draw(st.booleans()) else None
        content = draw(st.sampled_from(CONTENTS))
        versions.append(NasVersion(f"v{number}", content, number, _seen(here, content, number), wanted))
    return tuple(versions)


def _versions_in_tree(draw: st.DrawFn, spot: Spot | None, there: Spot | None) -> tuple[NasVersion, ...]:
    """Anywhere beside the file, each where another one was or where the file was, but nowhere twice."""
    places = [Spot(folder, f"2026010100000{n}__f") for folder in (1, 7) for n in range(4)]
    taken, wished = {there}, {spot}
    versions = []
    for number in range(draw(st.integers(0, 3))):
        here = draw(st.sampled_from([None, *(place for place in places if place not in taken)]))
        wanted = draw(st.sampled_from([None, *(place for place in places if place not in wished)]))
        if here is None and wanted is None:
            continue
        taken |= {here}
        wished |= {wanted}
        content = draw(st.sampled_from(CONTENTS))
        versions.append(NasVersion(f"v{number}", content, number, _seen(here, content, number), wanted))
    return tuple(versions)


def _seen(spot: Spot | None, content: str, number: int) -> Recorded:
    return Recorded(spot, content, 1, number, 10 + number) if spot else Recorded()


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    kind = draw(st.sampled_from((Kind.FILE, Kind.FOLDER)))
    is_file = kind == Kind.FILE
    spot = draw(st.sampled_from((None, *SPOTS)))
    wish = Wish(spot, draw(st.sampled_from(CONTENTS)) if spot and is_file else None, draw(st.sampled_from(TIMES)))
    there = draw(st.sampled_from((None, ELSEWHERE, *SPOTS)))
    have = Recorded(there)
    if there and is_file:
        have = Recorded(there, draw(st.sampled_from(CONTENTS)), 1, draw(st.sampled_from(TIMES)), 1)
    versions: tuple[NasVersion, ...] = ()
    if is_file:
        versions = _versions_in_tree(draw, spot, there) if draw(st.booleans()) else _versions(draw)
    return Situation(5, "uuid", kind, "f", wish, have, versions, 9)


@dataclass
class DictNas:
    """Places of one entry, and what is recorded of it."""

    at: dict[Spot, str]
    recorded: Recorded
    versions: dict[str, Recorded]

    @classmethod
    def of(cls, situation: Situation) -> DictNas:
        here: dict[Spot, str] = {v.spot: v.content_id for v in situation.versions if v.spot is not None}
        if situation.recorded.spot is not None:
            here[situation.recorded.spot] = situation.recorded.content_id or FOLDER
        return cls(here, situation.recorded, {v.uuid: v.recorded for v in situation.versions})

    def do(self, step: Step) -> None:
        match step:
            case MakeFolder(spot):
                self._new(spot, FOLDER)
                self.recorded = Recorded(spot)
            case Move(source, target):
                self._new(target, self.at.pop(source))
                self.recorded = replace(self.recorded, spot=target)
            case Write(spot, content, mtime_ns, _, replaces):
                assert replaces == (spot in self.at)
                self.at[spot] = content
                self.recorded = Recorded(spot, content, 1, mtime_ns, 2)
            case Touch(spot, mtime_ns):
                assert spot in self.at
                self.recorded = replace(self.recorded, mtime_ns=mtime_ns)
            case Keep(version, spot, target):
                content = self.at[spot]
                if not is_private(target):
                    del self.at[spot]
                    self.recorded = Recorded()
                self._new(target, content)
                self.versions[version] = Recorded(target, content)
            case MoveVersion(version, source, target):
                assert self.versions[version].spot == source
                self._new(target, self.at.pop(source))
                self.versions[version] = replace(self.versions[version], spot=target)
            case WriteVersion(version, content, _, _, target):
                self._new(target, content)
                self.versions[version] = Recorded(target, content)
            case DropVersion(version, spot):
                assert self.versions[version].spot == spot
                del self.at[spot]
                self.versions[version] = Recorded()
            case Remove(spot, folder):
                assert (self.at.pop(spot) == FOLDER) == folder
                self.recorded = Recorded()

    def _new(self, place: Spot, content: str) -> None:
        assert place not in self.at, f"{place} is taken"
        self.at[place] = content


def needed(situation: Situation) -> set[str]:
    kept = {version.content_id for version in situation.versions if version.wanted is not None}
    return kept | ({situation.desired.content_id} if situation.desired.content_id else set())


def carried_out(situation: Situation, nas: DictNas) -> Situation:
    """What the mirror reads after the steps: versions that left the NAS are not read any more."""
    versions = (replace(v, recorded=nas.versions[v.uuid]) for v in situation.versions)
    return replace(situation, recorded=nas.recorded, versions=tuple(versions))


@given(situations())
@example(Situation(5, "u", Kind.FILE, "f", Wish(SPOTS[1], "B", 0), Recorded(SPOTS[0], "A", 1, 0, 1), (), 9))
def test_the_steps_reach_what_is_desired_and_nothing_is_left_to_do(situation: Situation) -> None:
    nas = DictNas.of(situation)
    there = set(nas.at.values())
    for step in plan(situation, 4):
        nas.do(step)
        lost = (needed(situation) & there) - set(nas.at.values())
        assert not lost, f"{lost} is nowhere after {step}"
        spots = [seen.spot for seen in (nas.recorded, *nas.versions.values()) if seen.spot is not None]
        assert len(set(spots)) == len(spots), f"two at one place after {step}"
    wish = situation.desired
    expected: dict[Spot, str] = {v.wanted: v.content_id for v in situation.versions if v.wanted is not None}
    if wish.spot is not None:
        expected[wish.spot] = wish.content_id or FOLDER
    assert nas.at == expected
    assert nas.recorded.spot == wish.spot and nas.recorded.content_id == wish.content_id
    assert plan(carried_out(situation, nas), 5) == []


@given(situations(), st.integers(0, 8))
def test_what_was_cut_short_and_recorded_is_planned_to_its_end(situation: Situation, number: int) -> None:
    nas = DictNas.of(situation)
    for step in plan(situation, 4)[:number]:
        nas.do(step)
    halfway = carried_out(situation, nas)
    for step in plan(halfway, 5):
        nas.do(step)
    assert plan(carried_out(situation, nas), 6) == []


@given(situations(), st.integers(1, 10_000))
def test_temporary_names_are_one_plans_own(situation: Situation, fence: int) -> None:
    temps = [step.temp for step in plan(situation, fence) if isinstance(step, Write | WriteVersion)]
    assert len(set(temps)) == len(temps)
    assert all(temp.startswith(f".kelp/tmp/{fence}-") for temp in temps)
    removed = [step.spot for step in plan(situation, fence) if isinstance(step, Remove) and step.folder]
    assert all(spot.name.endswith(f"-{fence}") for spot in removed), "a folder goes by a name of this plan"


@given(situations(), st.integers(0, 10))
def test_a_plan_is_the_same_each_time_and_survives_being_recorded(situation: Situation, fence: int) -> None:
    steps = plan(situation, fence)
    assert plan(situation, fence) == steps
    assert load_steps(dump_steps(steps)) == steps


def test_a_plan_that_an_earlier_program_recorded_can_be_settled() -> None:
    text = """[{"step": "Keep", "version": "v", "spot": [7, "f"], "path": ".kelp/versions/5/v"},
              {"step": "DropVersion", "version": "w", "path": ".kelp/versions/5/w"}]"""
    kept, dropped = Spot(1, ".kelp/versions/5/v"), Spot(1, ".kelp/versions/5/w")
    assert load_steps(text) == [Keep("v", Spot(7, "f"), kept), DropVersion("w", dropped)]
