"""Bad XML and header fields without sense over real sockets: a clear 4xx, the drive as it was, never a 5xx."""

from __future__ import annotations

import pytest

from tests.faces.bad_input import FILE, LOCKINFO, OLD, head, refused, talk
from tests.faces.bad_input import nothing_changes as nothing_changes
from tests.faces.bad_input import prepared_drive as prepared_drive

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
        refused(xml(drive, method, body), 413)
        body = before + b'<N:n xmlns:N="%s">' % (b"n" * 300_000) + b'<a N:x=""/>' * 10_000 + b"</N:n>" + after
        refused(xml(drive, method, body), 413)


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
