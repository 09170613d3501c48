"""Alerts to a URL: one POST of JSON for the beginning and one for the end of each.

{"source": "kelp", "host": …, "event": "begin"|"end"|"both"|"test", "id": …, "kind": …, "subject": …, "severity": …,
"message": …, "count": …, "openedAt": ISO 8601, "closedAt": ISO 8601 or null, "traceId": …}
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from vfs.settings import Alerts
from vfs.sinks.notice import SECONDS, Notice, Untold, in_time, one_line, time_in_words


class WebhookSink:
    name = "webhook"
    at_once = 1

    def __init__(self, settings: Alerts) -> None:
        self._url = settings.webhook

    @property
    def target(self) -> str:
        """Only the host: a path often is a secret."""
        try:
            return _parse(self._url).hostname or ""
        except Untold:
            return "alerts.webhook"

    def check(self) -> None:
        _parse(self._url)

    def send(self, notices: Sequence[Notice]) -> None:
        url = _parse(self._url)
        for notice in notices:
            body = json.dumps(_fields(notice), ensure_ascii=False).encode()
            try:
                in_time(partial(_post, url, body))
            except ssl.SSLError as error:
                raise Untold(f"no safe line to {url.hostname}: {one_line(error.reason or error)}") from None
            except (http.client.InvalidURL, UnicodeError):  # their texts quote it
                raise Untold("alerts.webhook is no URL") from None
            except (http.client.HTTPException, OSError) as error:
                raise Untold(f"{url.hostname}: {one_line(error) or type(error).__name__}") from None


def _parse(text: str) -> SplitResult:
    """Raises Untold."""
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  # looks whether it is a number
    except ValueError:
        raise Untold("alerts.webhook is no URL") from None  # not quoted: it may hold a secret
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Untold("alerts.webhook must be http://… or https://…")
    return url


def _fields(notice: Notice) -> dict[str, Any]:
    return {
        "source": "kelp",
        "host": socket.gethostname(),
        "event": notice.what,
        "id": notice.id,
        "kind": notice.kind,
        "subject": notice.subject,
        "severity": notice.severity,
        "message": notice.message,
        "count": notice.count,
        "openedAt": time_in_words(notice.opened_ns),
        "closedAt": None if notice.closed_ns is None else time_in_words(notice.closed_ns),
        "traceId": notice.trace_id,
    }


def _post(url: SplitResult, body: bytes) -> None:
    """Of the answer only the status is read. Raises Untold, and what the libraries raise."""
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(
            url.hostname or "", url.port, timeout=SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=SECONDS)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "kelp"}
    if url.username:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
        if not 200 <= status < 300:  # nor is it sent to wherever the answer points
            raise Untold(f"{url.hostname} answered {status}")
    finally:
        connection.close()
