"""`kelp sync`: wait for the NAS, and try again what it refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.display import complain, err, say
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import backlog
from vfs.operations.backlog import Waited

_EXIT_CODES = {Waited.MIRRORED: 0, Waited.FAILED: 1, Waited.TIMED_OUT: 2}

Report = Callable[[int, int], None]


@click.group("sync")
def sync() -> None:
    """Changes on their way to the NAS."""


@sync.command("wait")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="give up after S seconds [never]")
@on_drive
def wait(kelp: Kelp, timeout: float | None) -> None:
    """Wait until all changes made so far are on the NAS; it needs a running server, and waits through an outage.

    Exit code 0: all are there. 1: at least one failed for good. 2: time-out. Temporary files of programs that are not
    due yet (mirror.delay) are not waited for.
    """
    with _progress() as report:
        waited = backlog.wait_until_mirrored(kelp, timeout, report)
    _explain(kelp, waited)
    if code := _EXIT_CODES[waited]:
        raise click.exceptions.Exit(code)


def _explain(kelp: Kelp, waited: Waited) -> None:
    state = backlog.backlog(kelp)
    if waited is Waited.FAILED:
        complain(f"{state.failed} failed; `kelp status` lists them, `kelp sync retry --all` tries again")
    elif waited is Waited.TIMED_OUT:
        why = "" if state.nas_up else f"; the NAS is down: {state.nas_reason}"
        complain(f"time-out, {state.pending + state.processing} still on their way{why}")


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on a terminal, nothing elsewhere. What is open only shrinks, so the most ever seen is the whole."""
    columns = (TextColumn("to the NAS"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        most = 0

        def report(waiting: int, failed: int) -> None:
            nonlocal most
            most = max(most, waiting)
            progress.update(task, total=most, completed=most - waiting)

        yield report


@sync.command("retry")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="all that failed")
@on_drive
def retry(kelp: Kelp, id_: str | None, everything: bool) -> None:
    """Try the failed change ID again (`kelp status` shows ids), or all of them."""
    if everything == (id_ is not None):
        raise click.UsageError("give an ID, or --all")
    count = backlog.retry_failed(kelp, id_)
    say(f"{count} {'change is' if count == 1 else 'changes are'} tried again")
