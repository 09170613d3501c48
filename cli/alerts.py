"""`kelp alerts`: what an admin should know, and whether he would hear of it."""

from __future__ import annotations

from typing import Any

import click

from cli.display import complain, duration_in_words, say, show_json, show_rows, time_in_words
from cli.drive import on_drive
from vfs.core import Kelp
from vfs.operations import alerts as alerting
from vfs.operations import telling
from vfs.operations.alerts import Alert

_SHOWN = 200


@click.command("alerts")
@click.option("--all", "everything", is_flag=True, help="those that are over, too")
@click.option("--json", "as_json", is_flag=True, help="answer in JSON")
@click.option("--close", "close", metavar="ID", help="say that ID is over; when it is not, it will be raised anew")
@click.option("--test", "test", is_flag=True, help="send a test message to everybody who is told of alerts")
@on_drive
def alerts(kelp: Kelp, everything: bool, as_json: bool, close: str | None, test: bool) -> None:
    """Show what is wrong just now, newest first.

    With --test, exit code 1: a message could not be sent.
    """
    if test and close:
        raise click.UsageError("--test and --close do not go together")
    if test:
        _test(kelp, as_json)
    elif close:
        alerting.close_one(kelp, close, "closed on the command line")
        say(f"closed {close}")
    else:
        _show(kelp, alerting.listing(kelp, _SHOWN, only_open=not everything), as_json)


def _show(kelp: Kelp, found: list[Alert], as_json: bool) -> None:
    if as_json:
        show_json([_facts(alert) for alert in found])
        return
    rows = (
        (
            alert.uuid,
            alert.severity,
            f"{alert.kind} ({alert.subject})" if alert.subject else alert.kind,
            str(alert.count),
            time_in_words(alert.opened_ns),
            _lasted(kelp, alert),
            alert.message,
        )
        for alert in found
    )
    columns = ("id", "severity", "kind", "times", "since", "for", "message")
    show_rows(columns, rows, empty="No alert is open.", right=("times",))


def _lasted(kelp: Kelp, alert: Alert) -> str:
    over = "" if alert.closed_ns is None else ", over"
    until = kelp.clock.now_ns() if alert.closed_ns is None else alert.closed_ns
    return duration_in_words(max(0, until - alert.opened_ns) // 1_000_000_000) + over


def _facts(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.uuid,
        "kind": alert.kind,
        "subject": alert.subject,
        "severity": alert.severity,
        "message": alert.message,
        "count": alert.count,
        "openedNs": alert.opened_ns,
        "lastNs": alert.last_ns,
        "closedNs": alert.closed_ns,
    }


def _test(kelp: Kelp, as_json: bool) -> None:
    outcomes = telling.test(kelp)
    if as_json:
        show_json([{"sink": sink, "target": target, "error": error or None} for sink, target, error in outcomes])
    elif not outcomes:
        say("Nobody is told of alerts: set alerts.mail_to or alerts.webhook; they are in the log only.")
    for sink, target, error in outcomes if not as_json else ():
        if error:
            complain(f"{sink} to {target}: {error}")
        else:
            say(f"{sink} to {target}: sent")
    if any(error for _, _, error in outcomes):
        raise click.exceptions.Exit(1)
