"""SIGKILL of the server while parts of an upload come and while they become a file: what was acknowledged stays, the
client asks what is there and goes on, and in the end the file has every byte, once. With KELP_TEST_VAULT=1 in a vault.

KELP_UPLOAD_MIB: how large the large one is (128); 20480 needs three times as much of the disk.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests import vaults
from tests.sampling import SHARE
from tests.server_process import ServerProcess, server_process
from vfs import bootstrap
from vfs.operations import checking

SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
KILLS = 2 if SHARE == 1 else 1  # while parts come, and again while they become a file
MIB = 1024 * 1024
SIZES = [9 * MIB + 1, MIB, 3 * MIB, 8 * MIB, 5, 12 * MIB, 2 * MIB, MIB + 7]  # of the parts

LARGE = int(os.environ.get("KELP_UPLOAD_MIB", "128"))
LARGE_PART = 32 * MIB
PATH = f"/dav/{vaults.FOLDER}/big" if vaults.ALL else "/dav/big"
MEMORY = 224 * MIB  # of a server, whatever the size of the file that came through it

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


def part(number: int) -> bytes:
    return blake3(b"%d" % number).digest(length=SIZES[number - 1])


WHOLE = blake3(b"".join(part(number + 1) for number in range(len(SIZES)))).hexdigest()


def _folder(server: ServerProcess) -> str:
    """The id of the folder that it comes into."""
    if not vaults.ALL:
        return "root"
    with contextlib.closing(bootstrap.build(server.settings)) as kelp:
        return vaults.make_vault(kelp).uuid


class Client:
    """Of one upload, on a server that dies now and then. `acknowledged`: etags by part number."""

    def __init__(
        self, server: ServerProcess, sizes: Sequence[int] = SIZES, read: Callable[[int], bytes] = part
    ) -> None:
        self.server = server
        self.acknowledged: dict[int, str] = {}
        self._numbers, self._read = range(1, len(sizes) + 1), read
        wanted = {"fileName": "big", "totalSize": sum(sizes), "folderId": _folder(server)}
        begun = self.must("POST", "/initiate", json.dumps(wanted).encode())
        self.path = f"/{begun['sessionId']}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        with contextlib.closing(self.server.connect()) as connection:
            headers = {"Authorization": self.server.basic, "Prefer": "respond-async"}
            connection.request(method, f"/api/files/multipart{path}", body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def must(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        return answer

    def status(self) -> dict[str, Any]:
        return self.must("GET", f"{self.path}/status")

    def there(self) -> dict[int, str]:
        return {each["partNumber"]: each["etag"] for each in self.status()["uploadedParts"]}

    def send(self, number: int) -> None:
        """Until the server dies."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.must("PUT", f"{self.path}/parts/{number}", self._read(number))
            self.acknowledged[number] = answer["etag"]

    def missing(self) -> list[int]:
        return sorted(set(self._numbers) - set(self.there()), reverse=True)

    def send_all(self, numbers: Sequence[int]) -> None:
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(self.send, numbers))

    def complete(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.must("POST", f"{self.path}/complete")
        return None


@contextlib.contextmanager
def dying(server: ServerProcess, seconds: float) -> Any:
    """The server dies so long after the block began, and is there again at its end."""

    def die() -> None:
        time.sleep(seconds)
        server.kill()

    killer = threading.Thread(target=die)
    killer.start()
    yield
    killer.join()
    server.start()
    server.wait_ready()


def test_killed_while_parts_come_and_while_they_become_a_file(tmp_path: Path) -> None:
    sys.stdout.write(f"KELP_CRASH_SEED={SEED}\n")
    chance = random.Random(SEED)
    with server_process(tmp_path) as server:
        client = Client(server)
        for _ in range(KILLS):
            missing = client.missing()  # asked of a server that lives
            with dying(server, chance.uniform(0.02, 0.3)):
                client.send_all(missing)
            there = client.there()
            assert client.acknowledged.items() <= there.items()
        client.send_all(client.missing())
        for _ in range(KILLS):
            with dying(server, chance.uniform(0.0, 0.03)):
                told = client.complete()
            now = client.status()
            assert now["status"] in ("UPLOADING", "COMPLETED")
            assert told is None or now["fileId"] == told["fileId"]
            if now["status"] == "UPLOADING":
                assert client.there().keys() == set(range(1, len(SIZES) + 1))
        done = client.complete()
        assert done is not None and done == client.complete()
        with contextlib.closing(server.connect()) as connection:
            connection.request("GET", PATH, headers={"Authorization": server.basic})
            assert blake3(connection.getresponse().read()).hexdigest() == WHOLE
        server.stop()
        with contextlib.closing(bootstrap.build(server.settings)) as kelp:
            assert checking.check(kelp).problems == []
            with kelp.database.read() as tx:
                assert tx.one("SELECT COUNT(*) FROM upload_parts")[0] == 0


@pytest.mark.timeout(3600)
def test_a_large_one_resumes_in_the_memory_of_a_small_one(tmp_path: Path) -> None:
    """From a sparse file; the server dies while parts come, three times where they are many."""
    source = tmp_path / "source"
    count = -(-LARGE * MIB // LARGE_PART)
    with source.open("wb") as file:
        file.truncate(LARGE * MIB)
        for number in range(count):
            file.seek(number * LARGE_PART + number * 4099)
            file.write(b"%d" % number)
    sizes = [min(LARGE_PART, LARGE * MIB - number * LARGE_PART) for number in range(count)]

    def read(number: int) -> bytes:
        with source.open("rb") as file:
            return os.pread(file.fileno(), LARGE_PART, (number - 1) * LARGE_PART)

    peaks = []
    with server_process(tmp_path) as server:
        client = Client(server, sizes, read)
        begun = time.monotonic()
        client.send(1)
        soon = max((time.monotonic() - begun) * count / 8, 0.075)  # parts come three at a time: all take longer
        for _ in range(3 if LARGE > 1024 else KILLS):
            missing = client.missing()
            with dying(server, soon):
                client.send_all(missing)
            assert client.acknowledged.items() <= client.there().items()
        client.send_all(client.missing())
        assert client.complete() is not None
        peaks.append(server.rss())
        with contextlib.closing(server.connect()) as connection:
            connection.request("GET", PATH, headers={"Authorization": server.basic})
            answer, digest = connection.getresponse(), blake3()
            while piece := answer.read(MIB):
                digest.update(piece)
        assert digest.digest() == blake3().update_mmap(source).digest()
        peaks.append(server.rss())
        server.stop()
    print(f"{LARGE} MiB: server memory at most {[peak // MIB for peak in peaks]} MiB")
    with contextlib.closing(bootstrap.build(server.settings)) as kelp:
        assert checking.check(kelp, deep=False).problems == []
    assert max(peaks) < MEMORY, peaks
