"""A mounted file system that can hang: a NAS that is there and does not answer. A process of its own serves it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.services.child import Child, bound_to_parent

_PROGRAM = Path(__file__).with_name("hanging_fuse.py")


def missing() -> str | None:
    """Why there can be none here; None when there can."""
    if os.geteuid() != 0:
        return "mounting a disk that hangs needs root"
    if not (shutil.which("fusermount3") and os.access("/dev/fuse", os.R_OK | os.W_OK)):
        return "no FUSE here (Debian package fuse3, and the device /dev/fuse)"
    return None if importlib.util.find_spec("mfusepy") else "the package mfusepy is not installed"


class HangingDisk:
    """Mounted at `mount`; `behind` is the folder that it shows, which never hangs."""

    def __init__(self, place: Path) -> None:
        self.mount, self.behind = place / "mount", place / "behind"
        self._hang = place / "hang"
        for folder in (self.mount, self.behind):
            folder.mkdir(parents=True)
        self.answer()
        command = bound_to_parent([sys.executable, _PROGRAM, self.behind, self.mount, self._hang], signal.SIGTERM)
        self._child = Child(command, place / "fuse.log", lambda: os.path.ismount(self.mount), cwd=place)

    def start(self) -> None:
        self._child.start()

    def hang(self, seconds: float) -> None:
        """From now on each call takes so long. Who waits for one can be killed, as on a hard mount of NFS."""
        new = self._hang.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._hang)

    def answer(self) -> None:
        """No call hangs any more."""
        self.hang(0)

    def end(self) -> None:
        self.answer()
        subprocess.run(["umount", "-l", str(self.mount)], capture_output=True)
        self._child.end(signal.SIGTERM)


@contextlib.contextmanager
def hanging_disk(place: Path) -> Iterator[HangingDisk]:
    disk = HangingDisk(place)
    try:
        disk.start()
        yield disk
    finally:
        disk.end()
