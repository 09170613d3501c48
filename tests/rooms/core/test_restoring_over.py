"""A bad object gives way to its replacement in one step: it may have the only good copy of what the NAS has wrong."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests import engines, warm_starts
from tests.rooms.core.drive import SECOND, Drive
from tests.rooms.core.rot import in_cache, mirrored, rot_cache, rot_nas, some_bytes, statuses
from vfs.errors import ContentCorrupt, ContentLost, NoSpace, StoreUnavailable
from vfs.model import BLOCK_SIZE, Content
from vfs.operations import orphans, restoring
from vfs.operations.restoring import Outcome
from vfs.storage.wrappers import FailingObjectStore, Failure, When

DATA = some_bytes(2 * BLOCK_SIZE)
SEEN = ContentCorrupt("seen")
MOST = 40  # instants at which a restore may be killed

# Restores the first object of a content, and dies at the n-th instant of it.
RESTORE = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tests.crash.dying import Countdown, Store
from vfs.bootstrap import build
from vfs.errors import ContentCorrupt
from vfs.operations import orphans, restoring
from vfs.settings import Settings

class Clock:
    def now_ns(self):
        return int(sys.argv[2])

kelp = build(Settings.load(None, os.environ, data=Path(sys.argv[1])), clock=Clock())
with kelp.database.read() as tx:
    content = tx.contents.get(sys.argv[3])
countdown = Countdown(int(sys.argv[4]), Path(sys.argv[5]))
kelp.cache.put("first", [b""], replace=True)  # it makes the folders
countdown.arm()
dying = replace(kelp, cache=Store(kelp.cache, countdown))
assert restoring.restore_part(dying, content, 0, ContentCorrupt("seen")) is restoring.Outcome.RESTORED
countdown.disarm()
kelp.close()
"""


@pytest.fixture
def content(drive: Drive) -> Content:
    return mirrored(drive, "f", DATA)


def rot_both(drive: Drive, content: Content) -> None:
    """Each side has one block wrong, and is all there is of the other's."""
    rot_cache(drive, content, 10)
    rot_nas(drive, "f", BLOCK_SIZE + 10)


def is_whole_again(drive: Drive, content: Content) -> bool:
    drive.clock.advance(601)
    restoring.give_up_stale(drive.kelp)
    outcome = restoring.restore_part(drive.kelp, content, 0, SEEN)
    return outcome in (Outcome.RESTORED, Outcome.PRESENT) and in_cache(drive, content.parts[0].key) == DATA


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("error", [StoreUnavailable("away"), NoSpace("full")])
def test_a_put_that_fails(drive: Drive, content: Content, error: Exception, when: When) -> None:
    rot_both(drive, content)
    cache = FailingObjectStore(drive.kelp.cache)
    cache.failures.plan(Failure("put", error, 2, when))  # the first is refused: there is an object
    with pytest.raises(type(error)):
        restoring.restore_part(replace(drive.kelp, cache=cache), content, 0, SEEN)
    assert statuses(drive, content) == {"MISSING"}
    assert is_whole_again(drive, content)


def test_killed_at_any_instant(drive: Drive, content: Content, tmp_path: Path) -> None:
    data, note = drive.kelp.settings.data, tmp_path / "instant"
    environ = {**os.environ, **engines.environ_of(data)}
    died: list[str] = []
    while len(died) < MOST:
        rot_both(drive, content)
        arguments = (str(data), str(drive.clock.now), content.id, str(len(died) + 1), str(note))
        code = warm_starts.run([sys.executable, "-c", RESTORE, *arguments], environ).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL and is_whole_again(drive, content), note.read_text()
        died.append(note.read_text().split()[0])
        rot_nas(drive, "f", BLOCK_SIZE + 10)  # as it was
    assert "put," in died and "after" in died and len(died) < MOST


@pytest.mark.parametrize("wrong", [DATA[::-1], DATA[:-1], b""])
def test_wrong_bytes_are_never_put(drive: Drive, content: Content, wrong: bytes) -> None:
    rot_both(drive, content)
    before = in_cache(drive, content.parts[0].key)
    with pytest.raises(ContentLost):
        restoring.restore_part(drive.kelp, content, 0, SEEN, [wrong])
    assert in_cache(drive, content.parts[0].key) == before
    assert is_whole_again(drive, content), "once somebody asks"


@pytest.mark.parametrize("bad_on_nas", [True, False])
def test_what_waits_for_its_replacement_is_no_orphan(
    drive: Drive, content: Content, bad_on_nas: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row says MISSING, and a file on the NAS is recorded: that does not prove what is in it."""
    monkeypatch.setattr(orphans, "_ORPHAN_NS", -3600 * SECOND)  # all that is there is old
    rot_both(drive, content)
    drive.damage("UPDATE objects SET status = 'MISSING'")
    if not bad_on_nas:
        rot_nas(drive, "f", BLOCK_SIZE + 10)  # as it was
    assert orphans.seek_orphans(drive.kelp).count == (0 if bad_on_nas else 1)
    assert is_whole_again(drive, content)
