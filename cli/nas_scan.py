"""`kelp nas scan`: what was changed on the NAS behind Kelp's back."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.display import err, say, show_json, show_rows
from cli.drive import on_drive, operator
from vfs.core import Kelp
from vfs.operations import scanning, taking_in
from vfs.operations.scanning import Finding, Scan
from vfs.operations.taking_in import Outcome


@click.command("scan")
@click.argument("path", required=False, default="/")
@click.option("--take-in", is_flag=True, help="let the drive follow what was changed")
@click.option("--restore", is_flag=True, help="write what is missing on the NAS again, from the cache")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def scan(kelp: Kelp, path: str, take_in: bool, restore: bool, as_json: bool) -> None:
    """Compare the NAS, below the folder PATH of the drive, with what Kelp left there, by size and time.

    Without options nothing is changed. With --take-in what is new appears on the drive, what was changed is the file's
    content from now on (the one before is kept as a version where the cache has it), what was moved is moved, and what
    is missing goes to the trash where its bytes are still in the cache. With --restore that is written again instead,
    and all else is only told. It may run beside a server. What is changing just now is left for the next time.

    Exit code 1: something was found (without an option), or could not be done.
    """
    segments = [segment for segment in path.split("/") if segment]
    with _progress() as report:
        found = scanning.scan(kelp, segments, report=lambda so_far: report(so_far.looked, None))
        wanted = _differing(found) if take_in else _missing(found) if restore else []
        outcomes = []
        if wanted:
            outcomes = taking_in.take_in(
                kelp, operator(kelp), wanted, restore=restore, report=lambda done: report(done, len(wanted))
            )
    done = {outcome.finding.path: outcome for outcome in outcomes}
    if as_json:
        show_json({"looked": found.looked, "found": [_facts(each, done.get(each.path)) for each in found.findings]})
    else:
        _show(found, done)
    if any(not outcome.done for outcome in outcomes) or len(outcomes) < len(_differing(found)):
        raise click.exceptions.Exit(1)


def _differing(found: Scan) -> list[Finding]:
    """What can be settled; a symlink in an adopted tree is told of, and stays as it is."""
    return [each for each in found.findings if each.what is not scanning.Difference.LEFT_ALONE]


def _missing(found: Scan) -> list[Finding]:
    return [each for each in found.findings if each.what is scanning.Difference.MISSING]


def _facts(finding: Finding, outcome: Outcome | None) -> dict[str, Any]:
    return {
        "what": finding.what.value,
        "path": finding.path,
        "was": finding.was or None,
        "done": outcome is not None and outcome.done,
        "why": (outcome.why if outcome else finding.why) or None,
    }


def _show(found: Scan, done: dict[str, Outcome]) -> None:
    rows = []
    for each in found.findings:
        outcome = done.get(each.path)
        note = f"was {each.was}" if each.was else ""
        state = (outcome.why or "done") if outcome else each.why
        rows.append((each.what.value, each.path, "; ".join(filter(None, (note, state)))))
    show_rows(("", "on the NAS", ""), rows, empty="The NAS is as Kelp left it.")
    counts = Counter(each.what.value for each in found.findings)
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    say(f"{found.looked} looked at" + (f": {told}" if told else ""))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """Names that were looked at, then what was taken in."""
    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)

        def report(done: int, total: int | None) -> None:
            words = f"{done} looked at" if total is None else "taking in"
            progress.update(task, completed=done, total=total, description=words)

        yield report
