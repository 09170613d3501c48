"""What a 2xx costs in fsyncs, seen by strace: everything that it promises is on the disk before its first byte goes out
(design §1), and nothing is synced that no promise needs.

The server has one thread, and the jobs of the mirror, which sync on their own account, are kept from running.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faces.rules.requests import LOCKINFO
from tests.server_process import ServerProcess, server_process

# What is synced, as `kind_of` names it.
OBJECT, OBJECT_FOLDER, LOG = "object", "folder of the object", "database log"
BYTES = [OBJECT, OBJECT_FOLDER, LOG]  # the bytes, their name, and then the row that shows them
AHEAD = [OBJECT, LOG]  # the name was made ahead, and synced with others
ROW = [LOG]
NOTHING: list[str] = []

PART = 8 << 20
LOCK = LOCKINFO % (b"exclusive", b"me")
LABEL = b"<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><l xmlns='urn:l'>1</l></D:prop></D:set></D:propertyupdate>"

# request, headers, body, status, what is synced between its arrival and its answer. {…} is the token of the last lock.
Row = tuple[str, dict[str, str], "bytes | None", int, list[str]]
WARM = "PUT warm"
FIRST: list[Row] = [
    ("PUT a", {}, b"new", 201, BYTES),
    ("PUT a", {}, b"over", 204, BYTES),
]
TABLE: list[Row] = [
    ("PUT b", {}, b"new", 201, AHEAD),
    ("PUT b", {}, b"over", 204, AHEAD),
    ("PUT chunked", {"Transfer-Encoding": "chunked"}, b"body", 201, AHEAD),
    ("PUT three-parts", {}, bytes(2 * PART + 1), 201, [OBJECT, *[OBJECT, OBJECT_FOLDER] * 2, LOG]),
    ("PUT empty", {}, b"", 201, ROW),
    ("PUT a", {}, b"", 204, ROW),
    ("MKCOL folder", {}, None, 201, ROW),
    ("MKCOL folder/in", {}, None, 201, ROW),
    ("PROPPATCH empty", {}, LABEL, 207, ROW),
    ("LOCK empty", {}, LOCK, 200, ROW),
    ("LOCK empty", {"If": "(<{token}>)"}, b"", 200, ROW),
    ("PUT empty", {"If": "(<{token}>)"}, b"filled", 204, AHEAD),
    ("UNLOCK empty", {"Lock-Token": "<{token}>"}, None, 204, ROW),
    ("LOCK unmapped", {}, LOCK, 201, ROW),
    ("COPY three-parts", {"Destination": "/dav/copied"}, None, 201, ROW),
    ("COPY three-parts", {"Destination": "/dav/a"}, None, 204, ROW),
    ("COPY folder", {"Destination": "/dav/folder2"}, None, 201, ROW),
    ("MOVE a", {"Destination": "/dav/c"}, None, 201, ROW),
    ("MOVE c", {"Destination": "/dav/copied"}, None, 204, ROW),
    ("MOVE folder", {"Destination": "/dav/folder3"}, None, 201, ROW),
    ("MOVE folder3", {"Destination": "/dav/folder2"}, None, 204, ROW),
    ("DELETE copied", {}, None, 204, ROW),
    ("DELETE folder2", {}, None, 204, ROW),
    # Who only asks, or is refused, waits for no disk.
    ("PROPFIND ", {"Depth": "1"}, None, 207, NOTHING),
    ("OPTIONS empty", {}, None, 200, NOTHING),
    ("PUT no/parent", {}, b"body", 409, NOTHING),
    # A small body is stored before the locks are looked at, and taken back.
    ("PUT unmapped", {}, b"body", 423, [OBJECT]),
    ("PUT empty", {"If-None-Match": "*"}, b"body", 412, NOTHING),
    ("MKCOL empty", {}, None, 405, NOTHING),
    ("DELETE gone", {}, None, 404, NOTHING),
    ("GET three-parts", {}, None, 200, NOTHING),
]


@dataclass
class Exchange:
    """One request as strace saw it. `syncs` came before the answer's first byte, `late` after it."""

    request: str
    status: int = 0
    syncs: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


_SYNCS = "fsync|fdatasync|sync_file_range|msync|syncfs|sync"
_SYNC = re.compile(rf"(\d+) +(?:{_SYNCS})\((?:\d+<(.*?)>)?.*?(= 0|unfinished \.\.\.>)$")
_SYNC_RESUMED = re.compile(rf"(\d+) +<\.\.\. (?:{_SYNCS}) resumed>.*= 0$")
# Behind the body of a refused request, perhaps, that was still on its way.
_RECEIVED = re.compile(r'\d+ +(?:recvfrom|<\.\.\. recvfrom resumed>)\(?.*?"[a-z]*([A-Z]+ /dav/\S*) HTTP/1\.1')
_SENT = re.compile(r'\d+ +sendto\(.*?"HTTP/1\.1 (\d+) ')
_TRACE = ("-e", "trace=recvfrom,sendto,fsync,fdatasync,sync_file_range,msync,syncfs,sync")


def exchanges(trace: str) -> list[Exchange]:
    """Read a trace. A sync counts when it has returned."""
    found = [Exchange("before the first request")]
    unfinished: dict[str, str] = {}  # thread → path
    for line in trace.splitlines():
        synced = None
        if match := _RECEIVED.match(line):
            found.append(Exchange(match[1]))
        elif (match := _SENT.match(line)) and not found[-1].status:
            found[-1].status = int(match[1])
        elif match := _SYNC_RESUMED.match(line):
            synced = unfinished.pop(match[1])
        elif match := _SYNC.match(line):
            if match[3] == "= 0":
                synced = match[2]
            else:
                unfinished[match[1]] = match[2]
        if synced is not None:
            (found[-1].late if found[-1].status else found[-1].syncs).append(kind_of(Path(synced)))
    return found[1:]


def kind_of(path: Path) -> str:
    if path.name.endswith("-wal"):
        return LOG
    if path.parent.parent.name == "objects":
        return OBJECT
    return OBJECT_FOLDER if path.parent.name == "objects" else str(path)


def why_not(folder: Path) -> str | None:
    """Why system calls cannot be watched here; None when they can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed (Debian package strace)"
    tried = subprocess.run(
        [strace, "-D", "-f", "-o", str(folder / "tried"), "true"], capture_output=True, text=True, timeout=60
    )
    return None if tried.returncode == 0 else f"strace is not allowed here: {tried.stderr.strip()[-200:]}"


@contextlib.contextmanager
def traced_server(folder: Path) -> Iterator[tuple[ServerProcess, Path]]:
    """A server with one thread and without jobs, and where its trace is; the trace is complete when the block ended."""
    (folder / "data").mkdir()
    trace = folder / "trace"
    # -D: the server, not strace, is our child. -yy shows the paths of descriptors.
    under = ("strace", "-D", "-f", "--seccomp-bpf", "-yy", "-s", "100", "-o", str(trace), *_TRACE)
    with (folder / "data" / "jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the lock that decides which process runs the jobs
        with server_process(folder, under=under, server_threads=1) as server:
            yield server, trace
    until = time.monotonic() + 30
    while not re.search(rf"^{server.process.pid} +\+\+\+ killed", trace.read_text(), re.MULTILINE):
        assert time.monotonic() < until, "strace did not finish"
        time.sleep(0.02)


def all_rows(cache: Path) -> Iterator[Row]:
    """Those of the tables, and others: the first PUT of a process makes the folders of the cache, and its first commit
    is the first sync of a new log; several in a row have names made for the next ones."""
    yield (WARM, {}, b"warm", 201, NOTHING)
    yield from FIRST
    until = time.monotonic() + 60
    while not any(not path.stat().st_size for path in (cache / "objects").glob("??/*")):
        assert time.monotonic() < until, "no names are made ahead"
        yield (WARM, {}, b"warm", 204, NOTHING)
    yield from TABLE


def send_all(server: ServerProcess, cache: Path) -> None:
    """On one connection."""
    token = ""
    with contextlib.closing(server.connect()) as connection:
        for request, headers, body, status, _ in all_rows(cache):
            method, _, path = request.partition(" ")
            sent = {"Authorization": server.basic, **headers}
            sent |= {name: sent[name].format(token=token) for name in ("If", "Lock-Token") if name in sent}
            chunked = "Transfer-Encoding" in sent
            connection.request(method, f"/dav/{path}", iter([body]) if chunked else body, sent, encode_chunked=chunked)  # type: ignore[arg-type]
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == status, (request, reply.status, text[:500])
            token = reply.headers.get("Lock-Token", f"<{token}>")[1:-1]


def test_what_each_method_syncs(tmp_path: Path) -> None:
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    with traced_server(tmp_path) as (server, trace):
        send_all(server, tmp_path / "data" / "cache")
    seen = [one for one in exchanges(trace.read_text()) if one.request.replace("/dav/", "") != WARM]
    # That something is being read, and was, is noted by a thread of its own, whom no reader waits for.
    seen[-1].syncs, seen[-1].late = [one for one in seen[-1].syncs if one != LOG], []
    expected = [(request, status, synced) for request, _, _, status, synced in [*FIRST, *TABLE]]
    assert [(one.request.replace("/dav/", ""), one.status, one.syncs) for one in seen] == expected
    assert not [(one.request, one.late) for one in seen if one.late], "synced after it was acknowledged"
