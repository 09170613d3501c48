"""R11: PUT, alone and in parallel, over real sockets."""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faces.rules.requests import head, lock, propfind, proppatch, raw


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
