"""A process that outlives a mount which was killed, for a moment, and ends its connection to the kernel.

The kernel ends it when the last thread of the mount's process has gone. But one that tells it to forget a name waits
for the folder, whoever changes a name in that folder waits for the mount's answer, and neither can be killed: both
would be there for ever, and so would be all that wait (tried: one SIGKILL in some ten, under load).

Run as a program, by its path: `guardian.py MINOR`, the device of the mount. It needs nothing of Kelp.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2): a signal for when the thread that started us is gone


class Guardian:
    """Of one mount. To be started in the thread that lives as long as the mount does: the main one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, device: int) -> None:
        words = [sys.executable, "-I", "-S", __file__, str(os.minor(device))]
        nothing = subprocess.DEVNULL  # whoever reads what `kelp mount` says would wait for its end, for ever
        self._process = subprocess.Popen(
            words, stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", start_new_session=True
        )

    def stop(self) -> None:
        """Before it is unmounted: its device may be another's then."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _wait_and_abort(minor: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() == parent != 1:
        signal.sigwait({signal.SIGUSR1})
    try:
        with open(f"/sys/fs/fuse/connections/{minor}/abort", "w") as file:
            file.write("1")
    except OSError:  # it has ended by itself
        return


if __name__ == "__main__":
    _wait_and_abort(sys.argv[1])
