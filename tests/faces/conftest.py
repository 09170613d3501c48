"""A served drive for the tests of the faces: a real server on a free port, a real database, cache and NAS folder."""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import http.client
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dav_provider.app import make_app
from dav_provider.http_server import make_server
from http_api.app import make_api
from tests import engines, new_drive
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Role
from vfs.operations import access
from vfs.settings import Settings


@dataclass(frozen=True)
class Reply:
    """An answer, whole. `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class ServedDrive:
    """`url` is the mount, ending in `/`. Every user has the same password; `user` is an admin."""

    url: str
    port: int
    user: str
    password: str
    kelp: Kelp
    data: Path
    nas: Path
    stop: Callable[[], None]

    def basic(self, user: str | None = None) -> str:
        return "Basic " + base64.b64encode(f"{user or self.user}:{self.password}".encode()).decode()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, user: str | None = None, **headers: str
    ) -> Reply:
        """One request on a connection of its own. `path` is encoded; `If_Match="x"` sends `If-Match: x`."""
        sent = {"Authorization": self.basic(user)}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read())


def serve(folder: Path, **overrides: object) -> Iterator[ServedDrive]:
    """Build and serve a drive below `folder` until the caller is done with it; `overrides` are settings."""
    if "database_url" not in overrides:
        engines.copy_drive(_finished(), folder / "drive")
    settings = _settings(folder / "drive", **overrides)
    kelp = build(settings)
    if not access.has_users(kelp):
        _add_people(kelp)
    try:
        yield from _serve(kelp)
    finally:
        engines.drop_below(folder)


@functools.cache
def _finished() -> Path:
    """The folder of a drive with people and nothing else: copying it is faster than all migrations."""
    folder = Path(tempfile.mkdtemp(prefix="kelp-finished-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.closing(build(_settings(folder))) as kelp:
        _add_people(kelp)
    return folder


def _settings(folder: Path, **overrides: object) -> Settings:
    alone = {"server_port": 0, "server_threads": 8, "server_processes": 1}  # this process serves, whatever the engines
    return engines.load(folder / "data", **{"nas_root": folder / "nas", **alone, **overrides})


def _add_people(kelp: Kelp) -> None:
    for name, role in (("admin", Role.ADMIN), ("other", Role.EDITOR), ("viewer", Role.VIEWER)):
        new_drive.invite(kelp, name, role)


def _serve(kelp: Kelp) -> Iterator[ServedDrive]:
    settings = kelp.settings
    server = make_server(settings, make_app(kelp, api=make_api(kelp)))
    server.open()
    serving = threading.Thread(target=server.start, name="served drive")
    serving.start()
    try:
        yield ServedDrive(
            *(f"{server.url}/dav/", server.port, "admin", new_drive.PASSWORD),
            *(kelp, settings.data, settings.nas_root, server.stop),
        )
    finally:
        server.stop()
        serving.join()
        kelp.close()


@pytest.fixture
def served_drive(tmp_path: Path) -> Iterator[ServedDrive]:
    """A fresh drive for one test."""
    yield from serve(tmp_path)


@pytest.fixture
def served_with(tmp_path: Path) -> Iterator[Callable[..., ServedDrive]]:
    """A function that serves a fresh drive with other settings, given as for `engines.load`."""
    with contextlib.ExitStack() as stack:
        yield lambda **overrides: stack.enter_context(contextlib.contextmanager(serve)(tmp_path, **overrides))


@pytest.fixture(scope="module")
def shared_drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDrive]:
    """One drive for all tests of a module; each works in a folder of its own."""
    yield from serve(tmp_path_factory.mktemp("drive"))


@pytest.fixture(scope="module")
def second_server(shared_drive: ServedDrive) -> Iterator[ServedDrive]:
    """Another server of the shared drive: nothing that one keeps in memory is the other's."""
    yield from _serve(build(shared_drive.kelp.settings))
