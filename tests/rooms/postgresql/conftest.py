"""Drives on a real PostgreSQL, whatever engines the run has chosen: `drive`, and `nodes`, two servers of one drive.

`own` is a server that a test may stop, kill and start again, with a drive on it. Each ends with the check.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms.core.drive import Clock, Drive
from tests.rooms.postgresql.racing import Nodes, Own, open_drive, people
from tests.services import postgresql
from tests.services.postgresql import PostgreSQL
from vfs.operations import checking

MIGRATED, NODES = (f"kelp_rooms_{what}_{os.getpid()}" for what in ("migrated", "nodes"))  # not those of other runs


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the drive whose database `server` has."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="session")
def server(finished: Path) -> Iterator[PostgreSQL]:
    """The run's server, with a database that has the schema and some people."""
    reason = postgresql.missing()
    if reason:
        pytest.skip(reason)
    shared = postgresql.shared()
    shared.drop(MIGRATED)
    shared.create(MIGRATED)
    people(shared.url(MIGRATED), finished)
    yield shared
    shared.drop(MIGRATED)


@pytest.fixture
def nodes(server: PostgreSQL, finished: Path, tmp_path: Path) -> Iterator[Nodes]:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    server.drop(NODES)
    server.create(NODES, template=MIGRATED)
    url, clock = server.url(NODES), Clock()
    found = Nodes(url, *(open_drive(url, tmp_path, clock) for _ in range(2)))
    yield found
    try:
        found.finish()
    finally:
        found.close()
        server.drop(NODES)


@pytest.fixture
def drive(nodes: Nodes) -> Drive:
    return nodes.a


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """A server of the test's own; its log tells of nothing but what the test did."""
    reason = postgresql.missing()
    if reason:
        pytest.skip(reason)
    with postgresql.postgresql_server() as server:
        server.create("kelp")
        people(server.url("kelp"), tmp_path)
        opened = Own(server, server.url("kelp"), open_drive(server.url("kelp"), tmp_path, Clock(), timeout=2.0))
        yield opened
        assert checking.check(opened.drive.kelp).problems == []
        opened.drive.kelp.close()
