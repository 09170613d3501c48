"""Start `kelp` as a fork of a process that has imported it all: a start from nothing is a second of imports.

`start` and `run` take a command as `subprocess` does. One that runs kelp.py, a module of the tests, or a text that is
given (`-c`), becomes a process of its own as ever, with its own arguments, environment and descriptors, which can be
killed and dies with us; only its imports were done before, by one helper of this test process. Any other command, one
with another interpreter's environment (LD_PRELOAD, PYTHON…), and all with KELP_TEST_COLD_STARTS=1, start as they are.
Tests of the command line, of `kelp serve` and of its supervisor start it from nothing in every run.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).parent.parent
PROGRAM = _ROOT / "kelp.py"
_ALWAYS_COLD = bool(os.environ.get("KELP_TEST_COLD_STARTS")) or not hasattr(os, "pidfd_open")
_OF_INTERPRETERS = ("LD_", "PYTHON", "MALLOC_", "GLIBC_")  # variables that are heard when a process starts
_HEARD_LATER = "PYTHONFAULTHANDLER"
Command = Sequence[str | Path]


class Warm:
    """What tests use of `subprocess.Popen`. The helper is its parent, and tells of its end."""

    def __init__(self, args: list[str], pid: int, ending: int) -> None:
        self.args, self.pid = args, pid
        self.returncode: int | None = None
        self._ending = ending
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        until = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if until is None else max(0.0, until - time.monotonic())
            poller = select.poll()
            poller.register(self._ending, select.POLLIN)
            if not poller.poll(None if left is None else left * 1000):
                return None
            with self._lock:  # several threads may wait
                if self.returncode is None:
                    told = os.read(self._ending, 4)
                    os.close(self._ending)
                    self.returncode = int.from_bytes(told, "big", signed=True) if told else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __del__(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(OSError):
                os.close(self._ending)


Process = subprocess.Popen[bytes] | Warm


def start(command: Command, environ: Mapping[str, str], log: Path, out: Path | None = None) -> Process:
    """Standard error is appended to `log`; standard output to `out`, None: nowhere."""
    words = [str(word) for word in command]
    asked = _asked(words, environ)
    if asked is None:
        with log.open("ab") as errors, Path(out or os.devnull).open("ab") as output:
            return subprocess.Popen(words, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
    files = [str(out or os.devnull), str(log)]
    return _helper().start(words, {"words": asked, "environ": dict(environ), "cwd": os.getcwd(), "files": files})


def run(command: Command, environ: Mapping[str, str], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with capture_output and text. Raises subprocess.TimeoutExpired."""
    words = [str(word) for word in command]
    if _asked(words, environ) is None:
        return subprocess.run(words, env=dict(environ), capture_output=True, text=True, timeout=timeout)
    with tempfile.TemporaryDirectory(prefix="kelp-run-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = start(words, environ, err, out)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def _asked(words: list[str], environ: Mapping[str, str]) -> list[str] | None:
    """Module, or "-c" and text, and arguments, when a helper can start that."""
    if words and Path(words[0]).name == "setpriv" and words[1] == "--pdeathsig":
        words = words[3:]
    if _ALWAYS_COLD or words[:1] != [sys.executable] or not _is_ours(environ):
        return None
    if words[1:2] == [str(PROGRAM)]:
        return ["kelp", *words[2:]]
    if words[1:2] == ["-c"]:
        return words[1:]
    if words[1:2] == ["-m"] and words[2].startswith("tests."):
        return words[2:]
    return None


def _is_ours(environ: Mapping[str, str]) -> bool:
    def heard(variables: Mapping[str, str]) -> dict[str, str]:
        return {
            name: value
            for name, value in variables.items()
            if name.startswith(_OF_INTERPRETERS) and name not in (_HEARD_LATER, "PYTHONPATH")
        }

    return heard(environ) == heard(os.environ)


class _Helper:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.warm_starts_helper", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        atexit.register(self.end)

    def start(self, words: list[str], request: Mapping[str, object]) -> Warm:
        ending, told = os.pipe()
        try:
            with self._lock:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [told]))]
                self._ours.sendmsg([json.dumps(request).encode()], rights)
                answer = self._ours.recv(64)
        finally:
            os.close(told)
        assert answer, "what starts kelp for the tests has ended"
        return Warm(words, int(answer), ending)

    def end(self) -> None:
        """Who it started and still runs dies with it."""
        self._ours.close()
        self._process.wait()


@functools.cache
def _helper() -> _Helper:
    return _Helper()
