"""Sealed parts over a store that gains by several at a time: order, failures, memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms.test_part_uploads import Several, pieces, whole
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import StoreUnavailable, UploadIncomplete
from vfs.model import PART_SIZE, ByteRange, Expected
from vfs.operations import contents, part_uploads, unsealing
from vfs.operations.sealed_contents import Vault
from vfs.settings import Settings
from vfs.storage.wrappers import FailingObjectStore, Failure, When

SIZE = 5 * PART_SIZE + 77
VAULT = Vault(1, VaultKey.generate())


@pytest.fixture
def failing(tmp_path: Path) -> FailingObjectStore:
    return FailingObjectStore(Several(tmp_path / "cache"))


@pytest.fixture
def kelp(tmp_path: Path, failing: FailingObjectStore) -> Iterator[Kelp]:
    kelp = build(Settings.load(None, None, data=tmp_path), cache=failing)
    yield kelp
    kelp.close()
    assert part_uploads._memory._held == 0, "every part gave its memory back"


@pytest.mark.parametrize("size", [0, 1, PART_SIZE, PART_SIZE + 1, SIZE])
def test_parts_are_sealed_where_they_are_stored(kelp: Kelp, size: int) -> None:
    content = contents.store(kelp, pieces(size), Expected(), vault=VAULT)
    assert b"".join(unsealing.reader(kelp, content).chunks()) == whole(size)
    assert len(content.parts) == -(-size // PART_SIZE)
    assert {info.key: info.size for info in kelp.cache.list()} == {part.key: part.size for part in content.parts}


def test_ranges_of_several_parts(kelp: Kelp) -> None:
    content = contents.store(kelp, pieces(SIZE), Expected(), vault=VAULT)
    choice, data, reader = random.Random(1), whole(SIZE), unsealing.reader(kelp, content)
    for _ in range(20):
        start, stop = sorted(choice.randrange(SIZE) for _ in range(2))
        assert b"".join(reader.chunks(ByteRange(start, stop))) == data[start:stop]


@pytest.mark.parametrize("part", range(1, 7))
@pytest.mark.parametrize("when", When)
def test_nothing_is_left_of_one_that_fails(kelp: Kelp, failing: FailingObjectStore, part: int, when: When) -> None:
    failing.failures.plan(Failure("put", StoreUnavailable("away"), part, when))
    with pytest.raises(StoreUnavailable):
        contents.store(kelp, pieces(SIZE), Expected(), vault=VAULT)
    assert list(kelp.cache.list()) == []


def test_nothing_is_left_of_one_that_is_not_as_announced(kelp: Kelp) -> None:
    with pytest.raises(UploadIncomplete):
        contents.store(kelp, pieces(SIZE), Expected(length=SIZE + 1), vault=VAULT)
    assert list(kelp.cache.list()) == []


def test_sizes_of_objects_that_have_names_of_their_own(kelp: Kelp) -> None:
    content = contents.store(kelp, pieces(SIZE), Expected(), vault=VAULT)
    keys = [part.key for part in content.parts]
    assert contents.sizes(kelp, keys, "") == {part.key: part.size for part in content.parts}
    kelp.cache.delete(keys[2])
    assert set(contents.sizes(kelp, keys, "")) == {*keys} - {keys[2]}
