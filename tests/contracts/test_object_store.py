"""Every ObjectStore, and the wrappers around one, against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.object_store_contract import ObjectStoreContract
from vfs.storage.folder import FolderObjectStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.wrappers import FailingObjectStore, RetryingObjectStore


class TestFolder(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FolderObjectStore(tmp_path)


class TestRetrying(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return RetryingObjectStore(FolderObjectStore(tmp_path))


class TestFailing(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FailingObjectStore(FolderObjectStore(tmp_path))
