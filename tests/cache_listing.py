"""What a cache holds, when nothing is just being made there."""

from __future__ import annotations

from vfs.storage import spare_files
from vfs.storage.object_store import ObjectInfo, ObjectStore


def settle_spares() -> None:
    """Wait for the threads of this process that make spare files: until those are known as such, a listing has them."""
    for spares in tuple(spare_files._all):
        with spares._making:
            pass


def objects(store: ObjectStore) -> list[ObjectInfo]:
    settle_spares()
    return list(store.list())


def keys(store: ObjectStore) -> set[str]:
    return {info.key for info in objects(store)}
