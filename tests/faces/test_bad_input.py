"""Bad bodies, heads and names over real sockets: a clear 4xx, the old content intact, nothing left, never a 5xx."""

from __future__ import annotations

import hashlib

import pytest

from tests.faces.bad_input import FILE, LOCKINFO, closed, head, refused, talk
from tests.faces.bad_input import nothing_changes as nothing_changes
from tests.faces.bad_input import prepared_drive as prepared_drive


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
