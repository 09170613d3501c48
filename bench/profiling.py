"""Where the server's time goes: py-spy looks at it while a case runs once more, unmeasured."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.cases import Case
from bench.client import Connection
from bench.load import Tally, Work, run
from bench.shapes import Drive

_SECONDS = 1  # of looking
_STARTING = 0.5  # seconds that py-spy takes until it looks
_RATE = 200  # looks a second
_OURS = ("vfs/", "dav_provider/", "jobs/")
_SHOWN = 3
# Where threads wait for something to do. py-spy does not see that they are idle there.
_IDLE = (
    "Wire.arrives", "Workers._next", "WaitingRoom._turn", "RedisQueue._run", "Runner._gather", "Runner._sweep",
    "Watchdog._watch",
)  # fmt: skip


def program() -> str | None:
    """py-spy beside this Python, or on the path; None when there is none."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def hot(case: Case, clients: int, drive: Drive) -> list[str]:
    """The functions of Kelp in which its servers are most of the time that they have something to do, with what they
    call in libraries; each with its part of that time. Empty where there is no py-spy or it may not look. Raises
    Failed.
    """
    spy = program()
    if spy is None:
        return []
    trial = case.trial(drive, clients, 1)  # not the first round, in which some compare all bytes of the big file
    drive.rest()
    looking: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="kelp-bench-") as folder:
        files = [Path(folder, str(number)) for number in range(len(drive.nodes))]

        def around() -> None:
            if not looking:
                looking.extend(
                    _look(spy, process.pid, file) for file, (_, process) in zip(files, drive.nodes, strict=True)
                )

        try:
            again = [_again(work) for work in trial.works]
            tally = run(drive.ports, again, _STARTING + _SECONDS, around)
        finally:
            for each in looking:
                each.wait(60)
        drive.rest()
        trial.finish(tally)
        drive.rest()
        return _hottest([line for file in files if file.exists() for line in file.read_text().splitlines()])


def _look(spy: str, pid: int, out: Path) -> subprocess.Popen[bytes]:
    """`--nonblocking`: else it stops the server at each look, which is no small part of its time."""
    words = [spy, "record", "--pid", str(pid), "--subprocesses", "--nonblocking", "--function", "--format", "raw"]
    words += ["--duration", str(_SECONDS), "--rate", str(_RATE), "--output", str(out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _again(work: Work) -> Work:
    """Over and over, where one time takes less than the seconds."""

    def run(connection: Connection, seconds: float) -> Tally:
        count, spent = 0, 0.0
        while spent < seconds:
            tally = work.run(connection, seconds - spent)
            count, spent = count + tally.count, spent + tally.seconds
        return Tally(count, spent)

    return Work(run, work.check)


def _hottest(stacks: Sequence[str]) -> list[str]:
    """Of lines "outer;…;inner count" the innermost functions that are Kelp's own."""
    times: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own = [frame for frame in frames if any(part in frame for part in _OURS)]
        innermost = own[-1] if own else frames[-1]
        if not innermost.startswith(_IDLE):
            times[innermost] += int(count)
    whole = sum(times.values())
    return [f"{frame} {count / whole:.0%}" for frame, count in times.most_common(_SHOWN)]
