"""`kelp cache`: how full it is, what stays in it, and how to have files in it before somebody asks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cli.display import complain, err, say, show_json, show_rows, size_in_words, time_in_words
from cli.drive import entry_at, on_drive, operator
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.operations import cache_limits, pinning, reading

_SHOWN = 20  # files that could not be had


@click.group("cache")
def cache() -> None:
    """Look after the cache: how full it is, what stays in it."""


@cache.command("status")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def status(kelp: Kelp, as_json: bool) -> None:
    """Show what the cache holds, and how much it may."""
    held = cache_limits.measure(kelp)
    facts: dict[str, Any] = {
        "objects": held.objects,
        "bytes": held.total,
        "onNas": held.clean,
        "onlyHere": held.dirty,
        "toBeDeleted": held.pending + held.evicting,
        "limit": held.limit,
        "hardLimit": cache_limits.hard_limit(kelp),
        "policy": kelp.settings.cache.policy,
        "pins": len(pinning.pins(kelp)),
    }
    if as_json:
        show_json(facts)
        return
    rows = [
        ("holds", f"{size_in_words(held.total)} in {held.objects} objects"),
        ("on the NAS too", f"{size_in_words(held.clean)}{_of(held.limit)}, {_POLICIES[facts['policy']]} go first"),
        ("only here", f"{size_in_words(held.dirty)}{_of(facts['hardLimit'])}"),
        ("to be deleted", size_in_words(facts["toBeDeleted"])),
        ("pinned", f"{facts['pins']} files and folders"),
    ]
    show_rows(("", ""), rows, empty="")


_POLICIES = {"lru": "those unread for longest", "lfu": "those read least", "fifo": "the oldest"}


def _of(limit: int | None) -> str:
    return ", no limit" if limit is None else f" of {size_in_words(limit)}"


@cache.command("pin")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--remove", is_flag=True, help="let them go again")
@click.option("--list", "listed", is_flag=True, help="show what is pinned")
@on_drive
def pin(kelp: Kelp, paths: tuple[str, ...], remove: bool, listed: bool) -> None:
    """Keep each PATH, of a folder all that is below it, in the cache. What is not there comes in the background."""
    if listed or not paths:
        if remove or (listed and paths):
            raise click.UsageError(
                "--list takes neither PATH nor --remove" if listed else "--remove what? Name a PATH."
            )
        _list_pins(kelp)
        return
    caller = operator(kelp)
    entries = [(path, entry_at(kelp, caller, path)) for path in paths]
    for path, entry in entries:
        if remove:
            say(f"{path} is {'no longer' if pinning.unpin(kelp, caller, entry) else 'not'} pinned")
        else:
            say(f"{path} is pinned{'' if pinning.pin(kelp, caller, entry) else ' already'}")


def _list_pins(kelp: Kelp) -> None:
    rows = (
        ("/" + "/".join(reading.path_of(kelp, each.entry_id)), each.user_name, time_in_words(each.created_ns))
        for each in pinning.pins(kelp)
    )
    show_rows(("path", "by", "since"), rows, empty="Nothing is pinned.")


@cache.command("warm")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@on_drive
def warm(kelp: Kelp, paths: tuple[str, ...]) -> None:
    """Bring each PATH, of a folder all that is below it, from the NAS to the cache.

    When it was interrupted, run it again: it goes on where it was. Ends with 1 when something could not be brought.
    """
    caller = operator(kelp)
    entries = [entry_at(kelp, caller, path) for path in paths]
    with _progress() as report:
        warmed = pinning.warm(kelp, entries, report)
    came = f", {size_in_words(warmed.restored)} of it came from the NAS" if warmed.restored else ""
    say(f"{warmed.files} files, {size_in_words(warmed.bytes)}, are in the cache{came}")
    for entry_id, reason in warmed.reasons[:_SHOWN]:
        complain(f"{_path(kelp, entry_id)}: {reason}")
    if warmed.stopped:
        complain("the rest was not tried; run this again when the NAS is back")
    elif warmed.failed > _SHOWN:
        complain(f"so with {warmed.failed - _SHOWN} more")
    if warmed.failed:
        click.get_current_context().exit(1)


def _path(kelp: Kelp, entry_id: int) -> str:
    with contextlib.suppress(KelpError):
        return "/" + "/".join(reading.path_of(kelp, entry_id))
    return "a file that is gone"


@contextlib.contextmanager
def _progress() -> Iterator[pinning.Report]:
    console = err()
    columns = (TextColumn("{task.fields[files]} files"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("warm", total=None, files="0")

        def report(warmed: pinning.Warmed) -> None:
            files = f"{warmed.files} of {warmed.all_files}"
            progress.update(task, completed=warmed.bytes, total=warmed.all_bytes, files=files)

        yield report
