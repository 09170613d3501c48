"""What an admin must know; and what a user must know about his uploads and files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api.models import Done, Model, time_of
from http_api.paging import NextCursor, PageQuery, cursor_of, numbers_of
from http_api.routing import Ask, Reply, Route
from vfs.operations import alerts
from vfs.operations.alerts import AlertKind, Severity


class Alert(Model):
    id: str
    kind: AlertKind
    subject: Annotated[str, Field(description="what it is about; empty where the kind says all")]
    severity: Severity
    message: str
    count: Annotated[int, Field(description="how often it happened while it is open")]
    opened_at: datetime
    last_at: datetime
    closed_at: Annotated[datetime | None, Field(description="null: it is still so")]


class Alerts(Model):
    success: Literal[True] = True
    alerts: list[Alert]
    next_cursor: NextCursor


class AlertsQuery(PageQuery):
    all: Annotated[bool, Field(description="those that are over, too")] = False


def list_alerts(ask: Ask) -> Reply:
    query = ask.query(AlertsQuery)
    after = numbers_of(query.cursor, 1)
    found, last = alerts.page(ask.kelp, ask.caller, query.limit, after[0] if after else None, only_open=not query.all)
    cursor = cursor_of(None if last is None else (last,))
    return Reply(Alerts(success=True, alerts=[_shown(each) for each in found], next_cursor=cursor))


def close_alert(ask: Ask) -> Reply:
    alerts.close_one(ask.kelp, ask.ids["id"], f"closed by {ask.caller.name}")
    return Reply(Done(success=True))


def _shown(alert: alerts.Alert) -> Alert:
    return Alert(
        id=alert.uuid,
        kind=AlertKind(alert.kind),
        subject=alert.subject,
        severity=Severity(alert.severity),
        message=alert.message,
        count=alert.count,
        opened_at=time_of(alert.opened_ns),
        last_at=time_of(alert.last_ns),
        closed_at=None if alert.closed_ns is None else time_of(alert.closed_ns),
    )


ROUTES = (
    Route(
        *("GET", "/alerts", list_alerts, "What is wrong just now, newest first", "alerts"),
        query=AlertsQuery, answer=Alerts,
    ),
    Route(
        *("POST", "/alerts/{id}/close", close_alert, "It is over; when it is not, it is raised anew", "alerts"),
        answer=Done, codes=("NOT_FOUND",), admin=True,
    ),
)  # fmt: skip
