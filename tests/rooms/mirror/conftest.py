from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests import engines
from tests.mirror_drive import MirrorDrive


@pytest.fixture(scope="session")
def new_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a drive that was started once; copying it is faster than migrations and a password hash."""
    folder = tmp_path_factory.mktemp("new") / "drive"
    MirrorDrive(folder).close()
    return folder


@pytest.fixture
def open_drive(new_drive: Path, tmp_path: Path) -> Iterator[Callable[..., MirrorDrive]]:
    """A function that opens the drive of this test, with other settings than the default ones; also once more."""
    folder = tmp_path / "drive"
    engines.copy_drive(new_drive, folder)
    with ExitStack() as stack:
        yield lambda **overrides: stack.enter_context(closing(MirrorDrive(folder, **overrides)))


@pytest.fixture
def drive(open_drive: Callable[..., MirrorDrive]) -> MirrorDrive:
    return open_drive()
