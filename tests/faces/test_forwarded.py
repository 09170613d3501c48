"""What a proxy says of its clients: believed of those in `server.trusted_proxies`, ignored of all others."""

from __future__ import annotations

import base64
import contextlib
import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dav_provider.forwarding import Front
from tests.faces.conftest import ServedDrive, serve
from vfs.errors import ConfigurationError
from vfs.settings import Server, Settings

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"  # the whole of 127/8 is this machine
CLIENT = "203.0.113.9"
TRUSTED = ("127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48")


def origin(peer: str = PROXY, trusted: tuple[str, ...] = TRUSTED, **fields: str):
    environ = {"REMOTE_ADDR": peer, "HTTP_HOST": "drive.example"}
    environ.update({"HTTP_" + name.upper(): value for name, value in fields.items()})
    return Front(trusted).origin(environ)


# ------------------------------------------------------------------------------------------------ the address


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        (f" 198.51.100.1 ,{CLIENT}\t", CLIENT),  # what stands left of the first stranger anybody may have written
        (f"127.0.0.1, {CLIENT}, 10.1.2.3, 127.0.0.1", CLIENT),
        (f"garbage, {CLIENT}", CLIENT),
        ("10.1.2.3", "10.1.2.3"),  # all are trusted: the first of them asks
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:DB8::7]:4711", "2001:db8::7"),
        ("2001:db8::7, 2001:db8:ffff::1", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"{CLIENT}, ::ffff:10.0.0.1", CLIENT),
    ],
)
def test_the_right_most_that_is_no_trusted_proxy(said: str, address: str) -> None:
    found = origin(X_Forwarded_For=said)
    assert (found.address, found.local) == (address, False)


@pytest.mark.parametrize(
    "said",
    [
        *("", ",", "unknown", "_hidden", f"{CLIENT},", f"{CLIENT}, garbage", "1.2.3", "1.2.3.4.5", "[::1", "::1]:1"),
        *(
            "[]:1",
            "1.2.3.4:123456",
            "[1.2.3.4:5",
            "\xe9",
            "2001:db8::7:zz",
            "1.2.3.4 5.6.7.8",
            '"1.2.3.4"',
            "," * 30_000,
        ),
    ],
)
def test_who_cannot_be_told_is_not_on_this_machine(said: str) -> None:
    """His failures are counted for the proxy that should have told."""
    found = origin(X_Forwarded_For=said)
    assert (found.address, found.local) == (PROXY, False)


@pytest.mark.parametrize(
    ("peer", "said", "local"),
    [
        (PROXY, "127.0.0.1", True),
        (PROXY, "127.0.0.5", True),
        (PROXY, "127.0.0.1, 127.0.0.1", True),
        ("10.0.0.1", "127.0.0.1", False),  # that proxy's own machine
        (PROXY, "127.0.0.1, 10.0.0.1", False),
        (PROXY, CLIENT, False),
    ],
)
def test_local_is_who_comes_by_proxies_of_this_machine_only(peer: str, said: str, local: bool) -> None:
    assert origin(peer, X_Forwarded_For=said).local is local


@pytest.mark.parametrize("peer", [STRANGER, CLIENT, "::1", "11.0.0.1", "2001:db8::1", "", "@", "/run/proxy.sock"])
def test_other_peers_are_not_heard(peer: str) -> None:
    """Nor is one without an address, as on a Unix socket."""
    everything = {"X_Forwarded_For": "1.2.3.4", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "other.example"}
    assert origin(peer, **everything, Forwarded="for=1.2.3.4;proto=https;host=other.example") is None


def test_a_trusted_peer_that_forwards_nothing_is_the_client_itself() -> None:
    assert origin(PROXY) is None
    assert Front.of(Server()) is None


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "10.255.255.255", "2001:db8:ffff::1"])
def test_networks_and_mapped_addresses(peer: str) -> None:
    assert origin(peer, X_Forwarded_For=CLIENT).address == CLIENT
    assert origin("10.0.0.1", ("::ffff:10.0.0.0/104",), X_Forwarded_For=CLIENT).address == CLIENT


# ------------------------------------------------------------------------------------------------ scheme and host


@pytest.mark.parametrize(
    ("said", "secure"),
    [
        *(("https", True), (" HTTPS ", True), ("https, https", True), ("http", False), ("https, http", False)),
        *(("http, https", False), ("", False), ("httpsx", False), ("wss", False)),
    ],
)
def test_secure_is_what_was_https_all_the_way(said: str, secure: bool) -> None:
    assert origin(X_Forwarded_Proto=said).secure is secure
    assert origin(X_Forwarded_For=CLIENT).secure is None


@pytest.mark.parametrize(
    ("fields", "hosts"),
    [
        ({"X_Forwarded_Host": "Drive.Example:8443"}, {"drive.example:8443"}),
        ({"X_Forwarded_Host": "drive.example:443"}, {"drive.example"}),
        ({"X_Forwarded_Host": "a.example, b.example:81"}, {"a.example", "b.example:81"}),
        ({"X_Forwarded_Host": "a.example", "X_Forwarded_Port": "81"}, {"a.example", "a.example:81"}),
        ({"X_Forwarded_Host": "a.example:82", "X_Forwarded_Port": "81"}, {"a.example:82"}),
        ({"X_Forwarded_Host": "[::1]", "X_Forwarded_Port": "81"}, {"[::1]", "[::1]:81"}),
        ({"X_Forwarded_Port": "81"}, {"drive.example:81"}),
        ({"X_Forwarded_Port": "x"}, set()),
        ({"X_Forwarded_Host": " ,"}, set()),
    ],
)
def test_hosts(fields: dict[str, str], hosts: set[str]) -> None:
    assert origin(**fields).hosts == hosts


# ------------------------------------------------------------------------------------------------ RFC 7239


@pytest.mark.parametrize(
    ("said", "address", "secure"),
    [
        (f"for={CLIENT}", CLIENT, None),
        (f"For={CLIENT};Proto=HTTPS;by=10.0.0.1", CLIENT, True),
        (f"for=127.0.0.1;proto=https, for={CLIENT};proto=http", CLIENT, False),
        ('for="[2001:db8:cafe::17]:4711"; proto=https', "2001:db8:cafe::17", True),
        (f'for="{CLIENT}:\\80", for=10.0.0.1', CLIENT, None),
        ("for=unknown;proto=https", PROXY, True),
        ("proto=https", PROXY, True),
        ("", PROXY, False),
        ("for", PROXY, False),
        (f"for={CLIENT};for=127.0.0.1", PROXY, False),
        (f'for={CLIENT};proto="https', PROXY, False),
        (f"for={CLIENT},", PROXY, False),
        ('for="' + "\\" * 5000, PROXY, False),
        ("a=b;" * 5000, PROXY, False),
    ],
)
def test_forwarded(said: str, address: str, secure: bool | None) -> None:
    found = origin(Forwarded=said)
    assert (found.address, found.secure, found.local) == (address, secure, False)


def test_forwarded_names_hosts_too() -> None:
    assert origin(Forwarded='for=1.2.3.4;host="drive.example:8443"').hosts == {"drive.example:8443"}


def test_forwarded_is_nothing_beside_the_other_fields() -> None:
    """A proxy that writes those passes on what its client wrote here."""
    found = origin(X_Forwarded_For=CLIENT, Forwarded="for=127.0.0.1;proto=https;host=other.example")
    assert (found.address, found.secure, found.hosts) == (CLIENT, None, set())


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "entry", ["nginx", "10.0.0.1/8", "10.0.0.0/33", "1.2.3", "[::1]", "0.0.0.0/0", "::/0", "*", "1.2.3.4:80"]
)
def test_a_wrong_proxy_is_refused_in_one_line(entry: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Front.of(Settings.load(environ={"KELP_SERVER_TRUSTED_PROXIES": f"127.0.0.1, {entry}"}).server)
    assert "server.trusted_proxies" in str(refused.value) and entry in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["drive.example", "ftp://drive.example", "https://", "https://a/b", "https://u@a", "https://a:x", "https://a?"],
)
def test_a_wrong_public_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^wrong value for server\.public_url: .*$"):
        Front.of(Server(public_url=url))


# ------------------------------------------------------------------------------------------------ a served drive


def ask(drive: ServedDrive, method: str, path: str, peer: str = PROXY, password: str = "", **fields: str) -> int:
    """The status. `peer` is the address that the connection comes from."""
    basic = base64.b64encode(f"{drive.user}:{password or drive.password}".encode()).decode()
    sent = {"Authorization": f"Basic {basic}", **{name.replace("_", "-"): value for name, value in fields.items()}}
    connection = http.client.HTTPConnection("127.0.0.1", drive.port, timeout=60, source_address=(peer, 0))
    with contextlib.closing(connection):
        connection.request(method, path, headers=sent)
        return connection.getresponse().status


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    """A drive that trusts the proxy 127.0.0.1."""
    yield from serve(tmp_path_factory.mktemp("behind"), server_trusted_proxies=PROXY)


def test_passwords_of_other_machines_need_https(behind: ServedDrive) -> None:
    def status(peer: str = PROXY, **fields: str) -> int:
        return ask(behind, "OPTIONS", "/dav/", peer, **fields)

    assert status() == 200, "nobody was spoken for: a client on this machine"
    assert status(X_Forwarded_For="127.0.0.1") == 200
    assert status(X_Forwarded_For=CLIENT) == 403
    assert status(X_Forwarded_For=CLIENT, X_Forwarded_Proto="http") == 403
    assert status(X_Forwarded_For=CLIENT, X_Forwarded_Proto="https") == 200
    assert status(X_Forwarded_For="garbage") == 403
    assert status(X_Forwarded_Proto="http") == 403, "spoken for, but for whom?"
    assert status(X_Forwarded_For=f"127.0.0.1, {CLIENT}") == 403, "the client wrote the first itself"
    assert status(Forwarded=f"for={CLIENT};proto=https") == 200
    assert status(STRANGER, X_Forwarded_For=CLIENT) == 200, "ignored: a peer on this machine, as ever"


def test_a_guesser_behind_the_proxy_shuts_out_nobody_else(served_with: Callable[..., ServedDrive]) -> None:
    drive = served_with(server_trusted_proxies="127.0.0.1")

    def guess(number: int, client: str, peer: str = PROXY) -> int:
        spoofed = f"198.51.100.{number}, {client}"
        return ask(
            drive, "OPTIONS", "/dav/", peer, f"guess {number}", X_Forwarded_For=spoofed, X_Forwarded_Proto="https"
        )

    assert [guess(number, CLIENT) for number in range(8)] == [401] * 5 + [429] * 3
    assert guess(20, f"{CLIENT}:99") == 429, "the port is not part of who it is"
    assert guess(21, "203.0.113.10") == 401
    right = {"X_Forwarded_For": "203.0.113.11", "X_Forwarded_Proto": "https"}
    assert ask(drive, "OPTIONS", "/dav/", **right) == 200
    assert [guess(number, f"203.0.113.{number}", STRANGER) for number in range(100, 108)] == [401] * 5 + [429] * 3


@pytest.mark.parametrize(
    ("host", "destination", "fields", "status"),
    [
        ("drive.example", "http://drive.example:8080", {}, 502),
        ("drive.example", "http://drive.example:8080", {"X_Forwarded_Host": "drive.example:8080"}, 201),
        ("drive.example", "http://drive.example:8080", {"X_Forwarded_Port": "8080"}, 201),
        ("kelp:8080", "https://drive.example", {"X_Forwarded_Host": "drive.example", "X_Forwarded_Port": "443"}, 201),
        ("kelp:8080", "https://drive.example", {"Forwarded": "for=1.2.3.4;proto=https;host=drive.example"}, 502),
        ("drive.example", "https://elsewhere", {"X_Forwarded_Host": "drive.example"}, 502),
    ],
)
def test_destinations(behind: ServedDrive, host: str, destination: str, fields: dict[str, str], status: int) -> None:
    if fields:
        fields = {**fields, "X_Forwarded_For": CLIENT, "X_Forwarded_Proto": "https"}
    behind.ask("PUT", "/dav/source", b"x")
    behind.ask("DELETE", "/dav/target")
    sent = {"Host": host, "Destination": f"{destination}/dav/target", **fields}
    assert ask(behind, "MOVE", "/dav/source", **sent) == status
    assert ask(behind, "MOVE", "/dav/source", STRANGER, **sent) == (404 if status == 201 else 502)


def test_the_public_url_is_a_name_of_the_drive(served_with: Callable[..., ServedDrive]) -> None:
    """Also where the proxy says `Host` without the port, and nobody trusts it."""
    drive = served_with(server_public_url="https://Drive.Example:8443/dav/")
    for host, destination, status in (
        ("drive.example", "https://drive.example:8443", 201),
        ("kelp", "https://drive.example:8443", 204),
        ("kelp", "http://kelp", 204),
        ("kelp", "https://drive.example", 502),
        ("kelp", "https://elsewhere:8443", 502),
    ):
        drive.ask("PUT", "/dav/source", b"x")
        assert ask(drive, "MOVE", "/dav/source", Host=host, Destination=f"{destination}/dav/target") == status


def test_connect_shows_https_for_a_trusted_proxy(behind: ServedDrive) -> None:
    said = {"X_Forwarded_For": CLIENT, "X_Forwarded_Proto": "https", "Host": "drive.example"}
    assert "https://drive.example/dav/" in behind.ask("GET", "/connect", Authorization="", **said).text


@pytest.mark.parametrize("processes", [1, 2])
def test_serve_ends_with_one_line(tmp_path: Path, processes: int) -> None:
    program = Path(__file__).parent.parent.parent / "kelp.py"
    command = [sys.executable, str(program), "serve", "--data", str(tmp_path / "d"), "--port", "0"]
    run = subprocess.run(
        [*command, "--processes", str(processes)],
        env={"KELP_SERVER_TRUSTED_PROXIES": "nginx", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1 and "server.trusted_proxies: 'nginx'" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
