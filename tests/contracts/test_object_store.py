"""Every ObjectStore, and the wrappers around one, against the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tests.contracts.object_store_contract import ObjectStoreContract
from tests.services import s3
from vfs.model import Stored
from vfs.storage.folder import FolderObjectStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.retrying import RetryingObjectStore
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address
from vfs.storage.traced import TracedObjectStore
from vfs.storage.wrappers import FailingObjectStore


class TestFolder(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FolderObjectStore(tmp_path)


class _Directly(FolderObjectStore):
    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        return super().put(key, chunks, replace=True) if replace else self.put_directly(key, chunks)


class TestFolderDirectly(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return _Directly(tmp_path)


class _Begun(FolderObjectStore):
    def put(self, key: str, chunks: Iterable[bytes | memoryview], *, replace: bool = False) -> Stored:
        if replace:
            return super().put(key, chunks, replace=True)
        try:
            data = b"".join([bytes(chunk) for chunk in chunks])
        except BaseException:
            self.delete(key)  # it may be one that the store gave
            raise
        with self.begin(key, data) as begun:
            begun.finish()
        return Stored(len(data), blake3(data).hexdigest())


class TestFolderBegun(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return _Begun(tmp_path)


class TestRetrying(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return RetryingObjectStore(FolderObjectStore(tmp_path))


class TestFailing(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FailingObjectStore(FolderObjectStore(tmp_path))


class TestTraced(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return TracedObjectStore(FolderObjectStore(tmp_path))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.s3_endpoint() as url:
        yield url


class TestS3(ObjectStoreContract):
    many = 150  # connections are fewer than files
    may_be_busy = True  # moto answers 500 to some reads of an object that is being replaced

    @pytest.fixture
    def store(self, endpoint: str) -> Iterator[ObjectStore]:
        """Two drives in one bucket do not see each other."""
        url = s3.bucket_url(endpoint)
        other, store = (
            S3ObjectStore(S3Address.parse(url + prefix), s3.ACCESS_KEY, s3.SECRET_KEY, 8.0) for prefix in ("a", "ab/")
        )
        store.prepare()
        other.put("of-another-drive", [b"x"])
        yield store
        assert [info.key for info in other.list("of")] == ["of-another-drive"]
        other.close()
        store.close()
