"""What real clients send, played back: with the mirror at work and stopped, with one server process and with four, and
in a vault.

The files in `replay/` are the scenarios of the compatibility specification, and recordings (`kelp serve --record`).
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import new_drive, vaults
from tests.faces.replay_player import Stage, Transcript, play
from tests.server_process import ServerProcess
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Role
from vfs.operations import backlog, checking
from vfs.operations.backlog import Waited

REPLAYS = sorted(Path(__file__).with_name("replay").glob("*.replay"))
USERS = {"U1": "admin", "U2": "other"}
PATIENCE = 60.0  # seconds

_transcripts: dict[str, tuple[str, Transcript]] = {}  # replay → the first variant that played it, and what came


@dataclass(frozen=True)
class Variant:
    name: str
    processes: int
    stop_mirror: Callable[[Path, Path], contextlib.AbstractContextManager[None]] = field(
        default=lambda data, nas: contextlib.nullcontext()
    )
    mirrored: bool = True
    worker: bool = True
    in_vault: bool = vaults.ALL


@contextlib.contextmanager
def _nobody_runs_the_jobs(data: Path, nas: Path) -> Iterator[None]:
    """The lock that decides which process runs them is ours; where a worker does, there is none."""
    with (data / "jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _the_nas_is_away(data: Path, nas: Path) -> Iterator[None]:
    """An empty folder where it was, as when a share is not mounted."""
    away = nas.with_name("away")
    nas.rename(away)
    nas.mkdir()
    yield
    nas.rmdir()  # nothing was written into it
    away.rename(nas)


VARIANTS = [
    Variant("1 process", 1),
    Variant("4 processes", 4),
    Variant("1 process, no jobs", 1, _nobody_runs_the_jobs, mirrored=False, worker=False),
    Variant("4 processes, no NAS", 4, _the_nas_is_away, mirrored=False),
]
if not vaults.ALL:
    VARIANTS += [
        Variant("1 process, in a vault", 1, in_vault=True),
        Variant("4 processes, in a vault", 4, in_vault=True),
    ]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Variant, Stage]]:
    """A served drive; when all have played, what they left is checked."""
    variant: Variant = request.param
    folder = tmp_path_factory.mktemp("replay")
    server = ServerProcess(folder, worker=variant.worker, server_processes=variant.processes)
    with contextlib.closing(build(server.settings)) as kelp:
        new_drive.invite(kelp, "other", Role.EDITOR)
        if variant.in_vault:
            vaults.make_vault(kelp)
        with variant.stop_mirror(server.data, server.nas):
            server.start()
            try:
                server.wait_ready()
                yield (
                    variant,
                    Stage(
                        server.port, "", USERS, keep_connections=variant.processes == 1,
                        mirror=(lambda: _wait(kelp)) if variant.mirrored else lambda: None,
                        restart=lambda: (server.stop(), server.start(), server.wait_ready()),  # type: ignore[func-returns-value]
                    ),
                )  # fmt: skip
                if variant.mirrored:
                    _wait(kelp)
                server.stop()
            finally:
                server.kill()
        report = checking.check(kelp, mirrored=variant.mirrored)
        assert report.ok, report.problems
    unexpected = [line for line in server.log_text().splitlines() if " ERROR " in line or "Traceback" in line]
    assert not [line for line in unexpected if "the NAS is down" not in line], unexpected


def _wait(kelp: Kelp) -> None:
    assert backlog.wait_until_mirrored(kelp, PATIENCE) is Waited.MIRRORED


@pytest.mark.parametrize("replay", REPLAYS, ids=lambda file: file.stem)
def test_replay(stage: tuple[Variant, Stage], replay: Path) -> None:
    variant, bare = stage
    drive = f"/dav/{vaults.FOLDER}/{replay.stem}" if variant.in_vault else f"/dav/{replay.stem}"
    here = Stage(bare.port, drive, bare.users, bare.keep_connections, bare.mirror, bare.restart)
    transcript = play(replay, here)
    first, expected = _transcripts.setdefault(replay.name, (variant.name, transcript))
    assert transcript == expected, f"{variant.name} is unlike {first}"
