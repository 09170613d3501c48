"""Uploads in parts into a vault: each part is sealed as it comes, and what opens it survives with the session."""

from __future__ import annotations

import random
from contextlib import closing

import pytest

from tests.rooms.core.drive import Clock, Drive
from tests.rooms.core.test_sealed_contents import aged
from tests.rooms.core.vault_of_drive import cached, content_of, forget_keys, stored_bytes
from tests.vaults import make_vault
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, InvalidRequest, KeyMissing, PartsIncomplete, UploadIncomplete
from vfs.model import PART_SIZE, Entry, Expected
from vfs.operations import (
    checking,
    contents,
    orphans,
    session_ending,
    session_expiry,
    session_parts,
    session_presigned,
    sessions,
)
from vfs.operations.sessions import Progress, Protocol, Status

HOUR = 3600


def data_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def vault(drive: Drive) -> Drive:
    make_vault(drive.kelp)
    return drive


class Upload:
    def __init__(self, drive: Drive, size: int | None = None, protocol: Protocol = Protocol.PARTS) -> None:
        self.drive, self.kelp, self.protocol = drive, drive.kelp, protocol
        self.caller = drive.editor
        folder = drive.entry("vault").uuid
        self.uuid = sessions.begin(drive.kelp, drive.editor, folder, "a.bin", size, protocol=protocol).uuid

    def put(self, number: int, data: bytes, **more: object) -> sessions.SentPart:
        expected = Expected(length=len(data), **more)  # type: ignore[arg-type]
        return session_parts.put(
            self.kelp, self.caller, self.uuid, number, contents.pieces(data), expected=expected
        )  # fmt: skip

    def append(self, offset: int, data: bytes) -> int:
        return session_parts.append(
            self.kelp, self.caller, self.uuid, offset, contents.pieces(data), expected=Expected(length=len(data))
        )

    def complete(self, kelp: Kelp | None = None, **more: object) -> Entry:
        kelp = kelp or self.kelp
        return session_ending.complete(kelp, self.caller, self.uuid, protocol=self.protocol, **more)  # type: ignore[arg-type]

    @property
    def now(self) -> Progress:
        return sessions.progress(self.kelp, self.caller, self.uuid, self.protocol)


def test_parts_in_any_order_and_again_become_a_file(vault: Drive) -> None:
    one, two, three = data_of(PART_SIZE + 77, 1), data_of(5, 2), data_of(3 * 1024 * 1024, 3)
    upload = Upload(vault, len(one + two + three))
    upload.put(3, three)
    upload.put(1, data_of(100, 9))
    assert upload.put(1, one).size == len(one)
    upload.put(2, two)
    assert upload.now.sent == len(one + two + three)
    assert [part.size for part in upload.now.parts] == [len(one), len(two), len(three)]
    before = set(cached(vault))
    entry = upload.complete()
    assert entry.size == len(one + two + three)
    assert vault.read("vault/a.bin") == one + two + three
    assert set(cached(vault)) == before == {part.key for part in content_of(vault.kelp, entry).parts}
    assert upload.complete().uuid == entry.uuid, "told again"


@pytest.mark.parametrize("size", [0, 1, PART_SIZE, PART_SIZE + 1])
def test_one_part_becomes_a_file_and_nothing_is_stored_twice(vault: Drive, size: int) -> None:
    upload = Upload(vault, size)
    if size:
        upload.put(1, data_of(size))
    before = set(cached(vault))
    entry = upload.complete()
    assert vault.read("vault/a.bin") == data_of(size)
    assert entry.size == size
    assert set(cached(vault)) == before


def test_bytes_that_go_on_where_the_last_ended(vault: Drive) -> None:
    data = data_of(2 * PART_SIZE + 9)
    upload = Upload(vault, len(data), Protocol.TUS)
    assert upload.append(0, data[:100]) == 100
    assert upload.append(100, data[100:]) == len(data)
    assert upload.now.sent == len(data)
    upload.complete()
    assert vault.read("vault/a.bin") == data


def test_digests_are_compared_with_the_plain_bytes(vault: Drive) -> None:
    import hashlib

    upload = Upload(vault)
    upload.put(1, b"some", md5=hashlib.md5(b"some").hexdigest())
    before = cached(vault)
    with pytest.raises(UploadIncomplete):
        upload.put(1, b"some", md5="0" * 32)
    assert cached(vault) == before


def test_another_process_completes_it(vault: Drive) -> None:
    """Nothing is in memory only: as after a SIGKILL."""
    data = data_of(PART_SIZE + 5)
    upload = Upload(vault)
    upload.put(1, data[:PART_SIZE])
    with closing(build(vault.kelp.settings, clock=Clock(vault.clock.now))) as other:
        upload.kelp = other
        upload.put(2, data[PART_SIZE:])
        upload.complete(other)
    assert vault.read("vault/a.bin") == data


def test_neither_key_nor_plain_byte_is_stored(vault: Drive) -> None:
    upload = Upload(vault)
    upload.put(1, b"a secret of somebody" * 1000)
    upload.put(2, b"a secret of somebody" * 1000)
    rows = vault.sql("SELECT object_key, plain_size, sealed_key FROM upload_parts")
    assert [row[1] for row in rows] == [20_000, 20_000]
    assert len({row[2] for row in rows}) == 2
    assert all(b"secret" not in stored_bytes(vault, row[0]) for row in rows)
    upload.complete()
    assert vault.read("vault/a.bin") == b"a secret of somebody" * 2000


def test_what_it_is_called_is_sealed(vault: Drive) -> None:
    folder = vault.entry("vault").uuid
    told = sessions.begin(vault.kelp, vault.editor, folder, "Ü.odt", 5, mime_type="text/odd", metadata="note Zm9v")
    with vault.kelp.database.read() as tx:
        stored = tx.one("SELECT name, mime_type, metadata FROM upload_sessions")
        (session,) = tx.uploads.unreminded(0, told.expires_ns, 10)
    assert all(text.startswith("\x01") for text in stored) and "odt" not in str(stored)
    assert session.name == "(sealed)", "what alerts have"
    again = sessions.progress(vault.kelp, vault.editor, told.uuid)
    assert (again.name, again.mime_type, again.metadata) == ("Ü.odt", "text/odd", "note Zm9v")
    keyless = forget_keys(vault.kelp)
    assert sessions.abort(keyless, vault.editor, told.uuid) is Status.ABORTED


def test_a_key_of_another_part_does_not_open(vault: Drive) -> None:
    upload = Upload(vault)
    upload.put(1, b"one")
    upload.put(2, b"two")
    (first, second) = vault.sql("SELECT sealed_key FROM upload_parts ORDER BY number")
    with vault.kelp.database.write() as tx:
        tx.run("UPDATE upload_parts SET sealed_key = :key WHERE number = 1", key=second[0])
    with pytest.raises(ContentCorrupt, match="of another part"):
        upload.complete()
    with vault.kelp.database.write() as tx:
        tx.run("UPDATE upload_parts SET sealed_key = :key WHERE number = 1", key=first[0])
    upload.complete()


def test_what_the_cache_lost_must_be_sent_again(vault: Drive) -> None:
    upload = Upload(vault)
    for number in (1, 2, 3):
        upload.put(number, data_of(1000, number))
    ((key,),) = vault.sql("SELECT object_key FROM upload_parts WHERE number = 2")
    vault.kelp.cache.delete(key)
    with pytest.raises(PartsIncomplete) as refused:
        upload.complete()
    assert list(refused.value.numbers) == [2]
    upload.put(2, data_of(1000, 2))
    upload.complete()
    assert vault.read("vault/a.bin") == b"".join(data_of(1000, number) for number in (1, 2, 3))


def test_given_up_or_expired_nothing_is_left(vault: Drive) -> None:
    upload = Upload(vault)
    upload.put(1, data_of(PART_SIZE + 1))
    assert sessions.abort(vault.kelp, vault.editor, upload.uuid) is Status.ABORTED
    assert cached(vault) == {}
    upload = Upload(vault)
    upload.put(1, data_of(PART_SIZE + 1))
    vault.clock.advance(73 * HOUR)
    assert session_expiry.expire(forget_keys(vault.kelp)).count == 1
    assert cached(vault) == {}


def test_parts_are_no_orphans_while_it_runs(vault: Drive) -> None:
    upload = Upload(vault)
    upload.put(1, data_of(PART_SIZE + 1))
    vault.clock.advance(24 * HOUR)
    assert orphans.seek_orphans(aged(vault)).count == 0  # type: ignore[arg-type]
    assert checking.check(vault.kelp).problems == []
    upload.complete()
    assert orphans.seek_orphans(aged(vault)).count == 0  # type: ignore[arg-type]
    assert vault.read("vault/a.bin") == data_of(PART_SIZE + 1)


def test_without_a_key_no_part_is_taken_and_those_that_came_stay(vault: Drive) -> None:
    upload = Upload(vault)
    upload.put(1, data_of(PART_SIZE + 1))
    before, keyless = cached(vault), forget_keys(vault.kelp)
    upload.kelp = keyless
    with pytest.raises(KeyMissing):
        upload.put(2, b"more")
    with pytest.raises(KeyMissing):
        upload.complete(keyless)
    assert cached(vault) == before
    upload.complete(vault.kelp)


def test_parts_of_a_vault_never_go_straight_to_the_cache(vault: Drive) -> None:
    upload = Upload(vault)
    for ask in (session_presigned.presign, session_presigned.notify):
        more = (4,) if ask is session_presigned.notify else ()
        with pytest.raises(InvalidRequest, match="vault"):
            ask(vault.kelp, vault.editor, upload.uuid, 1, *more)  # type: ignore[operator]
