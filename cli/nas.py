"""`kelp nas`: how the NAS feels and how full it is; a tree that is there already, changed there, or all there is."""

from __future__ import annotations

from typing import Any

import click

from cli.display import duration_in_words, say, show_json, show_rows, size_in_words, time_in_words
from cli.drive import on_drive
from cli.nas_scan import scan
from vfs.core import Kelp
from vfs.operations import nas_health, nas_state
from vfs.operations.nas_health import Feeling, Health
from vfs.operations.nas_state import Capacity

_json = click.option("--json", "as_json", is_flag=True, help="answer in JSON")


@click.group("nas")
def nas() -> None:
    """Look after the NAS: its health, what was changed there, and trees from before Kelp."""


nas.add_command(scan)


@nas.command("health")
@click.option("--now", is_flag=True, help="write and delete a small file now, instead of telling the last time")
@_json
@on_drive
def health(kelp: Kelp, now: bool, as_json: bool) -> None:
    """Show whether the NAS is healthy, slow or down, and how long it last took for a small file.

    A running server looks every `nas.health` seconds. Exit code 1: it is down.
    """
    found = nas_health.measure_now(kelp) if now else nas_health.read(kelp)
    if as_json:
        show_json(_health_facts(found))
    else:
        _show_health(kelp, found)
    if found.feeling is Feeling.DOWN:
        raise click.exceptions.Exit(1)


def _health_facts(found: Health) -> dict[str, Any]:
    return {
        "state": found.feeling.value,
        "reason": found.reason,
        "sinceNs": found.since_ns,
        "seconds": found.last.seconds if found.last else None,
        "measuredNs": found.last.at_ns if found.last else None,
        "history": [{"atNs": each.at_ns, "seconds": each.seconds} for each in found.history],
        "capacity": _capacity_facts(found.capacity),
    }


def _show_health(kelp: Kelp, found: Health) -> None:
    state = found.feeling.value
    if found.reason:
        state += f": {found.reason}"
    if found.since_ns:
        state += f", for {duration_in_words((kelp.clock.now_ns() - found.since_ns) / 1e9)}"
    rows = [("NAS", str(kelp.settings.nas_root)), ("state", state)]
    taken = [each.seconds for each in found.history if each.seconds is not None]
    if found.last is not None and found.last.seconds is not None:
        rows.append(("small file", f"{found.last.seconds:.3f} s, at {time_in_words(found.last.at_ns)}"))
    if len(taken) > 1:
        rows.append(("before", f"{min(taken):.3f} to {max(taken):.3f} s in the last {len(taken)} measurements"))
    if found.capacity is not None:
        rows.append(("free", f"{size_in_words(found.capacity.free)} of {size_in_words(found.capacity.total)}"))
    show_rows(("", ""), rows, empty="")


@nas.command("capacity")
@_json
@on_drive
def capacity(kelp: Kelp, as_json: bool) -> None:
    """Show how much room the NAS has: total, used, free, and what is still to be carried there."""
    found = nas_state.measure(kelp) if nas_state.read(kelp).up else nas_state.capacity(kelp)
    if as_json:
        show_json(_capacity_facts(found))
    elif found is None:
        say("The NAS is down, and nobody has measured it before.")
    else:
        rows = [(name, size_in_words(size)) for name, size in _amounts(found)]
        show_rows(("", ""), [*rows, ("measured", time_in_words(found.measured_ns))], empty="")


def _amounts(found: Capacity) -> list[tuple[str, int]]:
    return [("total", found.total), ("used", found.used), ("free", found.free), ("waiting", found.waiting)]


def _capacity_facts(found: Capacity | None) -> dict[str, int] | None:
    return None if found is None else {**dict(_amounts(found)), "measuredNs": found.measured_ns}
