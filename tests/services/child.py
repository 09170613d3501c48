"""A server as a child process that cannot outlive its parent, and the folder and the port it needs."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_ABANDONED = 60.0  # seconds after which a folder that nobody holds was left by a process that was killed

_PORTS = range(20_000, 32_000)  # below those that Linux gives to who asks for any
_given: set[int] = set()  # to this process, which its own locks do not keep out


def free_port() -> int:
    """A port where nobody listens, and that no other caller gets for as long as this process lives.

    One that the system chooses, and that is let go before a server takes it, may be somebody else's by then: another
    test's server, which answers too, or one end of any client's connection.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            if port not in _given:
                fcntl.lockf(_port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _given.add(port)
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")


@functools.cache
def _port_locks() -> int:
    """Of a file with a lock for each port, held by the process that has the port; never closed, which gives up all."""
    shared = os.environ.get("KELP_TEST_DISK") or tempfile.gettempdir()  # a run may have a TMPDIR of its own
    file = Path(shared, f"kelp-ports-{os.getuid()}")
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def bound_to_parent(command: Sequence[str | Path], death: signal.Signals, user: str | None = None) -> list[str]:
    """The command, run by `user` (None: as we are), that gets `death` when the thread that started it is gone.

    The thread, not the process (prctl(2), PR_SET_PDEATHSIG): start servers from the main one. The kernel forgets the
    signal when the user changes, so one program does both, in the right order. Without it (macOS) there is neither.
    """
    words = [str(word) for word in command]
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return words
    as_user = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
    return [setpriv, *as_user, "--pdeathsig", death.name.removeprefix("SIG"), *words]


def children(pid: int) -> list[int]:
    """Of a process, by /proc, proc(5)."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if parent(stat) == pid]


def command(pid: int) -> bytes:
    """The words of a process, each with a 0 after it; nothing of one that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def parent(stat: Path) -> int:
    """What a file /proc/PID/stat says; 0 for a process that is gone, or dead and not buried."""
    with contextlib.suppress(OSError):
        state, number = stat.read_text().rpartition(")")[2].split()[:2]
        return 0 if state == "Z" else int(number)
    return 0


def state(pid: int) -> str:
    """Of a process, one letter, proc(5): T is stopped, t by who traces it, Z dead and not buried, or gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """An empty folder that every user may pass through, as pytest's are not; also removed when we are killed, later."""
    _remove_abandoned(prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(descriptor).st_mtime > _ABANDONED:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


class Child:
    """One server process, started and ended as often as a test likes. `log` is what it wrote, all starts."""

    def __init__(self, command: Sequence[str | Path], log: Path, answers: Callable[[], bool], cwd: Path) -> None:
        """`answers` tells whether it is up; it may raise OSError while it is not."""
        self._command, self._answers, self._cwd = [str(word) for word in command], answers, cwd
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, seconds: float = 30) -> None:
        """Until it answers. Raises AssertionError with the end of its log when it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._launch()
            while time.monotonic() < until and self.running:
                with contextlib.suppress(OSError):
                    if self._answers():
                        return
                time.sleep(0.01)
            time.sleep(0.1)  # it gave up: what is left of the one before it may still be ending
        self.end(signal.SIGKILL)
        raise AssertionError(f"{self._command[0]} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def _launch(self) -> None:
        atexit.register(self.end, signal.SIGKILL)  # before it runs: whatever happens from here on, it is ended
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for pytest, which then ends its servers in order.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._cwd, start_new_session=True
            )

    def end(self, how: signal.Signals, seconds: float = 30) -> None:
        """Send the signal and wait until it is gone. One that does not obey is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.end)
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
