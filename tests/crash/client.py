"""A client that keeps a ledger, and looks over HTTP at what is there."""

from __future__ import annotations

import contextlib
import http.client
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote, unquote

from tests.crash.choosing import Chooser
from tests.crash.ledger import UNKNOWN_TOKEN, Body, Node, Path, Request, Tree, outcome
from tests.server_process import ServerProcess

_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>crash</D:owner></D:lockinfo>"
)
_LABEL = (
    "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><L:l xmlns:L='urn:l'>%s</L:l></D:prop></D:set></D:propertyupdate>"
)
_LIST = (
    b'<D:propfind xmlns:D="DAV:" xmlns:L="urn:l"><D:prop><D:resourcetype/><D:getcontentlength/><D:lockdiscovery/>'
    b"<L:l/></D:prop></D:propfind>"
)
_MULTISTATUS_OK = b"HTTP/1.1 200 OK"

Gone = (OSError, http.client.HTTPException)


class Client:
    """Works in `/dav/{above}/{name}/` alone. `tree` is what was acknowledged, `pending` what was not answered."""

    def __init__(self, server: ServerProcess, name: str, seed: int, above: Path = ()) -> None:
        self._server = server
        home = (*above, name)
        self._home = home
        self._chooser = Chooser(seed, home)
        self._connection: http.client.HTTPConnection | None = None
        self.tree = Tree()
        self.pending: Request | None = None
        self.acknowledged = 0

    def work(self) -> None:
        """Send requests until the server goes away. Raises AssertionError for a refusal."""
        with self._connected():
            while True:
                request = self.pending = self._chooser.next(self.tree) if self.tree.nodes else self._first()
                try:
                    self.tree = self._send(request)
                except Gone:
                    return
                self.pending = None
                self.acknowledged += 1

    def verify(self) -> None:
        """Compare what is there with the ledger and go on from it. AssertionError: something is lost or half done."""
        with self._connected():
            self.tree = outcome(self.tree, self.pending, self.look())
        self.pending = None

    # --- requests ---

    def _first(self) -> Request:
        return Request("MKCOL", self._home, Tree({self._home: Node()}), 201)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        with contextlib.closing(self._server.connect()) as self._connection:
            yield

    def _ask(self, method: str, url: str, body: object, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        assert self._connection is not None
        chunked = "Transfer-Encoding" in headers
        sent = {"Authorization": self._server.basic, **headers}
        self._connection.request(method, url, body, sent, encode_chunked=chunked)  # type: ignore[arg-type]
        reply = self._connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()

    def _send(self, request: Request) -> Tree:
        """The tree once it is acknowledged."""
        headers, body = self._head_and_body(request)
        status, fields, answer = self._ask(request.method, url(request.path), body, headers)
        assert status == request.expected, f"{request}: {status} instead of {request.expected}: {answer[:500]!r}"
        if request.method == "PROPPATCH":
            assert _MULTISTATUS_OK in answer, f"{request}: {answer[:500]!r}"
        if request.method == "LOCK":
            node = request.after.nodes[request.path]
            return request.after.put(request.path, replace(node, token=fields["lock-token"][1:-1]))
        return request.after

    def _head_and_body(self, request: Request) -> tuple[dict[str, str], object]:
        headers: dict[str, str] = {}
        if request.method == "UNLOCK":
            return {"Lock-Token": f"<{request.locked[request.path]}>"}, None
        if request.locked:
            host = f"http://127.0.0.1:{self._server.port}"
            headers["If"] = " ".join(f"<{host}{url(path)}> (<{token}>)" for path, token in request.locked.items())
        if request.target is not None:
            headers["Destination"] = url(request.target)
            headers["Overwrite"] = "T" if request.expected == 204 else "F"
        if request.method == "PUT" and request.chunked:
            headers |= {"Transfer-Encoding": "chunked", "X-Expected-Entity-Length": str(len(request.data))}
            return headers, (request.data[at : at + 300_000] for at in range(0, len(request.data), 300_000))
        if request.method == "LOCK":
            return {**headers, "Depth": "0", "Timeout": "Second-86400"}, _LOCKINFO
        if request.method == "PROPPATCH":
            return headers, (_LABEL % request.label).encode()
        return headers, request.data if request.method == "PUT" else None

    # --- looking ---

    def look(self) -> Tree:
        """Everything in the client's folder, every byte of it read."""
        nodes: dict[Path, Node] = {}
        unseen = [self._home]
        while unseen:
            folder = unseen.pop()
            status, _, answer = self._ask("PROPFIND", url(folder) + "/", _LIST, {"Depth": "1"})
            if status == 404 and folder == self._home:
                return Tree()
            assert status == 207, f"PROPFIND {folder}: {status} {answer[:500]!r}"
            for path, is_folder, node, size in _listed(answer):
                if path not in nodes:
                    nodes[path] = node if is_folder else replace(node, body=self._read(path, size))
                    unseen += [path] if is_folder and path != folder else []
        return Tree(nodes)

    def _read(self, path: Path, size: int) -> Body:
        status, _, data = self._ask("GET", url(path), None, {})
        assert (status, len(data)) == (200, size), f"GET {path}: {status}, {len(data)} of {size} bytes"
        return Body.of(data)


def url(path: Path) -> str:
    return "/dav/" + "/".join(quote(name, safe="") for name in path)


def _listed(answer: bytes) -> Iterator[tuple[Path, bool, Node, int]]:
    """Path, whether it is a folder, label and lock, size."""
    for response in ET.fromstring(answer).iter("{DAV:}response"):
        href = response.findtext("{DAV:}href", "")
        path = tuple(unquote(name) for name in href.removeprefix("/dav/").strip("/").split("/"))
        is_folder = response.find(".//{DAV:}collection") is not None
        tokens = [href.text or "" for href in response.iterfind(".//{DAV:}locktoken/{DAV:}href")]
        assert len(tokens) <= 1 and UNKNOWN_TOKEN not in tokens
        label = response.findtext(".//{urn:l}l", "")
        size = int(response.findtext(".//{DAV:}getcontentlength") or "0")
        yield path, is_folder, Node(None, label, "".join(tokens)), size
