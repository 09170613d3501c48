"""The rules for every response, R1 to R22, and what stock WsgiDAV gets wrong, over real sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest

from vfs.model import Role
from vfs.operations import access, checking

METHODS = {
    *("OPTIONS", "GET", "HEAD", "PUT", "PROPFIND", "PROPPATCH"),
    *("MKCOL", "DELETE", "COPY", "MOVE", "LOCK", "UNLOCK"),
}
LOCKINFO = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:%s/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>%s</D:owner></D:lockinfo>"
)
WIN = "urn:schemas-microsoft-com:"


@pytest.fixture(scope="module")
def drive(shared_drive):
    yield shared_drive
    report = checking.check(shared_drive.kelp)
    assert report.ok, report.problems


@pytest.fixture
def folder(drive, request):
    """A fresh folder for one test: its URL path, ending in `/`."""
    path = "/dav/" + re.sub(r"\W", "_", request.node.name)[:80] + str(time.monotonic_ns()) + "/"
    assert drive.ask("MKCOL", path).status == 201
    return path


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


# --- R7 to R10: properties ------------------------------------------------------------------------


def test_r7_etag_is_the_same_everywhere_and_changes_with_content_only(drive, folder) -> None:
    def etag() -> str:
        shown = values(propfind(drive, folder + "f", "<D:getetag/>"))["{DAV:}getetag"]
        assert (
            shown == drive.ask("HEAD", folder + "f").headers["etag"] == drive.ask("GET", folder + "f").headers["etag"]
        )
        return shown

    put = drive.ask("PUT", folder + "f", b"1")
    first = etag()
    assert re.fullmatch(r'"[^"]+"', first) and put.headers["etag"] == first and "last-modified" in put.headers
    _, token = lock(drive, folder + "f")
    proppatch(drive, folder + "f", "<Z:x>1</Z:x>", If=f"(<{token}>)")
    drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>")
    drive.ask("MOVE", folder + "f", Destination=folder + "g")
    drive.ask("MOVE", folder + "g", Destination=folder + "f")
    assert etag() == first
    assert drive.ask("PUT", folder + "f", b"1").headers["etag"] != first
    assert drive.ask("GET", folder + "f", Range="bytes=0-0").headers["etag"] == etag()


def test_r8_each_content_shows_another_second(drive, folder) -> None:
    dates = [drive.ask("PUT", folder + "f", b"%d" % n).headers["last-modified"] for n in range(3)]
    drive.ask("DELETE", folder + "f")
    dates.append(drive.ask("PUT", folder + "f", b"again").headers["last-modified"])
    assert len(set(dates)) == 4 and all(date.endswith(" GMT") for date in dates)
    shown = values(propfind(drive, folder + "f"))
    assert shown["{DAV:}getlastmodified"] == dates[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown["{DAV:}creationdate"])
    assert shown["{DAV:}getcontentlength"] == "5" and shown["{DAV:}displayname"] == "f"
    assert not {"{DAV:}getcontentlength", "{DAV:}getcontenttype", "{DAV:}getetag"} & set(
        values(propfind(drive, folder))
    )


def test_r9_unknown_names_propname_include_and_quota(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    reply = propfind(drive, folder + "f", '<D:getetag/><x:no xmlns:x="urn:x"/>')
    assert reply.status == 207
    assert set(values(reply)) == {"{DAV:}getetag"} and set(values(reply, "404")) == {"{urn:x}no"}
    proppatch(drive, folder + "f", "<Z:dead>1</Z:dead>")
    names = values(propfind(drive, folder + "f", body=b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'))
    assert {"{DAV:}getetag", "{DAV:}resourcetype", f"{{{WIN}}}dead"} <= set(names) and not any(names.values())
    include = b'<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:supportedlock/></D:include></D:propfind>'
    assert "{DAV:}supportedlock" in values(propfind(drive, folder + "f", body=include))
    quota = values(propfind(drive, folder, "<D:quota-available-bytes/><D:quota-used-bytes/>"))
    assert len(quota) == 2 and all(int(value) > 0 for value in quota.values())
    assert not set(quota) & set(values(propfind(drive, folder)))
    assert "{DAV:}supportedlock" in values(propfind(drive, folder + "f", "<D:supportedlock/>", user="viewer"), "404")


def test_r10_depths(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    for headers in ({"Depth": "infinity"}, {}):
        reply = drive.ask("PROPFIND", folder, **headers)
        assert reply.status == 403 and "<D:error" in reply.text and "<D:propfind-finite-depth/>" in reply.text
    assert drive.ask("PROPFIND", folder + "f").status == 207
    assert drive.ask("PROPFIND", folder, Depth="2").status == 400
    reply = propfind(drive, folder, depth="1")
    responses = reply.text.split("<D:response>")[1:]
    assert len(responses) == 2 and all(len(one) <= 600 for one in responses)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<D:propfind", 400),
        (b'<D:propfind xmlns:D="DAV:"/>', 400),
        (b'<D:other xmlns:D="DAV:"/>', 400),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>', 400),
        (b'<D:propfind xmlns:D="DAV:"><D:prop>' + b"<D:a>" * 100 + b"</D:a>" * 100 + b"</D:prop></D:propfind>", 400),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', 400),
        (b"\xff\xfe\x00", 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_xml_that_is_no_request(drive, folder, body, status) -> None:
    assert drive.ask("PROPFIND", folder, body, Depth="0").status == status
    assert drive.ask("PROPPATCH", folder, body).status == status
    assert drive.ask("LOCK", folder, body).status in (status, 400)


# --- R11: PUT -------------------------------------------------------------------------------------


def test_r11_put_statuses(drive, folder) -> None:
    assert drive.ask("PUT", folder + "f", b"one").status == 201
    assert drive.ask("PUT", folder + "f", b"", Overwrite="T", Translate="f", Referer="x").status == 204
    assert drive.ask("GET", folder + "f").body == b""
    assert drive.ask("PUT", folder + "no/f", b"").status == 409
    assert drive.ask("PUT", folder, b"").status == 405
    assert drive.ask("PUT", "/dav/", b"").status == 405
    assert drive.ask("PUT", folder + "f", b"x", Content_Range="bytes 5-9/10").status == 400
    assert drive.ask("PUT", folder + "f", b"x", user="viewer").status == 403
    assert drive.ask("GET", folder + "f").body == b""


BROKEN = {
    "shorter than its length": (["Content-Length: 100"], b"abc"),
    "chunks without the last": (["Transfer-Encoding: chunked"], b"3\r\nabc\r\n"),
    "cut inside a chunk": (["Transfer-Encoding: chunked"], b"ff\r\nabc"),
    "no chunk size": (["Transfer-Encoding: chunked"], b"zz\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than it said": (["Transfer-Encoding: chunked"], b"2\r\nabc\r\n0\r\n\r\n"),
    "entity length too big": (["Transfer-Encoding: chunked", "X-Expected-Entity-Length: 4"], b"3\r\nabc\r\n0\r\n\r\n"),
    "entity length too small": (["Content-Length: 3", "X-Expected-Entity-Length: 2"], b"abc"),
    "wrong SHA1": (["Content-Length: 3", "OC-Checksum: SHA1:" + "0" * 40], b"abc"),
    "wrong MD5": (["Content-Length: 3", "OC-Checksum: MD5:" + "0" * 32], b"abc"),
    "two lengths": (["Content-Length: 3", "Content-Length: 3"], b"abc"),
    "length and chunks": (["Content-Length: 3", "Transfer-Encoding: chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
    "signed length": (["Content-Length: +3"], b"abc"),
}


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("case", BROKEN)
def test_r11_a_broken_body_changes_nothing(drive, folder, case, existing) -> None:
    if existing:
        drive.ask("PUT", folder + "f", b"old")
    lines, body = BROKEN[case]
    answer = raw(drive, head(drive, "PUT", folder + "f", *lines) + body, finish=True)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"\r\nConnection: close\r\n" in answer, answer
    reply = drive.ask("GET", folder + "f")
    assert (reply.status, reply.body) == (200, b"old") if existing else reply.status == 404


def test_r11_chunks_of_any_size_extensions_and_trailers(drive, folder) -> None:
    body = b"1\r\na\r\n" * 3000 + b"5;x=y\r\nhello\r\n" + b"0\r\nTrailer: x\r\n\r\n"
    request = head(drive, "PUT", folder + "f", "Transfer-Encoding: chunked") + body
    follow = head(drive, "GET", folder + "f", "Connection: close")
    answer = raw(drive, request + follow)
    assert answer.startswith(b"HTTP/1.1 201 ") and answer.endswith(b"a" * 3000 + b"hello")


def test_r11_the_old_version_stays_visible_until_the_body_is_whole(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"old")
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as connection:
        connection.sendall(head(drive, "PUT", folder + "f", "Content-Length: 6") + b"new")
        assert drive.ask("GET", folder + "f").body == b"old"
        assert lock(drive, folder + "f")[0].status == 200
        connection.sendall(b"new")
        assert connection.recv(100).startswith(b"HTTP/1.1 423 ")
    assert drive.ask("GET", folder + "f").body == b"old"


def test_r11_a_new_file_is_not_seen_before_its_body_is_whole(drive, folder) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", drive.port), timeout=10)) as connection:
        connection.sendall(head(drive, "PUT", folder + "f", "Content-Length: 6") + b"new")
        assert drive.ask("GET", folder + "f").status == 404
        assert "<D:href>" + folder + "f" not in propfind(drive, folder, depth="1").text
        connection.sendall(b"new")
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")


def at_once(jobs):
    """Run all of them in threads of their own; their results in order."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [one.result() for one in [pool.submit(job) for job in jobs]]


def test_of_parallel_locks_one_is_granted(drive, folder) -> None:
    statuses = at_once([lambda: lock(drive, folder + "f")[0].status] * 20)
    assert sorted(statuses) == [201] + [423] * 19


def test_of_parallel_conditional_puts_one_wins(drive, folder) -> None:
    etag = drive.ask("PUT", folder + "f", b"").headers["etag"]
    statuses = at_once([lambda: drive.ask("PUT", folder + "f", b"new", If_Match=etag).status] * 4)
    assert sorted(statuses) == [204, 412, 412, 412]


def test_windows_copies_many_files_in_parallel(drive, folder) -> None:
    def copy_in(number: int) -> list[int]:
        path = f"{folder}{number}.txt"
        statuses = [drive.ask("PUT", path, b"").status]
        reply, token = lock(drive, path, Timeout="Second-3600")
        held = {"If": f"(<{token}>)"}
        times = "<Z:Win32LastModifiedTime>Sun, 13 Sep 2020 12:26:40 GMT</Z:Win32LastModifiedTime>"
        statuses += [reply.status, proppatch(drive, path, times, **held).status, drive.ask("HEAD", path).status]
        statuses += [drive.ask("PUT", path, b"x" * 5000, **held).status, proppatch(drive, path, times, **held).status]
        return [*statuses, drive.ask("UNLOCK", path, Lock_Token=f"<{token}>").status]

    for statuses in at_once([lambda number=number: copy_in(number) for number in range(16)]):
        assert statuses == [201, 200, 207, 200, 204, 207, 204]


def test_http_framing_is_strict(drive) -> None:
    for lines, status in [
        (["Transfer-Encoding: gzip, chunked"], b"501"),
        (["Bad Name: x"], b"400"),
        (["X: a", " folded"], b"400"),
        (["Depth: 0", "Depth: 1"], b"400"),
    ]:
        assert raw(drive, head(drive, "PROPFIND", "/dav/", *lines))[9:12] == status


# --- R12 to R15: locks ----------------------------------------------------------------------------


def test_r12_lock_an_existing_file(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    owner = b"<D:href>http://www.apple.com/webdav_fs/</D:href> &amp; more"
    reply, token = lock(drive, folder + "f", owner=owner, Timeout="Second-600")
    assert reply.status == 200 and re.fullmatch(r"(urn:uuid|opaquelocktoken):[-0-9a-f]{36}", token)
    active = ET.fromstring(reply.body).find("{DAV:}lockdiscovery/{DAV:}activelock")
    assert ET.fromstring(reply.body).tag == "{DAV:}prop"
    assert active.findtext("{DAV:}timeout") == "Second-600"
    assert active.findtext("{DAV:}locktoken/{DAV:}href") == token
    assert active.findtext("{DAV:}lockroot/{DAV:}href") == folder + "f"
    assert active.find("{DAV:}lockscope/{DAV:}exclusive") is not None
    assert active.find("{DAV:}locktype/{DAV:}write") is not None
    assert b"<D:owner>" + owner + b"</D:owner>" in reply.body
    seen = propfind(drive, folder + "f", "<D:lockdiscovery/>", user="other")
    assert b"<D:owner>" + owner + b"</D:owner>" in seen.body


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 3600), ("Infinite", 86400), ("Second-999999999999", 86400), ("Infinite, Second-5", 86400), ("Second-5", 5)],
)
def test_r12_timeouts(drive, folder, header, seconds) -> None:
    reply, _ = lock(drive, folder + "new", **({"Timeout": header} if header else {}))
    assert reply.status == 201 and f"<D:timeout>Second-{seconds}</D:timeout>" in reply.text
    assert drive.ask("HEAD", folder + "new").headers["content-length"] == "0"


def test_r12_conflicts(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"1")
    _, token = lock(drive, folder + "f")
    for user in ("other", "admin"):
        reply, _ = lock(drive, folder + "f", user=user)
        assert reply.status == 423
        assert f"<D:no-conflicting-lock><D:href>{folder}f</D:href></D:no-conflicting-lock>" in reply.text
    for method, path, headers in [
        ("PUT", "f", {}),
        ("DELETE", "f", {}),
        ("MOVE", "f", {"Destination": folder + "g"}),
        ("PROPPATCH", "f", {}),
        ("COPY", "x", {"Destination": folder + "f"}),
        ("MOVE", "x", {"Destination": folder + "f"}),
        ("DELETE", "", {}),
    ]:
        drive.ask("PUT", folder + "x", b"x")
        body = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a/></D:prop></D:set></D:propertyupdate>'
        reply = drive.ask(method, folder + path, body if method == "PROPPATCH" else None, **headers)
        assert reply.status == 423, (method, path)
        assert f"<D:lock-token-submitted><D:href>{folder}f</D:href></D:lock-token-submitted>" in reply.text
    assert drive.ask("GET", folder + "f", user="other").body == b"1"
    assert drive.ask("COPY", folder + "f", Destination=folder + "copy").status == 201
    assert drive.ask("PUT", folder + "f", b"2", If=f"(<{token}>)", user="other").status in (403, 423)
    assert drive.ask("PUT", folder + "f", b"2", If=f"(<{token}>)").status == 204
    assert lock(drive, folder + "no/f")[0].status == 409


def test_r12_shared_locks(drive, folder) -> None:
    assert lock(drive, folder + "f", scope=b"shared")[0].status == 201
    assert lock(drive, folder + "f", scope=b"shared", user="other")[0].status == 200
    assert lock(drive, folder + "f")[0].status == 423


def test_r12_refused_lock_leaves_no_file(drive, folder) -> None:
    _, token = lock(drive, folder, Depth="infinity")
    reply, _ = lock(drive, folder + "new")
    assert reply.status == 423 and f"<D:href>{folder}</D:href>" in reply.text
    assert drive.ask("HEAD", folder + "new").status == 404
    assert drive.ask("PUT", folder + "n", b"").status == 423
    assert drive.ask("PUT", folder + "n", b"", If=f"<http://anything{folder}> (<{token}>)").status == 201
    assert drive.ask("PUT", folder + "n", b"", If=f"(<{token}>)").status == 204
    assert drive.ask("UNLOCK", folder + "n", Lock_Token=f"<{token}>").status == 204
    assert drive.ask("PUT", folder + "m", b"").status == 201


def test_r13_refresh_and_unlock(drive, folder) -> None:
    _, token = lock(drive, folder + "f", Timeout="Second-100")
    for tag in ("", f"<{folder}f> "):
        reply = drive.ask("LOCK", folder + "f", If=f"{tag}(<{token}>)", Timeout="Second-200")
        assert reply.status == 200 and reply.headers["lock-token"] == f"<{token}>"
        assert "Second-200" in reply.text and token in reply.text
    assert drive.ask("LOCK", folder + "f").status == 400
    assert drive.ask("LOCK", folder + "f", If="(<urn:uuid:unknown>)").status == 412
    assert drive.ask("UNLOCK", folder + "f").status == 400
    assert drive.ask("UNLOCK", folder + "f", Lock_Token="<urn:uuid:unknown>").status == 409
    assert drive.ask("UNLOCK", folder + "gone", Lock_Token=f"<{token}>").status in (404, 409)
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>", user="other").status in (403, 409)
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 204
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 409


def test_r14_if_header(drive, folder) -> None:
    etag = drive.ask("PUT", folder + "f", b"").headers["etag"]
    _, token = lock(drive, folder + "locked")
    for condition, status in [
        ('(["stale"])', 412),
        (f"([{etag}])", 204),
        ("(Not <DAV:no-lock>)", 204),
        ('(["stale"]) (Not <urn:x>)', 204),
        ("(<urn:uuid:unknown>)", 412),
        (f"<{folder}unrelated> (<urn:uuid:unknown>)", 204),
        (f"<http://elsewhere:99{folder}locked> (<{token}>)", 204),
        ("nonsense", 400),
        ("(", 400),
        ("()", 400),
    ]:
        etag = drive.ask("HEAD", folder + "f").headers["etag"]
        condition = re.sub(r'\["[0-9a-f-]{36}"\]', f"[{etag}]", condition)
        assert drive.ask("PUT", folder + "f", b"", If=condition).status == status, condition
    assert drive.ask("PUT", folder + "new", b"", If='(["stale"])').status == 412


def test_r14_untagged_list_is_tested_on_the_source_only(drive, folder) -> None:
    drive.ask("PUT", folder + "target", b"old")
    _, token = lock(drive, folder + "source")
    assert drive.ask("MOVE", folder + "source", Destination=folder + "target", If=f"(<{token}>)").status == 204
    assert "activelock" not in propfind(drive, folder + "target", "<D:lockdiscovery/>").text


def test_r15_locks_die_with_their_resource(drive, folder) -> None:
    _, token = lock(drive, folder + "f")
    assert drive.ask("MOVE", folder + "f", Destination=folder + "g", If=f"(<{token}>)").status == 201
    reply, second = lock(drive, folder + "f")
    assert reply.status == 201
    assert drive.ask("PUT", folder + "g", b"").status == 204
    assert drive.ask("DELETE", folder + "f", If=f"(<{second}>)").status == 204
    assert drive.ask("PUT", folder + "f", b"").status == 201


def test_r13_expired_locks_are_gone(drive, folder) -> None:
    _, token = lock(drive, folder + "f", Timeout="Second-1")
    time.sleep(1.2)
    assert "activelock" not in propfind(drive, folder + "f", "<D:lockdiscovery/>").text
    assert drive.ask("PUT", folder + "f", b"", If=f"(<{token}>)").status == 412
    assert drive.ask("LOCK", folder + "f", If=f"(<{token}>)").status == 412
    assert drive.ask("UNLOCK", folder + "f", Lock_Token=f"<{token}>").status == 409
    assert drive.ask("PUT", folder + "f", b"", user="other").status == 204


# --- R16, R17 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_r16_destinations(drive, folder, method) -> None:
    def ask(destination, **headers):
        drive.ask("PUT", folder + "s", b"s")
        return drive.ask(method, folder + "s", Destination=destination, **headers).status

    host = f"127.0.0.1:{drive.port}"
    assert ask(f"http://{host}{folder}a") == 201
    assert ask(f"https://u:p%40x@{host.upper()}{folder}a", Depth="infinity") == 204
    assert ask(f"https://proxy.example{folder}b", X_Forwarded_Host="proxy.example") == 201
    assert ask(folder + "c%3Bd%3Fe") == 201
    assert drive.ask("GET", folder + "c%3Bd%3Fe").body == b"s"
    assert drive.ask("GET", folder + "c").status == 404
    assert ask(folder + "a", Overwrite="F") == 412
    assert ask(folder + "new", Overwrite="F") == 201
    assert ask(folder + "x", Overwrite="maybe") == 400
    assert ask(f"http://elsewhere{folder}x") == 502
    assert ask("/elsewhere/x") == 403
    assert ask("/dav/") == 403
    assert ask(folder + "no/x") == 409
    assert ask(folder + "s") == 403
    assert ask("nonsense") == 400
    assert drive.ask(method, folder + "s").status == 400
    assert drive.ask(method, folder + "missing", Destination=folder + "x").status == 404
    assert drive.ask(method, "/dav/", Destination=folder + "x").status == 403


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_r16_folders(drive, folder, method) -> None:
    for path in ("a", "a/in", "b", "b/old"):
        drive.ask("MKCOL", folder + path)
    assert drive.ask(method, folder + "a", Destination=folder + "a/in/x").status == 403
    assert drive.ask(method, folder + "a", Destination=folder + "b", Depth="1").status == 400
    assert drive.ask(method, folder + "a", Destination=folder + "b").status == 204
    assert drive.ask("HEAD", folder + "b/in").status == 200
    assert drive.ask("HEAD", folder + "b/old").status == 404
    assert drive.ask("COPY", folder + "b", Destination=folder + "flat", Depth="0").status == 201
    assert drive.ask("HEAD", folder + "flat/in").status == 404


def test_mkcol_and_delete(drive, folder) -> None:
    assert drive.ask("MKCOL", folder).status == 405
    assert drive.ask("MKCOL", "/dav/").status == 405
    assert drive.ask("MKCOL", folder + "a/b").status == 409
    assert drive.ask("MKCOL", folder + "a", b"<x/>").status == 415
    assert drive.ask("DELETE", folder, Depth="0").status == 400
    assert drive.ask("DELETE", folder + "no").status == 404
    assert drive.ask("DELETE", "/dav/").status == 403
    assert drive.ask("DELETE", folder).status == 204


def test_r17_conditions(drive, folder) -> None:
    path = folder + "f"
    assert drive.ask("PUT", path, b"", If_Match="*").status == 412
    assert drive.ask("PUT", path, b"", If_Match='"x"').status == 412
    assert drive.ask("PUT", path, b"v1", If_None_Match="*").status == 201
    assert drive.ask("PUT", path, b"v1", If_None_Match="*").status == 412
    seen = drive.ask("HEAD", path).headers
    etag, date = seen["etag"], seen["last-modified"]
    older, newer = "Sun, 13 Sep 2020 12:26:40 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers, status in [
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": f'"x", W/{etag}'}, 304),
        ({"If_None_Match": '"x"', "If_Modified_Since": date}, 200),
        ({"If_Modified_Since": date}, 304),
        ({"If_Modified_Since": newer}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Match": f'"x", {etag}'}, 200),
        ({"If_Match": f"W/{etag}"}, 412),
        ({"If_Unmodified_Since": older}, 412),
        ({"If_Unmodified_Since": date}, 200),
    ]:
        for method in ("GET", "HEAD"):
            reply = drive.ask(method, path, **headers)
            assert reply.status == status, headers
            assert status == 412 or reply.headers["etag"] == etag
    assert drive.ask("PUT", path, b"v2", If_Match=etag).status == 204
    assert drive.ask("PUT", path, b"v3", If_Match=etag).status == 412
    assert drive.ask("DELETE", path, If_Match=etag).status == 412
    assert drive.ask("GET", path).body == b"v2"


def test_r17_ranges(drive, folder) -> None:
    content = bytes(range(256)) * 10
    put = drive.ask("PUT", folder + "f", content).headers
    for wanted, part in [
        ("bytes=0-99", content[:100]),
        ("bytes=100-", content[100:]),
        ("bytes=-10", content[-10:]),
        ("bytes=0-0", content[:1]),
        ("bytes=2550-9999", content[2550:]),
        ("bytes=-99999", content),
    ]:
        reply = drive.ask("GET", folder + "f", Range=wanted)
        start = content.index(part) if len(part) > 1 else 0
        assert (reply.status, reply.body) == (206, part)
        assert re.fullmatch(rf"bytes \d+-\d+/{len(content)}", reply.headers["content-range"]), start
    for wanted in ("bytes=0-1,4-5", "bytes=5-2", "lines=1-2", "bytes=x"):
        reply = drive.ask("GET", folder + "f", Range=wanted)
        assert (reply.status, reply.body, reply.headers["accept-ranges"]) == (200, content, "bytes")
    for wanted in ("bytes=99999-", "bytes=-0"):
        reply = drive.ask("GET", folder + "f", Range=wanted)
        assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(content)}")
    for validator, status in [
        (put["etag"], 206),
        (put["last-modified"], 206),
        ('"stale"', 200),
        ("W/" + put["etag"], 200),
        ("Sun, 13 Sep 2020 12:26:40 GMT", 200),
    ]:
        assert drive.ask("GET", folder + "f", Range="bytes=5-", If_Range=validator).status == status


def test_get_streams_big_files(drive, folder) -> None:
    content = hashlib.sha512(b"kelp").digest() * 160_000  # more than one part
    assert drive.ask("PUT", folder + "big", content).status == 201
    assert drive.ask("GET", folder + "big").body == content
    assert drive.ask("GET", folder + "big", Range="bytes=8388600-8388700").body == content[8388600:8388701]


# --- R18: PROPPATCH and times ---------------------------------------------------------------------


def test_r18_windows_times(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    sent = {
        "Win32CreationTime": "Sat, 12 Sep 2020 10:00:00 GMT",
        "Win32LastAccessTime": "Sun, 13 Sep 2020 11:00:00 GMT",
        "Win32LastModifiedTime": "Sun, 13 Sep 2020 12:26:40 GMT",
        "Win32FileAttributes": "00000020",
    }
    for path in (folder + "f", folder):
        _, token = lock(drive, path, Depth="0")
        inner = "".join(f"<Z:{name}>{value}</Z:{name}>" for name, value in sent.items())
        assert proppatch(drive, path, inner).status == 423
        reply = proppatch(drive, path, inner, If=f"(<{token}>)")
        assert reply.status == 207 and set(values(reply)) == {f"{{{WIN}}}{name}" for name in sent}
        shown = values(propfind(drive, path))
        assert {name: shown[f"{{{WIN}}}{name}"] for name in sent} == sent
        assert shown["{DAV:}getlastmodified"] == sent["Win32LastModifiedTime"]
        assert shown["{DAV:}creationdate"] == "2020-09-12T10:00:00Z"
        drive.ask("UNLOCK", path, Lock_Token=f"<{token}>")
    drive.ask("PUT", folder + "f", b"new")
    shown = values(propfind(drive, folder + "f"))
    assert shown[f"{{{WIN}}}Win32LastModifiedTime"] == shown["{DAV:}getlastmodified"] != sent["Win32LastModifiedTime"]


@pytest.mark.parametrize("value", ["1500000000", "Fri, 14 Jul 2017 02:40:00 GMT"])
@pytest.mark.parametrize("name", ["getlastmodified", "lastmodified"])
def test_r18_modification_time(drive, folder, name, value) -> None:
    drive.ask("PUT", folder + "f", b"")
    assert set(values(proppatch(drive, folder + "f", f"<D:{name}>{value}</D:{name}>"))) == {f"{{DAV:}}{name}"}
    assert drive.ask("HEAD", folder + "f").headers["last-modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"


def test_r18_all_or_nothing(drive, folder) -> None:
    drive.ask("PUT", folder + "f", b"")
    good = '<x:executable xmlns:x="http://apache.org/dav/props/">T</x:executable>'
    for bad, status in [("<D:getetag>x</D:getetag>", "403"), ("<D:getlastmodified>soon</D:getlastmodified>", "409")]:
        reply = proppatch(drive, folder + "f", good + bad)
        assert reply.status == 207 and not values(reply)
        assert set(values(reply, status)) and set(values(reply, "424")) == {"{http://apache.org/dav/props/}executable"}
    assert "executable" not in propfind(drive, folder + "f").text
    assert set(values(proppatch(drive, folder + "f", good))) == {"{http://apache.org/dav/props/}executable"}
    assert values(propfind(drive, folder + "f"))["{http://apache.org/dav/props/}executable"] == "T"
    assert proppatch(drive, folder + "no", good).status == 404


def test_r18_x_oc_mtime_and_checksums(drive, folder) -> None:
    digest = hashlib.sha1(b"data").hexdigest()
    reply = drive.ask("PUT", folder + "f", b"data", X_OC_Mtime="1600000000", OC_Checksum=f"SHA1:{digest}")
    assert (reply.status, reply.headers["x-oc-mtime"]) == (201, "accepted")
    assert reply.headers["last-modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"
    reply = drive.ask("PUT", folder + "g", b"", X_OC_Mtime="soon")
    assert reply.status == 201 and "x-oc-mtime" not in reply.headers
    asked = '<oc:checksums xmlns:oc="http://owncloud.org/ns"/>'
    assert f"<oc:checksum>SHA1:{digest}</oc:checksum>" in propfind(drive, folder + "f", asked).text
    listed = propfind(drive, folder, asked, "1")
    assert f"<oc:checksum>SHA1:{digest}</oc:checksum>" in listed.text
    for method in ("COPY", "MOVE"):
        reply = drive.ask(method, folder + "f", Destination=folder + method, X_OC_Mtime="1500000000")
        assert reply.headers["x-oc-mtime"] == "accepted"
        assert "2017" in drive.ask("HEAD", folder + method).headers["last-modified"]
    assert drive.ask("MKCOL", folder + "d", X_OC_Mtime="1500000000").headers["x-oc-mtime"] == "accepted"
    assert "2017" in values(propfind(drive, folder + "d"))["{DAV:}getlastmodified"]


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
