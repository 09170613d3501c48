"""`kelp status`: how far the mirror is, what failed, how full cache and NAS are, and the state of one path."""

from __future__ import annotations

from typing import Any

import click

from cli.display import duration_in_words, say, show_json, show_rows, size_in_words, time_in_words
from cli.drive import entry_at, on_drive, operator
from vfs.core import Kelp
from vfs.model import Caller
from vfs.operations import backlog, reading

_SHOWN_FAILURES = 20


@click.command("status")
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@on_drive
def status(kelp: Kelp, path: str | None, as_json: bool) -> None:
    """Show what is on its way to the NAS, or the state of PATH."""
    facts = _of_drive(kelp) if path is None else _of_path(kelp, operator(kelp), path)
    if as_json:
        show_json(facts)
    elif path is None:
        _show_drive(kelp, facts)
    else:
        _show_path(facts)


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
        },
        "queue": _queue(kelp),
        "space": {"used": usage.used, "free": usage.free},
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


def _show_drive(kelp: Kelp, facts: dict[str, Any]) -> None:
    mirror, nas, space = facts["mirror"], facts["nas"], facts["space"]
    rows = [("NAS", _nas_in_words(nas)), ("queue", _queue_in_words(facts["queue"]))]
    rows += [("waiting", _waiting_in_words(mirror)), ("failed", str(mirror["failed"]))]
    rows.append(("space", f"{size_in_words(space['used'])} used, {size_in_words(space['free'])} free"))
    show_rows(("", ""), rows, empty="")
    if facts["failures"]:
        failures = ((each["id"], each["type"], each["path"] or "", each["error"] or "") for each in facts["failures"])
        say("")
        show_rows(("id", "change", "path", "error"), failures, empty="")


def _nas_in_words(nas: dict[str, Any]) -> str:
    if nas["up"]:
        return f"up, {nas['root']}"
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


def _of_path(kelp: Kelp, caller: Caller, path: str) -> dict[str, Any]:
    entry = entry_at(kelp, caller, path)
    return {
        "path": "/" + "/".join(reading.path_of(kelp, entry.id)),
        "id": entry.uuid,
        "kind": entry.kind.value,
        "size": entry.size,
        "mtimeNs": entry.mtime_ns,
        "nas": entry.nas_status.value,
        "locks": [
            {"user": lock.user_name, "path": "/" + "/".join(where), "expiresNs": lock.expires_ns}
            for lock, where in reading.locks_on(kelp, entry.id)
        ],
    }


def _show_path(facts: dict[str, Any]) -> None:
    rows = [("path", facts["path"]), ("id", facts["id"]), ("kind", facts["kind"])]
    if facts["kind"] != "folder":
        rows += [("size", size_in_words(facts["size"])), ("changed", time_in_words(facts["mtimeNs"]))]
    rows.append(("NAS", facts["nas"]))
    rows += [("lock", f"{each['user']}, until {time_in_words(each['expiresNs'])}") for each in facts["locks"]]
    show_rows(("", ""), rows, empty="")
