"""`kelp nas adopt` and `kelp nas recover`: a drive is made of what the NAS holds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.display import complain, err, printable, say, size_in_words
from cli.drive import load_settings, log_option, place_options, require_drive, set_up_log
from cli.serving import make_private
from vfs import bootstrap, trace
from vfs.errors import NasDown, NoSpace, StoreUnavailable
from vfs.operations import adopting, recovering, rehoming
from vfs.operations.nas_walk import Report, Taken
from vfs.settings import Settings

Alone = Callable[[Settings], AbstractContextManager[None]]

_SHOWN = 20  # of what was left alone


def make_commands(alone: Alone) -> tuple[click.Command, ...]:
    """`alone`: a block during which no server of the drive runs on this machine. Raises ConfigurationError."""
    return (_make_adopt(alone), _make_recover(alone))


def _make_adopt(alone: Alone) -> click.Command:
    @click.command("adopt")
    @click.option("--dry-run", is_flag=True, help="only look, and tell what would be left alone")
    @click.option("--new-root", is_flag=True, help="the NAS of this drive is lost for good, and here is an empty one")
    @place_options
    @log_option("warning")
    def adopt(
        dry_run: bool, new_root: bool, config: Path | None, data: Path | None, nas: Path | None, log_level: str
    ) -> None:
        """Make a drive of a tree that exists already.

        Everything below the NAS folder becomes a file or folder of a new drive, where it is and by the name it has:
        nothing is copied, renamed or rewritten. The only thing that is made there is `.kelp/drive.json`, which says
        whose NAS it is. What a drive cannot show is left alone and listed. When it was interrupted, run it again: it
        goes on where it was. Then start `kelp serve`.

        With --new-root a drive that has files already gets an empty folder for its NAS, since the old one is lost: all
        that the cache has will be written there by `kelp serve`; what only the old NAS had is lost, and listed.
        """
        set_up_log(log_level)
        settings = load_settings(config, data, nas)
        if dry_run and new_root:
            raise click.UsageError("--dry-run is for the adoption of a tree")
        with trace.under(trace.new_id("cli")):
            if new_root:
                _rehome(settings, alone)
                return
            if dry_run:
                with _progress() as report:
                    taken = adopting.look_through(settings, report)
                _tell(taken, "could be adopted")
                return
            make_private(settings.data)
            with (
                alone(settings),
                _advised("adopt"),
                _progress() as report,
                bootstrap.opened_for_taking(settings, adopting.begin) as kelp,
            ):
                taken = adopting.adopt(kelp, report)
        _tell(taken, "are in the drive now; `kelp serve` shows them")

    return adopt


def _make_recover(alone: Alone) -> click.Command:
    @click.command("recover")
    @place_options
    @log_option("warning")
    def recover(config: Path | None, data: Path | None, nas: Path | None, log_level: str) -> None:
        """Rebuild a drive whose database is lost from its NAS.

        --data names the folder of the new drive, --nas the old NAS. Files, folders, the trash and the older contents
        that can be told come back as the NAS has them. What only the database knew is gone: people, rights, history,
        locks; and what had not come to the NAS yet. A dump, if there is one, has all of that: see `kelp load`. When it
        was interrupted, run it again. Then start `kelp serve`.
        """
        set_up_log(log_level)
        settings = load_settings(config, data, nas)
        make_private(settings.data)
        with (
            trace.under(trace.new_id("cli")),
            alone(settings),
            _advised("recover"),
            _progress() as report,
            bootstrap.opened_for_taking(settings, recovering.begin) as kelp,
        ):
            taken = recovering.recover(kelp, report)
        _tell(taken, "are in the drive again; `kelp serve` shows them")

    return recover


def _rehome(settings: Settings, alone: Alone) -> None:
    require_drive(settings)
    with (
        alone(settings),
        _advised("adopt --new-root"),
        _progress() as report,
        bootstrap.opened_for_taking(settings, rehoming.begin) as kelp,
    ):
        taken = rehoming.rehome(kelp, report)
    _tell(taken, "will be written to the new NAS by `kelp serve`", "lost")


@contextlib.contextmanager
def _advised(command: str) -> Iterator[None]:
    """What is away or full now may not be later."""
    try:
        yield
    except (NasDown, StoreUnavailable, NoSpace) as error:
        complain(f"{error}; what was done stays: run `kelp nas {command}` again")
        raise click.exceptions.Exit(1) from error


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """A bar on a terminal: folders looked into, of those found so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking", total=None)

        def report(taken: Taken) -> None:
            words = f"{taken.files} files, {size_in_words(taken.bytes)}"
            progress.update(task, completed=taken.walked, total=taken.known, description=words)

        yield report


def _tell(taken: Taken, what: str, left: str = "left alone") -> None:
    say(f"{taken.files} files and {taken.folders} folders, {size_in_words(taken.bytes)}, {what}")
    if not taken.left_count:
        return
    say(f"{taken.left_count} {left}:")
    shown = taken.left if not sys.stdout.isatty() else taken.left[:_SHOWN]
    for path, why in shown:
        say(f"  {printable(path)}: {why}")
    if len(shown) < taken.left_count:
        say(f"  ... and {taken.left_count - len(shown)} more")
