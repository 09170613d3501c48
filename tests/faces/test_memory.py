"""Bounded memory: a server's memory grows neither with a file nor with a folder (design §3, streams are streams).

The big file has 4 GiB, which takes twice that on the disk (cache and NAS), and 1 GiB where the disk is nearly full, or
a run takes a share of all variants. KELP_BIG_GIB says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import sampling
from tests.server_process import ServerProcess, server_process
from vfs.bootstrap import build

MIB = 1 << 20
GIB = 1 << 30
MOST_GROWTH = 64 * MIB  # by a file
MOST_LISTING_GROWTH = 32 * MIB
PIECE = bytes(MIB)
ENTRIES = 100_000
NAMED = (
    b'<D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/><D:getcontentlength/><D:resourcetype/>'
    b"<D:lockdiscovery/><D:getetag/></D:prop></D:propfind>"
)


@pytest.fixture
def server(disk_path: Path) -> Iterator[ServerProcess]:
    with server_process(disk_path) as started:
        ask(started, "PUT", "/dav/small", PIECE)  # what is loaded at the first request is no growth
        ask(started, "GET", "/dav/small")
        yield started


def big_size(folder: Path) -> int:
    """Bytes of the big file: twice as many, and room for others, are free."""
    roomy = sampling.SHARE <= 1 and shutil.disk_usage(folder).free > 16 * GIB
    return int(os.environ.get("KELP_BIG_GIB", "4" if roomy else "1")) * GIB


def ask(server: ServerProcess, method: str, path: str, body: object = None, **headers: str) -> int:
    """Send a request and throw its answer away as it comes; the number of bytes of the answer."""
    connection = server.connect()
    sent = {"Authorization": server.basic, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, body, sent, encode_chunked="Transfer-Encoding" in sent)  # type: ignore[arg-type]
    reply = connection.getresponse()
    received, buffer = 0, bytearray(MIB)
    while count := reply.readinto(buffer):
        received += count
    assert reply.status in (200, 201, 204, 207), reply.status
    connection.close()
    return received


def zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield PIECE


def test_a_big_file_goes_through_little_memory(server: ServerProcess) -> None:
    """Up and down; the mirror reads it and writes it to the NAS at the same time."""
    size = big_size(server.data)
    begin = server.reset_rss()
    ask(server, "PUT", "/dav/big", zeros(size), Content_Length=str(size))
    assert server.rss() - begin < MOST_GROWTH
    assert ask(server, "GET", "/dav/big") == size
    assert server.rss() - begin < MOST_GROWTH


def test_one_big_chunk_goes_through_little_memory(server: ServerProcess) -> None:
    """A chunk may be as long as a file; what reads it whole would need as much memory."""
    begin = server.reset_rss()
    size = GIB // 4
    connection = server.connect()
    connection.putrequest("PUT", "/dav/chunk")
    connection.putheader("Authorization", server.basic)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b"%x\r\n" % size)
    for _ in range(size // MIB):
        connection.send(PIECE)
    connection.send(b"\r\n0\r\n\r\n")
    assert connection.getresponse().status == 201
    connection.close()
    assert server.rss() - begin < MOST_GROWTH


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a folder of 100,000 files, and small ones that were listed before, so that all is loaded."""
    folder = tmp_path_factory.mktemp("crowded")
    with server_process(folder) as server:
        for path in ("warm", "many"):
            ask(server, "MKCOL", f"/dav/{path}")
            ask(server, "PUT", f"/dav/{path}/seed", b"x")
        for body in (b"", NAMED) * 40:  # every thread of the server has its turn
            ask(server, "PROPFIND", "/dav/warm", body, Depth="1")
        fill(server, "seed")
        yield server
    shutil.rmtree(server.data)


def fill(server: ServerProcess, seed: str) -> None:
    """Files beside `seed`, which is in the folder that was made last, as so many copies would be: 100,000 PUTs take
    minutes. The mirror does not hear of them."""
    own = {
        "uuid": "lower(hex(randomblob(16)))",
        **dict.fromkeys(("name", "name_key"), "'file ' || n.n"),
        **dict.fromkeys(("nas_desired_name", "nas_desired_key"), "'20200101000000__file ' || n.n"),
    }
    recorded = ("parent_id", "name", "key", "content_id", "size", "mtime_ns", "inode")
    left_out = {"id", "active_sync_event_id", *(f"nas_{column}" for column in recorded)}
    with contextlib.closing(build(server.settings)) as kelp, kelp.database.write() as tx:
        columns = [row[1] for row in tx.all("PRAGMA table_info(entries)") if row[1] not in left_out]
        values = ", ".join(own.get(column, f"e.{column}") for column in columns)
        tx.run(
            f"""INSERT INTO entries ({", ".join(columns)})
                WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ENTRIES - 1})
                SELECT {values} FROM n, (SELECT * FROM entries WHERE name = :seed ORDER BY id DESC LIMIT 1) e""",
            seed=seed,
        )
        tx.folder_versions.bump([row[0] for row in tx.all("SELECT id FROM entries WHERE name = 'many'")])


def growth_by(server: ServerProcess, body: bytes, clients: int, times: int) -> int:
    """Bytes of memory that `times` listings of the big folder take at most, `clients` at once."""
    begin = server.reset_rss()
    with ThreadPoolExecutor(clients) as pool:
        for size in pool.map(lambda _: ask(server, "PROPFIND", "/dav/many", body, Depth="1"), range(times)):
            assert size > ENTRIES * 200
    return server.rss() - begin


@pytest.mark.parametrize("body", [b"", NAMED], ids=["allprop", "named"])
def test_a_listing_of_a_big_folder_takes_little_memory(crowded: ServerProcess, body: bytes) -> None:
    assert growth_by(crowded, body, clients=1, times=1) < MOST_LISTING_GROWTH


def test_listings_one_after_another_take_no_more(crowded: ServerProcess) -> None:
    assert growth_by(crowded, b"", clients=1, times=sampling.usual(16, 6)) < MOST_LISTING_GROWTH


def test_listings_for_four_clients_at_once_take_little_memory(crowded: ServerProcess) -> None:
    assert growth_by(crowded, b"", clients=4, times=sampling.usual(8, 4)) < MOST_LISTING_GROWTH
