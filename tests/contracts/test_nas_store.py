"""Every NasStore, and the wrapper around one, against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.bundle_contract import BundleContract
from tests.contracts.nas_store_contract import NasStoreContract
from vfs.storage import renaming
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_store import NasStore
from vfs.storage.wrappers import FailingNasStore


class FolderContract(NasStoreContract, BundleContract):
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        return tmp_path / "nas"

    @pytest.fixture
    def store(self, tree: Path) -> NasStore:
        store = FolderNasStore(tree, "contract")
        store.prepare(first_run=True)
        return store


class TestFolder(FolderContract):
    pass


class TestFolderWithoutExclusiveRename(FolderContract):
    """As on NFS, which answers EINVAL; it cannot be mounted in a test, so the C library counts as too old here."""

    @pytest.fixture(autouse=True)
    def old_c_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(renaming, "_renameat2", None)


class TestFailing(FolderContract):
    @pytest.fixture
    def store(self, tree: Path) -> NasStore:
        store = FolderNasStore(tree, "contract")
        store.prepare(first_run=True)
        return FailingNasStore(store)
