"""Trees that were there before Kelp: adopted, read back, worked on; then the database is lost and made anew.

KELP_TEST_TREE: how many files the generated tree has (800 unless told, in a share of all variants 400; the issue asks
for 100,000).
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from blake3 import blake3

from tests import sampling, warm_starts
from tests.faces.trees import Tree, assert_same, make_source_tree
from tests.nasty_names import NASTY_NAMES
from tests.server_process import PROGRAM, ServerProcess
from vfs import names
from vfs.bootstrap import build
from vfs.errors import InvalidName
from vfs.operations import checking

FILES = int(os.environ.get("KELP_TEST_TREE", sampling.usual("800", "400")))
READERS = 6
_HREF = re.compile(rb"<(?:D:)?href>([^<]*)</(?:D:)?href>", re.IGNORECASE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + FILES // 10)]


def make_tree(root: Path, files: int) -> None:
    """Wide, deep, nasty, empty; a name in two normal forms; a link; a big file."""
    dice = random.Random(files)
    root.mkdir(parents=True, exist_ok=True)
    deep = root / "deep" / "/".join("down" for _ in range(40))
    folders = [root / "wide", deep, *(root / f"a{n % 17}" / f"b{n % 101}" for n in range(min(400, files)))]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(files - len(NASTY_NAMES) - 4):
        folder = folders[0] if number % 3 == 0 else folders[number % len(folders)]
        size = 0 if number % 10 == 0 else dice.randrange(1, 3000)
        (folder / f"file {number}.{'txt' if number % 2 else 'bin'}").write_bytes(dice.randbytes(size))
    nasty = root / "nasty"
    nasty.mkdir()
    for name in NASTY_NAMES:
        (nasty / name).write_bytes(name.encode())
    for form in ("NFC", "NFD"):
        (root / unicodedata.normalize(form, "très été.txt")).write_bytes(form.encode())  # type: ignore[arg-type]
    (root / "link").symlink_to("wide")
    (root / "big").write_bytes(dice.randbytes(20_000_000))
    for path in root.rglob("*"):
        if not path.is_symlink() and dice.random() < 0.1:
            os.utime(path, (dice.randrange(0, 1 << 31),) * 2)


def tree_of(root: Path) -> Tree:
    """What a drive can show of what is below `root`; of two names that are one for it, either."""
    found: Tree = {}
    for here, folders, files in os.walk(root):
        at = Path(here)
        folders[:] = [name for name in folders if _shown(at / name)]
        for name in filter(lambda name: _shown(at / name), (*folders, *files)):
            path = at / name
            found[str(path.relative_to(root))] = None if path.is_dir() else blake3(path.read_bytes()).hexdigest()
    return found


def _shown(path: Path) -> bool:
    if path.name == ".kelp" or path.is_symlink():
        return False
    with contextlib.suppress(InvalidName):
        return bool(names.check_segment(path.name))
    return False


def without_twins(tree: Tree) -> Tree:
    """One of names that differ in their normal form only."""
    return {path: sum for path, sum in tree.items() if not path.endswith("té.txt") and "te\u0301.txt" not in path}


class Client:
    """Everything that is on a drive, by PROPFIND and GET."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def tree(self) -> Tree:
        found: Tree = {}
        with ThreadPoolExecutor(READERS) as readers:
            folders = [""]
            while folders:
                listed = list(readers.map(self._list, folders))
                folders = [path for inner in listed for path, is_folder in inner if is_folder]
                files = [path for inner in listed for path, is_folder in inner if not is_folder]
                found |= dict.fromkeys(folders)
                for share in readers.map(self._sums, [files[n::READERS] for n in range(READERS)]):
                    found |= share
        return found

    def _list(self, folder: str) -> list[tuple[str, bool]]:
        own = quote(f"/dav/{folder}/" if folder else "/dav/")
        body = self.ask("PROPFIND", own, 207, headers={"Depth": "1"})
        hrefs = [unquote(href.decode().replace("&amp;", "&")) for href in _HREF.findall(body)]
        return [(href.removeprefix("/dav/").rstrip("/"), href.endswith("/")) for href in hrefs if href != unquote(own)]

    def _sums(self, paths: Iterable[str]) -> Tree:
        with closing(self._server.connect()) as connection:
            return {
                path: blake3(self.ask("GET", quote(f"/dav/{path}"), 200, on=connection)).hexdigest() for path in paths
            }

    def ask(
        self, method: str, path: str, status: int, body: bytes | None = None, *,
        on: http.client.HTTPConnection | None = None, headers: dict[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        with contextlib.nullcontext(on) if on else closing(self._server.connect()) as connection:
            connection.request(method, path, body, {"Authorization": self._server.basic, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        assert response.status == status, (method, path, response.status, answer[:300])
        return answer

    def put(self, path: str, content: bytes) -> None:
        self.ask("PUT", quote(f"/dav/{path}"), 204, content)

    def move(self, source: str, target: str) -> None:
        there = f"http://127.0.0.1:{self._server.port}{quote(f'/dav/{target}')}"
        self.ask("MOVE", quote(f"/dav/{source}"), 201, headers={"Destination": there})

    def delete(self, path: str) -> None:
        self.ask("DELETE", quote(f"/dav/{path}"), 204)


def command(server: ServerProcess, *words: str, kill_after: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run `kelp …` for the drive of a server; SIGKILL it after so many seconds, when it runs so long."""
    place = ["--data", str(server.data), "--nas", str(server.nas)]
    line = [sys.executable, str(PROGRAM), *words, *place]
    if kill_after is None:
        return warm_starts.run(line, server.environ)
    process = subprocess.Popen(line, env=server.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def killed_and_finished(server: ServerProcess, *words: str) -> float:
    """SIGKILL at several moments, then to the end; seconds of the last run."""
    for seconds in (0.6, 0.9, 1.3):
        done = command(server, *words, kill_after=seconds)
        if done.returncode == 0:
            return 0.0
    begun = time.monotonic()
    done = command(server, *words)
    # Killed when all was done already, it refuses to begin anew; what is there is looked at in any case.
    assert done.returncode == 0 or "has files already" in done.stderr, done.stderr
    print(done.stdout.partition("\n")[0], f"{time.monotonic() - begun:.1f} s")
    return time.monotonic() - begun


@contextlib.contextmanager
def started(server: ServerProcess) -> Iterator[Client]:
    server.start()
    try:
        server.wait_ready()
        yield Client(server)
    finally:
        server.stop()


def test_adopted_worked_on_lost_and_recovered(disk_path: Path) -> None:
    """On a disk: in memory (tmpfs) the other of the twins was shown after the loss; why is not known yet."""
    old = ServerProcess(disk_path / "old", new=True)
    make_tree(old.nas, FILES)
    make_source_tree(old.nas / "python", sampling.usual(500, 200))
    expected = tree_of(old.nas)
    inodes = {path: os.lstat(old.nas / path).st_ino for path in expected}
    killed_and_finished(old, "nas", "adopt")
    assert {path: os.lstat(old.nas / path).st_ino for path in expected} == inodes  # nothing was rewritten
    assert_same(tree_of(old.nas), expected)
    with started(old) as client:
        assert_same(without_twins(client.tree()), without_twins(expected))
        _work(client, old)
        shown = client.tree()
    with closing(build(old.settings)) as kelp:
        assert checking.check(kelp, deep=False).problems == []
    on_nas = tree_of(old.nas)

    new = ServerProcess(disk_path / "new", new=True)
    new.nas = old.nas
    shutil.rmtree(old.data)  # its database and its cache
    killed_and_finished(new, "nas", "recover")
    assert_same(tree_of(old.nas), on_nas)
    with started(new) as client:
        assert_same(client.tree(), shown)


def _work(client: Client, server: ServerProcess) -> None:
    """Each does on the NAS what the names of adopted files say."""
    stamp = names.stamp(os.stat(server.nas / "big").st_mtime_ns)
    first, second, third = sorted(path for path in os.listdir(server.nas / "wide") if path.endswith(".txt"))[:3]
    client.put(f"wide/{first}", b"overwritten")
    client.move(f"wide/{second}", f"nasty/{second}")
    client.move("big", "renamed")
    client.delete(f"wide/{third}")
    done = command(server, "sync", "wait", "--timeout", "120")
    assert done.returncode == 0, done.stderr
    nas = server.nas
    assert (nas / "wide" / first).read_bytes() == b"overwritten"
    assert (nas / "nasty" / second).exists() and not (nas / "wide" / second).exists()
    assert (nas / f"{stamp}__renamed").stat().st_size == 20_000_000 and not (nas / "big").exists()
    assert [path.name for path in nas.glob(".trash/*/*")] == [third]
