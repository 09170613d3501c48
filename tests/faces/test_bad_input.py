"""Bad input over real sockets: a clear 4xx, the old content intact, nothing left behind, no traceback, never a 5xx.

Every request of this module goes to one drive with a file and a folder, and after each one all is as it was: the
tree and its bytes, the cache's objects, properties, locks. What the server logs is read too: a client's mistake is
no reason for a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

FILE = "/dav/folder/file"
OLD = b"the old content"
LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


@pytest.fixture(scope="module")
def drive(shared_drive):
    assert shared_drive.ask("MKCOL", "/dav/folder").status == 201
    assert shared_drive.ask("PUT", FILE, OLD).status == 201
    return shared_drive


@pytest.fixture(autouse=True)
def unchanged(drive, caplog) -> Iterator[None]:
    """After each test: the drive as it was, and a log without warnings, errors and tracebacks."""
    before = state(drive)
    with caplog.at_level(logging.WARNING):
        yield
    assert drive.ask("GET", FILE).body == OLD
    assert state(drive) == before
    assert [record.getMessage() for record in caplog.records] == []


def state(drive) -> dict[str, Any]:
    tables = ("entries", "contents", "objects", "versions", "dav_locks", "dav_properties", "sync_events")
    with drive.kelp.database.read() as tx:
        rows: dict[str, Any] = {table: tx.all(f"SELECT * FROM {table} ORDER BY 1") for table in tables}
    rows["cache"] = [info.key for info in drive.kelp.cache.list()]
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


@pytest.fixture(params=[FILE, "/dav/folder/new"], ids=["over a file", "a new name"])
def target(request) -> str:
    return request.param


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 1, 99_999, 999_999])
def test_a_body_that_is_cut(drive, target, sent) -> None:
    answer = talk(
        drive, head(drive, "PUT", target, "Content-Length: 1000000", stay=True) + bytes(sent), then_close=True
    )
    refused(answer, 400)
    assert closed(answer)


CHUNKS = {
    "nothing": b"",
    "half a size": b"1",
    "no line end": b"5",
    "size only": b"5\r\n",
    "half a chunk": b"5\r\nab",
    "no end of the chunk": b"5\r\nabcde",
    "no last chunk": b"5\r\nabcde\r\n",
    "last chunk without its end": b"5\r\nabcde\r\n0\r\n",
    "half a trailer": b"5\r\nabcde\r\n0\r\nX: y\r\n",
    "chunk too long": b"5\r\nabcdefgh\r\n0\r\n\r\n",
    "chunk too short": b"9\r\nabcde\r\n0\r\n\r\n",
    "no hexadecimal": b"five\r\nabcde\r\n0\r\n\r\n",
    "negative": b"-5\r\nabcde\r\n0\r\n\r\n",
    "plus": b"+5\r\nabcde\r\n0\r\n\r\n",
    "prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nabcde\r\n0\r\n\r\n",
    "leading space": b" 5\r\nabcde\r\n0\r\n\r\n",
    "empty size": b"\r\nabcde\r\n0\r\n\r\n",
    "too big to be true": b"f" * 16 + b"\r\nabcde\r\n0\r\n\r\n",
    "more than any disk": b"f" * 15 + b"\r\nabcde",
    "line feeds only": b"5\nabcde\n0\n\n",
    "an extension without end": b"5;" + b"x" * 100_000,
    "trailers without end": b"5\r\nabcde\r\n0\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_chunks_that_are_cut_or_malformed(drive, target, chunks) -> None:
    answer = talk(drive, head(drive, "PUT", target, "Transfer-Encoding: chunked", stay=True) + chunks, then_close=True)
    refused(answer, 400)
    assert closed(answer)
    assert answer.count(b"HTTP/1.1 ") == 1, "what followed was taken for a request"


WRONG = {
    "SHA-1 of something else": {"OC_Checksum": "SHA1:" + hashlib.sha1(b"else").hexdigest()},
    "MD5 of something else": {"OC_Checksum": "MD5:" + hashlib.md5(b"else").hexdigest()},
    "one of two right": {"OC_Checksum": f"SHA1:{hashlib.sha1(b'body').hexdigest()} MD5:{'0' * 32}"},
    "cut SHA-1": {"OC_Checksum": "SHA1:abcdef"},
    "empty MD5": {"OC_Checksum": "MD5:"},
    "no hexadecimal": {"OC_Checksum": "SHA1:" + "g" * 40},
    "longer than sent": {"X_Expected_Entity_Length": "5"},
    "shorter than sent": {"X_Expected_Entity_Length": "3"},
    "a part of a file": {"Content_Range": "bytes 0-3/100"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_bodies_that_are_not_as_announced(drive, target, headers) -> None:
    assert drive.ask("PUT", target, b"body", **headers).status == 400


def test_a_chunked_body_of_another_length_than_macos_announced(drive, target) -> None:
    for length in ("0", "4", "6"):
        announced = head(drive, "PUT", target, "Transfer-Encoding: chunked", f"X-Expected-Entity-Length: {length}")
        refused(talk(drive, announced + b"5\r\nabcde\r\n0\r\n\r\n"), 400)


FRAMING = {
    "length and chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "equal lengths": ("Content-Length: 5", "Content-Length: 5"),
    "a list of lengths": ("Content-Length: 5, 5",),
    "negative length": ("Content-Length: -5",),
    "signed length": ("Content-Length: +5",),
    "hexadecimal length": ("Content-Length: 0x5",),
    "underscored length": ("Content-Length: 1_0",),
    "wide digits": ("Content-Length: \uff15",),
    "a length without end": ("Content-Length: " + "9" * 400,),
    "empty length": ("Content-Length:",),
    "space before the colon": ("Content-Length : 5",),
    "a folded line": ("X: a", " b", "Content-Length: 5"),
    "a field without colon": ("nonsense",),
    "a field without name": (": 5",),
    "NUL in a value": ("X: a\0b",),
    "a bare return": ("X: a\rContent-Length: 5",),
    "two hosts": ("Host: elsewhere",),
    "two destinations": ("Destination: /dav/a", "Destination: /dav/b"),
    "too many fields": tuple(f"X-{number}: y" for number in range(300)),
    "a field too long": ("X: " + "y" * 200_000,),
}


@pytest.mark.parametrize("fields", FRAMING.values(), ids=FRAMING)
def test_heads_that_two_servers_could_understand_differently(drive, target, fields) -> None:
    answer = talk(drive, head(drive, "PUT", target, *fields, stay=True) + b"12345\r\n\r\n")
    refused(answer, 400, 413, 431)
    assert closed(answer) and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "chunked, chunked", "xchunked"])
def test_transfer_codings_that_nobody_needs(drive, target, coding) -> None:
    answer = talk(
        drive, head(drive, "PUT", target, f"Transfer-Encoding: {coding}", stay=True) + b"5\r\nabcde\r\n0\r\n\r\n"
    )
    refused(answer, 400, 501)
    assert closed(answer)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\0", b"PUT", b"PUT /dav/x", b"PUT /dav/x HTTP", b"PUT /dav/x HTTP/9.9", b"PUT /dav/x HTTP/1.x"),
        *(b"PUT  /dav/x HTTP/1.1", b"PUT /dav/a b HTTP/1.1", b"P\xffT /dav/x HTTP/1.1", b"\x16\x03\x01\x02\x00"),
        *(b"GET dav HTTP/1.1", b"GET \\dav HTTP/1.1", b"GET /dav/#x HTTP/1.1"),
        *(b"CONNECT example.org:443 HTTP/1.1", b"GET /dav/" + b"a" * 100_000 + b" HTTP/1.1"),
    ],
)
def test_request_lines_that_are_none(drive, line) -> None:
    answer = talk(
        drive, line + b"\r\nHost: x\r\nAuthorization: " + drive.basic().encode() + b"\r\n\r\n", then_close=True
    )
    assert not answer or answer[9:12] in (b"400", b"404", b"405", b"413", b"414", b"505")


@pytest.mark.parametrize("method", ["BREW", "TRACE", "POST", "PATCH", "SEARCH", "put", "X" * 1000, "ACL", "REPORT"])
@pytest.mark.parametrize("where", ["/", "/dav/", FILE, "/dav/missing", "/elsewhere"])
def test_methods_nobody_knows(drive, method, where) -> None:
    answer = talk(drive, head(drive, method, where, "Content-Length: 4") + b"body")
    refused(answer, 400, 403, 404, 405, 501)


# --- names ----------------------------------------------------------------------------------------

NAMES = {
    "NUL": "a%00b",
    "control": "a%1fb",
    "line feed": "a%0ab",
    "DEL": "a%7f",
    "C1 control": "a%c2%85",
    "slash": "a%2fb",
    "slash, upper case": "a%2Fb",
    "up and away": "..%2f..%2fetc%2fpasswd",
    "only a slash": "%2f",
    "no hexadecimal": "a%zz",
    "half an escape": "a%4",
    "a lone percent": "a%",
    "Latin-1": "caf%e9",
    "cut UTF-8": "caf%c3",
    "overlong slash": "%c0%af",
    "overlong NUL": "%c0%80",
    "surrogate half": "%ed%a0%80",
    "beyond Unicode": "%f4%90%80%80",
    "no character": "%ef%bf%bf",
    "256 bytes": "a" * 256,
    "256 bytes of accents": "%c3%a9" * 128,
    "UTF-16": "%ff%fea%00",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_cannot_be(drive, name) -> None:
    where = f"/dav/folder/{name}"
    for method, body in (("PUT", b"body"), ("MKCOL", b""), ("LOCK", LOCKINFO), ("GET", b""), ("PROPFIND", b"")):
        answer = talk(drive, head(drive, method, where, f"Content-Length: {len(body)}", "Depth: 0") + body)
        refused(answer, 400, 414)
    for method in ("MOVE", "COPY"):
        for destination in (where, f"http://localhost{where}"):
            assert drive.ask(method, FILE, Destination=destination, Host="localhost").status in (400, 414)


def test_names_in_raw_bytes(drive) -> None:
    for name in (b"caf\xe9", b"\xff\xfe", b"a\x01b", b"\xed\xa0\x80", b"a\x7f"):
        request = head(drive, "PUT", "/dav/folder/NAME", "Content-Length: 4").replace(b"NAME", name) + b"body"
        refused(talk(drive, request))


@pytest.mark.parametrize("path", ["/dav/../../etc/passwd", "/dav/%2e%2e/%2e%2e/etc/passwd", "/../dav/../etc/passwd"])
def test_paths_never_leave_the_drive(drive, path) -> None:
    for method in ("GET", "PUT", "MKCOL", "DELETE", "PROPFIND"):
        refused(talk(drive, head(drive, method, path, "Content-Length: 0", "Depth: 0")), 403, 404)
    assert drive.ask("MOVE", FILE, Destination=path).status in (403, 409, 502)


# --- XML ------------------------------------------------------------------------------------------

ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>%s'
)
WITH = {
    "PROPFIND": (b'<D:propfind xmlns:D="DAV:"><D:prop>', b"</D:prop></D:propfind>"),
    "PROPPATCH": (
        b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><X:x xmlns:X="u">',
        b"</X:x></D:prop></D:set></D:propertyupdate>",
    ),
    "LOCK": (LOCKINFO.removesuffix(b"</D:lockinfo>") + b"<D:owner>", b"</D:owner></D:lockinfo>"),
}
INSIDE = {
    "cut": (b"<D:a", b""),
    "not closed": (b"<D:a>", None),
    "undeclared prefix": (b"<Z:a/>", None),
    "unknown entity": (b"&nope;", None),
    "control character": (b"\x01", None),
    "reference to a control character": (b"&#1;", None),
    "reference to half a pair": (b"&#xD800;", None),
    "wrong UTF-8": (b"\xff\xfe", None),
    "very deep": (b"<D:a>" * 5000 + b"</D:a>" * 5000, None),
    "very many": (b"<D:a/>" * 50_000, None),
    "two names for one attribute": (b'<D:a b="1" b="2"/>', None),
}


def xml(drive, method: str, body: bytes) -> bytes:
    fields = (f"Content-Length: {len(body)}", "Content-Type: application/xml", "Depth: 0")
    return talk(drive, head(drive, method, FILE, *fields) + body)


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("method", WITH)
def test_xml_that_is_none(drive, method, inside) -> None:
    before, after = WITH[method]
    refused(xml(drive, method, before + inside[0] + (after if inside[1] is None else inside[1])), 400, 413)


DOCUMENTS = {
    "entities": ENTITIES,
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>%s',
    "external DTD": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">%s',
    "empty DTD": b"<!DOCTYPE x>%s",
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>',
    "unknown encoding": b'<?xml version="1.0" encoding="klingon"?>%s',
    "wrong encoding": b'<?xml version="1.0" encoding="utf-16"?>%s',
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?>%s',
    "multi-byte encoding": b'<?xml version="1.0" encoding="euc-kr"?>%s',
    "two roots": b"%s<a/>",
    "text after it": b"%s text",
    "another root": b"<a/>",
    "no namespace": b"<propfind/>",
    "JSON": b'{"a": 1}',
    "zeros": bytes(1000),
    "spaces before the declaration": b' <?xml version="1.0"?>%s',
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("method", WITH)
def test_documents_that_are_refused(drive, method, document) -> None:
    good = b"<D:a/>".join(WITH[method])
    refused(xml(drive, method, document.replace(b"%s", good)), 400)


@pytest.mark.parametrize("method", WITH)
def test_xml_bodies_are_bounded(drive, method) -> None:
    big = b"<!--" + b"x" * 3_000_000 + b"-->"
    refused(xml(drive, method, big + b"<D:a/>".join(WITH[method])), 413)
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(big), big) for _ in range(1)) + b"0\r\n\r\n"
    refused(talk(drive, head(drive, method, FILE, "Transfer-Encoding: chunked", "Depth: 0") + chunked), 413)


def test_xml_that_is_cut_changes_nothing(drive) -> None:
    for method, (before, after) in WITH.items():
        body = before + after
        fields = (f"Content-Length: {len(body) + 10}", "Depth: 0")
        refused(talk(drive, head(drive, method, FILE, *fields) + body, then_close=True), 400)


def test_a_long_namespace_is_not_multiplied(drive) -> None:
    """Written once, it is part of the name of every element: 300 KB would become 3 GB."""
    for method, (before, after) in WITH.items():
        many = b"".join(b"<N:x%d/>" % number for number in range(10_000))
        body = before + b'<N:n xmlns:N="%s">' % (b"n" * 300_000) + many + b"</N:n>" + after
        refused(xml(drive, method, body), 400)
        body = before + b'<N:n xmlns:N="%s">' % (b"n" * 300_000) + b'<a N:x=""/>' * 10_000 + b"</N:n>" + after
        refused(xml(drive, method, body), 400)


def test_ten_thousand_properties_are_taken_whole(served_drive) -> None:
    """Up to 1 MiB an entry; what goes beyond is refused, and then nothing of it is there."""
    served_drive.ask("PUT", "/dav/file", OLD)
    asked = b"<D:propfind xmlns:D='DAV:' xmlns:X='u'><D:prop><X:p0/><X:p9999/></D:prop></D:propfind>"
    for text, status, shown in ((b"value", 207, 2), (b"v" * 50, 207, 2), (b"", 207, 2)):
        names = b"".join(b"<X:p%d>%b</X:p%d>" % (number, text, number) for number in range(10_000))
        body = b"<D:propertyupdate xmlns:D='DAV:' xmlns:X='u'><D:set><D:prop>%b</D:prop></D:set></D:propertyupdate>"
        reply = served_drive.ask("PROPPATCH", "/dav/file", body % names)
        assert reply.status == status
        assert served_drive.ask("PROPFIND", "/dav/file", asked, Depth="0").text.count(":p") >= shown
    assert served_drive.ask("GET", "/dav/file").body == OLD


# --- header fields --------------------------------------------------------------------------------

FIELDS = [
    *(("PROPFIND", "/dav/folder", "Depth", value) for value in ("2", "-1", "", "infinite", "0,1", "\xff", "1" * 5000)),
    *(("COPY", "/dav/folder", "Depth", value) for value in ("1", "2", "x")),
    *(("MOVE", "/dav/folder", "Depth", value) for value in ("0", "1", "x")),
    *(("DELETE", "/dav/folder", "Depth", value) for value in ("0", "1", "x")),
    *(("LOCK", FILE, "Depth", value) for value in ("1", "x", "")),
    *(
        (method, FILE, "Destination", value)
        for method in ("COPY", "MOVE")
        for value in (
            *("", "folder/x", "x", "//", "http://", "http:///", "http://elsewhere/dav/x"),
            *("/dav/x?y", "/dav/x#y", "/dav", "/dav/", "/", "/elsewhere/x", "/dav/%", "/dav/%00", "/dav/missing/x"),
            *("\xff", "http://localhost:1/dav/x", "http://[::1/dav/x", "/dav/" + "a" * 5000, "javascript:alert(1)"),
        )
    ),
    *(("COPY", FILE, "Overwrite", value) for value in ("X", "TT", "true", "\xff")),
    *(
        (method, FILE, "If", value)
        for method in ("PUT", "DELETE", "MOVE", "PROPPATCH", "LOCK", "GET")
        for value in (
            *("", "(", ")", "()", "(<", "<>", "(<urn:uuid:x>", "<a> <b>", "(Not)", "(Not Not <a>)", "([)", '(["x)'),
            *("garbage", "(<a>) garbage", "(<urn:uuid:not-a-lock>)", '(["wrong"])', "(" * 1000, "(<a>)" * 5000, "\xff"),
        )
    ),
    *((method, FILE, "If-Match", value) for method in ("PUT", "DELETE") for value in ('"wrong"', "", "wrong", "\xff")),
    *(("PUT", FILE, "If-None-Match", value) for value in ("*", "W/*, *, *")[:1]),
    *(("UNLOCK", FILE, "Lock-Token", value) for value in ("", "x", "<>", "<", "<x", "<urn:uuid:x>", "\xff", "<" * 999)),
]


@pytest.mark.parametrize(("method", "where", "field", "value"), FIELDS)
def test_header_fields_without_sense(drive, method, where, field, value) -> None:
    fields = [f"{field}: ".encode() + value.encode("latin-1")]
    body = {"PUT": b"body", "LOCK": LOCKINFO, "PROPPATCH": WITH["PROPPATCH"][0] + WITH["PROPPATCH"][1]}.get(method, b"")
    if method in ("COPY", "MOVE") and field != "Destination":
        fields.append(b"Destination: /dav/folder2")
    refused(
        talk(drive, head(drive, method, where, *fields, f"Content-Length: {len(body)}") + body), *range(400, 500), 502
    )


RANGES = (
    *(
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=--5",
        "bytes=0-1,",
        "lines=1-2",
        "0-5",
        "\xff",
        "bytes=0x1-",
    ),
    *("bytes=" + "0-1," * 10_000 + "0-1", "bytes=" + "9" * 5000 + "-", "bytes=1-" + "9" * 5000, "bytes=\xb2-"),
)


@pytest.mark.parametrize("value", RANGES)
def test_ranges_without_sense(drive, value) -> None:
    """Ignored, which gives the whole file, or refused; never a part that nobody asked for."""
    answer = talk(drive, head(drive, "GET", FILE, b"Range: " + value.encode("latin-1")))
    status = int(answer[9:12])
    assert status in (200, 206, 416, 400), answer[:300]
    body = answer.partition(b"\r\n\r\n")[2]
    assert (status == 200 and body == OLD) or (status == 206 and body == OLD[1:]) or status in (416, 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": "Mon, 99 Foo 99999 99:99:99 GMT"},
        {"If-Range": "garbage", "Range": "bytes=0-1"},
        {"If-None-Match": "garbage"},
        {"If-None-Match": '"' * 5000},
        {"Accept": "\xff" * 100},
        {"Cookie": "x" * 30_000},
        {"Expect": "the unexpected"},
        {"X-Forwarded-Host": "\xff, ,"},
        {"Forwarded": 'host=;;,,="', "Upgrade": "h2c"},
    ],
)
def test_what_is_ignored(drive, headers) -> None:
    fields = [f"{name}: ".encode() + value.encode("latin-1") for name, value in headers.items()]
    answer = talk(drive, head(drive, "GET", FILE, *fields))
    assert answer[9:12] == b"200" and answer.endswith(OLD)


def test_lock_timeouts_without_sense_give_a_lock_that_ends(served_drive) -> None:
    served_drive.ask("PUT", "/dav/file", OLD)
    for value in ("", "Second-", "Second--5", "Second-" + "9" * 5000, "never", "Infinite, x", "\xff"):
        reply = served_drive.ask("LOCK", "/dav/file", LOCKINFO, Timeout=value)
        assert reply.status == 200 and "<D:timeout>Second-" in reply.text
        assert served_drive.ask("UNLOCK", "/dav/file", Lock_Token=reply.headers["lock-token"]).status == 204


def test_what_cannot_be_read_in_a_put_is_ignored(served_drive) -> None:
    """X-OC-Mtime as R18 says; macOS's length is only a hint."""
    for field in ("X_OC_Mtime", "X_Expected_Entity_Length"):
        for value in ("", "x", "-1", "1e5", "9" * 50, "9" * 5000, "\xff", "1_0", "0x10", "inf", "\xb2"):
            reply = served_drive.ask("PUT", "/dav/file", b"body", **{field: value})
            assert reply.status in (201, 204) and "x-oc-mtime" not in reply.headers
            assert served_drive.ask("GET", "/dav/file").body == b"body"
