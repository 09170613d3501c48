"""A drive that is really mounted: `kelp mount` in a process of its own, which is gone at the end whatever happened."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from cli import mount_points
from tests import engines, mount_names, vaults, warm_starts
from tests.server_process import PROGRAM
from tests.services.child import bound_to_parent
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import ConfigurationError
from vfs.model import Caller, Role
from vfs.operations import access, checking

PEOPLE = (("admin", Role.ADMIN), ("editor", Role.EDITOR), ("viewer", Role.VIEWER))
_LONGEST = 200.0  # seconds of a test; then the mount is killed, and whoever waits for the kernel goes on with an error
_STARTING = 120.0  # seconds, and of the end


def why_not() -> str | None:
    """Why nothing can be mounted here."""
    if importlib.util.find_spec("pyfuse3") is None:
        return "pyfuse3 is not installed"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
        return "needs /dev/fuse and fusermount3"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here, reason = Path(__file__).parent, why_not()
    for item in items:
        if reason and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=reason))


@functools.cache
def _finished() -> Path:
    """The folder of a drive with people and nothing else: copying it is faster than all migrations."""
    folder = Path(tempfile.mkdtemp(prefix="kelp-finished-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.closing(build(engines.load(folder / "data", nas_root=folder / "nas"))) as kelp:
        _invite(kelp)
    return folder


def _invite(kelp: Kelp) -> None:
    with kelp.database.write() as tx:
        for name, role in PEOPLE:
            tx.accounts.insert(name, name, "!", role, kelp.clock.now_ns())


class MountedDrive:
    """`path` is the mount point, `kelp` the same drive opened by the test itself, as another node would. `top`, and
    `above` on the drive: where to work, which is in a vault if `in_vault`."""

    def __init__(self, folder: Path, *arguments: str, in_vault: bool = vaults.ALL, **settings: object) -> None:
        """`arguments` go to `kelp mount`; `settings` as in the environment: `mirror_delay=0` is KELP_MIRROR_DELAY."""
        self.data, self.nas, self.path = folder / "data", folder / "nas", folder / mount_names.name()
        self.log = folder / "mount.log"
        self.in_vault, self.above = in_vault, [vaults.FOLDER] if in_vault else []
        self._arguments, self._settings = arguments, settings
        self.path.mkdir()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
        own = {f"KELP_{name.upper()}": str(value) for name, value in settings.items()}
        self.kelp = self._make()
        environ["PYTHONFAULTHANDLER"] = "1"  # a process that dies in libfuse says where
        self.environ = {**environ, **engines.environ_of(self.data, *settings), **own}
        self._process: warm_starts.Process | None = None
        self._worker: warm_starts.Process | None = None
        self._mirrors = True
        self._watchdog: threading.Timer | None = None

    def beside(self, name: str, *arguments: str) -> MountedDrive:
        """The same drive once more, in another folder; it is to be started, and ended before this one."""
        other = copy.copy(self)
        other.path, other.log = self.path.with_name(mount_names.name(name)), self.log.with_name(f"{name}.log")
        other._arguments, other._process, other._watchdog = arguments, None, None
        other.path.mkdir()
        return other

    def _make(self) -> Kelp:
        special = "database_url" in self._settings or self.data.exists() or self.nas.exists()
        if not special:
            engines.copy_drive(_finished() / "data", self.data)
            shutil.copytree(_finished() / "nas", self.nas)
        kelp = build(engines.load(self.data, **{"nas_root": self.nas, **self._settings}))
        if special:
            _invite(kelp)
        if self.in_vault and not vaults.is_in(self.data):
            vaults.make_vault(kelp)
        return kelp

    @property
    def top(self) -> Path:
        return self.path.joinpath(*self.above)

    def caller(self, name: str = "admin", face: str = "dav") -> Caller:
        return access.caller_named(self.kelp, name, face)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(PROGRAM), *words, "--data", str(self.data), "--nas", str(self.nas)]

    def start(self, *more: str) -> None:
        """Returns when programs can use it."""
        self._process = self._launch("mount", str(self.path), "--foreground", *self._arguments, *more)
        self.mirror(on=self._mirrors)
        until = time.monotonic() + _STARTING
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"it was not mounted:\n{self.log_text()[-3000:]}")
            time.sleep(0.02)

    def mirror(self, *, on: bool = True) -> None:
        """Where the mirror has processes of its own, one of them is started; `on` False: not now, nor by `start`."""
        self._mirrors = on
        if on and "KELP_QUEUE_URL" in self.environ and self._worker is None:
            self._worker = self._launch("worker")

    def _launch(self, *words: str) -> warm_starts.Process:
        command = bound_to_parent(self.command(*words), signal.SIGKILL)
        return warm_starts.start(command, self.environ, self.log)

    def watch(self, longest: float) -> None:
        """In so many seconds it is ended, unless this is said again."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = threading.Timer(longest, self.end)
        self._watchdog.daemon = True
        self._watchdog.start()

    def _answers(self) -> bool:
        """Not so one that was left by the process before, of which the kernel may still know attributes. It is asked
        before the table is: else it might be freed in between, and the folder below would answer in its place."""
        with contextlib.suppress(OSError):
            return os.statvfs(self.path).f_namemax == 255 and mount_points.kind_at(self.path) == mount_points.KIND
        return False

    @property
    def process(self) -> warm_starts.Process:
        assert self._process is not None, "not started"
        return self._process

    def kill(self) -> None:
        """SIGKILL: what programs have open gets errors, and the mount point is left behind."""
        self.process.kill()
        self.process.wait()

    def unmount(self) -> None:
        """In order; the process must end by itself."""
        mount_points.unmount(self.path)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_STARTING)
        assert self.process.returncode == 0, f"it ended with {self.process.returncode}:\n{self.log_text()[-3000:]}"

    def end(self) -> None:
        """Whatever state it is in."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for process in (self._process, self._worker):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        with contextlib.suppress(ConfigurationError):
            mount_points.unmount(self.path, lazily=True)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@contextlib.contextmanager
def mounted_drive(
    folder: Path,
    *arguments: str,
    longest: float = _LONGEST,
    mirrors: bool = True,
    in_vault: bool = vaults.ALL,
    **settings: object,
) -> Iterator[MountedDrive]:
    drive = MountedDrive(folder, *arguments, in_vault=in_vault, **settings)
    try:
        drive.mirror(on=mirrors)
        drive.watch(longest)
        drive.start()
        yield drive
        assert checking.check(drive.kelp).problems == []
    finally:
        drive.end()
        drive.kelp.close()
        engines.drop_below(folder)


def new_processes(module: str) -> ForkServerContext:
    """How to make processes that are no copies of this one and begin at once: of one that has imported the module."""
    context = get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[MountedDrive]:
    with mounted_drive(tmp_path) as drive:
        yield drive


@pytest.fixture
def mounted_with(tmp_path: Path) -> Iterator[Callable[..., MountedDrive]]:
    """A function that mounts a fresh drive with other arguments and settings, as for `MountedDrive`."""
    with contextlib.ExitStack() as stack:

        def mount(*arguments: str, **settings: object) -> MountedDrive:
            return stack.enter_context(mounted_drive(tmp_path, *arguments, **settings))

        yield mount


@pytest.fixture(scope="module")
def shared_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedDrive]:
    """One for all tests of a module; each works in a folder of its own. Who waits for the NAS says `mirror` first."""
    with mounted_drive(tmp_path_factory.mktemp("mounted"), mirrors=False) as drive:
        yield drive


@pytest.fixture
def place(shared_mount: MountedDrive, request: pytest.FixtureRequest) -> Path:
    """An empty folder in the shared mount."""
    assert shared_mount.process.poll() is None, f"it ended before:\n{shared_mount.log_text()[-3000:]}"
    shared_mount.watch(_LONGEST)
    folder = shared_mount.top / f"{request.node.name[:60].replace('/', '_')}-{time.monotonic_ns()}"
    folder.mkdir()
    return folder
