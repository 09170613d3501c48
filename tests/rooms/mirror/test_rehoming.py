"""The NAS of a drive is lost for good, and there is an empty one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests import engines
from tests.mirror_drive import Killed, MirrorDrive
from tests.rooms.mirror import adopted
from vfs import bootstrap
from vfs.core import Kelp
from vfs.errors import ConfigurationError
from vfs.operations import access, alerts, nas_settings, rehoming
from vfs.operations.nas_walk import Report, Taken, no_report
from vfs.storage import nas_marker
from vfs.storage.nas_store import NasProperties


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def rehome(folder: Path, root: Path, report: Report = no_report) -> Taken:
    """As `kelp nas adopt --new-root` does."""
    settings = engines.load(folder / "data", nas_root=root)
    with bootstrap.opened_for_taking(settings, rehoming.begin) as kelp:
        return rehoming.rehome(kelp, report)


def lost(folder: Path) -> MirrorDrive:
    """A drive of which the cache has all but one file, and half a change that was on its way."""
    with closing(adopted.opened(folder, {"never read": b"only on the NAS"})) as drive:
        drive.mkdir("a")
        drive.put("a/one", b"1")
        drive.put("a/two", b"first")
        drive.pass_time(70)
        drive.put("a/two", b"second")
        drive.put("rubbish", b"r")
        drive.settle_down()
        drive.trash("rubbish")
        drive.settle_down()

        def die(method: str, arguments: tuple[object, ...]) -> None:
            if method == "write":
                raise Killed

        drive.put("on its way", b"w")
        drive.nas.after = die
        with suppress(Killed):
            drive.drain()
    shutil.rmtree(folder / "nas")
    return drive


def test_all_that_the_cache_has_is_written_anew(tmp_path: Path, stack: ExitStack) -> None:
    lost(tmp_path)
    new = tmp_path / "new nas"
    new.mkdir()
    taken = rehome(tmp_path, new)
    assert [path for path, _ in taken.left] == ["never read"]
    drive = stack.enter_context(closing(MirrorDrive(tmp_path, nas_root=new)))
    assert [alert.kind for alert in alerts.listing(drive.kelp)] == ["CONTENT_LOST"]
    drive.settle_down()
    assert drive.on_nas() == {"a": None, "a/one": b"1", "a/two": b"second", "on its way": b"w"}
    assert drive.versions("a/two") == [b"first"]
    private = {path for path, content in drive.raw_nas(private=True).items() if content is not None}
    assert sum(path.startswith(".kelp/versions/") for path in private) == 1
    assert sum(path.startswith(".trash/") for path in private) == 1
    drive.put("never read", b"again")
    drive.settle_down()
    assert drive.on_nas() == drive.shown()


def test_an_eviction_that_was_cut_short_loses_nothing(tmp_path: Path) -> None:
    lost(tmp_path)
    with closing(MirrorDrive(tmp_path)) as drive, drive.kelp.database.write() as tx:
        tx.run("UPDATE objects SET status = 'EVICTING' WHERE status = 'AVAILABLE'")
    new = tmp_path / "new nas"
    new.mkdir()
    assert [path for path, _ in rehome(tmp_path, new).left] == ["never read"]
    with closing(MirrorDrive(tmp_path, nas_root=new)) as drive:
        drive.settle_down()
        assert drive.on_nas() == {"a": None, "a/one": b"1", "a/two": b"second", "on its way": b"w"}


def test_killed_it_goes_on(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehoming, "_BATCH", 2)
    lost(tmp_path)
    new = tmp_path / "new nas"
    new.mkdir()

    def die(taken: Taken) -> None:
        raise Killed

    for _ in range(3):
        with suppress(Killed):
            rehome(tmp_path, new, die)
        with pytest.raises(ConfigurationError, match="--new-root"):
            bootstrap.build(engines.load(tmp_path / "data", nas_root=new))
    taken = rehome(tmp_path, new)
    assert (taken.left_count, taken.files, taken.folders) == (1, 4, 1)
    drive = stack.enter_context(closing(MirrorDrive(tmp_path, nas_root=new)))
    drive.settle_down()
    assert drive.on_nas() == {"a": None, "a/one": b"1", "a/two": b"second", "on its way": b"w"}


def test_what_is_refused(tmp_path: Path) -> None:
    with closing(adopted.opened(tmp_path, {"x": b"x"})):
        pass
    with pytest.raises(ConfigurationError, match="is the NAS of this drive"):
        rehome(tmp_path, tmp_path / "nas")
    adopted.make(tmp_path / "full", {"y": b"y"})
    with pytest.raises(ConfigurationError, match="must be an empty folder"):
        rehome(tmp_path, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="--new-root"):
        adopted.adopt(tmp_path, nas_root=tmp_path / "empty")
    (tmp_path / "other" / "data").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="no files"):
        rehome(tmp_path / "other", tmp_path / "empty")


def test_a_root_that_was_set_before_is_not_the_new_one(tmp_path: Path) -> None:
    """Who names the new NAS means it, also where that is the configuration's, which another was set instead of."""
    usual, other = tmp_path / "nas", tmp_path / "other"
    lost(tmp_path)
    usual.mkdir()
    settings = engines.load(tmp_path / "data", nas_root=usual)
    with closing(bootstrap.build(settings)) as kelp:
        _claim(kelp, other)
        nas_settings.change(kelp, access.system_caller(kelp), {"root": str(other)})
    with closing(bootstrap.build(settings)) as kelp:
        assert kelp.settings.nas_root == other
    shutil.rmtree(other)
    rehome(tmp_path, usual)
    with closing(bootstrap.build(settings)) as kelp:
        assert kelp.settings.nas_root == usual


def _claim(kelp: Kelp, root: Path) -> None:
    with kelp.database.read() as tx:
        id = tx.accounts.value("id") or ""
    nas_marker.MarkedRoot(root, id, NasProperties()).claim()
