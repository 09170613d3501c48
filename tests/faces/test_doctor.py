"""`kelp doctor` from a client's side: a served drive, alone and behind proxies that are set up right and wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

import kelp as command_line
from jobs import mirror
from tests.faces.conftest import ServedDrive
from tests.faces.reverse_proxy import reverse_proxy
from tests.server_process import PROGRAM
from tests.services.child import free_port
from vfs.crypto.certificates import write_self_signed
from vfs.model import ROOT_ID
from vfs.operations import access, backlog, checking, reading, trashing

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
INSIDE = [
    "server", "ready", "log-in", "options", "folder", "put", "range", "listing", "chunked put", "100-continue", "lock",
    "move", "long put", "delete",
]  # fmt: skip
RIGHT = (
    "client_max_body_size 0;", "proxy_http_version 1.1;", "proxy_set_header Host $http_host;",
    "proxy_request_buffering off;",
)  # fmt: skip

Found = dict[str, tuple[str, str, str]]


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """The command complains of disks that forget."""
    return disk_path


class Answer(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def command(drive: ServedDrive, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Its words and its environment."""
    words = ["doctor", "--data", str(drive.data), "--nas", str(drive.nas), *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
    cache, database = drive.kelp.settings.cache, drive.kelp.settings.database
    environ |= {"KELP_CACHE_URL": cache.url, "KELP_DATABASE_URL": database.url, "KELP_DOCTOR_PASSWORD": drive.password}
    return words, environ | {"KELP_CACHE_ACCESS_KEY": cache.access_key, "KELP_CACHE_SECRET_KEY": cache.secret_key}


def run(words: list[str], environ: dict[str, str]) -> Answer:
    """Run it in this process: all that it asks, it asks over connections. How it ends is in rooms/test_doctor."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", environ)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command_line.run(words)
    return Answer(code, out.getvalue(), err.getvalue())


def face(drive: ServedDrive, url: str, *arguments: str, code: int, password: str | None = None) -> Found:
    """What is found of the face, by check: (mark, fact, advice). Nothing is left, whatever happened."""
    words, environ = command(drive, "--json", "--url", url, *(arguments or ("--user", drive.user)))
    if password:
        environ["KELP_DOCTOR_PASSWORD"] = password
    done = run(words, environ)
    assert done.stderr == ""
    assert drive.password not in done.stdout
    every = json.loads(done.stdout)["findings"]
    errors = {(f["area"], f["check"]) for f in every if f["mark"] == "error"}
    assert done.returncode == int(bool(errors)), every
    # A PostgreSQL of the tests runs without fsync, which is one.
    assert bool(errors - {("database", "durability")}) == bool(code), errors
    found = [f for f in every if f["area"] == "face"]
    return {f["check"]: (f["mark"], f["fact"], f["advice"]) for f in found}


def left(drive: ServedDrive) -> list[str]:
    """What is still to be seen of it: on the drive, in the trash, among locks, on its way to the NAS, on the NAS."""
    kelp = drive.kelp
    mirror.drain(kelp, "test")  # finds that there is nothing to carry; a change that must wait stays
    caller = access.system_caller(kelp)
    found = [row.name for row in reading.list_folder(kelp, caller, ROOT_ID)]
    found += [item.entry.name for item in trashing.list_trash(kelp, caller)]
    found += [str(file) for file in drive.nas.rglob("*doctor*")]
    found += [f"{number} changes" for number in [backlog.waiting(kelp)] if number]
    with kelp.database.read() as tx:
        found += [str(row) for row in tx.all("SELECT token FROM dav_locks")]
    return found


@contextlib.contextmanager
def proxy(folder: Path, upstream: int, *lines: str) -> Iterator[str]:
    """The URL of an nginx that passes all on to the port `upstream`, with `lines` for it and all else as it comes."""
    if NGINX is None:
        pytest.skip("nginx is not installed (Debian package nginx)")
    folder.mkdir()
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    body = "\n".join(lines)
    (folder / "nginx.conf").write_text(
        f"""daemon off; pid {folder}/pid; error_log {folder}/error.log crit; events {{}}
        {"user root;" if os.geteuid() == 0 else ""}
        http {{ access_log off; {places}
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; {body} }} }} }}"""
    )
    words = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port))):
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("nginx did not start")


def marks(found: Found) -> dict[str, str]:
    return {check: mark for check, (mark, _, _) in found.items() if mark != "ok"}


# ------------------------------------------------------------------------------------------------------ alone


def test_all_is_well(served_drive: ServedDrive) -> None:
    found = face(served_drive, f"http://127.0.0.1:{served_drive.port}", code=0)
    assert (list(found), marks(found)) == (INSIDE, {})
    assert left(served_drive) == []
    assert checking.check(served_drive.kelp).ok


def test_without_a_user_it_goes_to_the_door(served_drive: ServedDrive) -> None:
    found = face(served_drive, served_drive.url, "--log-level", "error", code=0)
    assert list(found) == ["server", "ready", "log-in"]
    assert found["log-in"][0] == "note" and "--user" in found["log-in"][2]


def test_a_wrong_password_and_one_who_may_not_write(served_drive: ServedDrive) -> None:
    found = face(served_drive, served_drive.url, code=1, password="open sesame")
    assert found["log-in"][:2] == ("error", "admin is refused with 401")
    assert "open sesame" not in str(found)
    found = face(served_drive, served_drive.url, "--user", "viewer", code=1)
    assert found["folder"][0] == "error" and "may not write" in found["folder"][2]
    assert left(served_drive) == []


def test_a_server_that_is_not_ready(served_drive: ServedDrive) -> None:
    cache = served_drive.data / "cache"
    if not cache.exists():
        pytest.skip("the cache is elsewhere")
    cache.rename(served_drive.data / "gone")
    try:
        words, environ = command(served_drive, "--json", "--url", served_drive.url)
        done = run(words, environ)
        found = {f["check"]: f["mark"] for f in json.loads(done.stdout)["findings"] if f["area"] in ("face", "cache")}
        assert found["place"] == "warning" and found["ready"] == "error"
    finally:
        (served_drive.data / "gone").rename(cache)


# -------------------------------------------------------------------------------------------------------- TLS


def test_a_certificate_of_ones_own(tmp_path: Path, served_with: Callable[..., ServedDrive]) -> None:
    cert, key = write_self_signed(["localhost", "127.0.0.1"], tmp_path / "tls", datetime.now(UTC))
    drive = served_with(server_tls_cert=cert, server_tls_key=key)
    url = f"https://localhost:{drive.port}"
    found = face(drive, url, code=1)
    assert list(found) == ["server"], "no password goes to who cannot prove who he is"
    assert "trust" in found["server"][2]
    words, environ = command(drive, "--json", "--url", url, "--user", drive.user)
    environ |= {"KELP_SERVER_TLS_CERT": str(cert), "KELP_SERVER_TLS_KEY": str(key)}
    done = run(words, environ)
    trusted = {f["check"]: f["mark"] for f in json.loads(done.stdout)["findings"] if f["area"] == "face"}
    assert [*trusted] == ["server", "certificate", *INSIDE[1:]]
    assert trusted["certificate"] == "note"
    assert left(drive) == []


@pytest.mark.parametrize(
    ("hosts", "days", "said"), [(["drive.example"], 30, "name in the URL"), (["localhost"], 0, "renew")]
)
def test_a_certificate_that_is_not_right(
    tmp_path: Path, served_with: Callable[..., ServedDrive], hosts: list[str], days: int, said: str
) -> None:
    from vfs.crypto import certificates

    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, data in zip((cert, key), certificates.make_self_signed(hosts, datetime.now(UTC), days), strict=True):
        file.write_bytes(data)
    drive = served_with(server_tls_cert=cert, server_tls_key=key)
    words, environ = command(drive, "--json", "--url", f"https://localhost:{drive.port}", "--user", drive.user)
    environ |= {"KELP_SERVER_TLS_CERT": str(cert), "KELP_SERVER_TLS_KEY": str(key)}
    done = run(words, environ)
    [finding] = [f for f in json.loads(done.stdout)["findings"] if f["area"] == "face"]
    assert (done.returncode, finding["mark"]) == (1, "error")
    assert said in finding["advice"]


def test_plain_http_where_tls_is(tmp_path: Path, served_drive: ServedDrive) -> None:
    found = face(served_drive, f"https://127.0.0.1:{served_drive.port}", code=1)
    assert list(found) == ["server"] and "http instead of https" in found["server"][2]


# ---------------------------------------------------------------------------------------------------- proxies


def test_behind_the_proxy_that_we_give_out(tmp_path: Path, served_with: Callable[..., ServedDrive]) -> None:
    drive = served_with(server_trusted_proxies="127.0.0.1")
    with reverse_proxy(tmp_path / "nginx", drive.port) as port:
        assert marks(face(drive, f"http://127.0.0.1:{port}", code=0)) == {}
    assert left(drive) == []


def test_behind_a_proxy_as_it_comes(tmp_path: Path, served_drive: ServedDrive) -> None:
    with proxy(tmp_path / "nginx", served_drive.port) as url:
        found = face(served_drive, url, code=1)
    assert marks(found) == {"move": "error", "long put": "error"}
    assert "$http_host" in found["move"][2] and "server.trusted_proxies" in found["move"][2]
    assert "413" in found["long put"][1] and "client_max_body_size" in found["long put"][2]
    assert left(served_drive) == []


@pytest.mark.parametrize(
    ("line", "check", "said"),
    [
        ("if ($request_method = MOVE) { return 405; }", "move", "blocks MOVE"),
        ("if ($request_method = LOCK) { return 403; }", "lock", "blocks LOCK"),
        ("if ($request_method = UNLOCK) { return 405; }", "lock", "blocks UNLOCK"),
        ("if ($request_method = PROPFIND) { return 501; }", "listing", "all methods of WebDAV"),
        ("if ($request_method = MKCOL) { return 405; }", "folder", "blocks MKCOL"),
        ("if ($request_method = OPTIONS) { return 200; }", "log-in", "log"),
        ('proxy_set_header Range "";', "range", "ranges must pass"),
        ('proxy_set_header If "";', "lock", "If and Lock-Token must pass"),
        ('proxy_set_header Authorization "";', "log-in", "Authorization"),
        ("client_max_body_size 50k;", "chunked put", "client_max_body_size"),
        ("return 301 https://elsewhere.example$request_uri;", "server", "https://elsewhere.example/healthz"),
    ],
)
def test_behind_a_proxy_with_a_wrong_setting(
    tmp_path: Path, served_drive: ServedDrive, line: str, check: str, said: str
) -> None:
    right = [each for each in RIGHT if each.split()[0] != line.split()[0] or "Host" in each]
    with proxy(tmp_path / "nginx", served_drive.port, *right, line) as url:
        found = face(served_drive, url, code=1)
    assert found[check][0] == "error", found
    assert said in found[check][2]
    assert left(served_drive) == []


def test_where_nothing_can_be_deleted_it_says_what_is_left(tmp_path: Path, served_drive: ServedDrive) -> None:
    with proxy(tmp_path / "nginx", served_drive.port, *RIGHT, "if ($request_method = DELETE) { return 405; }") as url:
        found = face(served_drive, url, code=1)
    assert "blocks DELETE" in found["delete"][2]
    [name] = [
        row.name for row in reading.list_folder(served_drive.kelp, access.system_caller(served_drive.kelp), ROOT_ID)
    ]
    assert name in found["remove"][2]


def test_a_proxy_without_a_server(tmp_path: Path, served_drive: ServedDrive) -> None:
    with proxy(tmp_path / "nginx", free_port(), *RIGHT) as url:
        found = face(served_drive, url, code=1)
    assert "proxy_pass" in found["server"][2]


# ------------------------------------------------------------------------------------------------- interrupted


class Relay:
    """Passes connections on, but holds the one that carries the long upload, after its head, until `go` is set."""

    def __init__(self, upstream: int) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=self._listener.accept()[:1], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server, contextlib.suppress(OSError):
            head = client.recv(65536)
            if head.startswith(b"PUT ") and b"/long HTTP" in head:
                self.reached.set()
                self.go.wait(30)
            server.sendall(head)
            back = threading.Thread(target=_pour, args=(server, client), daemon=True)
            back.start()
            _pour(client, server)
            back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_it_leaves_nothing(served_drive: ServedDrive, number: signal.Signals) -> None:
    with contextlib.closing(Relay(served_drive.port)) as relay:
        words, environ = command(served_drive, "--url", f"http://127.0.0.1:{relay.port}", "--user", "admin")
        # In the background a shell's Ctrl-C is none of ours, and what it starts inherits that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        finally:
            signal.signal(signal.SIGINT, before)
        with process:
            assert relay.reached.wait(60)
            assert left(served_drive) != []
            process.send_signal(number)
            relay.go.set()
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err + out
    assert left(served_drive) == []


def test_a_server_that_hangs_holds_up_nothing(served_drive: ServedDrive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        begun = time.monotonic()
        found = face(served_drive, f"http://127.0.0.1:{deaf.getsockname()[1]}", code=1)
        assert time.monotonic() - begun < 60
    assert found["server"][0] == "error"
