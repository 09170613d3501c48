"""A served drive whose disks rot: real files flipped, cut and removed below a running server, read by WebDAV."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server_process import ServerProcess, server_process
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import BLOCK_SIZE, PART_SIZE, Content

pytestmark = pytest.mark.engine(cache="folder", reason="flips bytes of the cache's files")

SIZES = {"small": 4096, "one-part": 5 * BLOCK_SIZE - 100, "many-parts": 2 * PART_SIZE + 3 * BLOCK_SIZE + 7}


def data_of(name: str) -> bytes:
    return random.Random(name).randbytes(SIZES[name])


def until(seen: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """It has all files, on the NAS too, and none in memory: nobody has read them."""
    with server_process(tmp_path, mirror_delay=0, cache_publish=0.02, cache_lease=2) as server:
        for name in SIZES:
            assert ask(server, "PUT", name, data_of(name))[0] == 201
        until(lambda: all(on_nas(server, name) is not None for name in SIZES), "mirrored")
        with opened(server) as kelp:
            until(lambda: is_settled(kelp), "recorded")
        yield server


def is_settled(kelp: Kelp) -> bool:
    with kelp.database.read() as tx:
        return tx.one("SELECT 1 FROM sync_events WHERE status IN ('PENDING', 'PROCESSING')") is None


@contextlib.contextmanager
def opened(server: ServerProcess) -> Iterator[Kelp]:
    """The same drive, for a look at its database."""
    kelp = build(server.settings)
    try:
        yield kelp
    finally:
        kelp.close()


def ask(
    server: ServerProcess, method: str, name: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; a body that was cut is what came of it, and header "cut"."""
    with contextlib.closing(server.connect()) as connection:
        connection.request(method, f"/dav/{name}", body, {"Authorization": server.basic, **headers})
        response = connection.getresponse()
        fields = {key.lower(): value for key, value in response.getheaders()}
        try:
            return response.status, fields, response.read()
        except (http.client.IncompleteRead, ConnectionError) as error:
            return response.status, {**fields, "cut": "yes"}, getattr(error, "partial", b"")


def on_nas(server: ServerProcess, name: str) -> Path | None:
    return next((path for path in server.nas.glob(f"*__{name}") if path.stat().st_size == SIZES[name]), None)


def objects_of(server: ServerProcess, name: str) -> tuple[Content, list[Path]]:
    with opened(server) as kelp, kelp.database.read() as tx:
        content = tx.contents.get(tx.one("SELECT content_id FROM entries WHERE name = :name", name=name)[0])
    assert content is not None
    files = {path.name: path for path in (server.data / "cache").rglob("*") if path.is_file()}
    return content, [files[part.key] for part in content.parts if part.key in files]


def flip(path: Path, at: int) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def place(size: int, where: str) -> int:
    return {"beginning": 0, "middle": size // 2, "end": size - 1}[where]


@pytest.mark.parametrize("where", ["beginning", "middle", "end"])
def test_flipped_in_the_cache(server: ServerProcess, where: str) -> None:
    for name, size in SIZES.items():
        _, files = objects_of(server, name)
        for file in files:
            flip(file, place(file.stat().st_size, where))
        at = place(size, where)
        start, stop = max(at - 5, 0), min(at + 5, size)
        status, _, body = ask(server, "GET", name, Range=f"bytes={start}-{stop - 1}")
        assert (status, body) == (206, data_of(name)[start:stop])
        status, headers, body = ask(server, "GET", name)
        assert (status, body) == (200, data_of(name)) and "cut" not in headers
        status, headers, _ = ask(server, "HEAD", name)
        assert (status, headers["content-length"]) == (200, str(size))
        require_healed(files, name)


def require_healed(files: list[Path], name: str) -> None:
    def healed() -> bool:
        with contextlib.suppress(FileNotFoundError):  # a bad one goes, then the good one comes
            return b"".join(map(Path.read_bytes, files)) == data_of(name)
        return False

    until(healed, f"{name} healed")


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_removed_or_cut_in_the_cache(server: ServerProcess, harm: str) -> None:
    for name, size in SIZES.items():
        _, files = objects_of(server, name)
        for file in files:
            if harm == "cut":
                os.truncate(file, file.stat().st_size // 2)
            else:
                file.unlink()
        status, _, body = ask(server, "GET", name, Range=f"bytes={size - 9}-")
        assert (status, body) == (206, data_of(name)[-9:])
        assert ask(server, "GET", name)[2] == data_of(name)
        require_healed(files, name)


def test_bad_in_both_is_a_clear_error_and_one_alert(server: ServerProcess) -> None:
    for name, size in SIZES.items():
        _, files = objects_of(server, name)
        flip(files[-1], files[-1].stat().st_size - 1)
        nas_file = on_nas(server, name)
        assert nas_file is not None
        flip(nas_file, size - 1)
        for _ in range(2):
            status, headers, body = ask(server, "GET", name)
            assert status == 503 or "cut" in headers, "a whole file that is wrong"
            assert status == 503 or data_of(name).startswith(body)
        status, _, body = ask(server, "GET", name, Range=f"bytes={size - 1}-")
        assert status == 503 and b"neither the cache nor the NAS" in body
        assert ask(server, "HEAD", name)[0] == 200
    assert ask(server, "GET", "many-parts", Range="bytes=0-99")[2] == data_of("many-parts")[:100]
    with opened(server) as kelp:
        until(lambda: len(lost(kelp)) == len(SIZES), "an alert for each")
        assert "Traceback" not in server.log_text()


def lost(kelp: Kelp) -> list[str]:
    with kelp.database.read() as tx:
        return [row[0] for row in tx.all("SELECT subject FROM alerts WHERE kind = 'CONTENT_LOST'")]


def test_a_reader_is_leased_until_it_goes_or_its_server_is_killed(server: ServerProcess) -> None:
    content, _ = objects_of(server, "many-parts")

    def leased() -> bool:
        with kelp.database.read() as tx:
            return tx.reading.leased(content.id, kelp.clock.now_ns())

    with opened(server) as kelp:
        slow = server.connect()
        slow.request("GET", "/dav/many-parts", headers={"Authorization": server.basic})
        response = slow.getresponse()
        assert response.read(10) == data_of("many-parts")[:10]
        until(leased, "leased")
        slow.close()
        response.close()
        until(lambda: not leased(), "given back when the client goes")
        slow = server.connect()
        slow.request("GET", "/dav/many-parts", headers={"Authorization": server.basic})
        until(leased, "leased")
        server.kill()
        with kelp.database.read() as tx:
            noted = tx.one("SELECT COUNT(*) FROM reader_leases WHERE content_id = :id", id=content.id)[0]
        assert noted == 1, "nobody could give it back"
        until(lambda: not leased(), "run out")
        slow.close()
