"""An upload in parts into a vault that is given up: nothing of it stays, with the key or without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.leaks import leaked
from tests.rooms.core.test_sessions import MIB, Upload, pattern
from tests.rooms.vault.drive import VaultDrive, close
from vfs.errors import KeyMissing, SessionNotFound, StoreUnavailable, UploadIncomplete
from vfs.model import Expected
from vfs.operations import session_ending, session_expiry, session_parts, sessions
from vfs.operations.sessions import Protocol, Status
from vfs.storage.wrappers import FailingObjectStore, Failure, When

NAME = "Plumfitzel draft.bin"
PROTOCOLS = pytest.mark.parametrize("protocol", list(Protocol))


class InVault(Upload):
    def __init__(self, drive: VaultDrive, protocol: Protocol) -> None:
        self.drive, self.kelp, self.caller, self.protocol = drive, drive.kelp, drive.editor, protocol
        more = {"protocol": protocol, "metadata": f"filename {NAME}" if protocol is Protocol.TUS else None}
        uuid = drive.entry("").uuid
        self.uuid = sessions.begin(self.kelp, self.caller, uuid, NAME, 30 * MIB, mime_type="x/plumfitzel", **more).uuid

    def fill(self) -> None:
        """Parts of one object and of several, one sent twice, one cut."""
        if self.protocol is Protocol.TUS:
            self.append(0, pattern(9 * MIB))
            self.append(9 * MIB, b"some")
            return
        self.put(1, pattern(9 * MIB))
        self.put(3, b"some")
        self.put(3, b"again")
        with pytest.raises(UploadIncomplete):
            session_parts.put(self.kelp, self.caller, self.uuid, 2, _cut(), expected=Expected(length=20 * MIB))

    def abort(self) -> Status:
        return sessions.abort(self.kelp, self.caller, self.uuid, self.protocol)


def _cut() -> Iterator[bytes]:
    yield from (pattern(MIB) for _ in range(9))
    raise UploadIncomplete("cut")


def require_nothing(drive: VaultDrive, entries: int) -> None:
    assert drive.objects() == []
    for table in ("upload_parts", "objects", "contents", "file_parts", "unfinished_objects"):
        assert drive.sql(f"SELECT * FROM {table}") == [], table
    assert drive.sql("SELECT COUNT(*) FROM entries") == [(entries,)]
    assert leaked(drive.kelp, ("plumfitzel",)) == []
    drive.mirror()
    assert drive.problems(mirrored=True) == []


@PROTOCOLS
@pytest.mark.parametrize("has_key", [True, False], ids=["open", "closed"])
def test_nothing_stays_of_one_that_is_given_up(drive: VaultDrive, protocol: Protocol, has_key: bool) -> None:
    entries = drive.sql("SELECT COUNT(*) FROM entries")[0][0]
    upload = InVault(drive, protocol)
    upload.fill()
    assert drive.objects() != []
    if not has_key:
        close(drive.kelp)
    assert upload.abort() is Status.ABORTED
    require_nothing(drive, entries)
    with pytest.raises(SessionNotFound if has_key else KeyMissing):
        session_ending.complete(drive.kelp, drive.editor, upload.uuid, protocol=protocol)


@PROTOCOLS
def test_what_the_cache_does_not_give_back_then_a_batch_removes(drive: VaultDrive, protocol: Protocol) -> None:
    entries = drive.sql("SELECT COUNT(*) FROM entries")[0][0]
    upload = InVault(drive, protocol)
    upload.fill()
    cache = FailingObjectStore(drive.kelp.cache)
    for call in range(1, 20):
        cache.failures.plan(Failure("delete", StoreUnavailable("the cache is away"), call, When.BEFORE))
    upload.kelp = replace(drive.kelp, cache=cache)
    assert upload.abort() is Status.ABORTED
    assert drive.objects() != []
    close(drive.kelp)
    assert session_expiry.expire(drive.kelp).count == 1
    require_nothing(drive, entries)
