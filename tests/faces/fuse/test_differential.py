"""The same random calls on a mount and on a local folder: answers, errors and what is there at the end are the same.

KELP_FUSE_STEPS and KELP_FUSE_SEED make it longer or repeat it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faces.fuse.conftest import MountedDrive

STEPS = int(os.environ.get("KELP_FUSE_STEPS", "600"))
SEED = int(os.environ.get("KELP_FUSE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)

_NAMES = ("a", "b", "Ä", "한국", "x y", "long" * 30, "d1", "d2")
_FLAGS = (
    os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDONLY | os.O_DIRECTORY,
)  # fmt: skip
_LARGEST = 300_000
# ext4 and tmpfs name another of two errors that both are true, and POSIX allows either.
_ALIKE = {errno.ENOTEMPTY: errno.EEXIST}


class Side:
    """One of the two: runs a step, gives what it answered. Descriptors have the same numbers on both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[int, int] = {}

    def do(self, call: Callable[[Side], Any]) -> Any:
        try:
            return call(self)
        except OSError as error:
            return "error", errno.errorcode[_ALIKE.get(error.errno or 0, error.errno or 0)]

    def at(self, path: str) -> Path:
        return self.root / path

    def close(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):
                os.close(file)


class Steps:
    """Chooses what comes next; a step is a function of a side, and everything random in it is chosen before."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.open: list[int] = []  # numbers of descriptors
        self._next = 0

    def path(self) -> str:
        return "/".join(self.random.choice(_NAMES) for _ in range(self.random.choice((1, 1, 2, 2, 3))))

    def next(self) -> tuple[str, Callable[[Side], Any]]:
        on_files = (self.write, self.write, self.read, self.truncate, self.fstat, self.fsync, self.close, self.close)
        on_names = (
            self.opens, self.opens, self.mkdir, self.mkdir, self.rmdir, self.unlink, self.rename, self.rename,
            self.stat, self.listdir, self.truncate_path, self.chmod, self.utime, self.whole,
        )  # fmt: skip
        many = len(self.open) > 12
        step = (
            self.close
            if many
            else self.random.choice(on_files if self.open and self.random.random() < 0.5 else on_names)
        )
        return step()

    # --- names ---

    def opens(self) -> tuple[str, Callable[[Side], Any]]:
        path, flags, number = self.path(), self.random.choice(_FLAGS), self._next
        self._next += 1
        self.open.append(number)

        def call(side: Side) -> str:
            side.files[number] = os.open(side.at(path), flags, 0o644)
            return "opened"

        return f"open {path} {flags:#o} as {number}", call

    def mkdir(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"mkdir {path}", lambda side: os.mkdir(side.at(path))

    def rmdir(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"rmdir {path}", lambda side: os.rmdir(side.at(path))

    def unlink(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"unlink {path}", lambda side: os.unlink(side.at(path))

    def rename(self) -> tuple[str, Callable[[Side], Any]]:
        source, target = self.path(), self.path()
        return f"rename {source} {target}", lambda side: os.rename(side.at(source), side.at(target))

    def stat(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"stat {path}", lambda side: looks(os.stat(side.at(path)))

    def listdir(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"listdir {path}", lambda side: sorted(os.listdir(side.at(path)))

    def truncate_path(self) -> tuple[str, Callable[[Side], Any]]:
        path, size = self.path(), self.random.randrange(_LARGEST)
        return f"truncate {path} {size}", lambda side: os.truncate(side.at(path), size)

    def chmod(self) -> tuple[str, Callable[[Side], Any]]:
        path, mode = self.path(), self.random.choice((0o600, 0o644, 0o755, 0o4711))
        return f"chmod {path} {mode:o}", lambda side: os.chmod(side.at(path), mode)

    def utime(self) -> tuple[str, Callable[[Side], Any]]:
        path, time = self.path(), self.random.randrange(1 << 60)

        def call(side: Side) -> int:
            os.utime(side.at(path), ns=(time, time))
            info = os.stat(side.at(path))
            return info.st_mtime_ns

        return f"utime {path} {time}", call

    def whole(self) -> tuple[str, Callable[[Side], Any]]:
        path = self.path()
        return f"read all of {path}", lambda side: side.at(path).read_bytes()

    # --- descriptors ---

    def write(self) -> tuple[str, Callable[[Side], Any]]:
        number, data = self.random.choice(self.open), self.random.randbytes(self.random.choice((1, 100, 4096, 70_000)))
        at = self.random.randrange(_LARGEST)
        return f"write {len(data)} at {at} to {number}", lambda side: os.pwrite(side.files[number], data, at)

    def read(self) -> tuple[str, Callable[[Side], Any]]:
        number, at = self.random.choice(self.open), self.random.randrange(_LARGEST)
        return f"read at {at} of {number}", lambda side: os.pread(side.files[number], 50_000, at)

    def truncate(self) -> tuple[str, Callable[[Side], Any]]:
        number, size = self.random.choice(self.open), self.random.randrange(_LARGEST)
        return f"ftruncate {number} {size}", lambda side: os.ftruncate(side.files[number], size)

    def fstat(self) -> tuple[str, Callable[[Side], Any]]:
        number = self.random.choice(self.open)
        return f"fstat {number}", lambda side: looks(os.fstat(side.files[number]))

    def fsync(self) -> tuple[str, Callable[[Side], Any]]:
        number = self.random.choice(self.open)
        return f"fsync {number}", lambda side: os.fsync(side.files[number])

    def close(self) -> tuple[str, Callable[[Side], Any]]:
        number = self.random.choice(self.open)
        self.open.remove(number)
        return f"close {number}", lambda side: os.close(side.files.pop(number))


def looks(info: os.stat_result) -> tuple[int, int]:
    """Mode and size; a folder's size is each file system's own."""
    return info.st_mode, info.st_size if not info.st_mode & 0o040000 else 0


def tree(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), root)] = os.stat(os.path.join(folder, name)).st_mode
        for name in files:
            path = Path(folder, name)
            found[os.path.relpath(path, root)] = (looks(path.stat()), path.read_bytes())
    return found


def test_a_mount_and_a_local_folder_do_the_same(mounted: MountedDrive, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    sides, steps = (Side(local), Side(mounted.path)), Steps(SEED)
    done: list[str] = []
    try:
        for _ in range(STEPS):
            words, call = steps.next()
            answers = [side.do(call) for side in sides]
            if isinstance(answers[0], tuple) and answers[0][0] == "error" and words.startswith("open "):
                steps.open.pop()
            done.append(words)
            assert answers[0] == answers[1], f"seed {SEED}, step {len(done)}:\n" + "\n".join(done[-30:])
    finally:
        for side in sides:
            side.close()
    assert tree(mounted.path) == tree(local), f"seed {SEED}: " + "\n".join(done[-30:])
    remembered = tree(mounted.path)
    mounted.unmount()
    mounted.start()
    assert tree(mounted.path) == remembered, f"seed {SEED}: another after it was mounted again"
