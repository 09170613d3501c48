"""SIGKILL of the server while parts of an upload come and while they become a file: what was acknowledged stays, the
client asks what is there and goes on, and in the end the file has every byte, once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.sampling import SHARE
from tests.server_process import ServerProcess, server_process
from vfs import bootstrap
from vfs.operations import checking

SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
KILLS = 2 if SHARE == 1 else 1  # while parts come, and again while they become a file
MIB = 1024 * 1024
SIZES = [9 * MIB + 1, MIB, 3 * MIB, 8 * MIB, 5, 12 * MIB, 2 * MIB, MIB + 7]  # of the parts

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


def part(number: int) -> bytes:
    return blake3(b"%d" % number).digest(length=SIZES[number - 1])


WHOLE = blake3(b"".join(part(number + 1) for number in range(len(SIZES)))).hexdigest()


class Client:
    """Of one upload, on a server that dies now and then. `acknowledged`: etags by part number."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.acknowledged: dict[int, str] = {}
        begun = self.must("POST", "/initiate", json.dumps({"fileName": "big", "totalSize": sum(SIZES)}).encode())
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
            answer = self.must("PUT", f"{self.path}/parts/{number}", part(number))
            self.acknowledged[number] = answer["etag"]

    def send_missing(self) -> None:
        missing = sorted(set(range(1, len(SIZES) + 1)) - set(self.there()), reverse=True)
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(self.send, missing))

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
            with dying(server, chance.uniform(0.02, 0.3)):
                client.send_missing()
            there = client.there()
            assert client.acknowledged.items() <= there.items()
        client.send_missing()
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
            connection.request("GET", "/dav/big", headers={"Authorization": server.basic})
            assert blake3(connection.getresponse().read()).hexdigest() == WHOLE
        server.stop()
        with contextlib.closing(bootstrap.build(server.settings)) as kelp:
            assert checking.check(kelp).problems == []
            with kelp.database.read() as tx:
                assert tx.one("SELECT COUNT(*) FROM upload_parts")[0] == 0
