"""One drive for each file of rules, a fresh folder for each test; the drive is checked at the end."""

from __future__ import annotations

import re
import time

import pytest

from vfs.operations import checking


@pytest.fixture(scope="module")
def drive(shared_drive):
    yield shared_drive
    report = checking.check(shared_drive.kelp)
    assert report.ok, report.problems


@pytest.fixture
def folder(drive, request):
    """A fresh folder for one test: its URL path, ending in `/`."""
    path = "/dav/" + re.sub(r"\W", "_", request.node.name)[:80] + str(time.monotonic_ns()) + "/"
    assert drive.ask("MKCOL", path).status == 201
    return path
