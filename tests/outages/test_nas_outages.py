"""The NAS is unmounted, read-only, full, hangs for a minute a call, or for good: clients do not notice.

Nor is anything held against anybody's file. KELP_OUTAGE_SECONDS is how long it is away (5 when unset); from 30 on
Kelp's own times count.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.crash.load import under_load
from tests.outages.nas_places import WAYS
from tests.outages.outage import Drive, alerts_of, drive_on, nas_is, says, settle, suffer, verify, wait_for
from tests.services import hanging_disk

SECONDS = float(os.environ.get("KELP_OUTAGE_SECONDS", "5"))
LONG = SECONDS >= 30
SEED = int(os.environ.get("KELP_CRASH_SEED", "0")) or random.randrange(1, 1_000_000)
IMPATIENT: dict[str, object] = {} if LONG else {"mirror_stall": 2, "mirror_probe": 1, "mirror_lease": 6}
# Seconds. One that hangs is at fault after mirror.stall, and looked at every 5 s; a machine under load is no failure.
_NOTICED = 22.0 if LONG else 90.0
_AT_ONCE = 20.0 if LONG else 45.0  # seconds for a start: less than one call of a NAS that hangs takes

pytestmark = [
    pytest.mark.timeout(400 + 10 * SECONDS),
    pytest.mark.skipif(bool(hanging_disk.missing()), reason=str(hanging_disk.missing())),
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def drive(way: str, tmp_path: Path) -> Iterator[Drive]:
    print(f"KELP_CRASH_SEED={SEED}")
    with drive_on(way, tmp_path, SEED, **IMPATIENT) as made:
        yield made


def _one_alert_up_and_down(drive: Drive) -> None:
    assert alerts_of(drive, "NAS_DOWN") == [True]


def test_clients_do_not_notice(drive: Drive, way: str) -> None:
    course = suffer(drive, way, SECONDS, around=SECONDS if LONG else 2, limit=_NOTICED)
    print(course.report())
    verify(drive)
    _one_alert_up_and_down(drive)
    assert "Traceback" not in (told := drive.server.log_text()), told[-5000:]


@pytest.mark.parametrize("way", ["unmounted", "full", "hanging", "frozen"], indirect=True)
def test_killed_and_started_again_without_the_nas(drive: Drive) -> None:
    """What it was at on the NAS is found out when that is back; until then all goes on as if nothing were."""
    with under_load(drive.clients):
        time.sleep(1)
        drive.nas.go()
        wait_for(drive, "down", _NOTICED)
        time.sleep(1)
    drive.server.kill()
    begun = time.monotonic()
    drive.server.start()
    drive.server.wait_ready(_AT_ONCE)
    print(f"ready after {time.monotonic() - begun:.1f} s")
    with under_load(drive.clients):
        time.sleep(2)
        assert nas_is(drive) == "down"
        drive.nas.come_back()
        wait_for(drive, "up", 60)
    settle(drive)
    verify(drive)
    _one_alert_up_and_down(drive)


@pytest.mark.parametrize("way", ["read-only", "frozen"], indirect=True)
def test_an_admin_sees_the_outage(drive: Drive) -> None:
    """No command waits for a NAS that is known to be away."""
    drive.nas.go()
    with under_load(drive.clients):
        wait_for(drive, "down", _NOTICED)
    said = json.loads(says(drive, "status", "--json", seconds=_AT_ONCE))
    assert "down" in json.dumps(said).lower() or '"up": false' in json.dumps(said).lower(), said
    assert "NAS_DOWN" in says(drive, "alerts", seconds=_AT_ONCE)
    drive.nas.come_back()
    wait_for(drive, "up", 60)


@pytest.mark.parametrize("way", ["unmounted", "frozen"], indirect=True)
def test_stopped_without_the_nas(drive: Drive) -> None:
    """An administrator who restarts the server need not wait for the NAS."""
    drive.nas.go()
    with under_load(drive.clients):
        wait_for(drive, "down", _NOTICED)
    drive.server.stop()
    drive.server.start()
    drive.server.wait_ready(_AT_ONCE)
    drive.nas.come_back()
    settle(drive)
    verify(drive)


@pytest.mark.parametrize("way", ["read-only", "frozen"], indirect=True)
@pytest.mark.skipif(engines.CHOSEN.queue != "redis", reason="only there the mirror has processes of its own")
def test_workers_die_in_the_outage(drive: Drive) -> None:
    with under_load(drive.clients):
        time.sleep(1)
        drive.nas.go()
        wait_for(drive, "down", _NOTICED)
        worker = drive.server.processes()[1]
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        drive.server.start_worker()
        time.sleep(2)
        drive.nas.come_back()
        wait_for(drive, "up", 60)
    settle(drive)
    verify(drive)
    _one_alert_up_and_down(drive)
