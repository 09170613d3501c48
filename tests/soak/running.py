"""A soak: everybody at work, then rest and a look, and again, to the end; then what was found."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from tests.soak.drive import SoakDrive, soak_drive
from tests.soak.habits import HABITS, list_folder
from tests.soak.person import Person, Spell
from tests.soak.report import Report, latencies
from tests.soak.watching import Watch, grown, slope

_LONGEST_REQUEST = 120.0  # seconds until a person who hangs is given up
_HURRY = 4  # times as fast until it is warm: what is kept in memory up to a bound shall have reached it by then
_SLOPE = 5.0  # MiB per hour that memory may grow (the issue's)


@dataclass(frozen=True)
class Plan:
    """Times in seconds. `check`: between two looks; `warm`: until memory is judged; `judged`: whether it is."""

    seconds: float = 3600
    check: float = 300
    warm: float = 900
    people: int = 6
    pause: float = 0.2  # of each person between two things, on average
    sample: float = 5
    judged: bool = True
    seed: int = field(default_factory=lambda: random.randrange(1, 1_000_000))

    @classmethod
    def of_environment(cls) -> Plan:
        """SOAK_SECONDS, SOAK_CHECK …; see the fields."""
        given = {name: os.environ.get(f"SOAK_{name.upper()}") for name in cls.__dataclass_fields__}
        kinds: dict[str, Callable[[str], object]] = {"people": int, "seed": int, "judged": lambda word: word != "0"}
        chosen = {name: kinds.get(name, float)(text) for name, text in given.items() if text}
        if "warm" not in chosen and "seconds" in chosen:
            chosen["warm"] = min(cls.warm, float(str(chosen["seconds"])) / 4)
        return cls(**chosen)  # type: ignore[arg-type]


def soak(plan: Plan, folder: Path, say: Callable[[str], object] = lambda line: None) -> Report:
    """Work on a new drive in `folder` and look. Nothing is raised for what is wrong: it stands in the report."""
    with soak_drive(folder) as drive:
        watch = Watch(drive.processes, plan.sample)
        people = [Person([drive.server], drive.kelp, number, plan.seed) for number in range(plan.people)]
        report = Report(plan)
        watch.start()
        try:
            for person in people:
                person.arrive()
            while watch.now < plan.seconds and not report.wrong:
                is_warm = watch.now >= plan.warm
                until = plan.seconds if is_warm else min(plan.warm, plan.seconds)
                pause = plan.pause if is_warm else plan.pause / _HURRY
                _work(people, Spell(threading.Event(), pause), min(plan.check, max(until - watch.now, 1)))
                say(f"{watch.now:5.0f} s: {sum(p.did.total() for p in people)} things done; now everybody rests")
                report.wrong += _look(drive, people)
                report.sizes.append({"second": int(watch.now), **drive.sizes()})
            if plan.judged and not report.wrong:
                report.wrong += drive.wait_until_freed()
            report.seconds = watch.now
        finally:
            watch.stop()
            for person in people:
                person.close()
        _judge(report, watch, drive, people)
        drive.server.stop()
        report.wrong += [f"while it ended: {line}" for line in drive.new_log_lines()]
    return report


def _work(people: list[Person], spell: Spell, seconds: float) -> None:
    threads = [threading.Thread(target=person.work, args=(HABITS, spell), daemon=True) for person in people]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until and not any(person.wrong for person in people):
        time.sleep(0.2)
    spell.stop.set()
    for thread in threads:
        thread.join(_LONGEST_REQUEST)
    for person, thread in zip(people, threads, strict=True):
        if thread.is_alive():
            person.wrong.append(f"{person.home[0]} hangs")


def _look(drive: SoakDrive, people: list[Person]) -> list[str]:
    """Every file and every listing through the drive; the NAS; the log; what there is of everything."""
    wrong = [complaint for person in people for complaint in person.wrong]
    if not wrong:
        with ThreadPoolExecutor(4) as pool:
            wrong += [complaint for found in pool.map(_verify, people) for complaint in found]
    if not wrong:
        wrong += drive.complaints([person.as_tree() for person in people])
    wrong += [f"logged: {line}" for line in drive.new_log_lines()]
    return wrong + drive.replaced() + drive.too_much()


def _verify(person: Person) -> list[str]:
    try:
        for path, document in person.files().items():
            person.require_bytes(f"GET {path}", person.ask("GET", path, 200).body, document.data())
        list_folder(person)
    except Exception as error:  # whatever it is, it is to be reported with all else that was found
        return [f"{person.home[0]}, while all rested: {error}"]
    return []


def _judge(report: Report, watch: Watch, drive: SoakDrive, people: list[Person]) -> None:
    for person in people:
        report.did.update(person.did)
    report.latencies = latencies([person.seconds for person in people])
    report.wrong += drive.replaced()
    rises: defaultdict[str, list[float]] = defaultdict(list)
    for name, samples in watch.samples.items():
        report.memory[name] = (samples, rise := slope(samples, report.plan.warm))
        if rise.mib_per_hour is not None:
            rises[name.rpartition(" ")[0]].append(rise.mib_per_hour)
        if report.plan.judged:
            report.wrong += [f"{name}: {what}" for what in grown(samples, report.plan.warm)]
    # Processes of one kind share the work, at one time this one has more of it, at another that one.
    for kind, of_kind in rises.items():
        if report.plan.judged and (mean := fmean(of_kind)) >= _SLOPE:
            report.wrong.append(f"{kind}: the memory of each grows by {mean:.1f} MiB per hour")
