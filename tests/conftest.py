"""What every run needs: which engines it uses, which tests are about others, and that nothing of a drive is left."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from tests import engines, mount_names, sampling

# Before any test says how much of something it wants: machines are busy now and then.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    """Before old folders are removed."""
    mount_names.free_left()


def pytest_report_header() -> str:
    return "engines: " + ", ".join(f"{name} {value}" for name, value in engines.CHOSEN._asdict().items())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Variants that this run does not take are deselected, tests about other engines skipped."""
    if gone := sampling.left_out(items):
        config.hook.pytest_deselected(items=sorted(gone, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in gone]
    _skip_what_is_about_others(items)


def _skip_what_is_about_others(items: list[pytest.Item]) -> None:
    """`@pytest.mark.engine(database="sqlite", reason="opens kelp.db itself")` is skipped on any other database."""
    if engines.CHOSEN == engines.EMBEDDED:
        return
    chosen, not_here = engines.CHOSEN._asdict(), engines.missing()
    for item in items:
        if not_here:
            item.add_marker(pytest.mark.skip(reason=not_here))
        for mark in item.iter_markers("engine"):
            wanted = {name: value for name, value in mark.kwargs.items() if name != "reason"}
            assert wanted.keys() <= chosen.keys(), f"{item.nodeid}: no such engine: {wanted}"
            if any(chosen[name] != value for name, value in wanted.items()):
                about = " and ".join(wanted.values())
                item.add_marker(pytest.mark.skip(reason=f"about {about}: {mark.kwargs['reason']}"))


@pytest.fixture(autouse=True)
def _nothing_left_elsewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Databases and objects of the drives in a test's own folder go with the test."""
    own = engines.CHOSEN != engines.EMBEDDED and "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if own else None
    yield
    if folder is not None:
        engines.drop_below(folder)


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """For what looks at its disk, or fills it: `make test` has `tmp_path` in memory, where there is enough."""
    with tempfile.TemporaryDirectory(prefix="kelp-on-disk-", dir=os.environ.get("KELP_TEST_DISK")) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _log_of_nobody_else() -> Iterator[None]:
    """A command that runs in this process sends the log to its own standard error, which is closed after its test."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _no_database_is_left() -> Iterator[None]:
    yield
    engines.drop_below(Path("/"))
