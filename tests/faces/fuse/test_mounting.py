"""How a drive is mounted and let go, and what is left when its process is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import mount_points
from cli.mount import MountOptions, mount_drive
from fuse_mount import recovering
from tests import mount_names
from tests.faces.fuse.conftest import MountedDrive, mounted_drive
from tests.faces.fuse.test_names import refused
from tests.server_process import PROGRAM
from tests.waiting import until
from vfs.errors import ConfigurationError
from vfs.operations import reading


def told(drive: MountedDrive, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(drive.command(*words), env=drive.environ, capture_output=True, text=True, timeout=200)


def unmounted(drive: MountedDrive, *words: str) -> subprocess.CompletedProcess[str]:
    words = (*drive.command("umount")[:2], "umount", str(drive.path), *words)
    return subprocess.run(words, env=drive.environ, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedDrive]:
    """One for all tests of this module."""
    with mounted_drive(tmp_path_factory.mktemp("mounting")) as drive:
        yield drive


@pytest.fixture
def mounted(drive: MountedDrive) -> MountedDrive:
    """Mounted, whatever the test before did with it; what that made is there."""
    drive.watch(200)
    if drive.process.poll() is not None:
        drive.start()
    return drive


def test_into_the_background_and_out_by_command(mounted: MountedDrive) -> None:
    mounted.unmount()
    done = told(mounted, "mount", str(mounted.path), "-o", "defaults,noauto,_netdev,x-systemd.automount")
    assert (done.returncode, done.stdout) == (0, "")
    (mounted.top / "out").write_bytes(b"x")
    done = unmounted(mounted)
    assert (done.stderr, done.returncode, done.stdout) == ("", 0, f"{mounted.path} is not mounted any more\n")
    assert os.listdir(mounted.path) == []
    with pytest.raises(ConfigurationError, match=f"nothing is mounted at {mounted.path}"):
        mount_points.unmount(mounted.path)
    wait_for_log(mounted)
    mounted.start()
    assert (mounted.top / "out").read_bytes() == b"x"


def wait_for_log(drive: MountedDrive) -> None:
    """The process in the background ends by itself."""
    until = time.monotonic() + 100
    while "is not mounted any more" not in (drive.data / "mount.log").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_mount_in_use_is_not_let_go_but_lazily(mounted: MountedDrive) -> None:
    with open(mounted.top / "used", "wb") as file:
        with pytest.raises(ConfigurationError, match="is in use"):
            mount_points.unmount(mounted.path)
        file.write(b"x")
    with open(mounted.top / "used", "rb") as file:
        assert unmounted(mounted, "--lazy").returncode == 0
        assert os.listdir(mounted.path) == []
        assert file.read() == b"x"  # who has it open goes on
    assert mounted.process.wait(timeout=100) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(mounted: MountedDrive, number: int) -> None:
    (mounted.top / f"signal {number}").write_bytes(b"x")
    mounted.process.send_signal(number)
    assert mounted.process.wait(timeout=100) == 0
    assert mount_points.kind_at(mounted.path) is None
    entry = reading.resolve(mounted.kelp, mounted.caller(), [*mounted.above, f"signal {number}"]).entry
    assert entry is not None and entry.size == 1


def test_what_a_killed_mount_left_is_freed_and_what_was_not_closed_recovered(mounted: MountedDrive) -> None:
    (mounted.top / "closed").write_bytes(b"closed")
    (mounted.top / "text").write_bytes(b"as it was, and long enough")
    synced, text = (os.open(mounted.top / name, os.O_CREAT | os.O_WRONLY) for name in ("synced", "text"))
    os.write(synced, b"synced")
    os.fsync(synced)
    os.write(text, b"AS IT WAS")
    names = {*os.listdir(mounted.top)}
    mounted.kill()
    refused(errno.ENOTCONN, os.statvfs, mounted.path)
    refused(errno.ENOTCONN, os.fsync, synced)
    for descriptor in (synced, text):
        refused(errno.ENOTCONN, os.close, descriptor)
    mounted.start()
    assert "was left by a mount whose process died" in mounted.log_text()
    assert "--recover" in mounted.log_text()
    assert {*os.listdir(mounted.top)} == names
    assert (mounted.top / "closed").read_bytes() == b"closed"
    assert (mounted.top / "synced").read_bytes() == b"synced"
    mounted.kill()
    mount_points.unmount(mounted.path)
    assert os.listdir(mounted.path) == []
    mounted.start("--recover")
    [beside] = set(os.listdir(mounted.top)) - names
    assert beside.startswith("text (recovered admin ")
    assert (mounted.top / beside).read_bytes() == b"AS IT WAS, and long enough"
    assert (mounted.top / "text").read_bytes() == b"as it was, and long enough"
    assert recovering.found(mounted.kelp) == []


def test_where_it_cannot_be_mounted(mounted: MountedDrive, tmp_path: Path) -> None:
    def refusal(place: Path) -> str:
        with pytest.raises(ConfigurationError) as refused:
            mount_drive(never, mounted.kelp.settings, place, MountOptions(), foreground=True)
        return str(refused.value)

    assert "is mounted at" in refusal(mounted.path)
    assert "no folder" in refusal(tmp_path / "absent")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert "is not empty" in refusal(tmp_path / "full")
    assert "Not a directory" in refusal(tmp_path / "full/file")
    assert "must not lie in each other" in refusal(mounted.data / "cache")
    assert "must not lie in each other" in refusal(mounted.data.parent)


def never(*_: object) -> None:
    raise AssertionError("it was mounted")


@pytest.mark.parametrize("more", [("-o", "nonsense"), ("--user", "nobody")], ids=" ".join)
def test_a_refusal_is_one_line(tmp_path: Path, more: tuple[str, ...]) -> None:
    drive = MountedDrive(tmp_path)
    with contextlib.closing(drive.kelp):
        done = told(drive, "mount", str(drive.path), "--foreground", *more)
    assert done.returncode == 1
    assert done.stderr.startswith("kelp: ") and len(done.stderr.splitlines()) == 1
    assert more[-1] in done.stderr


def test_mount_options() -> None:
    found = MountOptions.parse("rw,allow_other,uid=5,gid=6,umask=077,hard,account=anna,max_read=4096,nofail,config=/k")
    assert (found.uid, found.gid, found.umask, found.hard, found.account) == (5, 6, 0o077, True, "anna")
    assert (found.kernel, found.config) == (("allow_other", "max_read=4096"), Path("/k"))
    assert found.completed() == found
    assert MountOptions.parse("").completed().uid == os.getuid()
    for wrong in ("uid=x", "umask=9", "uid=-1", "hard=1", "allow_other=1", "account="):
        with pytest.raises(ConfigurationError, match="mount option"):
            MountOptions.parse(wrong)


def test_a_path_of_the_mount_table_may_have_blanks(tmp_path: Path) -> None:
    assert mount_points.kind_at(Path("/proc")) == "proc"
    assert mount_points.kind_at(tmp_path) is None


@pytest.mark.engine(database="sqlite", cache="folder", queue="in-process", reason="kills a run with its servers")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_what_a_killed_test_run_left_is_freed(tmp_path: Path) -> None:
    """Its mount ends with it; the mount point goes with the next run."""
    script = """if True:
        from pathlib import Path
        from tests.faces.fuse.conftest import MountedDrive
        drive = MountedDrive(Path(input()))
        drive.start()
        print(drive.path, flush=True)
        input()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROGRAM.parent, text=True, **pipes) as run:
        assert run.stdin is not None and run.stdout is not None
        print(tmp_path, file=run.stdin, flush=True)
        path = Path(run.stdout.readline().rstrip())
        assert path.parent == tmp_path
        (path / "file").write_bytes(b"x")
        run.kill()
    until(lambda: is_cut_off(path))
    mount_names.free_left()
    assert mount_points.kind_at(path) is None


def is_cut_off(path: Path) -> bool:
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False
