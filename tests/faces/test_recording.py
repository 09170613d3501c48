"""`kelp serve --record`: what a client did is played back without code, and says nothing about its user."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import new_drive
from tests.faces.conftest import ServedDrive
from tests.faces.replay_player import PASSWORD, Stage, play
from tests.server_process import PROGRAM, ServerProcess
from vfs.bootstrap import build
from vfs.model import Role

USERS = {"U1": "wilhelmina", "U2": "bartholomew"}
REPLAYS = Path(__file__).with_name("replay")
# What asks for more than clients do: conditions, ranges, cut bodies, two users, odd names.
AGAIN = ["s06_davfs2", "s09_cyberduck", "s10_rclone", "s14_folder_locks", "s16_ranges", "s18_names", "s20_faults"]

CADAVER = """mkcol geheim
cd geheim
put notizen.txt
lock notizen.txt
put notizen.txt
propset notizen.txt farbe zinnober
unlock notizen.txt
move notizen.txt plan.txt
copy plan.txt weiter.txt
ls
get plan.txt fetched
delete weiter.txt
quit
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """A server that records, and the file."""
    folder = tmp_path_factory.mktemp("recording")
    file = folder / "session.replay"
    server = ServerProcess(folder, "--record", str(file))
    with contextlib.closing(build(server.settings)) as kelp:
        for name, role in zip(USERS.values(), (Role.ADMIN, Role.EDITOR), strict=True):
            new_drive.invite(kelp, name, role)
    server.start()
    try:
        server.wait_ready()
        yield server, file
    finally:
        server.kill()


def _cut_out(file: Path, before: int, into: Path) -> Path:
    """What was recorded since the file had `before` bytes, as a file of its own."""
    session = into / "session.replay"
    session.write_bytes(file.read_bytes()[before:])
    return session


def _assert_anonymous(session: Path, *secrets: str) -> None:
    text = session.read_text().casefold()
    for secret in (*secrets, PASSWORD, "Basic ", "127.0.0.1", *USERS.values()):
        assert secret.casefold() not in text, secret


def _play_back(session: Path, drive: ServedDrive) -> int:
    steps = play(
        session,
        Stage(drive.port, f"/dav/{session.parent.name}", {"U1": "admin", "U2": "other"}, keep_connections=False),
    )
    return len(steps)


@pytest.mark.skipif(shutil.which("cadaver") is None, reason="cadaver is not installed")
def test_a_session_of_cadaver(recording: tuple[ServerProcess, Path], shared_drive: ServedDrive, tmp_path: Path) -> None:
    server, file = recording
    before = file.stat().st_size
    (tmp_path / ".netrc").write_text(f'machine 127.0.0.1 login wilhelmina password "{PASSWORD}"\n')
    (tmp_path / "notizen.txt").write_text("streng vertraulich")
    done = subprocess.run(
        ["cadaver", f"http://127.0.0.1:{server.port}/dav/"], input=CADAVER, cwd=tmp_path, capture_output=True,
        env={**os.environ, "HOME": str(tmp_path)}, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (tmp_path / "fetched").read_text() == "streng vertraulich", done.stdout
    session = _cut_out(file, before, tmp_path)
    _assert_anonymous(session, "geheim", "notizen", "zinnober", "vertraulich", "plan.txt")
    assert _play_back(session, shared_drive) >= 15


@pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")
def test_a_session_of_rclone(recording: tuple[ServerProcess, Path], shared_drive: ServedDrive, tmp_path: Path) -> None:
    server, file = recording
    before = file.stat().st_size
    source = tmp_path / "source"
    (source / "Übersicht & Co").mkdir(parents=True)
    (source / "Übersicht & Co" / "Bericht 7.docx").write_bytes(os.urandom(300_000))
    (source / "notizen.txt").write_text("streng vertraulich")
    password = subprocess.run(
        ["rclone", "obscure", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    remote = {
        "URL": f"http://127.0.0.1:{server.port}/dav/",
        "VENDOR": "owncloud",
        "USER": USERS["U1"],
        "PASS": password,
    }
    environ = {**os.environ, **{f"RCLONE_WEBDAV_{name}": value for name, value in remote.items()}}

    def rclone(*words: str) -> str:
        command = ["rclone", "--config", os.devnull, *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stderr

    rclone("copy", str(source), ":webdav:kiste")
    assert "There was nothing to transfer" in rclone("copy", "-v", str(source), ":webdav:kiste")
    rclone("check", str(source), ":webdav:kiste")
    rclone("moveto", ":webdav:kiste/notizen.txt", ":webdav:kiste/anderes.txt")
    rclone("purge", ":webdav:kiste")
    session = _cut_out(file, before, tmp_path)
    _assert_anonymous(session, "Übersicht", "%C3%9Cbersicht", "Bericht", "notizen", "kiste", "vertraulich")
    assert _play_back(session, shared_drive) >= 15


@pytest.mark.parametrize("name", AGAIN)
def test_a_recorded_replay_is_one(
    recording: tuple[ServerProcess, Path], shared_drive: ServedDrive, tmp_path: Path, name: str
) -> None:
    server, file = recording
    before = file.stat().st_size
    played = play(REPLAYS / f"{name}.replay", Stage(server.port, f"/dav/{name}", USERS, keep_connections=True))
    session = _cut_out(file, before, tmp_path)
    _assert_anonymous(session)
    assert _play_back(session, shared_drive) >= len(played)


@pytest.mark.parametrize(
    ("arguments", "reason"), [(["--processes", "2"], "made by one process"), (["--record", "absent/x"], "absent/x")]
)
def test_refusals_leave_nothing_behind(tmp_path: Path, arguments: list[str], reason: str) -> None:
    command = [sys.executable, str(PROGRAM), "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(
        [*command, "--record", "session.replay", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2) and done.stdout == ""
    assert reason in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
