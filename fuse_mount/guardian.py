"""A process that outlives a mount which was killed, for a moment, and ends its connection to the kernel.

The kernel ends it when the last thread of the mount's process has gone. But one that tells it to forget a name waits
for the folder, whoever changes a name in that folder waits for the mount's answer, and neither can be killed: both
would be there for ever, and so would be all that wait (tried: one SIGKILL in some ten, under load).

Run as a program, by its path: `guardian.py PARENT < CONNECTION`, the mount's process and the file by which the kernel
is told to abort (/sys/fs/fuse/connections/N/abort). That file is of this connection only, and does nothing when that
has ended. By its name it may be another mount's by the time somebody opens it: a device number that is free is used
again at once, and a guardian that starts late or sleeps long would end the next mount. It needs nothing of Kelp.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2): a signal for when the thread that started us is gone


class Guardian:
    """Of one mount. To be started in the thread that lives as long as the mount does: the main one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, device: int) -> None:
        """While it is mounted; `device` is the mount's."""
        words = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        nothing = subprocess.DEVNULL  # whoever reads what `kelp mount` says would wait for its end, for ever
        try:
            with open(f"/sys/fs/fuse/connections/{os.minor(device)}/abort", "wb") as connection:
                self._process = subprocess.Popen(
                    words, stdin=connection, stdout=nothing, stderr=nothing, cwd="/", start_new_session=True
                )
        except OSError as error:
            _log.info("the mount has no guardian: %s", error)

    def stop(self) -> None:
        """When it is to be unmounted."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _wait_and_abort(parent: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() == parent:
        signal.sigwait({signal.SIGUSR1})
    os.write(sys.stdin.fileno(), b"1")


if __name__ == "__main__":
    _wait_and_abort(int(sys.argv[1]))
