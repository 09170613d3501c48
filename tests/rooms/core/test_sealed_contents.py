"""Contents in a vault: stored sealed, shown as they were, whole and in ranges; with little of it in memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rooms.core.drive import Drive
from tests.rooms.core.test_scrubbing import scrub
from tests.rooms.core.vault_of_drive import cached, content_of, forget_keys, store_others, stored_bytes
from tests.vaults import make_vault
from vfs.crypto import frames
from vfs.crypto.frames import FRAME_SIZE
from vfs.crypto.opened_lists import OpenedLists
from vfs.errors import ContentCorrupt, CrossesVault, KeyMissing, UploadIncomplete
from vfs.model import PART_SIZE, PIECE_SIZE, ByteRange, Expected
from vfs.operations import (
    contents,
    orphans,
    reading,
    sealed_contents,
    unsealing,
    vaults_of,
    versioning,
    writing,
)
from vfs.sealed_sum import checksum_of

SIZES = [0, 1, 100, FRAME_SIZE - 1, FRAME_SIZE, FRAME_SIZE + 1, PIECE_SIZE, PART_SIZE - 1, PART_SIZE, 2 * PART_SIZE + 5]


def data_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def vault(drive: Drive) -> Drive:
    make_vault(drive.kelp)
    return drive


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_read(vault: Drive, size: int) -> None:
    data = data_of(size)
    entry = vault.put("vault/a.bin", data)
    assert vault.read("vault/a.bin") == data
    assert entry.size == size
    content = content_of(vault.kelp, entry)
    assert content.seal is not None
    assert content.size == sum(part.size for part in content.parts) == (frames_of(size))
    assert sealed_contents.plain_size(content) == size
    assert content.checksum == checksum_of((part.key, part.checksum) for part in content.parts)
    assert all(info == dict(cached(vault))[part.key] for part in content.parts for info in [part.size])


def frames_of(size: int) -> int:
    whole, rest = divmod(size, PART_SIZE)
    return whole * frames.sealed_length(PART_SIZE) + (frames.sealed_length(rest) if rest else 0)


def test_no_plain_byte_is_in_the_cache(vault: Drive) -> None:
    data = b"a secret that repeats itself. " * 400_000
    entry = vault.put("vault/a.txt", data)
    stored = b"".join(stored_bytes(vault, key) for key in cached(vault))
    assert len(stored) == content_of(vault.kelp, entry).size
    for word in (b"secret", b"repeats", b"itself"):
        assert word not in stored


def test_names_of_objects_say_nothing_of_each_other(vault: Drive) -> None:
    entry = vault.put("vault/a.bin", data_of(3 * PART_SIZE))
    content = content_of(vault.kelp, entry)
    keys = [part.key for part in content.parts]
    assert len(set(keys)) == 3
    assert content.id not in keys
    assert not any("." in key for key in keys)


def test_a_content_of_one_part_has_its_name(vault: Drive) -> None:
    content = content_of(vault.kelp, vault.put("vault/a.bin", data_of(1000)))
    assert [part.key for part in content.parts] == [content.id]


def test_equal_files_do_not_look_equal(vault: Drive) -> None:
    data = data_of(1000)
    first, second = vault.put("vault/a.bin", data), vault.put("vault/b.bin", data)
    one, other = content_of(vault.kelp, first), content_of(vault.kelp, second)
    assert one.checksum != other.checksum
    assert stored_bytes(vault, one.id) != stored_bytes(vault, other.id)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_ranges(vault: Drive, some: st.DataObject) -> None:
    size = 2 * PART_SIZE + 3 * FRAME_SIZE + 77
    data = data_of(size)
    entry = vault.find("vault/ranges.bin") or vault.put("vault/ranges.bin", data)
    near = st.sampled_from([0, FRAME_SIZE, PART_SIZE, PART_SIZE + FRAME_SIZE, 2 * PART_SIZE, size])
    edge = st.builds(lambda at, more: min(max(at + more, 0), size), near, st.integers(-2, 2))
    start = some.draw(edge | st.integers(0, size))
    stop = some.draw(edge | st.integers(0, size))
    start, stop = min(start, stop), max(start, stop)
    reader = reading.open_content(vault.kelp, vault.admin, entry)
    assert reader.size == size
    assert b"".join(reader.chunks(ByteRange(start, stop))) == data[start:stop]


def test_pieces_are_never_too_big(vault: Drive) -> None:
    entry = vault.put("vault/a.bin", data_of(2 * PART_SIZE))
    pieces = list(reading.open_content(vault.kelp, vault.admin, entry).chunks())
    assert max(map(len, pieces)) <= PIECE_SIZE


@pytest.mark.engine(cache="folder", reason="its parts are not held, and the test's own S3 server keeps them in memory")
def test_a_long_body_is_not_held_in_memory(vault: Drive) -> None:
    size = 40 * PIECE_SIZE
    piece = bytearray(data_of(PIECE_SIZE))

    def body() -> Iterator[bytes]:
        for number in range(size // PIECE_SIZE):
            piece[:4] = number.to_bytes(4, "big")  # one buffer, as servers have
            yield memoryview(piece)  # type: ignore[misc]

    tracemalloc.start()
    entry = writing.put_file(vault.kelp, vault.editor, vault.place("vault/a.bin"), body()).entry
    _, most_of_put = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    digest = blake3()
    for each in reading.open_content(vault.kelp, vault.admin, entry).chunks():
        digest.update(each)
    _, most_of_get = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    expected = blake3()
    for each in body():
        expected.update(each)
    assert digest.digest() == expected.digest()
    assert most_of_put < 20 * PIECE_SIZE
    assert most_of_get < 20 * PIECE_SIZE


# --- what is announced is of the plain bytes ---


def test_digests_are_of_the_plain_bytes_and_sealed(vault: Drive) -> None:
    import hashlib

    data = data_of(100_000)
    sha1 = hashlib.sha1(data).hexdigest()
    entry = vault.put("vault/a.bin", data, expected=Expected(length=len(data), sha1=sha1))
    with vault.kelp.database.read() as tx:
        stored = tx.contents.get(entry.content_id or "")
    assert stored is not None and stored.digests is not None
    assert stored.digests.startswith("\x01") and sha1 not in stored.digests
    assert reading.digests_of(vault.kelp, entry) == f"SHA1:{sha1} MD5:{hashlib.md5(data).hexdigest()}"
    folder = vault.entry("vault")
    assert reading.digests_below(vault.kelp, vault.admin, folder.id)[entry.id].startswith(f"SHA1:{sha1}")


@pytest.mark.parametrize("expected", [Expected(length=99), Expected(length=101), Expected(sha1="0" * 40)])
def test_another_body_than_announced_leaves_nothing(vault: Drive, expected: Expected) -> None:
    with pytest.raises(UploadIncomplete):
        vault.put("vault/a.bin", bytes(100), expected=expected)
    assert cached(vault) == {}
    assert vault.names("vault") == []


# --- who may not ---


def test_without_a_key_nothing_is_shown_or_taken_and_nothing_is_lost(vault: Drive) -> None:
    data = data_of(200_000)
    entry = vault.put("vault/a.bin", data)
    keyless = forget_keys(vault.kelp)
    with pytest.raises(KeyMissing):
        reading.open_content(keyless, vault.admin, entry)
    with pytest.raises(KeyMissing):
        writing.put_file(keyless, vault.editor, vault.place("vault/b.bin"), contents.pieces(b"some"))
    assert vault.read("vault/a.bin") == data


# --- what shows a content belongs to its vault ---


def test_nothing_plain_is_shown_in_a_vault_and_nothing_sealed_outside(vault: Drive) -> None:
    plain = contents.store(vault.kelp, [b"plain"], Expected())
    put = writing.Put(
        vault.editor, vault.place("vault/a.txt"), None, None, writing.OnConflict.OVERWRITE, None, vault.clock.now_ns()
    )
    with pytest.raises(CrossesVault):
        writing.change(vault.kelp, put, plain)
    own = vaults_of.vault_of(vault.kelp, vault.entry("vault").id)
    sealed = contents.store(vault.kelp, [b"sealed"], Expected(), vault=own)
    put.place = vault.place("c.txt")
    with pytest.raises(CrossesVault):
        writing.change(vault.kelp, put, sealed)
    assert vault.names("") == ["vault"] and vault.names("vault") == []
    contents.discard(vault.kelp, plain)
    contents.discard(vault.kelp, sealed)
    assert cached(vault) == {}


def test_a_copy_inside_shares_the_content(vault: Drive) -> None:
    entry = vault.put("vault/a.bin", data_of(1000))
    vault.copy("vault/a.bin", "vault/b.bin")
    assert vault.entry("vault/b.bin").content_id == entry.content_id
    assert vault.read("vault/b.bin") == data_of(1000)


def test_older_versions_are_read_and_restored(vault: Drive) -> None:
    first = data_of(PART_SIZE + 5, 1)
    vault.put("vault/a.bin", first)
    vault.clock.advance(60)
    entry = vault.put("vault/a.bin", data_of(10, 2))
    (version,) = versioning.list_versions(vault.kelp, vault.editor, entry.id)
    assert version.size == len(first)
    assert b"".join(versioning.open_version(vault.kelp, vault.editor, version.uuid).chunks()) == first
    restored = versioning.restore_version(vault.kelp, vault.editor, version.uuid)
    assert restored.size == len(first) and vault.read("vault/a.bin") == first


# --- wrong bytes ---


def spoil(drive: Drive, key: str, at: int) -> None:
    data = bytearray(stored_bytes(drive, key))
    data[at] ^= 1
    store_others(drive, key, bytes(data))


def with_sums_of_the_spoilt(drive: Drive, key: str) -> None:
    """As somebody does who can write to cache and database both."""
    from vfs.storage.block_sums import BlockSums

    data = stored_bytes(drive, key)
    sums = BlockSums()
    sums.update(data)
    with drive.kelp.database.write() as tx:
        tx.run(
            "UPDATE objects SET checksum = :sum, blocks = :blocks WHERE key = :key",
            sum=blake3(data).hexdigest(),
            blocks=sums.finish(),
            key=key,
        )


@pytest.mark.parametrize("size", [10, 3 * FRAME_SIZE, 2 * PART_SIZE])
def test_bytes_that_do_not_open_are_never_shown(vault: Drive, size: int, caplog: pytest.LogCaptureFixture) -> None:
    vault.damaged = True
    entry = vault.put("vault/a.bin", data_of(size))
    key = content_of(vault.kelp, entry).parts[-1].key
    spoil(vault, key, 5)
    with_sums_of_the_spoilt(vault, key)
    shown = b""
    with pytest.raises(ContentCorrupt, match="the database"):
        for piece in reading.open_content(vault.kelp, vault.admin, entry).chunks():
            shown += piece
    assert data_of(size).startswith(shown)
    assert "changed the database" in caplog.text


def test_parts_in_another_order_are_told(vault: Drive) -> None:
    vault.damaged = True
    entry = vault.put("vault/a.bin", data_of(2 * PART_SIZE))
    with vault.kelp.database.write() as tx:
        for old, new in ((0, 9), (1, 0), (9, 1)):
            tx.run("UPDATE file_parts SET sequence = :new WHERE sequence = :old", new=new, old=old)
    with pytest.raises(ContentCorrupt, match="the database"):  # what opens it is in memory
        b"".join(reading.open_content(vault.kelp, vault.admin, entry).chunks())
    with pytest.raises(ContentCorrupt, match="another object"):
        reading.open_content(replace(vault.kelp, opened_lists=OpenedLists()), vault.admin, entry)


def test_the_list_of_another_content_does_not_open(vault: Drive) -> None:
    vault.damaged = True
    entry, other = vault.put("vault/a.bin", data_of(10)), vault.put("vault/b.bin", data_of(10, 2))
    content = content_of(vault.kelp, entry)
    stolen = content_of(vault.kelp, other).seal
    for seal in (stolen, replace(stolen, wrapped_key=content.seal.wrapped_key)):  # type: ignore[union-attr, type-var]
        with pytest.raises(ContentCorrupt):
            unsealing.reader(replace(vault.kelp, opened_lists=OpenedLists()), replace(content, seal=seal))


def test_what_the_cache_lost_comes_from_the_nas_without_a_key(vault: Drive) -> None:
    """`healing` restores sealed bytes; who reads has them at once."""
    data = data_of(PART_SIZE + 3 * FRAME_SIZE)
    entry = vault.put("vault/a.bin", data)
    vault.mirror()
    first, last = (part.key for part in content_of(vault.kelp, entry).parts)
    vault.kelp.cache.delete(first)
    assert vault.read("vault/a.bin") == data
    assert vault.kelp.background.wait(30)
    spoil(vault, last, 5)
    fast = replace(vault.kelp.settings, scrub=replace(vault.kelp.settings.scrub, rate=2**40))
    keyless = replace(forget_keys(vault.kelp), settings=fast)
    scrub(vault, keyless)
    assert keyless.background.wait(30)
    assert len(stored_bytes(vault, first)) == content_of(vault.kelp, entry).parts[0].size
    assert vault.read("vault/a.bin") == data
    vault.kelp.holds.flush()  # the lease of the first read, by the clock of two weeks ago


@pytest.mark.parametrize("size", [PIECE_SIZE, PART_SIZE, 2 * PART_SIZE + 5])
def test_who_reads_the_last_part_is_counted_and_brings_it_back(vault: Drive, size: int) -> None:
    """All its bytes were shown before its end is read, which nobody needs; but that is where both is done."""
    data = data_of(size)
    content = content_of(vault.kelp, vault.put("vault/a.bin", data))
    vault.mirror()
    vault.kelp.cache.delete(content.parts[-1].key)
    assert vault.read("vault/a.bin") == data
    assert vault.kelp.background.wait(30)
    assert vault.kelp.cache.stat(content.parts[-1].key) == content.parts[-1].size
    vault.kelp.holds.flush()
    assert all(count for (count,) in vault.sql("SELECT access_count FROM objects"))


# --- long uploads are nobody's orphans ---


def test_objects_of_a_long_upload_are_no_orphans(vault: Drive) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield data_of(PART_SIZE)
            vault.clock.advance(1800)
        assert orphans.seek_orphans(aged(vault)).count == 0
        yield b"the end"

    writing.put_file(vault.kelp, vault.editor, vault.place("vault/a.bin"), slowly())
    assert vault.read("vault/a.bin") == data_of(PART_SIZE) * 3 + b"the end"


def test_objects_of_an_upload_that_was_killed_are_orphans_in_the_end(vault: Drive) -> None:
    class Killed(BaseException):
        pass

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield data_of(PART_SIZE)
            vault.clock.advance(1800)
        raise Killed

    undo = contents.remove
    contents.remove = lambda *_: None
    try:
        with pytest.raises(Killed):
            writing.put_file(vault.kelp, vault.editor, vault.place("vault/a.bin"), slowly())
    finally:
        contents.remove = undo
    assert len(cached(vault)) == 3
    assert orphans.seek_orphans(aged(vault)).count == 0
    vault.clock.advance(4 * 3600)
    assert orphans.seek_orphans(aged(vault)).count == 3
    assert cached(vault) == {}


def aged(drive: Drive) -> object:
    """The drive with a cache all of whose objects are two hours older than they are."""
    inner = drive.kelp.cache

    class Aged:
        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def list(self, prefix: str = "", after: str = "") -> Iterator[object]:
            for info in inner.list(prefix, after):
                clock = info.key.startswith("clock")
                yield info if clock else info._replace(modified_ns=info.modified_ns - 7200 * 10**9)

    return replace(drive.kelp, cache=Aged())  # type: ignore[arg-type]
