"""`kelp serve` as a child process that a test may kill and start again on the same data.

Where the queue is Redis, `kelp worker` runs beside it, and shares its fate.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import engines, new_drive, warm_starts
from tests.new_drive import PASSWORD
from tests.services.child import children, free_port, state
from tests.waiting import until
from vfs.settings import Settings

PROGRAM = warm_starts.PROGRAM


class ServerProcess:
    """A server on 127.0.0.1 at a port that stays the same over restarts. `log` is its standard error, all starts."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        under: Sequence[str] = (),
        worker: bool = True,
        worker_arguments: Sequence[str] = (),
        new: bool = False,
        **settings: object,
    ) -> None:
        """`arguments` go to `kelp serve`; `settings` as in the environment: `mirror_delay=0` is KELP_MIRROR_DELAY.

        `under`: a command that starts the server, which has to be the same process in the end (`exec`). `worker`:
        whether there is one, where the server leaves the jobs to it. `new`: nobody has ever started this drive.
        """
        self._arguments, self._under, self._given = arguments, under, settings
        self._worker_arguments = worker_arguments
        self.data, self.nas = folder / "data", folder / "nas"
        if not new and not {"database_url", "nas_root"} & settings.keys():
            new_drive.put_into(folder)
        self.log = folder / "server.log"
        self.port = free_port()
        self.basic = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        environ = {name: value for name, value in os.environ.items() if not name.startswith("KELP_")}
        own = {f"KELP_{name.upper()}": str(value) for name, value in settings.items()}
        elsewhere = engines.environ_of(self.data, *settings)
        self.environ = {**environ, **elsewhere, **own, "KELP_ADMIN_PASSWORD": PASSWORD}  # for commands beside it, too
        self._process: warm_starts.Process | None = None
        self._has_worker = worker and "KELP_QUEUE_URL" in self.environ
        self._worker: warm_starts.Process | None = None

    @property
    def settings(self) -> Settings:
        """For a test that opens the drive itself."""
        return engines.load(self.data, **{"nas_root": self.nas, **self._given})

    def start(self) -> None:
        """Start without waiting for it to answer."""
        self._process = self._launch(self._under, "serve", "--port", str(self.port), *self._arguments)
        self.start_worker()

    def start_worker(self) -> None:
        """Where there is to be one, and none is running."""
        if self._has_worker and (self._worker is None or self._worker.poll() is not None):
            self._worker = self._launch((), "worker", *self._worker_arguments)

    def _launch(self, under: Sequence[str], command: str, *arguments: str) -> warm_starts.Process:
        place = ("--data", str(self.data), "--nas", str(self.nas))
        return warm_starts.start([*under, sys.executable, PROGRAM, command, *place, *arguments], self.environ, self.log)

    def wait_ready(self, seconds: float = 120) -> None:
        """Until it answers. Raises AssertionError with the end of its log when it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(self.connect()) as probe:
                probe.request("GET", "/healthz")
                if probe.getresponse().status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.log_text()[-3000:]}")

    @property
    def process(self) -> warm_starts.Process:
        assert self._process is not None, "not started"
        return self._process

    def kill(self) -> None:
        """SIGKILL to what still runs, and wait until nothing of it is left.

        Its own children end by themselves, a moment later, and answer until then: also one that only comes up now.
        """
        running = [process for process in self.processes() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGSTOP)  # it starts no more of them
        until(lambda: all(state(process.pid) in "TtZ" for process in running))  # t: strace has it
        theirs = [child for process in running for child in children(process.pid)]
        for process in running:
            process.kill()
        for process in self.processes():
            process.wait()
        until(lambda: all(state(child) == "Z" for child in theirs))

    def stop(self) -> None:
        """SIGTERM; it must end by itself, in order."""
        if (worker := self._worker) is not None:  # a process that is only being started dies of the signal
            until(lambda: children(worker.pid) or worker.poll() is not None)
        for process in self.processes():
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
            assert code == 0, f"it ended with {code}:\n{self.log_text()[-3000:]}"

    def processes(self) -> list[warm_starts.Process]:
        """The server, and the worker where there is one."""
        return [process for process in (self._process, self._worker) if process]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def rss(self) -> int:
        """Bytes of memory it has had at most, since the last `reset_rss`."""
        return self._memory("VmHWM")

    def reset_rss(self) -> int:
        """Begin to measure the highest memory anew; bytes it has now. Linux: /proc/PID/clear_refs, proc(5)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._memory("VmRSS")

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} in /proc")


@contextlib.contextmanager
def server_process(
    folder: Path, *arguments: str, under: Sequence[str] = (), worker: bool = True, **settings: object
) -> Iterator[ServerProcess]:
    """A started server that answers; whatever happens, none is left running."""
    server = ServerProcess(folder, *arguments, under=under, worker=worker, **settings)
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.kill()
