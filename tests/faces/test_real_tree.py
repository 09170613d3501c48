"""A real tree, Python's standard library, copied in by three clients at once, read back, found on the NAS, renamed.

rclone and davfs2 wait more than they work (rclone 1.60 sends a request each 10 ms at most), so they run side by side.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests import warm_starts
from tests.faces.clients import Cadaver, Curl, Login, Rclone, davfs_mount, why_not
from tests.faces.trees import Tree, assert_same, make_source_tree, nas_tree_of, tree_of
from tests.server_process import PASSWORD, PROGRAM, ServerProcess, server_process
from vfs.bootstrap import build
from vfs.operations import checking

FILES = int(os.environ.get("KELP_TEST_FILES", "800"))  # of its some 2,000
CLIENTS = ("rclone", "cadaver", "davfs2")
READERS = {"rclone": "cadaver", "cadaver": "davfs2", "davfs2": "rclone"}  # each tree is read by another client
PARALLEL = 3  # rclones at a time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Copies:
    """A drive with a copy of the tree at `source` in one top folder for each client, `copied[client]` when done."""

    server: ServerProcess
    login: Login
    source: Path
    expected: Tree
    work: Path
    copied: dict[str, Future[None]]

    def nas(self, name: str) -> Tree:
        return nas_tree_of(self.server.nas / name)

    def wait_until_mirrored(self) -> None:
        """`kelp sync wait`, as people run it."""
        place = ["--data", str(self.server.data), "--nas", str(self.server.nas)]
        command = [sys.executable, str(PROGRAM), "sync", "wait", "--timeout", "120", *place]
        waited = warm_starts.run(command, self.server.environ, 180)
        assert waited.returncode == 0, waited.stderr


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    work = tmp_path_factory.mktemp("real")
    source = work / "source"
    assert make_source_tree(source, FILES, FILES) == FILES
    with server_process(work) as server, ThreadPoolExecutor(len(CLIENTS)) as side_by_side:
        login = Login(f"http://127.0.0.1:{server.port}/dav/", "admin", PASSWORD)
        usable = [client for client in CLIENTS if why_not(client) is None]
        copied = {client: side_by_side.submit(COPY[client], login, source, work / "home") for client in usable}
        yield Copies(server, login, source, tree_of(source), work, copied)
        server.stop()
        with closing(build(server.settings)) as kelp:
            assert checking.check(kelp, mirrored=True).problems == []
        log = server.log_text().splitlines()
        assert [line for line in log if " WARNING " in line or " ERROR " in line] == []


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, copies: Copies) -> str:
    """A client whose copy is complete."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    copies.copied[request.param].result()
    return str(request.param)


# --- into the drive ---


def _copy_by_rclone(login: Login, source: Path, home: Path) -> None:
    rclone = Rclone(login)
    tops = sorted(os.listdir(source), key=lambda top: -sum(len(files) for _, _, files in os.walk(source / top)))
    shares = [tops[number::PARALLEL] for number in range(PARALLEL)]  # the biggest folders come first
    rules = [[f"--include=/{top}{'/**' if (source / top).is_dir() else ''}" for top in share] for share in shares]
    _all(lambda share: rclone("copy", *share, "--transfers=4", str(source), ":webdav:rclone"), rules)


def _copy_by_cadaver(login: Login, source: Path, home: Path) -> None:
    files, commands = 0, []
    for here, folders, names in os.walk(source):
        folders.sort()
        there = os.path.normpath(Path("/dav/cadaver", Path(here).relative_to(source)))
        commands += [f"mkcol {there}", f"cd {there}", f"lcd {here}", f"mput {' '.join(sorted(names))}"]
        files += len(names)
    printed = Cadaver(login, home)(*commands)
    folders_made = len(commands) // 4
    assert printed.count(" succeeded.\n") == files + folders_made, printed[-3000:]


def _copy_by_davfs(login: Login, source: Path, home: Path) -> None:
    with davfs_mount(login) as drive:
        subprocess.run(["cp", "-r", str(source), str(drive / "davfs2")], check=True, timeout=300)


COPY: dict[str, Callable[[Login, Path, Path], None]] = {
    "rclone": _copy_by_rclone,
    "cadaver": _copy_by_cadaver,
    "davfs2": _copy_by_davfs,
}


# --- back out ---


def _read_by_rclone(at: Copies, top: str, into: Path) -> None:
    rclone = Rclone(at.login)
    rules = [["--include=/test/**"], ["--exclude=/test/**", "--exclude=/[a-k]*/**"], ["--include=/[a-k]*/**"]]
    _all(lambda share: rclone("copy", *share, "--transfers=4", f":webdav:{top}", str(into)), rules)


def _read_by_cadaver(at: Copies, top: str, into: Path) -> None:
    commands = []
    for here, _, names in os.walk(at.source):
        folder = Path(here).relative_to(at.source)
        (into / folder).mkdir(parents=True)
        there = os.path.normpath(Path("/dav", top, folder))
        commands += [f"cd {there}", f"lcd {into / folder}", f"mget {' '.join(sorted(names))}"]
    Cadaver(at.login, at.work / "home")(*commands)


def _read_by_davfs(at: Copies, top: str, into: Path) -> None:
    with davfs_mount(at.login) as drive:
        subprocess.run(["cp", "-r", str(drive / top), str(into)], check=True, timeout=300)


READ: dict[str, Callable[[Copies, str, Path], None]] = {
    "rclone": _read_by_rclone,
    "cadaver": _read_by_cadaver,
    "davfs2": _read_by_davfs,
}


# --- two new names in a row ---


def _rename_by_rclone(at: Copies, names: list[str]) -> None:
    for old, new in pairwise(names):
        Rclone(at.login)("moveto", f":webdav:{old}", f":webdav:{new}")


def _rename_by_cadaver(at: Copies, names: list[str]) -> None:
    moves = (f"move {old} {new}" for old, new in pairwise(names))
    printed = Cadaver(at.login, at.work / "home")(*moves)
    assert printed.count(" succeeded.\n") == len(names) - 1, printed


def _rename_by_davfs(at: Copies, names: list[str]) -> None:
    with davfs_mount(at.login) as drive:
        for old, new in pairwise(names):
            (drive / old).rename(drive / new)


RENAME: dict[str, Callable[[Copies, list[str]], None]] = {
    "rclone": _rename_by_rclone,
    "cadaver": _rename_by_cadaver,
    "davfs2": _rename_by_davfs,
}


def _all(work: Callable[[list[str]], object], shares: Iterable[list[str]]) -> None:
    """Do all shares at the same time; raises what the first failed one raised."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(work, shares))


# --- the tests, in this order ---


def test_read_back_by_another_client(copies: Copies, client: str) -> None:
    reader = READERS[client]
    if reason := why_not(reader):
        pytest.skip(reason)
    into = copies.work / f"{client}-read"
    READ[reader](copies, client, into)
    assert_same(tree_of(into), copies.expected)


def test_on_the_nas(copies: Copies, client: str) -> None:
    copies.wait_until_mirrored()
    assert_same(copies.nas(client), copies.expected)


def test_renamed_twice_in_a_row(copies: Copies, client: str) -> None:
    names = [client, f"{client}-once", f"{client}-again"]
    RENAME[client](copies, names)
    into = copies.work / names[-1]
    into.mkdir()
    files = [path for path, sum in copies.expected.items() if sum is not None]
    Curl(copies.login).fetch((f"{names[-1]}/{path}" for path in files), into)
    assert_same(tree_of(into / names[-1]), copies.expected)
    copies.wait_until_mirrored()
    assert_same(copies.nas(names[-1]), copies.expected)
    left = {name for name in names[:-1] if (copies.server.nas / name).exists()}
    assert not left and all(Curl(copies.login).status(name, "-I") == 404 for name in names[:-1])
