"""Random bytes and spoilt requests on many connections: no 5xx, no hang, no growth, and the drive is sound after it.

KELP_FUZZ_REQUESTS says how many (1,500 when unset), KELP_FUZZ_SEED which.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faces.fuzzing import Cases, complaint, converse, statuses
from tests.server_process import ServerProcess, server_process
from vfs import bootstrap
from vfs.operations import checking

REQUESTS = int(os.environ.get("KELP_FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("KELP_FUZZ_SEED", "1"))
WIDE = 8
ROUND = 1000  # requests, after which the drive is made usable again
MOST_GROWTH = 64 << 20  # 16 threads with 2 MiB of pages each in SQLite, and what malloc keeps


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with server_process(tmp_path) as started:
        yield started


def ask(server: ServerProcess, method: str, path: str, body: bytes = b"", **fields: str) -> tuple[int, bytes]:
    with contextlib.closing(server.connect()) as connection:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body, {"Authorization": server.basic, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()


def clear(server: ServerProcess) -> None:
    """Requests that were good enough lock and remove things; without them most others would end at 404 and 423."""
    for path in ("/dav/", "/dav/fuzz"):
        _, found = ask(server, "PROPFIND", path, Depth="0")
        for token in re.findall(rb"<D:locktoken><D:href>([^<]*)</D:href>", found):
            ask(server, "UNLOCK", path, Lock_Token=f"<{token.decode()}>")
    assert ask(server, "DELETE", "/dav/fuzz")[0] in (204, 404, 423)
    assert ask(server, "MKCOL", "/dav/fuzz")[0] in (201, 405)
    for name in ("t.txt", "a.txt", "book.docx"):
        assert ask(server, "PUT", f"/dav/fuzz/{name}", b"some content")[0] in (201, 204, 423)


@pytest.mark.timeout(0 if REQUESTS > 10_000 else 300)
def test_whatever_is_sent(server: ServerProcess) -> None:
    cases = Cases(server.basic, "/dav/fuzz", SEED)
    counted: Counter[str] = Counter()

    def send(number: int) -> None:
        data = cases[number]
        try:
            answer = converse(server.port, data, random.Random(number))
            wrong = complaint(answer)
            counted.update(statuses(answer))
        except (TimeoutError, http.client.HTTPException) as error:
            wrong = f"{type(error).__name__}: {error}"
        assert wrong is None, (
            f"KELP_FUZZ_SEED={SEED}, case {number}: {wrong}\n{data[:3000]!r}\n{server.log_text()[-3000:]}"
        )

    with ThreadPoolExecutor(WIDE) as pool:
        for begin in range(0, REQUESTS, ROUND):
            clear(server)
            list(pool.map(send, range(begin, min(REQUESTS, begin + ROUND))))
            if begin == 0:
                before = server.reset_rss()
    assert server.process.poll() is None
    grown = server.reset_rss() - before  # what it keeps; a password that is verified takes 64 MiB for a moment
    print(f"{REQUESTS} cases of seed {SEED}: {grown / 2**20:.1f} MiB more, {dict(sorted(counted.items()))}")
    assert {"200", "201", "204", "207", "400", "404"} <= counted.keys(), "most were refused at the door"
    assert grown < MOST_GROWTH, f"{grown >> 20} MiB more memory"
    assert ask(server, "OPTIONS", "/dav/")[0] == 200
    server.stop()
    assert "Traceback" not in server.log_text() and "ERROR" not in server.log_text(), server.log_text()[-5000:]
    with contextlib.closing(bootstrap.build(server.settings)) as kelp:
        assert checking.check(kelp).problems == []


def test_a_case_is_made_from_its_seed_and_number() -> None:
    cases = Cases("Basic x", "/dav/fuzz", 7)
    assert [cases[number] for number in range(50)] == [Cases("Basic x", "/dav/fuzz", 7)[number] for number in range(50)]
    assert cases[1] != Cases("Basic x", "/dav/fuzz", 8)[1]
