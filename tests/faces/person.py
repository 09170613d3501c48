"""A person at a running server, by WebDAV and REST, and at a mount of its drive beside it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli import mount_points
from tests import mount_names, vaults, warm_starts
from tests.server_process import PROGRAM, ServerProcess
from tests.services.child import bound_to_parent
from tests.waiting import until

OWNER = (
    "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner>{}</D:owner></D:lockinfo>"
)


class Person:
    """An admin at a running server; paths are names."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def ask(
        self, method: str, target: str, body: bytes | None = None, *expected: int, **headers: str
    ) -> tuple[dict[str, str], bytes]:
        status, fields, data = self.reply(method, target, body, **headers)
        assert not expected or status in expected, (method, target, status, data[:500])
        return fields, data

    def reply(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(self._server.connect()) as connection:
            connection.request(method, target, body, {"Authorization": self._server.basic, **sent})
            reply = connection.getresponse()
            fields = {name.lower(): value for name, value in reply.getheaders()}
            return reply.status, fields, reply.read()

    def dav(
        self, method: str, path: str, body: bytes | None = None, *expected: int, **headers: str
    ) -> tuple[dict[str, str], bytes]:
        return self.ask(method, f"/dav/{quote(path)}", body, *(expected or (200, 201, 204, 207)), **headers)

    def api(self, method: str, path: str, json_: object = None, *expected: int, **headers: str) -> Any:
        body = None if json_ is None else json.dumps(json_).encode()
        kind = {"Content_Type": "application/json"} if body else {}
        expected = expected or (200, 201, 202, 204)
        _, data = self.ask(method, f"/api{path}", body, *expected, **kind, Prefer="respond-async", **headers)
        return json.loads(data) if data[:1] in b"{[" else data

    def cut(self, method: str, target: str, body: bytes, size: int) -> None:
        """The client goes away in the middle of its body."""
        with contextlib.closing(self._server.connect()) as connection:
            connection.putrequest(method, target)
            connection.putheader("Authorization", self._server.basic)
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            connection.send(body)

    def id_of(self, path: str) -> str:
        """Its public id."""
        id = "root"
        for name in path.split("/"):
            rows = self.api("GET", f"/folders/{id}/children?limit=500")
            id = next(row["id"] for row in [*rows["folders"], *rows["files"]] if row["name"] == name)
        return id


class Mount:
    """`kelp mount` of the server's drive, beside it."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.path, self._server, self._log = folder / mount_names.name(), server, server.log.with_name("mount.log")
        self.path.mkdir()
        self.top = self.path / vaults.FOLDER
        self._process: warm_starts.Process | None = None

    def start(self, *more: str) -> None:
        server = self._server
        place = ("--data", str(server.data), "--nas", str(server.nas), "--log-level", "debug", "-o", "xattr")
        words = [sys.executable, str(PROGRAM), "mount", str(self.path), "--foreground", *place, *more]
        command = bound_to_parent(words, signal.SIGKILL)
        self._process = warm_starts.start(command, server.environ, self._log, self._log)
        until(lambda: mount_points.kind_at(self.path) == mount_points.KIND and self._answers())

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.top.is_dir()
        return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """In order where it still runs."""
        with contextlib.suppress(Exception):
            mount_points.unmount(self.path, lazily=True)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=30)
            self.kill()

    def drafts(self) -> list[Path]:
        """Of what is being written, here or on any mount of this drive."""
        files = (self._server.data / "drafts").rglob("*")
        return [file for file in files if file.is_file() and file.name != "lock"]
