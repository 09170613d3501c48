"""The `drive` fixture. A finished empty drive is copied for each test; the check of every invariant ends each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.rooms.core.drive import Clock, Drive
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Caller, Role
from vfs.operations import checking

_PEOPLE = (("admin", Role.ADMIN), ("editor", Role.EDITOR), ("other", Role.EDITOR), ("viewer", Role.VIEWER))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with database, NAS and people. Nobody logs in, so nobody's password is hashed."""
    folder = tmp_path_factory.mktemp("finished") / "data"
    kelp = build(engines.load(folder))
    with kelp.database.write() as tx:
        for name, role in _PEOPLE:
            tx.accounts.insert(name, name, "!", role, Clock().now_ns())
    kelp.close()
    return folder


@pytest.fixture
def drive_with(finished: Path, tmp_path: Path) -> Iterator[Callable[..., Drive]]:
    """A function that opens a fresh drive with other settings, given as for `engines.load`."""
    opened: list[Drive] = []

    def open_drive(**overrides: object) -> Drive:
        data = tmp_path / f"data-{len(opened)}"
        engines.copy_drive(finished, data)
        clock = Clock()
        kelp = build(engines.load(data, **overrides), clock=clock)
        drive = Drive(kelp, clock, data / "nas", *_callers(kelp))
        opened.append(drive)
        return drive

    yield open_drive
    for drive in opened:
        try:
            _finish(drive)
        finally:
            drive.kelp.close()


@pytest.fixture
def drive(drive_with: Callable[..., Drive]) -> Drive:
    return drive_with()


def _callers(kelp: Kelp) -> Iterator[Caller]:
    with kelp.database.read() as tx:
        for name, role in _PEOPLE:
            known = tx.accounts.find(name)
            assert known is not None
            yield Caller(known[0].id, name, role, "dav", f"test-{name}")


def _finish(drive: Drive) -> None:
    if drive.damaged:
        return
    assert checking.check(drive.kelp).problems == []
    drive.mirror()
    assert checking.check(drive.kelp, mirrored=True).problems == []
