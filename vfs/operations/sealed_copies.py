"""Sealed contents on the NAS: bundles, carried, proved and read part by part, by who need have no key.

Their manifests were made by who changed the entry (`manifesting`), and are carried as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from vfs.core import Kelp
from vfs.errors import ContentCorrupt, NasFault, ObjectMissing
from vfs.metadata.manifests import Kept
from vfs.metadata.verifying import Held
from vfs.model import Content, Part
from vfs.nas_model import MANIFEST
from vfs.operations.nas_copies import part_file
from vfs.operations.opening import Reader
from vfs.storage import bundles
from vfs.storage.bundles import BundlePart
from vfs.storage.nas_store import NasFile, NasInfo

__all__ = ["Kept", "NasFile", "NasInfo"]


def write(kelp: Kelp, content: Content, path: str, mtime_ns: int, manifest: bytes) -> NasFile:
    """Copy a sealed content to a new bundle below Kelp's temporary folder: each object once, verified and fsynced.

    Raises as `Reader.chunks`, and as the store.
    """
    with kelp.database.read() as tx:
        part_list = tx.manifests.part_list(content.id)
    if part_list is None:
        raise ObjectMissing(f"content {content.id} is not sealed")
    reader = Reader(kelp, content, counted=False)
    return bundles.write(kelp.nas, path, _parts(content, reader), part_list, manifest, mtime_ns)


def _parts(content: Content, reader: Reader) -> Iterator[BundlePart]:
    for number, part in _each(content):
        yield BundlePart(part_file(part.key), part.size, part.checksum, reader.stored(number))


def _each(content: Content) -> Iterator[tuple[int, Part]]:
    """Each object once, with the number that it has first."""
    seen: set[str] = set()
    for number, part in enumerate(content.parts):
        if part.key not in seen:
            seen.add(part.key)
            yield number, part


def link(kelp: Kelp, old: str, new: str, temp: str, manifest: bytes, mtime_ns: int) -> bool:
    """See `bundles.link`."""
    return bundles.link(kelp.nas, old, new, temp, manifest, mtime_ns)


def describe(kelp: Kelp, path: str, file: str, manifest: bytes, temp: str, mtime_ns: int) -> NasFile:
    """Replace the manifest of a bundle or folder, or `vault.json`."""
    return bundles.replace_file(kelp.nas, f"{path}/{file}", manifest, temp, mtime_ns)


def manifest_digest(kelp: Kelp, path: str, file: str = MANIFEST) -> str | None:
    """SHA-256 (hex) of the manifest that is there; None: there is none."""
    try:
        return digest_of(b"".join(kelp.nas.read(f"{path}/{file}")))
    except (ObjectMissing, NasFault, ContentCorrupt):
        return None


def digest_of(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()


def is_whole(kelp: Kelp, path: str, content: Content) -> bool:
    """The file at `path`, or the bundle, has exactly these bytes: all of it is read."""
    info = kelp.nas.stat(path)
    if info is None or info.kind != "file":
        return False
    try:
        if not info.is_bundle:
            return info.size == content.size and kelp.nas.checksum(path) == content.checksum
        return _is_whole_bundle(kelp, path, content)
    except (ContentCorrupt, ObjectMissing):
        return False


def is_described(kelp: Kelp, held: Held, path: str) -> bool:
    """The manifest of a bundle, and the list of its parts, are what they should be."""
    if held.manifest not in (None, manifest_digest(kelp, path)):
        return False
    try:
        return _has_list(kelp, path, held.content_id or "")
    except (ContentCorrupt, ObjectMissing, NasFault):
        return False


def _has_list(kelp: Kelp, path: str, content_id: str) -> bool:
    with kelp.database.read() as tx:
        part_list = tx.manifests.part_list(content_id)
    return part_list is not None and b"".join(kelp.nas.read(f"{path}/{bundles.PART_LIST}")) == part_list


def _is_whole_bundle(kelp: Kelp, path: str, content: Content) -> bool:
    if not _has_list(kelp, path, content.id):
        return False
    parts = {part_file(part.key): part for _, part in _each(content)}
    there = {item.name for item in kelp.nas.list(path) if bundles.is_part(item.name)}
    return there == parts.keys() and all(
        kelp.nas.checksum(f"{path}/{name}") == part.checksum for name, part in parts.items()
    )


def strangers(kelp: Kelp, path: str, content: Content) -> list[str]:
    """Names in a bundle that do not belong there."""
    known = {bundles.MANIFEST, bundles.PART_LIST, *(part_file(part.key) for part in content.parts)}
    try:
        return sorted(item.name for item in kelp.nas.list(path) if item.name not in known)
    except (ObjectMissing, NasFault):
        return []
