"""Several processes in one folder of a mount: exactly one wins what only one can have, nothing is lost, mixed or seen
twice. Each test also runs on a local folder, which shows that it asks for no more than that.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.faces.fuse import divergences
from tests.faces.fuse.conftest import new_processes
from tests.faces.fuse.sides import NOREPLACE, renameat2
from tests.faces.fuse.test_names import add_rows

PROCESSES = 4
LONG = bool(os.environ.get("KELP_FUSE_STEPS"))
_ROUNDS = 1000 if LONG else 20
_NAMES = 5000 if LONG else 1500


@pytest.fixture(params=["mount", "local"])
def where(request: pytest.FixtureRequest) -> Path:
    """An empty folder."""
    folder: Path = request.getfixturevalue("place" if request.param == "mount" else "tmp_path")
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """New processes, and no copies of this one."""
    with ProcessPoolExecutor(PROCESSES, new_processes(__name__)) as pool:
        yield pool


def together(pool: ProcessPoolExecutor, *calls: tuple[Callable[..., object], *tuple[object, ...]]) -> list[object]:
    """What each of them gave; all at the same time, from a moment on that all know."""
    begin = time.time() + 0.3
    return [done.result() for done in [pool.submit(_at, begin, *call) for call in calls]]


def _at(begin: float, call: Callable[..., object], *arguments: object) -> object:
    time.sleep(max(0.0, begin - time.time()))
    return call(*arguments)


# --- what only one can have ---


def _win(folder: Path, own: int, rounds: int) -> list[tuple[str, int]]:
    won: list[tuple[str, int]] = []
    for number in range(rounds):
        for name, call in _contests(folder, own, number).items():
            with suppress(FileExistsError, FileNotFoundError):
                call()
                won.append((name, number))
    return won


def _contests(folder: Path, own: int, number: int) -> dict[str, Callable[[], object]]:
    mine = folder / f"mine {own} {number}"
    mine.touch()
    exclusive = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return {
        "create": lambda: os.close(os.open(folder / f"created {number}", exclusive)),
        "mkdir": lambda: os.mkdir(folder / f"folder {number}"),
        "symlink": lambda: os.symlink("nowhere", folder / f"link {number}"),
        "take": lambda: renameat2(mine, folder / f"taken {number}", NOREPLACE),
        "move": lambda: os.rename(folder / f"there {number}", folder / f"moved {own} {number}"),
        "unlink": lambda: os.unlink(folder / f"doomed {number}"),
        "rmdir": lambda: os.rmdir(folder / f"doomed folder {number}"),
    }


def test_exactly_one_wins(pool: ProcessPoolExecutor, where: Path) -> None:
    for number in range(_ROUNDS):
        (where / f"there {number}").touch()
        (where / f"doomed {number}").touch()
        (where / f"doomed folder {number}").mkdir()
    won = together(pool, *((_win, where, own, _ROUNDS) for own in range(PROCESSES)))
    wins = sorted(win for of_one in won for win in of_one)  # type: ignore[attr-defined]
    kinds = ("create", "mkdir", "move", "rmdir", "symlink", "take", "unlink")
    assert wins == [(kind, number) for kind in kinds for number in range(_ROUNDS)]


# --- one file ---


def _append(path: Path, own: int, count: int) -> None:
    choice = random.Random(own)
    for number in range(count):
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        for part in range(choice.randrange(1, 4)):
            line = f"{own} {number} {part} "
            os.write(fd, (line + "." * choice.randrange(500) + "\n").encode())
        os.close(fd)


def test_what_several_append_is_all_there(pool: ProcessPoolExecutor, where: Path) -> None:
    (where / "log").touch()
    together(pool, *((_append, where / "log", own, _ROUNDS) for own in range(PROCESSES)))
    lines = (where / "log").read_text().splitlines()
    for own in range(PROCESSES):
        _append_to = where / f"of {own}"
        _append_to.touch()
        _append(_append_to, own, _ROUNDS)
        assert [line for line in lines if line.startswith(f"{own} ")] == _append_to.read_text().splitlines()
    assert len(lines) == sum(len((where / f"of {own}").read_text().splitlines()) for own in range(PROCESSES))


def _replace(folder: Path, own: int, count: int) -> None:
    for number in range(count):
        new = folder / f"new {own}"
        new.write_bytes(bytes([own * 50 + number % 50]) * (1000 + own * 70_000))
        os.rename(new, folder / "it")


def _opened(path: Path) -> BinaryIO:
    while True:
        try:
            return path.open("rb")
        except OSError as error:
            if error.errno != errno.ESTALE or "twice-replaced" not in divergences.named():
                raise


def _read(folder: Path, count: int) -> None:
    for _ in range(count):
        with _opened(folder / "it") as file:
            first = file.read(500)
            time.sleep(0.001)
            body = first + file.read()
            size = os.fstat(file.fileno()).st_size
        assert len(set(body)) == 1, "bytes of two saves"
        assert len(body) == size == 1000 + body[0] // 50 * 70_000


def test_who_reads_what_others_replace_sees_one_whole_file(pool: ProcessPoolExecutor, where: Path) -> None:
    _replace(where, 0, 1)
    writers = ((_replace, where, own, _ROUNDS) for own in range(2))
    together(pool, *writers, *((_read, where, _ROUNDS * 2) for _ in range(2)))


# --- one folder ---


def _come_and_go(folder: Path, own: int, seconds: float) -> None:
    choice, there, until = random.Random(own), set[str](), time.time() + seconds
    while time.time() < until:
        name, other = (f"comes {own} {choice.randrange(200)}" for _ in range(2))
        if name not in there:
            (folder / name).touch()
            there.add(name)
        elif choice.random() < 0.5:
            os.unlink(folder / name)
            there.discard(name)
        elif other not in there:
            os.rename(folder / name, folder / other)
            there.symmetric_difference_update((name, other))


def _list(folder: Path, count: int, seconds: float) -> int:
    """How often. By pieces, some of them long after others."""
    done, until = 0, time.time() + seconds
    while time.time() < until:
        seen: list[str] = []
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                seen.append(entry.name)
                if number % 300 == 299:
                    time.sleep(0.005)
        stays = sorted(name for name in seen if name.startswith("stays"))
        assert stays == [f"stays {number:05}" for number in range(count)]
        done += 1
    return done


def _fill(request: pytest.FixtureRequest, folder: Path, count: int) -> None:
    """With empty folders; on a mount in one step, as another node would."""
    if "place" in request.fixturenames:
        add_rows(request.getfixturevalue("shared_mount"), folder.stat().st_ino, count, "stays")
        return
    for number in range(count):
        os.mkdir(folder / f"stays {number:05}")


def test_a_big_folder_is_listed_right_while_names_come_and_go(
    pool: ProcessPoolExecutor, where: Path, request: pytest.FixtureRequest
) -> None:
    _fill(request, where, _NAMES)
    seconds = 60 if LONG else 1.5
    churn = ((_come_and_go, where, own, seconds) for own in range(2))
    counts = together(pool, *churn, *((_list, where, _NAMES, seconds) for _ in range(2)))
    assert all(counts[2:])


def test_a_position_in_a_folder_can_be_gone_back_to(place: Path, request: pytest.FixtureRequest) -> None:
    """telldir(3) and seekdir(3), as Samba and NFS servers use them."""
    _fill(request, place, 1000)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    folder = ctypes.c_void_p(libc.opendir(os.fsencode(place)))
    positions, names = [], []
    while True:
        positions.append(libc.telldir(folder))
        entry = libc.readdir(folder)
        if not entry:
            break
        names.append(ctypes.string_at(entry + 19))  # dirent64.d_name on Linux
    for number in (5, 999, 400, 2, 401):
        libc.seekdir(folder, ctypes.c_long(positions[number]))
        assert ctypes.string_at(libc.readdir(folder) + 19) == names[number]
    libc.closedir(folder)
    assert len(set(names)) == 1002
