"""A drive for one client: sound when the client has done its work, also after the mirror's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import mirror
from tests.faces.clients import Login
from tests.faces.conftest import ServedDrive
from vfs.operations import backlog, checking

MIB = 1024 * 1024


def login_of(drive: ServedDrive) -> Login:
    return Login(drive.url, drive.user, drive.password)


@pytest.fixture
def drive(served_drive: ServedDrive) -> Iterator[ServedDrive]:
    """A drive that is sound when the client has done its work, also after the mirror's."""
    yield served_drive
    carry_to_nas(served_drive)
    assert checking.check(served_drive.kelp).problems == []


def carry_to_nas(drive: ServedDrive) -> None:
    """All but litter; what has to wait for another entry gets its turn."""
    while backlog.wait_until_mirrored(drive.kelp, timeout=0) is backlog.Waited.TIMED_OUT:
        mirror.drain(drive.kelp, "test")
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to copy: folders, an empty one too, odd names, old times."""
    root = tmp_path / "folder"
    for name, content in {
        "plain.txt": b"plain\n",
        "empty": b"",
        "deep/er/deepest.bin": os.urandom(3 * MIB + 17),
        "with space & more/100% #1?.txt": b"odd\n",
        "é ü 漢字 😀/naïve;.txt": "naïve\n".encode(),
        "plus+sign/a+b=c.txt": b"+",
    }.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for number, file in enumerate(sorted(file for file in root.rglob("*") if file.is_file())):
        os.utime(file, (1_500_000_000 + number, 1_500_000_000 + number))
    return root
