"""What is on the NAS becomes rows of the drive: nothing is read, rewritten or renamed there.

Shared by who adopts a tree, takes in what somebody else put there, or rebuilds a lost database.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from vfs import names
from vfs.core import Kelp
from vfs.crypto import vault_files
from vfs.errors import ContentCorrupt, InvalidName, NasFault, ObjectMissing
from vfs.metadata import taking
from vfs.metadata.database import Tx
from vfs.metadata.taking import Row
from vfs.model import PART_SIZE, ROOT_ID, Kind, State, StoreStatus
from vfs.nas_model import MANIFEST, VAULT_FILE, note_of
from vfs.operations import changes
from vfs.operations.writing import EMPTY_CHECKSUM
from vfs.storage.nas_store import NasInfo, NasStore

IN_A_VAULT = "it is sealed, in a vault: `kelp vault recover` opens it with a key of that"
_OF_A_VAULT = re.compile("[a-z2-7]{26}")  # a folder in one
_OF_DISKS = frozenset({"lost+found", "system volume information", "$recycle.bin"})


@dataclass(frozen=True, slots=True)
class Found:
    """Something on the NAS, and what it shall be on the drive. `stamp`: of its NAS name; None: it keeps that name as
    it is. `registered_ns` None: as old as its time says."""

    parent_id: int
    nas_name: str  # may hold "/" in the trash
    info: NasInfo
    name: str
    stamp: str | None = None
    registered_ns: int | None = None
    uuid: str | None = None
    state: State = State.ACTIVE
    id: int | None = None  # the number that its row had, and shall have again
    note: str | None = None  # what `.kelp/names` says of it

    @property
    def is_named(self) -> bool:
        """Nothing else in its folder may have its name."""
        return self.state is State.ACTIVE

    @property
    def kind(self) -> Kind:
        return Kind.FOLDER if self.info.kind == "folder" else Kind.FILE


def is_own(name: str, parent_id: int) -> bool:
    """Kelp's own, or made by a file system for itself: nothing of it is told."""
    return parent_id == ROOT_ID and (names.is_reserved_at_root(name) or name.casefold() in _OF_DISKS)


def refusal(name: str, info: NasInfo) -> str | None:
    """Why something cannot be on the drive; None when it can."""
    if info.is_bundle:
        return IN_A_VAULT
    if info.kind == "other":
        return "a symlink, device, pipe or socket, or not to be read"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is no UTF-8"
    try:
        names.check_segment(name)
    except InvalidName:
        return "its name has characters that clients cannot be shown, or is too long"
    if not -(1 << 63) <= info.mtime_ns < 1 << 63:
        return "its time lies after the year 2262"
    return None


def vault_there(nas: NasStore, path: str, info: NasInfo) -> str | None:
    """Why a folder of the NAS cannot be on the drive as it is: it is a vault, or of one; None when it is not."""
    if info.kind != "folder":
        return None
    inside = bool(_OF_A_VAULT.fullmatch(path.rpartition("/")[2])) and _has_file(nas, f"{path}/{MANIFEST}")
    return IN_A_VAULT if inside or _is_vault(nas, f"{path}/{VAULT_FILE}") else None


def _has_file(nas: NasStore, path: str) -> bool:
    info = nas.stat(path)
    return info is not None and info.kind == "file"


def _is_vault(nas: NasStore, path: str) -> bool:
    """By what `vault.json` says: others may call a file so."""
    try:
        info = nas.stat(path)
        if info is None or info.kind != "file" or info.size > vault_files.MAX_FILE_SIZE:
            return False
        vault_files.decode(b"".join(nas.read(path)))
    except (ContentCorrupt, ObjectMissing, NasFault):
        return False
    return True


def keys(kelp: Kelp, found: Found) -> tuple[str, str]:
    """(name key, NAS key): no two ACTIVE entries of a folder may have one of them alike."""
    desired = found.nas_name.rpartition("/")[2]
    return (
        names.key(found.name, kelp.settings.drive.case_sensitive),
        names.nas_key(desired, kelp.nas.properties.folds_case),
    )


def insert(kelp: Kelp, tx: Tx, found: list[Found]) -> None:
    """Rows for all of these. Their keys are free."""
    now = kelp.clock.now_ns()
    entries = [entry_row(kelp, each, now) for each in found]
    files = [entry for entry in entries if entry["kind"] == Kind.FILE]
    contents = [content_row(str(entry["content_id"]), each_size(entry), now) for entry in files]
    parts = [part for entry in files for part in part_rows(str(entry["content_id"]), each_size(entry))]
    taking.insert_contents(tx, contents, parts)
    taking.insert_entries(tx, [entry for entry in entries if entry["id"] is None])
    taking.insert_entries(tx, [entry for entry in entries if entry["id"] is not None], numbered=True)


def each_size(entry: Row) -> int:
    return int(str(entry["size"]))


def content_row(id: str, size: int, now_ns: int) -> Row:
    """A content that nobody has read yet: its checksum is "", but for that of nothing."""
    parts = -(-size // PART_SIZE)
    checksum = "" if size else EMPTY_CHECKSUM
    return {"id": id, "size": size, "checksum": checksum, "parts": parts, "created_ns": now_ns}


def part_rows(id: str, size: int) -> Iterator[Row]:
    """Its parts, keyed as those of an upload are (`part_uploads`)."""
    for n, at in enumerate(range(0, size, PART_SIZE)):
        key = f"{id}.{n:06d}" if n else id
        yield {"id": id, "n": n, "key": key, "size": min(PART_SIZE, size - at), "alone": size <= PART_SIZE}


def entry_row(kelp: Kelp, found: Found, now_ns: int) -> Row:
    """Its columns; the id is None unless it is known."""
    name_key, nas_key = keys(kelp, found)
    desired = found.nas_name.rpartition("/")[2]
    is_file, info = found.kind is Kind.FILE, found.info
    id = found.uuid or str(uuid.uuid4())
    content_id = (id if found.uuid is None else str(uuid.uuid4())) if is_file else None
    mtime = info.mtime_ns
    return {
        "id": found.id,
        "uuid": id,
        "parent_id": found.parent_id,
        "name": found.name,
        "name_key": name_key,
        "kind": found.kind.value,
        "state": found.state.value,
        "content_id": content_id,
        "content_ns": mtime if is_file else None,
        "size": info.size if is_file else 0,
        "mime_type": changes.mime_type(found.name) if is_file else "",
        "mtime_ns": mtime,
        "shown_mtime": mtime // changes.SECOND,
        "created_ns": mtime,
        "registered_ns": mtime if found.registered_ns is None else found.registered_ns,
        "nas_stamp": found.stamp,
        "nas_desired_name": desired,
        "nas_desired_key": nas_key,
        "nas_parent_id": found.parent_id,
        "nas_name": found.nas_name,
        "nas_key": names.nas_key(found.nas_name, kelp.nas.properties.folds_case),
        "nas_content_id": content_id,
        "nas_size": info.size if is_file else None,
        "nas_mtime_ns": mtime if is_file else None,
        "nas_inode": info.inode,
        "nas_noted": found.note,
        "nas_status": StoreStatus.AVAILABLE.value,
    }


def needs_note(found: Found) -> bool:
    """Its full name must be noted on the NAS, or it could not be found again from there."""
    return found.note is None and note_of(found.name, found.nas_name) is not None
