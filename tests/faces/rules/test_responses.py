"""R1 to R6, R22: every response and its connection, over real sockets."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from tests.faces.rules.requests import METHODS, head, lock, propfind, proppatch, raw, values
from vfs.model import Role
from vfs.operations import access

# --- R1 to R6: every response ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/dav", "/dav/", "/dav/missing/deep", "/elsewhere", "*"])
def test_r1_options_are_the_same_everywhere(drive, path) -> None:
    reply = drive.ask("OPTIONS", path)
    assert (reply.status, reply.headers["content-length"]) == (200, "0")
    assert (reply.headers["dav"], reply.headers["ms-author-via"]) == ("1, 2", "DAV")
    assert set(reply.headers["allow"].split(", ")) >= METHODS


BAD_CREDENTIALS = [
    "",
    "Bearer",
    "Bearer abc",
    "Basic",
    "Basic !!!!",
    "Basic " + base64.b64encode(b"nocolon").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\xe9").decode(),
    "Basic " + base64.b64encode(b"admin:wrong").decode(),
    "Digest username=x",
]


@pytest.mark.parametrize("credentials", BAD_CREDENTIALS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_r2_anything_but_good_basic_is_401_with_basic(drive, method, credentials) -> None:
    with contextlib.closing(drive.connect()) as connection:
        headers = {"Authorization": credentials} if credentials else {}
        for _ in range(2):  # the connection stays usable
            connection.request(method, "/dav/x", b"body" if method == "PUT" else None, headers)
            reply = connection.getresponse()
            body = reply.read()
            assert reply.status == 401
            assert reply.getheader("WWW-Authenticate").startswith('Basic realm="Kelp"')
            assert reply.getheader("Content-Length") is not None
            assert method != "HEAD" or body == b""


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_r2_credentials_in_both_encodings(drive, encoding) -> None:
    name = f"ünal-{encoding}"
    access.add_user(drive.kelp, name, "pässwörter", Role.EDITOR)
    for password, status in (("pässwörter", 200), ("pässwörteR", 401)):
        credentials = base64.b64encode(f"{name}:{password}".encode(encoding)).decode()
        assert drive.ask("OPTIONS", "/dav/", Authorization=f"basic  {credentials}").status == status


def test_r2_malformed_paths_and_front_need_authentication_too(drive) -> None:
    for path in ("/", "/dav", "/elsewhere"):
        reply = raw(drive, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert reply.startswith(b"HTTP/1.1 401 ")


def test_healthz_needs_nothing(drive) -> None:
    assert b"200 OK" in raw(drive, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_front_is_a_folder_that_holds_the_drive(drive) -> None:
    reply = propfind(drive, "/", depth="1")
    hrefs = [one.text for one in ET.fromstring(reply.body).iter("{DAV:}href")]
    assert (reply.status, hrefs) == (207, ["/", "/dav/"])
    assert drive.ask("GET", "/").status == drive.ask("HEAD", "/").status == 200
    assert drive.ask("PUT", "/x", b"").status == 403
    assert drive.ask("POST", "/dav/", b"").status == 405
    assert "PROPFIND" in drive.ask("SEARCH", "/dav/", b"").headers["allow"]


def test_r3_lengths_and_dates(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"hello")
    for method, path, status in [
        ("GET", folder + "f", 200),
        ("HEAD", folder + "f", 200),
        ("HEAD", folder, 200),
        ("GET", folder, 200),
        ("GET", folder + "no", 404),
        ("PROPFIND", folder + "f", 207),
    ]:
        reply = drive.ask(method, path)
        assert (reply.status, "date" in reply.headers, "content-length" in reply.headers) == (status, True, True)
    assert drive.ask("HEAD", folder + "f").headers["content-length"] == "5"
    assert "content-length" not in drive.ask("DELETE", folder + "f").headers


def test_r4_xml_has_the_prefix_that_windows_needs(drive, folder) -> None:
    reply = propfind(drive, folder)
    assert reply.headers["content-type"] == "application/xml; charset=utf-8"
    assert reply.text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">')
    assert 'xmlns="' not in reply.text and "D:location" not in reply.text


NAMES = [
    *("a b", "a#b", "100%", "a%41", "a+b", "a&b", "a;b", "a?b", "a'b\"", "[x]", "é", "😀", "x.", "x ", "CON", "a:b"),
    *("~$x", ".~lock.x#", "A", "a", "a\\b", "n" * 255, "ü" * 127, "<b>", "%2e%2e", "%2F"),
]


@pytest.mark.parametrize("name", NAMES)
def test_r5_hrefs_give_back_the_name_and_lead_to_it(drive, folder, name) -> None:
    path = folder + "".join(f"%{byte:02x}" for byte in name.encode())
    assert drive.ask("PUT", path, name.encode()).status == 201
    reply = propfind(drive, folder, depth="1")
    address = [one.text for one in ET.fromstring(reply.body).iter("{DAV:}href")][1]
    assert unquote(address.removeprefix(folder)) == name
    assert re.fullmatch(r"(?:[A-Za-z0-9\-._~!$'()*,;=:@/]|%[0-9A-F]{2})+", address)
    assert drive.ask("GET", address).body == name.encode()
    assert values(propfind(drive, address, "<D:displayname/>")) == {"{DAV:}displayname": name}
    assert drive.ask("MOVE", address, Destination=folder + "moved").status == 201
    assert drive.ask("COPY", folder + "moved", Destination=f"http://u:p@127.0.0.1:{drive.port}{path}").status == 201
    assert lock(drive, address)[0].status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("%00", 400), ("a%2Fb", 400), ("%1f", 400), ("%zz", 400), ("%ff", 400), ("n" * 256, 414), ("ü" * 128, 414)],
)
def test_r5_r21_names_that_cannot_be(drive, folder, path, status) -> None:
    path = "".join(f"%{b:02x}" if b > 127 else chr(b) for b in path.encode())
    for method in ("PUT", "GET", "PROPFIND", "MKCOL", "DELETE"):
        assert drive.ask(method, folder + path).status == status
    drive.ask("PUT", folder + "f", b"")
    assert drive.ask("MOVE", folder + "f", Destination=folder + path).status == status


def test_r5_dots_never_climb_out(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"here")
    for path in (f"{folder}x/../f", f"{folder}%2e/f", f"/../..{folder}f", f"{folder}x/%2E%2e/f"):
        assert drive.ask("GET", path).body == b"here"
    assert drive.ask("PUT", "/dav/../../f", b"").status == 403


def test_r_n1_one_file_for_both_normal_forms(drive, folder) -> None:
    assert drive.ask("PUT", folder + "%C3%A9", b"1").status == 201
    assert drive.ask("PUT", folder + "e%CC%81", b"2").status == 204
    assert drive.ask("GET", folder + "%C3%A9").body == b"2"


def test_r6_final_slashes_do_not_matter(drive, folder) -> None:
    bare = folder.rstrip("/")
    assert drive.ask("PUT", folder + "f/", b"x").status == 201
    assert values(propfind(drive, folder + "f/", "<D:resourcetype/>")) == {"{DAV:}resourcetype": ""}
    for method in ("PROPFIND", "OPTIONS", "HEAD", "GET"):
        assert drive.ask(method, bare, Depth="0").status in (200, 207)
    assert f"<D:href>{folder}</D:href>" in propfind(drive, bare).text
    assert drive.ask("MKCOL", folder + "sub").status == 201
    assert drive.ask("MOVE", folder + "sub", Destination=folder + "sub2/").status == 201
    assert drive.ask("DELETE", folder + "sub2").status == 204
    assert lock(drive, folder + "f/")[0].status == 200


# --- R22 and the connection -----------------------------------------------------------------------


def test_r22_continue_is_sent_only_when_the_body_is_wanted(drive, folder) -> None:
    expect = ("Expect: 100-continue", "Content-Length: 5")
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as connection:
        connection.sendall(head(drive, "PUT", folder + "f", *expect))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    answer = raw(drive, head(drive, "PUT", folder + "no/f", *expect))
    assert answer.startswith(b"HTTP/1.1 409 ") and b"100 Continue" not in answer and b"Connection: close" in answer


def test_r22_refused_bodies(drive, folder) -> None:
    small = head(drive, "PUT", folder + "no/f", "Content-Length: 5") + b"hello"
    answer = raw(drive, small + head(drive, "GET", "/healthz", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 409 ") and answer.endswith(b"ok")
    big = head(drive, "PUT", folder + "no/f", "Content-Length: 3000000") + bytes(3000000)
    answer = raw(drive, big)
    assert answer.startswith(b"HTTP/1.1 409 ") and b"\r\nConnection: close\r\n" in answer


def test_long_listings_are_chunked_and_whole(drive, folder) -> None:
    for n in range(40):
        drive.ask("PUT", f"{folder}{n:03d}", b"")
        big = f"<Z:big>{'x' * 30000}</Z:big>"
        assert proppatch(drive, f"{folder}{n:03d}", big).status == 207
    reply = propfind(drive, folder, depth="1")
    assert reply.headers.get("transfer-encoding") == "chunked" and "content-length" not in reply.headers
    assert len(ET.fromstring(reply.body)) == 41
    old = raw(drive, head(drive, "PROPFIND", folder, "Depth: 1").replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert old.partition(b"\r\n\r\n")[2] == reply.body
