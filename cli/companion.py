"""The process beside a mount that runs the jobs of an embedded drive.

In one interpreter with what answers the kernel, the mirror took a third of the processor (3.0 of 8.6 ms for a new small
file) and kept programs waiting at every turn. So the mount has a process forked for it, from a state without threads
and open databases, which do not survive a fork. One pipe joins the two: what the mount writes to it is a ring of the
bell, its end tells the other to end. A mount that is killed takes it along, as if both were one process; when it is
the other that dies, the mount does its work from then on. Which of all processes of the machine runs the jobs is
decided as ever (`jobs.lock`).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from vfs.errors import KelpError

_log = logging.getLogger(__name__)

_PATIENCE = 12.0  # seconds for it to end: ten for the entry at work, the rest to put things away
_LOOK = 1.0  # seconds between two looks whether it is alive
_DEAF = 0.05  # … in which it hears nothing after a ring: what comes together is one
_PR_SET_PDEATHSIG = 1  # prctl(2)

Stop = Callable[[], object]
Hear = Callable[[Callable[[], object]], None]  # calls its argument for each ring, and returns when all is to end


class Companion:
    """`bell`: a descriptor; what is written to it is heard, and it never keeps who writes waiting."""

    def __init__(self, pid: int, bell: int) -> None:
        self._pid, self.bell = pid, bell
        self._is_over = threading.Event()
        self._ended = False

    @contextlib.contextmanager
    def replaced(self, start: Callable[[], Stop]) -> Iterator[None]:
        """The drive is there, and the jobs may begin. When their process dies inside the block, they are begun here by
        `start`, whose answer ends them."""
        self.ring()
        watching = threading.Thread(target=self._watch, args=(start,), name="companion", daemon=True)
        watching.start()
        try:
            yield
        finally:
            self._is_over.set()
            watching.join()

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it has enough to hear; closed: nobody hears
            os.write(self.bell, b"!")

    def _watch(self, start: Callable[[], Stop]) -> None:
        while not self._is_over.wait(_LOOK):
            if self._has_ended():
                _log.warning("the process of the mirror has ended: its work is done here")
                stop = start()
                self._is_over.wait()
                stop()

    def _has_ended(self) -> bool:
        if not self._ended:
            with contextlib.suppress(ChildProcessError):
                self._ended = os.waitpid(self._pid, os.WNOHANG)[0] != 0
        return self._ended

    def end(self) -> None:
        os.close(self.bell)
        until = time.monotonic() + _PATIENCE
        while not self._has_ended():
            if time.monotonic() > until:
                _log.warning("the process of the mirror is killed, it did not end in time")
                os.kill(self._pid, signal.SIGKILL)
                until = time.monotonic() + _PATIENCE
            time.sleep(0.01)


@contextlib.contextmanager
def beside(work: Callable[[Hear], None], log: Path | None) -> Iterator[Companion]:
    """Another process for the length of the block. `log`: where its standard error goes, None: where this one's does.

    To be called in the thread that lives as long as this process does, before there is another.
    """
    hearing, bell = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()  # or it would print it again
    pid = os.fork()
    if pid == 0:
        _live(lambda heard: _hear(hearing, heard), work, parent, hearing, log)
    os.close(hearing)
    os.set_blocking(bell, False)
    companion = Companion(pid, bell)
    try:
        yield companion
    finally:
        companion.end()


def _live(hear: Hear, work: Callable[[Hear], None], parent: int, hearing: int, log: Path | None) -> NoReturn:
    """A child's whole life. It never returns into the parent's code below it on the stack."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM):  # they reach a whole group; it ends after the mount
            signal.signal(number, signal.SIG_IGN)
        _let_go(hearing, log)
        _step_back()
        if os.getppid() == parent and os.read(hearing, 1):
            work(hear)
        code = 0
    except (KelpError, OSError) as error:
        _log.error("the process of the mirror: %s", error)
    except BaseException:
        _log.exception("the process of the mirror failed")
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
        os._exit(code)


def _let_go(hearing: int, log: Path | None) -> None:
    """Of whatever else is open: who waits for its end would wait for this process's."""
    os.closerange(3, hearing)
    os.closerange(hearing + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1):
        os.dup2(nothing, number)
    if log is not None:
        kept = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(kept, 2)
        os.close(kept)
    os.close(nothing)
    os.chdir("/")  # else the folder that it was started in could not be unmounted


def _step_back() -> None:
    """It interrupts nobody who is at work (sched(7), SCHED_BATCH): people wait for the mount, nobody for the NAS.

    Its share of the processor it keeps: it holds the database's write lock now and then, and the mount waits for that.
    As nice as 10, beside programs that took all processors, one put in a hundred took 110 to 160 ms instead of 30.
    """
    with contextlib.suppress(OSError):  # forbidden somewhere: then they are equals
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _hear(hearing: int, heard: Callable[[], object]) -> None:
    while os.read(hearing, 4096):
        heard()
        time.sleep(_DEAF)
