"""Kelp's mount beside `rclone mount --vfs-cache-mode full` of a local folder, and the disk.

In one run: `make bench-fuse`, `python -m bench.fuse --help`. A complete run is kept in `bench/results/step6.md`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import file_cases, mounts, report
from bench.client import Failed
from bench.command import say
from bench.file_cases import BIG, CASES, CHANGING, STORED, UNSYNCED, Pass, Reading, Sizes
from bench.mounts import DISK, KELP, RCLONE, RCLONE_SYNCED, SYNCED, Mounted
from bench.peers import ROOT

_RESULTS = ROOT / "bench" / "results"
_ENOUGH = 120.0  # seconds; who took that long for its small files is not asked another time
_TITLE = "# Step 6: Kelp's mount beside rclone's and the disk"
_NOTES = """\
- Each cell is the median of the rounds; the folders take turns in each. More is better, but for CPU time.
- One program, one thread, the same for all. rclone has a local folder behind it, Kelp its cache and a NAS folder, on
  the same disk. What goes on behind a mount (the mirror, rclone's write-back, which begins after 0.1 s instead of 5)
  runs along with a case that writes, and has come to rest before the next case, and before the next folder's turn.
- What writes is timed as the program sees it, and until all is stored behind the mount: with Kelp on the NAS, synced;
  with rclone in the folder (its rc says that nothing is being uploaded), unsynced. rclone answers a removal when its
  folder has it; Kelp carries removals when none has come for 0.1 s, or after 20 s.
- A file that is closed is durable with Kelp; with rclone it is in its cache, unsynced, also after fsync, which it
  answers without doing anything, and with --vfs-write-back 0 too, since it hears of a close only afterwards. LD_PRELOAD
  does nothing to a Go program. So with "rclone, synced" the program itself syncs, before it closes a file (the big one:
  after its fsync), what rclone has of it in its cache: the bytes, the notes about them, and the folder of either, each
  by one fsync. The targets of what is written are about this one. It is stricter than an fsync of file and folder by
  the notes and their folder, without which rclone would not know after a power cut what it has; laxer, because neither
  what rclone notes at the release, nor the file in the folder behind it is ever synced.
- A removal is durable nowhere before somebody syncs its folder: with Kelp a second later at most, on the disk some
  seconds. So there are two cases, each with half of the files. "unlink" is no more than that, for all. With "unlink,
  sync the folder" the program has the folder open and has an fsync of it after each removal. To rclone that is
  nothing, so with "rclone, synced" one of the folder behind it follows, from where rclone has removed the file by
  then: that decides whether it comes back after a power cut, since what its cache has of it was carried before.
- "disk" does no more than the program says, "disk, synced" has an fsync before each close; stored: after sync(1).
- Reads: what the kernel has of a mount's file is dropped before, so the mount's process answers; its own files are in
  the kernel's memory, as is the file of "disk". Before the small files are made the disk is synced, and what the kernel
  has of it dropped: ext4 looks past the inodes that were removed lately, which would be those of the folder before."""


@dataclass
class Results:
    """`readings`: by case, by folder, by round. `about`: the circumstances, a line each."""

    about: list[str]
    readings: dict[str, dict[str, list[Reading]]] = field(default_factory=dict)

    def rate(self, key: str, label: str) -> float | None:
        found = self.readings.get(key, {}).get(label)
        return statistics.median(each.rate for each in found) if found else None

    def cpu(self, key: str, label: str) -> float | None:
        """Seconds of the mount's processes."""
        found = self.readings.get(key, {}).get(label)
        return statistics.median(each.cpu for each in found) if found else None


def main(given: Sequence[str] | None = None) -> None:
    """Run, print the tables; a complete run is kept in bench/results."""
    wanted = _arguments(given)
    if reason := mounts.missing():
        sys.exit(reason)
    sizes = Sizes(8, 50, 120) if wanted.quick else Sizes(wanted.mib, wanted.random, wanted.files)
    folder = Path(tempfile.mkdtemp(prefix="kelp-bench-", dir=wanted.on.resolve()))
    try:
        results = _run(folder, sizes, 1 if wanted.quick else wanted.rounds)
    except (Failed, OSError) as error:
        sys.exit(f"{error}\nlogs and files: {folder}")
    shutil.rmtree(folder)
    text = _text(results)
    print(text)
    figures = json.dumps(asdict(results), indent=1) + "\n"
    if wanted.json:
        wanted.json.write_text(figures)
    if not wanted.quick and sizes >= Sizes() and RCLONE in results.readings["write"]:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / "step6.md").write_text(f"{_TITLE}\n\n{text}\n")
        (_RESULTS / "step6.json").write_text(figures)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fuse", description=__doc__.partition("\n")[0])
    usual = Sizes()
    parser.add_argument("--on", type=Path, default=Path(), metavar="PATH", help="where all keep their files [here]")
    parser.add_argument("--files", type=int, default=usual.files, help=f"small files [{usual.files}]")
    parser.add_argument("--mib", type=int, default=usual.big, help=f"the size of the big file [{usual.big}]")
    parser.add_argument("--random", type=int, default=usual.random, help=f"reads and writes in it [{usual.random}]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case runs in each folder [3]")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it still run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures; else only a complete run keeps them")
    return parser.parse_args(given)


def _run(folder: Path, sizes: Sizes, rounds: int) -> Results:
    results = Results(report.circumstances(folder, rounds, 0))
    results.about[0] = f"{results.about[0].partition(';')[0]}; {rounds} rounds"
    results.about.append(f"a file of {sizes.big} MiB, {sizes.random:,} pieces of it; {sizes.files:,} files of 4 KiB")
    if not file_cases.can_forget_names():
        results.about.append("not root: stat and ls -lR are answered from what the kernel remembers, for all")
    began = time.monotonic()
    with ExitStack() as stack:
        chosen = [stack.enter_context(mounts.kelp(folder / "kelp"))]
        if shutil.which("rclone"):
            chosen += [
                stack.enter_context(mounts.rclone(folder / name, synced=synced))
                for name, synced in (("rclone", False), ("rclone-synced", True))
            ]
        else:
            results.about.append("not installed, left out: rclone")
        chosen += [
            stack.enter_context(mounts.disk(folder / f"disk-{synced}", synced=synced)) for synced in (False, True)
        ]
        for number in range(rounds):
            first = number % len(chosen)
            for mounted in (*chosen[first:], *chosen[:first]):  # nobody is always the first
                _pass(mounted, number, sizes, results)
    results.about.append(f"duration: {(time.monotonic() - began) / 60:.1f} minutes")
    return results


def _pass(mounted: Mounted, number: int, sizes: Sizes, results: Results) -> None:
    so_far = results.readings
    spent = sum(r.seconds for key in CASES if key not in BIG for r in so_far.get(key, {}).get(mounted.label, ()))
    one = Pass(mounted, number, sizes, reads=mounted.label != RCLONE_SYNCED)
    if mounted.label != SYNCED:  # the program syncs the big file itself
        one.big()
        mounted.rest()
    if spent < _ENOUGH:
        one.files()
        mounted.rest()
    for key, reading in one.found.items():
        so_far.setdefault(key, {}).setdefault(mounted.label, []).append(reading)
    told = ", ".join(f"{key} {report.figure(reading.rate)}" for key, reading in one.found.items())
    say(f"round {number + 1}, {mounted.label}: {told}")


# ---------------------------------------------------------------------------------------------------------- tables


def _text(results: Results) -> str:
    about = "\n".join(f"- {line}" for line in results.about)
    parts = [about, _NOTES, "## Targets", _targets(results), "## Rates", _rates(results)]
    return "\n\n".join(
        [*parts, "## CPU time of the mount's processes, µs per operation (big files: per MiB)", _cpu(results)]
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else report.figure(value)


def _ratio(results: Results, key: str, label: str) -> float | None:
    ours, other = results.rate(key, KELP), results.rate(key, label)
    return ours / other if ours and other else None


def _rates(results: Results) -> str:
    labels = (KELP, RCLONE, RCLONE_SYNCED, DISK, SYNCED)
    rows = [
        (
            *(name, unit, *(_shown(results.rate(key, label)) for label in labels)),
            *(_shown(_ratio(results, key, label)) for label in labels[1:]),
        )
        for key, (name, unit) in CASES.items()
    ]
    return report.table(("case", "unit", *labels, *(f"÷ {label}" for label in labels[1:])), rows)


def _cpu(results: Results) -> str:
    def shown(key: str, label: str) -> str:
        used = results.cpu(key, label)
        return _shown(None if used is None else used * 1e6)

    labels = (KELP, RCLONE, RCLONE_SYNCED)
    rows = [(name, *(shown(key, label) for label in labels)) for key, (name, _) in CASES.items()]
    return report.table(("case", *labels), rows)


def _targets(results: Results) -> str:
    """Of design §8."""
    as_it_is, durable = {}, {}
    for key in CASES:
        if key not in STORED.values():
            if ratio := _ratio(results, key, RCLONE):
                as_it_is[key] = ratio
            if key in UNSYNCED:
                continue
            if ratio := _ratio(results, key, RCLONE_SYNCED if key in CHANGING else RCLONE):
                durable[key] = ratio
    wanted = [
        ("ahead of rclone in all cases, what is written durable", 1.0, *_worst(durable)),
        ("… as it is: rclone's writes are not", 1.0, *_worst(as_it_is)),
        ("sequential read, of the disk's from memory", 0.6, _ratio(results, "read", DISK), ""),
        ("create, write, close: a second, durable", 500.0, results.rate("create", KELP), ""),
    ]
    rows = [
        (name, report.figure(least), _shown(reached), "met" if (reached or 0.0) >= least else "**missed**", where)
        for name, least, reached, where in wanted
    ]
    return report.table(("target", "wanted", "reached", "", "in the worst case"), rows)


def _worst(ratios: dict[str, float]) -> tuple[float | None, str]:
    worst = min(ratios, key=lambda key: ratios[key], default=None)
    return (None, "") if worst is None else (ratios[worst], CASES[worst][0])


if __name__ == "__main__":
    main()
