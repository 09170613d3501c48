"""The requests that the rules' tests send, and how they read the answers."""

from __future__ import annotations

import contextlib
import socket
import xml.etree.ElementTree as ET

METHODS = {
    *("OPTIONS", "GET", "HEAD", "PUT", "PROPFIND", "PROPPATCH"),
    *("MKCOL", "DELETE", "COPY", "MOVE", "LOCK", "UNLOCK"),
}
LOCKINFO = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:%s/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>%s</D:owner></D:lockinfo>"
)
WIN = "urn:schemas-microsoft-com:"


def lock(drive, path, *, scope=b"exclusive", owner=b"me", user=None, **headers):
    """The answer and the token ("" when refused)."""
    reply = drive.ask("LOCK", path, LOCKINFO % (scope, owner), user=user, **headers)
    return reply, reply.headers.get("lock-token", "<>")[1:-1]


def propfind(drive, path, names="", depth="0", user=None, body=None):
    if body is None:
        body = f'<D:propfind xmlns:D="DAV:"><D:prop>{names}</D:prop></D:propfind>'.encode() if names else b""
    return drive.ask("PROPFIND", path, body, Depth=depth, user=user)


def values(reply, status="200"):
    """Clark name → text of each property with that status, of the first response."""
    first = ET.fromstring(reply.body).find("{DAV:}response")
    return {
        prop.tag: "".join(prop.itertext())
        for propstat in first.iter("{DAV:}propstat")
        if f" {status} " in propstat.findtext("{DAV:}status")
        for prop in propstat.find("{DAV:}prop")
    }


def proppatch(drive, path, inner, **headers):
    body = (
        f'<D:propertyupdate xmlns:D="DAV:" xmlns:Z="{WIN}"><D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>'
    )
    return drive.ask("PROPPATCH", path, body.encode(), **headers)


def raw(drive, data, *, finish=False):
    """Send bytes as they are; everything that comes back until the server closes or falls silent."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as connection:
        connection.sendall(data)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := _piece(connection, received):
            received += piece
        return received


def _piece(connection, received):
    connection.settimeout(1.0 if received else 10)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


def head(drive, method, path, *lines):
    text = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {drive.basic()}", *lines]
    return ("\r\n".join(text) + "\r\n\r\n").encode()
