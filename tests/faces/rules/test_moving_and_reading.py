"""R16, R17: COPY, MOVE, conditions and ranges, over real sockets."""

from __future__ import annotations

import hashlib
import re

import pytest


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_r16_destinations(drive, folder, method) -> None:
    def ask(destination, **headers):
        drive.ask("PUT", folder + "s", b"s")
        return drive.ask(method, folder + "s", Destination=destination, **headers).status

    host = f"127.0.0.1:{drive.port}"
    assert ask(f"http://{host}{folder}a") == 201
    assert ask(f"https://u:p%40x@{host.upper()}{folder}a", Depth="infinity") == 204
    assert ask(f"https://proxy.example{folder}b", X_Forwarded_Host="proxy.example") == 502, "a proxy nobody trusts"
    assert ask(f"https://{host}{folder}b") == 201
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
