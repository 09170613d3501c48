"""`kelp check`: prove that database, cache and NAS agree, and set right what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from cli.display import err, say, show_json, show_rows
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import checking

_CLEAN = "Clean: database, cache and NAS agree."


@click.command("check")
@click.option("--repair", is_flag=True, help="set right at once what one side has good")
@click.option("--mirrored", is_flag=True, help="every change must be on the NAS already")
@click.option("--quick", "--shallow", "quick", is_flag=True, help="compare sizes, do not read contents")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def check(kelp: Kelp, repair: bool, mirrored: bool, quick: bool, as_json: bool) -> None:
    """Look for anything that breaks a promise; it may run beside a server.

    Exit code 0 when there is nothing, or nothing any more; 1 when problems are left.
    """
    with _shown() as progress:
        report = checking.check(kelp, mirrored=mirrored, deep=not quick, repair=repair, progress=progress)
    if as_json:
        show_json({"ok": report.ok, **asdict(report)})
    else:
        _show(report, repair)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _show(report: checking.Report, repair: bool) -> None:
    columns = ("problem", "where", "detail")
    left = [(each.kind, each.subject, each.detail) for each in report.problems]
    if not repair:
        show_rows(columns, left, empty=_CLEAN)
        return
    repaired = [("repaired", each.kind, each.subject, each.detail) for each in report.repaired]
    show_rows(("", *columns), [*repaired, *(("left", *row) for row in left)], empty=_CLEAN)
    if report.repaired:
        say("What is written to the NAS anew gets there with the next changes: `kelp sync wait` waits for it.")


@contextmanager
def _shown() -> Iterator[Callable[[str, int], None]]:
    """What is looked at just now; on a terminal only."""
    with err().status("checking ...") as status:
        yield lambda what, count: status.update(f"checking {what}: {count}")
