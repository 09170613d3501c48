"""The README's first lines, on a fresh clone without an environment: `make drive`, paste the line, see the file."""

from __future__ import annotations

import os
import pty
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pytest

from tests.faces.clients import needs
from tests.services.child import free_port
from vfs.bootstrap import build
from vfs.operations import checking
from vfs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
INSTALLING = 240.0  # seconds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), needs("curl")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing else."""
    if not (shutil.which("git") and shutil.which("make") and (ROOT / ".git").exists()):
        pytest.skip("needs git, make and a repository")
    folder = tmp_path_factory.mktemp("fresh")
    # A small package, by the ordinary client: without an index nothing can be installed.
    index = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder / "probe"), "click"]
    probe = subprocess.run(index, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no package index can be reached: {probe.stderr.strip().splitlines()[-1]}")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "kelp")], check=True, capture_output=True)
    return folder / "kelp"


@contextmanager
def make_drive(clone: Path, port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`make drive` in the background, and its banner once that is complete. Ends it in every case."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KELP_", "MAKE", "VIRTUAL_"))}
    environ["PIP_NO_COMPILE"] = "1"  # most is never imported here
    making = subprocess.Popen(
        ["make", "drive", f"PORT={port}"],
        cwd=clone, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in chain(making.stdout or (), [""])])
    reader.start()
    with making:
        try:
            printed = ""
            while "Stop with Ctrl-C" not in printed:
                line = lines.get(timeout=INSTALLING)
                assert line, f"make drive ended:\n{printed[-3000:]}"
                printed += line
            yield making, printed
        finally:
            if making.poll() is None:
                os.killpg(making.pid, signal.SIGKILL)
            reader.join()


def paste(line: str, password: str, folder: Path) -> str:
    """Run `line` in a shell with a terminal, as somebody who types `password` when asked; all that it shows."""
    ours, terminal = pty.openpty()
    # The leader of a new session gets the first terminal it opens; curl asks for the password there.
    command = f"exec <>{os.ttyname(terminal)} >&0 2>&0; {line}"
    shell = subprocess.Popen(["sh", "-c", command], cwd=folder, start_new_session=True)
    shown = b""
    while b"assword" not in shown:
        shown += os.read(ours, 1024)
    os.write(ours, f"{password}\n".encode())
    assert shell.wait(60) == 0, shown + os.read(ours, 4096)
    os.close(terminal)
    os.close(ours)
    return shown.decode()


def test_make_drive_paste_the_line_see_the_file(clone: Path, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "plan.txt").write_bytes(b"the plan\n" * 1000)
    with make_drive(clone, port) as (making, banner):
        assert f"http://127.0.0.1:{port}/dav/" in banner
        line = re.search(r"^ *(curl .* -T FILE .*)$", banner, re.MULTILINE)
        password = re.search(r"^ *password +(\S+)$", banner, re.MULTILINE)
        assert line and password, banner
        paste(line[1].replace("FILE", shlex.quote("plan.txt")), password[1], tmp_path)
        waiting = subprocess.run([clone / ".venv/bin/kelp", "sync", "wait", "--timeout", "60"], cwd=clone)
        assert waiting.returncode == 0
        on_nas = list((clone / "kelp-data" / "nas").glob("*__plan.txt"))
        assert [file.read_bytes() for file in on_nas] == [b"the plan\n" * 1000]
        os.kill(_server_below(making.pid), signal.SIGTERM)
        assert making.wait(60) == 0
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == "", "what make drive makes is ignored by git"
    with closing(build(Settings.load(data=clone / "kelp-data"))) as kelp:
        assert checking.check(kelp, mirrored=True).problems == []


def _server_below(make: int) -> int:
    """The process that make runs: its recipe replaces the shell by the server."""
    children = Path(f"/proc/{make}/task/{make}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])
