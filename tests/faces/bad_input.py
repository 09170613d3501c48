"""Raw requests against one drive that must be as it was after each, for the tests of bad input.

The tree and its bytes, the cache's objects, properties, locks are compared, and what the server logs is read: a
client's mistake is no reason for a warning. Test modules import the fixtures `prepared_drive` and `nothing_changes`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests import cache_listing

FILE = "/dav/folder/file"
OLD = b"the old content"
LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


@pytest.fixture(scope="module", name="drive")
def prepared_drive(shared_drive):
    assert shared_drive.ask("MKCOL", "/dav/folder").status == 201
    assert shared_drive.ask("PUT", FILE, OLD).status == 201
    return shared_drive


@pytest.fixture(autouse=True)
def nothing_changes(drive, caplog) -> Iterator[None]:
    """After each test: the drive as it was, and a log without warnings, errors and tracebacks."""
    before = state(drive)
    with caplog.at_level(logging.WARNING):
        yield
    assert drive.ask("GET", FILE).body == OLD
    assert state(drive) == before
    assert [record.getMessage() for record in caplog.records] == []


def state(drive) -> dict[str, Any]:
    tables = ("entries", "contents", "versions", "dav_locks", "dav_properties", "sync_events")
    with drive.kelp.database.read() as tx:
        rows: dict[str, Any] = {table: tx.all(f"SELECT * FROM {table} ORDER BY 1") for table in tables}
        rows["objects"] = tx.all("SELECT key, size, checksum, status FROM objects ORDER BY 1")  # not when it was read
    rows["cache"] = [info.key for info in cache_listing.objects(drive.kelp.cache)]
    return rows


def talk(drive, data: bytes, *, then_close: bool = False) -> bytes:
    """Send bytes as they are; all that comes back until the server ends the connection or falls silent."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as connection:
        with contextlib.suppress(OSError):  # the server may have said no already
            connection.sendall(data)
            if then_close:
                connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while piece := connection.recv(65536):
                received += piece
                connection.settimeout(0.3)
        return received


def head(drive, method: str, target: str, *fields: str | bytes, stay: bool = False) -> bytes:
    """The head of a request. `stay`: the client would like to keep the connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: {drive.basic()}", *fields]
    lines += [] if stay else ["Connection: close"]
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\r\n\r\n"


def refused(answer: bytes, *statuses: int) -> None:
    """One answer, a clear 4xx (or one of `statuses`)."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    status = int(answer[9:12])
    assert status in statuses if statuses else 400 <= status < 500, answer[:500]
    assert b"Traceback" not in answer
    fields, _, body = answer.partition(b"\r\n\r\n")
    assert body or b"content-length: 0" in fields.lower(), "no word about what was wrong"


def closed(answer: bytes) -> bool:
    return b"connection: close" in answer.partition(b"\r\n\r\n")[0].lower()
