"""Behind nginx as `deploy/nginx.conf` sets it up, with two servers on one drive: what a proxy could spoil (bodies cut,
held back or of unknown length, names, addresses), and what happens when one of the servers goes.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines, new_drive
from tests.faces.conftest import Reply, ServedDrive
from tests.faces.reverse_proxy import reverse_proxy
from tests.server_process import PASSWORD, ServerProcess, server_process
from vfs.bootstrap import build
from vfs.model import Role
from vfs.operations import checking

# One process each: when the first of several is killed, the others finish what they are at, and then end.
SETTINGS = {"server_trusted_proxies": "127.0.0.1", "server_processes": 1}
AWAY = 3.5  # seconds: nginx asks nothing of a server that was away for more than two of them, counted in whole ones


@contextlib.contextmanager
def two_servers(folder: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with server_process(folder, **SETTINGS) as first, server_process(folder, **SETTINGS) as second:
        yield first, second


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    """A drive whose port is that of the proxy."""
    folder: Path = tmp_path_factory.mktemp("behind")
    with two_servers(folder) as servers, reverse_proxy(folder / "nginx", [each.port for each in servers]) as port:
        settings = engines.load(servers[0].data, nas_root=servers[0].nas)
        with contextlib.closing(build(settings)) as kelp:
            new_drive.invite(kelp, "other", Role.EDITOR)
            at = (f"http://127.0.0.1:{port}/dav/", port, "admin", PASSWORD, kelp)
            yield ServedDrive(*at, servers[0].data, servers[0].nas, servers[0].stop)
            assert checking.check(kelp).ok
        for server in servers:
            assert " ERROR " not in server.log_text(), server.log_text()[-3000:]


def begin(drive: ServedDrive, path: str, *lines: str) -> socket.socket:
    """A connection on which a PUT was begun, with no body yet."""
    connection = socket.create_connection(("127.0.0.1", drive.port), timeout=20)
    head = (f"PUT {path} HTTP/1.1", "Host: localhost", f"Authorization: {drive.basic()}", *lines)
    connection.sendall("\r\n".join((*head, "", "")).encode())
    return connection


@pytest.mark.parametrize(
    ("line", "sent"),
    [("Content-Length: 3000000", b"x" * 1_000_000), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n")],
)
def test_a_cut_upload_changes_nothing(drive: ServedDrive, line: str, sent: bytes) -> None:
    drive.ask("PUT", "/dav/kept", b"old")
    answer = b""
    with begin(drive, "/dav/kept", line) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert not answer.startswith(b"HTTP/1.1 2"), answer
    assert drive.ask("GET", "/dav/kept").body == b"old"


def test_bodies_pass_as_they_come(drive: ServedDrive) -> None:
    """Of known and of unknown length, and asked for first."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", drive.port, timeout=60)) as connection:
        sent = {"Authorization": drive.basic(), "X-Expected-Entity-Length": "3000000"}
        connection.request("PUT", "/dav/chunked", (b"x" * 1_000_000 for _ in range(3)), sent, encode_chunked=True)
        assert connection.getresponse().status == 201
    with begin(drive, "/dav/asked", "Content-Length: 5", "Expect: 100-continue") as waiting:
        assert waiting.recv(1000).startswith(b"HTTP/1.1 100 ")
        waiting.sendall(b"hello")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert len(drive.ask("GET", "/dav/chunked").body) == 3_000_000
    part = drive.ask("GET", "/dav/chunked", Range="bytes=2999990-")
    assert (part.status, part.body) == (206, b"x" * 10)


def test_names_and_destinations_pass_undecoded(drive: ServedDrive) -> None:
    name, moved = "/dav/a%3Bb%3F%25%20%C3%A9+c", "/dav/%2541%3B"
    assert drive.ask("PUT", name, b"1").status == 201
    host = f"127.0.0.1:{drive.port}"
    for destination, status in ((f"http://{host}{moved}", 201), (f"https://u:p@{host}{moved}", 204), (moved, 204)):
        assert drive.ask("COPY", name, Destination=destination).status == status
    assert drive.ask("MOVE", name, Destination=f"http://elsewhere{moved}").status == 502
    assert drive.ask("GET", moved).body == b"1"
    assert "<D:href>/dav/%2541;</D:href>" in drive.ask("PROPFIND", moved, Depth="0").text


def test_a_folder_without_its_slash_is_not_sent_elsewhere(drive: ServedDrive) -> None:
    assert drive.ask("MKCOL", "/dav/folder").status == 201
    for method, status in (("PROPFIND", 207), ("OPTIONS", 200), ("HEAD", 200), ("DELETE", 204)):
        assert drive.ask(method, "/dav/folder", Depth="1" if method == "PROPFIND" else "infinity").status == status


def log_in(drive: ServedDrive, name: str, password: str, address: str = "127.0.0.1", **fields: str) -> int:
    basic = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    sent = {"Authorization": basic, **{field.replace("_", "-"): value for field, value in fields.items()}}
    connection = http.client.HTTPConnection("127.0.0.1", drive.port, timeout=60, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("OPTIONS", "/dav/", headers=sent)
        return connection.getresponse().status


def test_clients_are_told_apart(drive: ServedDrive) -> None:
    """Each server counts for itself. What a guesser says of his address is taken away on the way."""
    guesses = []
    for number in range(40):
        said = {"X_Forwarded_For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}", "X_Forwarded_Port": "1"}
        guesses.append(log_in(drive, "other", f"guess {number}", "127.0.0.2", **said))
    assert set(guesses) == {401, 429} and guesses.count(401) <= 2 * 8, "five are free, some waits are over in between"
    assert log_in(drive, "other", PASSWORD) == 200


def test_what_the_proxy_says_is_believed(drive: ServedDrive) -> None:
    """Plain HTTP here, whatever the client writes; and its own name and port."""
    page = drive.ask("GET", "/connect", Authorization="", Host="drive.example:81", X_Forwarded_Proto="https").text
    assert "http://drive.example:81/dav/" in page and "https://drive.example" not in page
    drive.ask("PUT", "/dav/named", b"1")
    for host, status in (("http://drive.example:81", 201), ("http://drive.example", 502), ("http://other:81", 502)):
        sent = {"Host": "drive.example:81", "X_Forwarded_Host": "other:81", "Destination": f"{host}/dav/named2"}
        assert drive.ask("COPY", "/dav/named", **sent).status == status


def test_long_paths_pass(drive: ServedDrive) -> None:
    """Twelve names of 255 bytes, each of them three times as long in a URL."""
    path = "/dav"
    for _ in range(12):
        path += "/" + "%C3%A9" * 127
        assert drive.ask("MKCOL", path).status == 201
    assert drive.ask("MOVE", path, Destination=path + "a").status == 201
    assert drive.ask("PROPFIND", path + "a", Depth="0").status == 207


def test_both_servers_are_used_and_show_the_same(drive: ServedDrive) -> None:
    for number in range(10):
        assert drive.ask("PUT", f"/dav/seen{number}", b"%d" % number).status == 201
        assert drive.ask("GET", f"/dav/seen{number}").body == b"%d" % number
        assert drive.ask("MOVE", f"/dav/seen{number}", Destination=f"/dav/moved{number}").status == 201
        assert drive.ask("GET", f"/dav/seen{number}").status == 404
        assert f"/dav/moved{number}<" in drive.ask("PROPFIND", "/dav/", Depth="1").text


# ------------------------------------------------------------------------------------------------ servers that go


@pytest.fixture
def shaky(tmp_path: Path) -> Iterator[tuple[ServedDrive, tuple[ServerProcess, ServerProcess]]]:
    """A drive at the proxy, and its two servers, which the test may kill."""
    with two_servers(tmp_path) as servers:
        settings = engines.load(servers[0].data, nas_root=servers[0].nas)
        with (
            reverse_proxy(tmp_path / "nginx", [each.port for each in servers], calm=False) as port,
            contextlib.closing(build(settings)) as kelp,
        ):
            at = (f"http://127.0.0.1:{port}/dav/", port, "admin", PASSWORD, kelp)
            yield ServedDrive(*at, servers[0].data, servers[0].nas, servers[0].stop), servers
            assert checking.check(kelp).ok


def work(drive: ServedDrive, name: str) -> list[int]:
    """The statuses of one of each kind."""
    path = f"/dav/{name}"
    lock = b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    lock += b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
    locked: Reply = drive.ask("LOCK", path, lock)
    token = locked.headers.get("lock-token", "")
    return [
        locked.status,
        drive.ask("PUT", path, b"x" * 100_000, If=f"({token})").status,
        drive.ask("UNLOCK", path, Lock_Token=token).status,
        drive.ask("COPY", path, Destination=path + "-copy").status,
        drive.ask("MOVE", path, Destination=path + "-moved").status,
        drive.ask("GET", path + "-moved").status,
        drive.ask("PROPFIND", "/dav/", Depth="1").status,
        drive.ask("DELETE", path + "-copy").status,
        drive.ask("MKCOL", path).status,
    ]


def test_nobody_notices_when_a_server_goes(shaky: tuple[ServedDrive, tuple[ServerProcess, ServerProcess]]) -> None:
    drive, servers = shaky
    fine = [201, 204, 204, 201, 201, 200, 207, 204, 201]
    assert work(drive, "both") == fine
    for number, server in enumerate(servers):
        server.kill()
        for again in range(3):
            assert work(drive, f"one-{number}-{again}") == fine
        server.start()
        server.wait_ready()
        assert work(drive, f"two-{number}") == fine
        time.sleep(AWAY)


def test_without_any_server_the_answer_is_to_come_again(
    shaky: tuple[ServedDrive, tuple[ServerProcess, ServerProcess]],
) -> None:
    drive, servers = shaky
    for server in servers:
        server.kill()
    for method, body in (("GET", None), ("PUT", b"x"), ("MOVE", None), ("PROPFIND", b""), ("HEAD", None)):
        reply = drive.ask(method, "/dav/f", body, Destination="/dav/g")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    for server in servers:
        server.start()
        server.wait_ready()
    time.sleep(AWAY)
    assert work(drive, "after")[0] == 201


def test_an_upload_dies_with_its_server_and_is_not_sent_to_another(
    shaky: tuple[ServedDrive, tuple[ServerProcess, ServerProcess]],
) -> None:
    """Two at once are one on each server."""
    drive, servers = shaky
    body, answers = b"x" * 3_000_000, []
    uploads = [begin(drive, f"/dav/up{number}", f"Content-Length: {len(body)}") for number in range(2)]
    for upload in uploads:
        upload.sendall(body[:1_000_000])
    servers[0].kill()
    for upload in uploads:
        with upload, contextlib.suppress(ConnectionError):
            upload.sendall(body[1_000_000:])
            answers.append(int(upload.recv(1000).split()[1]))
    assert sorted(answers) == [201, 503]
    for number, answer in enumerate(answers):
        kept = drive.ask("GET", f"/dav/up{number}")
        assert (kept.status, len(kept.body) == len(body)) == ((200, True) if answer == 201 else (404, False))
