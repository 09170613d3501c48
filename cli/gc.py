"""`kelp gc`: free now what the batches would free in their time."""

from __future__ import annotations

from collections.abc import Callable

import click

from cli.display import complain, say, show_json, size_in_words
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import Done

Tell = Callable[[str, str, Done | KelpError], None]  # name of the batch, what it counts, what came out of it
FreeAll = Callable[[Kelp, Tell], None]


def make_command(free_all: FreeAll) -> click.Command:
    """The command, for the module that knows the batches."""

    @click.command("gc")
    @click.option("--json", "as_json", is_flag=True, help="answer in JSON")
    @on_drive
    def gc(kelp: Kelp, as_json: bool) -> None:
        """Expire, purge and free at once what is due, and say what went. A running server need not be stopped.

        What was deleted lately is only marked: somebody may read it still. Objects that nobody knows go when they are
        older than an hour. Exit code 1: something could not be done.
        """
        outcomes: dict[str, Done | KelpError] = {}

        def tell(name: str, did: str, outcome: Done | KelpError) -> None:
            outcomes[name] = outcome
            if not as_json:
                _say(did, outcome)

        free_all(kelp, tell)
        if as_json:
            show_json({name: _facts(outcome) for name, outcome in outcomes.items()})
        if any(isinstance(outcome, KelpError) for outcome in outcomes.values()):
            raise click.exceptions.Exit(1)

    return gc


def _say(did: str, outcome: Done | KelpError) -> None:
    if isinstance(outcome, KelpError):
        complain(f"{did}: {outcome}")
    else:
        say(f"{did}: {outcome.count}" + (f", {size_in_words(outcome.bytes)}" if outcome.bytes else ""))


def _facts(outcome: Done | KelpError) -> dict[str, object]:
    if isinstance(outcome, KelpError):
        return {"error": str(outcome)}
    return {"count": outcome.count, "bytes": outcome.bytes}
