"""A vault is carried to the NAS without any key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.sealed_rows import SealedRows


@pytest.fixture
def rows(drive: MirrorDrive) -> SealedRows:
    return SealedRows(drive)


def bundles_of(drive: MirrorDrive) -> list[Path]:
    return sorted(path.parent for path in (drive.root / "Secret").rglob("parts"))


def test_files_folders_and_the_vault_itself(rows: SealedRows) -> None:
    inner = rows.folder(rows.folder())
    rows.file(b"one part", parent=inner)
    rows.file(b"first", b"second", b"first", b"first", parent=inner)
    rows.file()
    rows.check()


def test_changes(rows: SealedRows) -> None:
    one, two = rows.folder(), rows.folder()
    file = rows.file(b"first", b"second", parent=one)
    rows.check()
    rows.rename(file)
    rows.check()
    rows.move(file, two)
    rows.move(two, one)
    rows.check()
    rows.overwrite(file, b"third")
    rows.check()
    rows.overwrite(file, b"fourth", b"fifth")
    rows.rename(file)
    rows.rename(two)
    rows.check()
    rows.trash(file)
    rows.check()
    rows.restore(file)
    rows.check()
    rows.trash(one)
    rows.check()
    rows.restore(one)
    rows.check()
    rows.trash(file)
    rows.purge(file)
    rows.check()
    rows.trash(one)
    rows.check()
    rows.purge(one)
    rows.check()
    assert bundles_of(rows.drive) == []
