"""`kelp status`: how far the mirror is, what failed, how full cache and NAS are, and the state of one path."""

from __future__ import annotations

from typing import Any

import click

from cli import status_path
from cli.display import duration_in_words, say, show_json, show_rows, size_in_words, time_in_words
from cli.drive import entry_at, on_drive, operator
from vfs.core import Kelp
from vfs.errors import StoreUnavailable
from vfs.operations import alerts, backlog, cache_limits, nas_health, readiness, reading

_SHOWN_FAILURES, _SHOWN_ALERTS = 10, 5  # so that it stays one screen


@click.command("status")
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def status(kelp: Kelp, path: str | None, as_json: bool) -> None:
    """Show what is on its way to the NAS, or the state of PATH."""
    caller = operator(kelp)
    facts = _of_drive(kelp) if path is None else status_path.facts_of(kelp, caller, entry_at(kelp, caller, path))
    if as_json:
        show_json(facts)
    elif path is None:
        _show_drive(facts)
    else:
        status_path.show(kelp, facts)


def _of_drive(kelp: Kelp) -> dict[str, Any]:
    state, usage = backlog.backlog(kelp), reading.usage(kelp)
    now = kelp.clock.now_ns()
    return {
        "mirror": {
            "pending": state.pending,
            "processing": state.processing,
            "failed": state.failed,
            "bytes": state.bytes,
            "oldestSeconds": None if state.oldest_ns is None else max(0, now - state.oldest_ns) // 1_000_000_000,
        },
        "nas": {
            "root": str(kelp.settings.nas_root),
            "up": state.nas_up,
            "reason": state.nas_reason,
            "sinceNs": state.nas_since_ns,
            **_nas_health(kelp),
        },
        "queue": _queue(kelp),
        "jobs": _jobs(kelp),
        "cache": _cache(kelp),
        "space": {"used": usage.used, "free": usage.free},
        "alerts": [
            {"kind": each.kind, "subject": each.subject, "severity": each.severity, "message": each.message}
            for each in alerts.listing(kelp, _SHOWN_ALERTS)
        ],
        "failures": [
            {
                "id": event.uuid,
                "type": event.event_type,
                "path": event.target_path or event.source_path,
                "retries": event.retry_count,
                "error": event.error_message,
                "createdNs": event.created_ns,
            }
            for event in backlog.events(kelp, _SHOWN_FAILURES, "FAILED")
        ],
    }


def _nas_health(kelp: Kelp) -> dict[str, Any]:
    health = nas_health.read(kelp)
    room = health.capacity
    return {
        "state": health.feeling.value,
        "seconds": health.last.seconds if health.last else None,
        "free": room.free if room else None,
        "total": room.total if room else None,
    }


def _jobs(kelp: Kelp) -> dict[str, Any]:
    """`silentNs`: since when nobody runs them; 0 while somebody does."""
    return {"silentNs": readiness.silent_since(kelp)}


def _cache(kelp: Kelp) -> dict[str, Any] | None:
    """As last added up; None when nobody did yet, or the cache is away."""
    try:
        held, hard = cache_limits.known(kelp), cache_limits.hard_limit(kelp)
    except StoreUnavailable:
        return None
    if held is None:
        return None
    return {"onNas": held.clean, "limit": held.limit, "onlyHere": held.dirty, "hardLimit": hard}


def _queue(kelp: Kelp) -> dict[str, Any]:
    """`workers`: live ones of any machine; `waiting`: jobs that wake them. None where there is no such thing."""
    settings = kelp.settings.queue
    if not settings.url:
        return {"kind": "in-process", "up": True, "reason": "", "sinceNs": 0, "workers": None, "waiting": None}
    seen = click.get_current_context().find_root().obj(settings)
    return {
        "kind": "redis",
        "up": not seen.away,
        "reason": seen.away,
        "sinceNs": backlog.queue_away_since_ns(kelp) if seen.away else 0,
        "workers": seen.workers,
        "waiting": seen.queued,
    }


def _show_drive(facts: dict[str, Any]) -> None:
    mirror, space = facts["mirror"], facts["space"]
    rows = [("NAS", _nas_in_words(facts["nas"])), ("queue", _queue_in_words(facts["queue"]))]
    if facts["jobs"]["silentNs"]:
        rows.append(("jobs", f"nobody runs them since {time_in_words(facts['jobs']['silentNs'])}"))
    rows += [("waiting", _waiting_in_words(mirror)), ("failed", str(mirror["failed"]))]
    if facts["cache"] is not None:
        rows.append(("cache", _cache_in_words(facts["cache"])))
    rows.append(("space", f"{size_in_words(space['used'])} used, {size_in_words(space['free'])} free"))
    rows += [("alert", f"{each['kind']}: {each['message']}") for each in facts["alerts"]]
    show_rows(("", ""), rows, empty="")
    if facts["failures"]:
        failures = ((each["id"], each["type"], each["path"] or "", each["error"] or "") for each in facts["failures"])
        say("")
        show_rows(("id", "change", "path", "error"), failures, empty="")


def _cache_in_words(cache: dict[str, Any]) -> str:
    def of(limit: int | None) -> str:
        return "" if limit is None else f" of {size_in_words(limit)}"

    there = f"{size_in_words(cache['onNas'])}{of(cache['limit'])} that the NAS has too"
    return f"{there}, {size_in_words(cache['onlyHere'])}{of(cache['hardLimit'])} that only it has"


def _nas_in_words(nas: dict[str, Any]) -> str:
    if nas["up"]:
        room = "" if nas["free"] is None else f", {size_in_words(nas['free'])} free"
        return f"{'slow' if nas['state'] == 'slow' else 'up'}, {nas['root']}{room}"
    return f"down since {time_in_words(nas['sinceNs'])}: {nas['reason']}"


def _queue_in_words(queue: dict[str, Any]) -> str:
    if queue["kind"] == "in-process":
        return "in the server"
    if not queue["up"]:
        since = f" since {time_in_words(queue['sinceNs'])}" if queue["sinceNs"] else ""
        return f"away{since}: {queue['reason']} (changes wait in the database)"
    if not queue["workers"]:
        return "up, but no worker is running: start `kelp worker`"
    return f"up, {queue['workers']} worker{'s' if queue['workers'] > 1 else ''}"


def _waiting_in_words(mirror: dict[str, Any]) -> str:
    waiting = mirror["pending"] + mirror["processing"]
    if not waiting:
        return "nothing, all is on the NAS"
    oldest = duration_in_words(mirror["oldestSeconds"] or 0)
    return f"{waiting} ({mirror['processing']} at work), {size_in_words(mirror['bytes'])}, the oldest for {oldest}"
