"""A small client of the REST API over a served drive, as programs use it."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest

from tests.faces.conftest import Reply, ServedDrive, serve
from vfs.model import Caller, Role
from vfs.operations.reading import resolve

Answer: TypeAlias = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Api:
    """`path` is below `/api`, encoded. `user`: "admin" (default), "other" (editor), "viewer". `Prefer="x"` is a header.

    `patient` clients send `Prefer: respond-async`, so that nothing is refused while the mirror is at work.
    """

    drive: ServedDrive
    patient: bool = True

    def ask(
        self,
        method: str,
        path: str,
        *,
        json_: Any = None,
        body: bytes | None = None,
        user: str | None = None,
        **headers: str,
    ) -> Reply:
        """The answer as it is."""
        sent = dict(headers)
        if json_ is not None:
            body = json.dumps(json_).encode()
            sent.setdefault("Content_Type", "application/json")
        if self.patient:
            sent.setdefault("Prefer", "respond-async")
        return self.drive.ask(method, f"/api{path}", body, user=user, **sent)

    def get(self, path: str, *, user: str | None = None, **headers: str) -> Answer:
        return _parsed(self.ask("GET", path, user=user, **headers))

    def post(self, path: str, *, json: Any = None, user: str | None = None, **headers: str) -> Answer:
        return _parsed(self.ask("POST", path, json_=json, user=user, **headers))

    def put(self, path: str, *, json: Any = None, user: str | None = None, **headers: str) -> Answer:
        return _parsed(self.ask("PUT", path, json_=json, user=user, **headers))

    def delete(self, path: str, *, json: Any = None, user: str | None = None, **headers: str) -> Answer:
        return _parsed(self.ask("DELETE", path, json_=json, user=user, **headers))

    # --- what tests begin with, made over WebDAV: it does not depend on what is tested ---

    def make_folder(self, path: str) -> str:
        """`path` such as "a/b", its parent there; its public id."""
        assert self.drive.ask("MKCOL", f"/dav/{quote(path)}").status == 201, path
        return self.id_of(path)

    def make_file(self, path: str, content: bytes = b"bytes") -> str:
        """Written, or written over; its public id."""
        assert self.drive.ask("PUT", f"/dav/{quote(path)}", content).status in (201, 204), path
        return self.id_of(path)

    def id_of(self, path: str) -> str:
        """The public id of what has this path."""
        found = resolve(self.drive.kelp, ADMIN, [each for each in path.split("/") if each])
        assert found.entry is not None, path
        return found.entry.uuid

    def read(self, path: str) -> bytes | None:
        """Content by WebDAV; None when nothing is there."""
        reply = self.drive.ask("GET", f"/dav/{quote(path)}")
        return reply.body if reply.status == 200 else None

    def exists(self, path: str) -> bool:
        return self.drive.ask("PROPFIND", f"/dav/{quote(path)}", Depth="0").status == 207


def race(*asks: Callable[[], Any]) -> list[Any]:
    """What each of them answers, asked at the same instant."""
    begin = threading.Barrier(len(asks))

    def run(ask: Callable[[], Any]) -> Any:
        begin.wait()
        return ask()

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(run, asks))


ADMIN = Caller(1, "admin", Role.ADMIN, "cli")


def _parsed(reply: Reply) -> Answer:
    return reply.status, json.loads(reply.body) if reply.body else {}


@pytest.fixture(scope="session")
def common_drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    """One drive for all modules that leave it in order: a start costs more than most tests."""
    yield from serve(tmp_path_factory.mktemp("common"))


@pytest.fixture(scope="module")
def api(shared_drive: ServedDrive) -> Api:
    """On the drive that all tests of a module share; `folder` gives each a place of its own."""
    return Api(shared_drive)


@pytest.fixture
def folder(api: Api) -> str:
    """A fresh folder's path: the test's own."""
    name = uuid.uuid4().hex[:8]
    api.make_folder(name)
    return name
