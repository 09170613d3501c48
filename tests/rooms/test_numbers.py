"""The page of numbers that a worker serves: who may see it."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path

from jobs import numbers
from tests import engines
from tests.services.child import free_port
from vfs import bootstrap
from vfs.addresses import PolicyKind
from vfs.counts import Counting
from vfs.model import Role
from vfs.operations import access, policies
from vfs.operations.policies import Author, NewRule


def ask(port: int, address: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(address, 0))
    with closing(connection):
        connection.request("GET", "/metrics", headers=headers)
        return connection.getresponse().status


def test_policies_count_for_the_page_of_numbers_too(tmp_path: Path) -> None:
    port = free_port()
    with closing(bootstrap.build(engines.load(tmp_path, telemetry_worker_port=port))) as kelp:
        access.add_user(kelp, "admin", "correct horse", Role.ADMIN)
        with numbers.shown(kelp, Counting()):
            assert ask(port, "127.66.0.9") == 200
            author = Author(access.system_caller(kelp))
            policies.create(kelp, author, "strangers", PolicyKind.BLACK, [NewRule("127.66.0.0/16")])
            assert ask(port, "127.66.0.9") == 403
            assert ask(port, "127.0.0.1") == 200
            assert ask(port, "127.0.0.1", **{"X-Forwarded-For": "198.51.100.1"}) == 403
    engines.drop_below(tmp_path)
