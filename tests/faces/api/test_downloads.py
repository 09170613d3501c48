"""Contents of files by the API: as on WebDAV in all that HTTP knows, under their own names, and harmless to show."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from falcon import testing

from http_api.app import make_api
from tests import waiting
from tests.faces.api.conftest import Api
from tests.mirror_drive import MirrorDrive
from tests.nasty_names import NASTY_NAMES
from vfs.core import Kelp
from vfs.errors import InvalidName, NasDown, StoreUnavailable
from vfs.model import Peer
from vfs.names import check_segment
from vfs.storage.wrappers import FailingNasStore, FailingObjectStore, Failure

BIG = bytes(range(256)) * 4096 * 9 + b"the end"  # two parts, the second one short
_SAME = ("content-length", "content-range", "content-type", "etag", "last-modified", "accept-ranges")


until = partial(waiting.until, seconds=60.0)

REQUESTS = [
    {},
    {"Range": "bytes=0-0"},
    {"Range": "bytes=5-"},
    {"Range": "bytes=-3"},
    {"Range": "bytes=3-2"},
    {"Range": "bytes=0-1,4-5"},
    {"Range": "bytes=10-"},
    {"Range": "pages=1-2"},
    {"Range": "bytes=2-4", "If_Range": "ETAG"},
    {"Range": "bytes=2-4", "If_Range": 'W/"x"'},
    {"Range": "bytes=2-4", "If_Range": "DATE"},
    {"Range": "bytes=2-4", "If_Range": "Sun, 06 Nov 1994 08:49:37 GMT"},
    {"If_None_Match": "ETAG"},
    {"If_None_Match": "*"},
    {"If_None_Match": '"x"', "If_Modified_Since": "DATE"},
    {"If_Modified_Since": "DATE"},
    {"If_Modified_Since": "Fri, 06 Nov 2099 08:49:37 GMT"},
    {"If_Match": "ETAG"},
    {"If_Match": '"x"'},
    {"If_Match": '"x"', "If_None_Match": "ETAG", "Range": "bytes=99-"},
    {"If_Unmodified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
    {"If_Unmodified_Since": "DATE", "Range": "bytes=1-2"},
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_and_ranges_are_those_of_webdav(api: Api, folder: str, method: str) -> None:
    id = api.make_file(f"{folder}/f.bin", b"0123456789")
    known = api.drive.ask("HEAD", f"/dav/{folder}/f.bin").headers
    for request in REQUESTS:
        sent = {name: {"ETAG": known["etag"], "DATE": known["last-modified"]}.get(v, v) for name, v in request.items()}
        there = api.drive.ask(method, f"/dav/{folder}/f.bin", **sent)
        here = api.ask(method, f"/files/{id}/download", **sent)
        assert here.status == there.status, request
        if here.status < 400:
            assert here.body == there.body, request
            assert {k: here.headers.get(k) for k in _SAME} == {k: there.headers.get(k) for k in _SAME}, request
        elif here.status == 416:
            assert here.headers["content-range"] == there.headers["content-range"] == "bytes */10"
            assert method == "HEAD" or json.loads(here.body)["error"] == "RANGE_NOT_SATISFIABLE"


def test_big_and_empty_contents(api: Api, folder: str) -> None:
    big, empty = api.make_file(f"{folder}/big", BIG), api.make_file(f"{folder}/empty", b"")
    assert api.ask("GET", f"/files/{big}/download").body == BIG
    across = api.ask("GET", f"/files/{big}/download", Range=f"bytes=8388600-{len(BIG) - 2}")
    assert (across.status, across.body) == (206, BIG[8388600:-1])
    assert api.ask("GET", f"/files/{empty}/download").headers["content-length"] == "0"
    until(lambda: api.drive.kelp.holds.count == 0)


def test_no_ending_leaves_a_lease(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/big", BIG * 3)
    holds = api.drive.kelp.holds
    path = f"/api/files/{id}/download"
    for lines in (f"GET {path}", f"HEAD {path}"):
        with contextlib.closing(socket.create_connection(("127.0.0.1", api.drive.port), timeout=20)) as sock:
            sock.sendall(f"{lines} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.drive.basic()}\r\n\r\n".encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 200")
            if lines.startswith("GET"):
                until(lambda: holds.count > 0)  # it is sending, and nobody takes it
        until(lambda: holds.count == 0)
    etag = api.ask("HEAD", f"/files/{id}/download").headers["etag"]
    for headers in ({"If_None_Match": etag}, {"If_Match": '"x"'}, {"Range": "bytes=99999999-"}, {"Range": "bytes=1-2"}):
        api.ask("GET", f"/files/{id}/download", **headers)
        until(lambda: holds.count == 0)  # it may end after its answer


def test_nasty_names_arrive_as_they_are(api: Api, folder: str) -> None:
    for name in NASTY_NAMES:
        try:
            check_segment(name)
        except InvalidName:
            continue
        if api.drive.ask("PUT", f"/dav/{folder}/{quote(name, safe='')}", b"x").status != 201:
            continue
        header = api.ask("GET", f"/files/{api.id_of(f'{folder}/{name}')}/download").headers["content-disposition"]
        assert header.isascii() and header.startswith("attachment; ")
        read = Message()
        read["Content-Disposition"] = header
        assert read.get_filename() == name or f"filename*=UTF-8''{quote(name, safe='!#$&+^`|~')}" in header


PREVIEWS = [
    ("photo.png", "image/png", "sandbox"),
    ("song.mp3", "audio/mpeg", "sandbox"),
    ("film.mp4", "video/mp4", "sandbox"),
    ("notes.txt", "text/plain; charset=utf-8", "sandbox"),
    ("page.html", "text/plain; charset=utf-8", "sandbox"),
    ("drawing.svg", "text/plain; charset=utf-8", "sandbox"),
    ("paper.pdf", "application/pdf", "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
    ("archive.zip", None, ""),
    ("unknown", None, ""),
    ("letter.docx", None, ""),
]


@pytest.mark.parametrize(("name", "shown", "policy"), PREVIEWS)
def test_a_preview_shows_what_is_harmless(api: Api, folder: str, name: str, shown: str | None, policy: str) -> None:
    id = api.make_file(f"{folder}/{name}", b"content")
    reply = api.ask("GET", f"/files/{id}/preview", Accept_Language="ko")
    if shown is None:
        assert reply.status == 415
        assert json.loads(reply.body)["error"] == "NO_PREVIEW"
        return
    assert reply.status == 200 and reply.body == b"content"
    assert reply.headers["content-type"] == shown
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == policy
    assert reply.headers["content-disposition"] == f'inline; filename="{name}"'
    assert api.ask("GET", f"/files/{id}/preview", If_None_Match=reply.headers["etag"]).status == 304
    part = api.ask("GET", f"/files/{id}/preview", Range="bytes=2-3")
    assert (part.status, part.body) == (206, b"nt")
    head = api.ask("HEAD", f"/files/{id}/preview")
    assert head.headers["content-type"] == shown and head.headers["content-length"] == "7"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("한글 문서".encode(), "; charset=utf-8"),
        ("한글 문서".encode("cp949"), ""),
        ("한글 문서".encode("utf-16"), "; charset=utf-16"),
        (("a" + "한" * 2000).encode(), "; charset=utf-8"),  # its first 4 KiB end within a character
        (b"", "; charset=utf-8"),
    ],
)
def test_the_charset_is_said_only_where_it_is_plain_to_see(api: Api, folder: str, text: bytes, charset: str) -> None:
    id = api.make_file(f"{folder}/t.txt", text)
    assert api.ask("GET", f"/files/{id}/preview").headers["content-type"] == f"text/plain{charset}"


def test_what_is_in_the_trash_or_deleted(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/f.txt")
    gone = api.make_file(f"{folder}/gone.txt")
    for each in (id, gone):
        assert api.delete(f"/files/{each}")[0] == 200
    assert api.delete(f"/trash/{gone}")[0] == 200
    for what in ("download", "preview"):
        told = [api.get(f"/files/{each}/{what}") for each in (id, gone, "none")]
        assert [(status, body["error"]) for status, body in told] == [
            (400, "FILE_IN_TRASH"),
            (404, "FILE_DELETED"),
            (404, "FILE_NOT_FOUND"),
        ]


# --- stores that are away ---


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    with contextlib.closing(MirrorDrive(tmp_path)) as made:
        yield made


def ask(kelp: Kelp, path: str) -> tuple[int, str, str]:
    """Status, code, Retry-After."""
    credentials = base64.b64encode(b"admin:correct horse").decode()
    client = testing.TestClient(make_api(kelp))
    peer = {"kelp.peer": Peer("127.0.0.1", secure=False, local=True)}
    reply = client.simulate_get(path, headers={"Authorization": f"Basic {credentials}"}, extras=peer)
    return reply.status_code, reply.json["error"], reply.headers.get("Retry-After", "")


def test_a_store_that_is_away_is_asked_again_later(drive: MirrorDrive) -> None:
    """503 while it may come back, 500 when nobody ever will have it; the same for an archive that has not begun."""
    fresh = drive.put("only in the cache", os.urandom(200_000))
    paths = (f"/api/files/{fresh.uuid}/download", "/api/folders/root/zip")
    cache = FailingObjectStore(drive.kelp.cache)
    for path in paths:
        for call in (1, 2):  # it is asked again when the NAS has nothing
            cache.failures.plan(Failure("get", StoreUnavailable("no route"), call))
        assert ask(replace(drive.kelp, cache=cache), path) == (503, "CACHE_UNAVAILABLE", "5")
    drive.settle_down()
    with drive.kelp.database.read() as tx:
        content = tx.contents.get(fresh.content_id or "")
    assert content is not None
    for part in content.parts:
        drive.kelp.cache.delete(part.key)
    nas = FailingNasStore(drive.kelp.nas)
    for path in paths:
        nas.failures.plan(Failure("read", NasDown("the NAS is away", "ESTALE", 7)))
        assert ask(replace(drive.kelp, nas=nas), path) == (503, "NAS_UNAVAILABLE", "7")
