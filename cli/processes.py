"""Several processes that do the same, such as servers on one port, and the parent that watches over them.

The children are forked from a parent that has neither threads nor an open database, since these do not survive a
fork; the kernel spreads connections over them (SO_REUSEPORT). Two kinds of pipe join them: each child's report, on
which it says that it is ready, or why not, and whose end is its death; and the lifeline, whose end tells all children
to stop. The parent's death ends it too.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from vfs.errors import ConfigurationError, KelpError

_log = logging.getLogger(__name__)

_PATIENCE = 12.0  # seconds for children to end: ten for running requests, the rest to put things away
_QUICK_DEATH = 10.0  # seconds: after a shorter life there is a pause before the successor, which doubles each time
_PAUSES = (0.1, 5.0)  # seconds, first and longest
_READY = b"\0"

Ready = Callable[[], None]
Work = Callable[[threading.Event, Ready], None]  # serve until the event; call Ready once clients may connect


@contextmanager
def port_held(host: str, port: int) -> Iterator[int]:
    """Keep a port for children that will share it, a free one for `port` 0; its number."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as held:  # it never listens, so no connection is given to it
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind(address)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host or '*'} port {port}: {error.strerror}") from error
        yield int(held.getsockname()[1])


def run(count: int, work: Work, when_ready: Ready, kind: str = "server process") -> None:
    """Do `work` in `count` processes until SIGTERM or SIGINT; a second signal kills what is left of them.

    `when_ready` is called once, in this process, when all of them are. A child that dies is replaced, but one that
    fails before all are ready raises ConfigurationError with its reason.
    """
    with _signals_as_bytes() as signals:
        family = _Family(work, signals, kind)
        try:
            for _ in range(count):
                family.add()
            if family.watch(until_ready=True):
                when_ready()
                family.watch()
        finally:
            family.end()


@dataclass
class _Child:
    pid: int
    report: int  # file descriptor
    born: float  # monotonic
    ready: bool = False
    reason: str = ""  # why it ended, in its own words


class _Family:
    def __init__(self, work: Work, signals: int, kind: str) -> None:
        self._work = work
        self._kind = kind  # what the log calls them
        self._signals = signals  # gives a byte for each signal
        self._children: dict[int, _Child] = {}  # by file descriptor of the report
        self._lifeline, self._hold = os.pipe()
        self._quick_deaths = 0
        self._due: list[float] = []  # when to start successors, monotonic

    def add(self) -> None:
        report, tell = os.pipe()
        sys.stdout.flush()  # or the child would print it again
        pid = os.fork()
        if pid == 0:
            for fd in (self._hold, report, *self._children):
                os.close(fd)
            _live(self._work, self._lifeline, tell)
        os.close(tell)
        self._children[report] = _Child(pid, report, time.monotonic())

    def watch(self, until_ready: bool = False) -> bool:
        """Look after the children until a signal came (False), or all are ready (True)."""
        while not (until_ready and all(child.ready for child in self._children.values())):
            now = time.monotonic()
            if self._signal_within(min(self._due, default=now + 60.0) - now):
                return False
            for child in self._buried():
                if until_ready:
                    raise ConfigurationError(child.reason)
                _log.error("%s %d ended: %s; another takes its place", self._kind, child.pid, child.reason)
                self._plan_successor(child)
            while self._due and self._due[0] <= time.monotonic():
                self._due.pop(0)
                self.add()
        return True

    def end(self) -> None:
        """Stop all; kill who is not done in time, or is left when another signal comes."""
        os.close(self._hold)
        until = time.monotonic() + _PATIENCE
        while self._children and time.monotonic() < until:
            if self._signal_within(until - time.monotonic()):
                break
            for child in self._buried():
                _log.debug("%s %d ended: %s", self._kind, child.pid, child.reason)
        for child in self._children.values():
            _log.warning("%s %d is killed, it did not end in time", self._kind, child.pid)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(child.report)
        os.close(self._lifeline)

    def _signal_within(self, seconds: float) -> bool:
        """Wait for a signal, and no longer once a child reports."""
        readable, _, _ = select.select([self._signals, *self._children], [], [], max(0.0, seconds))
        if self._signals in readable:
            os.read(self._signals, 4096)
        return self._signals in readable

    def _buried(self) -> list[_Child]:
        """Hear what the children report; those that are dead, with a reason, no longer among the children."""
        heard = select.select([*self._children], [], [], 0)[0]
        return [child for child in map(self._children.__getitem__, heard) if not self._is_alive(child)]

    def _is_alive(self, child: _Child) -> bool:
        said = os.read(child.report, 4096)
        child.ready = child.ready or said == _READY
        if said:
            child.reason += said.strip(_READY).decode(errors="replace")
            return True
        os.close(child.report)
        del self._children[child.report]
        _, status = os.waitpid(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        child.reason = child.reason or (f"exit code {code}" if code >= 0 else signal.Signals(-code).name)
        return False

    def _plan_successor(self, child: _Child) -> None:
        quick = time.monotonic() - child.born < _QUICK_DEATH
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        first, longest = _PAUSES
        pause = min(longest, first * 2**self._quick_deaths) if quick else 0.0
        self._due = sorted([*self._due, time.monotonic() + pause])


def _live(work: Work, lifeline: int, tell: int) -> NoReturn:
    """A child's whole life. It never returns into the parent's code below it on the stack."""
    code = 1
    try:
        stop = threading.Event()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent tells us
        signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
        threading.Thread(target=_end_with, args=(lifeline, stop), name="lifeline", daemon=True).start()
        work(stop, lambda: _say(tell, _READY))
        code = 0
    except (KelpError, OSError) as error:
        _say(tell, str(error).encode())
    except BaseException as error:
        _log.exception("a process failed")
        _say(tell, f"unexpected {type(error).__name__}: {error}".encode())
    finally:
        with suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
        os._exit(code)


def _end_with(lifeline: int, stop: threading.Event) -> None:
    with suppress(OSError):
        os.read(lifeline, 1)  # nobody ever writes: it returns at the end
    stop.set()


def _say(tell: int, words: bytes) -> None:
    with suppress(OSError):  # the parent is gone
        os.write(tell, words)


@contextmanager
def _signals_as_bytes() -> Iterator[int]:
    """A file descriptor that becomes readable by SIGTERM and SIGINT, which then do nothing else."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {each: signal.signal(each, lambda _number, _frame: None) for each in (signal.SIGTERM, signal.SIGINT)}
    signal.set_wakeup_fd(writing)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        for each, handler in before.items():
            signal.signal(each, handler)
        os.close(reading)
        os.close(writing)
