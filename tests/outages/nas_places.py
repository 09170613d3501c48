"""NASes that can be taken away while a server uses them: real mounts, and what happens to real ones. For root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.services import hanging_disk
from tests.small_disk import mount, unmount

MIB = 1 << 20
_SIZE = 512  # MiB of a disk that somebody fills


class NasPlace:
    """`root` is what the drive is given; `files` is where its files can be looked at, now and in the outage."""

    def __init__(self, root: Path, files: Path, leave: Callable[[], object], enter: Callable[[], object]) -> None:
        self.root, self.files = root, files
        self._leave, self._enter, self._away = leave, enter, False

    def go(self) -> None:
        self._away = True
        self._leave()

    def come_back(self) -> None:
        """If it is away."""
        if self._away:
            self._enter()
            self._away = False


def _run(*words: str | Path, patience: float = 0) -> None:
    """Tried again for so many seconds: a mount cannot become read-only while something is being written."""
    until = time.monotonic() + patience
    while (done := subprocess.run([str(word) for word in words], capture_output=True, text=True)).returncode:
        assert time.monotonic() < until, f"{words}: {done.stderr}"
        time.sleep(0.002)


@contextlib.contextmanager
def _bound(place: Path) -> Iterator[tuple[Path, Path]]:
    """A folder mounted at another: root, and the folder."""
    root, files = place / "nas", place / "disk"
    for folder in (root, files):
        folder.mkdir(parents=True)
    _run("mount", "--bind", files, root)
    try:
        yield root, files
    finally:
        while _is_mounted(root):  # a folder mounted on the same disk is none for os.path.ismount
            unmount(root)


def _is_mounted(root: Path) -> bool:
    return any(line.split()[4] == str(root) for line in Path("/proc/self/mountinfo").read_text().splitlines())


@contextlib.contextmanager
def unmounted(place: Path) -> Iterator[NasPlace]:
    """What is left is the empty folder below the mount point."""
    with _bound(place) as (root, files):

        def come_back() -> None:
            assert not list(root.iterdir()), "somebody wrote to the folder below the mount point"
            _run("mount", "--bind", files, root)

        yield NasPlace(root, files, lambda: unmount(root), come_back)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[NasPlace]:
    """As a file system becomes after an error of its disk."""
    with _bound(place) as (root, files):

        def remount(how: str) -> Callable[[], None]:
            return lambda: _run("mount", "-o", f"remount,bind,{how}", root, patience=60)

        yield NasPlace(root, files, remount("ro"), remount("rw"))


@contextlib.contextmanager
def full(place: Path) -> Iterator[NasPlace]:
    """Somebody else needs all the room, at once."""
    root = place / "nas"
    mount(root, f"{_SIZE}m")
    filler = root / "somebody else's.bin"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(MIB if _free(root) > 2 * MIB else 4096))

    try:
        yield NasPlace(root, root, fill, filler.unlink)
    finally:
        unmount(root)


def _free(root: Path) -> int:
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


@contextlib.contextmanager
def hanging(place: Path) -> Iterator[NasPlace]:
    """Each call takes a minute, until all is well again."""
    with hanging_disk.hanging_disk(place) as disk:
        yield NasPlace(disk.mount, disk.behind, lambda: disk.hang(60), disk.answer)


@contextlib.contextmanager
def frozen(place: Path) -> Iterator[NasPlace]:
    """No call comes back."""
    with hanging_disk.hanging_disk(place) as disk:
        yield NasPlace(disk.mount, disk.behind, lambda: disk.hang(1e9), disk.answer)


WAYS: dict[str, Callable[[Path], AbstractContextManager[NasPlace]]] = {
    "unmounted": unmounted,
    "read-only": read_only,
    "full": full,
    "hanging": hanging,
    "frozen": frozen,
}
