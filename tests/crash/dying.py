"""A process that kills itself at a chosen instant of a script: after the n-th thing that a crash could come between.

Such an instant is any system call that changes a file or a folder, every piece of a stream, the end of each call of
a store, and both sides of each commit. The script's steps are acknowledged by one byte each in the file `acks`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.crash.scripts import SCRIPTS
from tests.crash.vault_drive import drive_of
from tests.mirror_drive import MirrorDrive, TestClock
from vfs.metadata.database import Database, Tx

_CHANGING = frozenset(
    ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime")
)


class Countdown:
    """Counts instants, and dies at the one asked for. `name` tells which that was."""

    def __init__(self, wanted: int, note: Path) -> None:
        self._left, self._note = wanted, note
        self._armed = False
        self._thread: int | None = None

    def arm(self, *, alone: bool = False) -> None:
        """`alone`: the work is all done by this thread, and what others do meanwhile is no instant of it."""
        self._thread = threading.get_ident() if alone else None
        self._armed = True
        sys.addaudithook(self._heard)

    def disarm(self) -> None:
        self._armed = False

    def point(self, name: str) -> None:
        if not self._armed or self._thread not in (None, threading.get_ident()):
            return
        self._left -= 1
        if self._left == 0:
            self._armed = False
            self._note.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._armed and (event in _CHANGING or (event == "open" and _creates(arguments))):
            self.point(f"{event} {arguments[0]}")


def _creates(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & os.O_CREAT)


class Store:
    """A store whose calls, and the pieces that go into them, are instants."""

    def __init__(self, inner: Any, countdown: Countdown) -> None:
        self._inner, self._countdown = inner, countdown

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name.startswith("on_"):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            if name in ("put", "write", "write_together"):
                arguments = (arguments[0], self._pieces(name, arguments[1]), *arguments[2:])
            result = value(*arguments, **options)
            if name not in ("stat", "verify", "usage", "get", "list", "read", "checksum", "open", "spare_key"):
                self._countdown.point(f"after {name} {arguments[0]}")
            return result

        return call

    def _pieces(self, name: str, chunks: Any) -> Iterator[Any]:
        for number, chunk in enumerate(chunks):
            yield chunk
            self._countdown.point(f"{name}, piece {number}")


class Commits:
    """A database whose commits are instants, before and after."""

    def __init__(self, inner: Database, countdown: Countdown) -> None:
        self._inner, self._countdown = inner, countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextlib.contextmanager
    def write(self, quiet: bool = False) -> Iterator[Tx]:
        with self._inner.write(quiet) as tx:
            yield tx
            self._countdown.point("before a commit")
        self._countdown.point("after a commit")


def play(folder: Path, start: int, wanted: int, script: str) -> None:
    """Play a script on the drive in `folder`, its clock beginning at second `start`, dying at instant `wanted`."""
    _die_at(folder, start, wanted, lambda drive: _steps(drive, script, folder / "acks"))


def recover(folder: Path, start: int, wanted: int) -> None:
    """What a new process does after a crash, dying at instant `wanted` of it."""
    _die_at(folder, start, wanted, _recovery)


def _recovery(drive: MirrorDrive) -> None:
    drive.die()
    drive.settle_down()


def _steps(drive: MirrorDrive, script: str, acks: Path) -> None:
    for step in SCRIPTS[script].steps:
        step(drive)
        with acks.open("ab") as file:
            file.write(b".")


def _die_at(folder: Path, start: int, wanted: int, work: Callable[[MirrorDrive], None]) -> None:
    countdown = Countdown(wanted, folder / "instant")
    drive = drive_of(folder, TestClock(start))
    drive.kelp = dataclasses.replace(
        drive.kelp,
        cache=Store(drive.kelp.cache, countdown),  # type: ignore[arg-type]
        nas=Store(drive.kelp.nas, countdown),  # type: ignore[arg-type]
        database=Commits(drive.kelp.database, countdown),  # type: ignore[arg-type]
    )
    countdown.arm()
    work(drive)
    countdown.disarm()
    drive.close()
    os._exit(0)
