"""A disk that is full soon, for tests as root; others skip, saying so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, size: str = "2m") -> Iterator[Path]:
    """A tmpfs of `size` mounted at `place` (made if missing) for the length of the block."""
    mount(place, size)
    try:
        yield place
    finally:
        unmount(place)


def mount(place: Path, size: str = "2m") -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "kelp-test", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")


def unmount(place: Path) -> None:
    """Lazily, as an administrator must while a process has the folder open."""
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


@contextmanager
def loop_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """An ext4 file system of its own in a file, mounted at `place`: unlike a tmpfs it has a journal and real blocks."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    image = place.with_suffix(".img")
    place.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(megabytes * 1024 * 1024)
    for command in (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        unmount(place)
        image.unlink()
