"""Damage of every kind, planted behind the core's back, and a drive that has something for each."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.rooms.core.drive import Drive
from vfs.model import BLOCK_SIZE

HOUR_NS = 3600 * 10**9
LONG = 3 * BLOCK_SIZE + 17  # bytes of `long`, a content with sums of its blocks

# Kind of damage → the statement that plants it.
ROWS: dict[str, str] = {
    "no root": "UPDATE entries SET state = 'TRASHED' WHERE id = 1",
    "dangling parent": "UPDATE entries SET parent_id = (SELECT id FROM entries WHERE name = 'b') WHERE name = 'in'",
    "file without content": "UPDATE entries SET content_id = NULL WHERE name = 'b'",
    "size differs from content": "UPDATE entries SET size = 99 WHERE name = 'b'",
    "version of another size than its content": "UPDATE versions SET size = 99",
    "content whose parts are not whole": "UPDATE objects SET size = size + 1 WHERE key IN (SELECT id FROM contents)",
    "trash item without record": "DELETE FROM trash_metadata",
    "trash record without item": "UPDATE entries SET state = 'ACTIVE' WHERE state = 'TRASHED'",
    "lock on what is gone": "UPDATE dav_locks SET entry_id = (SELECT id FROM entries WHERE state = 'TRASHED')",
    "lost change: SYNCING without an event": "UPDATE entries SET nas_status = 'SYNCING' WHERE name = 'b'",
    "lost job: PROCESSING without a lease": "UPDATE sync_events SET status = 'PROCESSING'",
    "event that an entry waits for and does not have": "UPDATE entries SET active_sync_event_id = 0 WHERE name = 'b'",
    "two at one NAS place": "UPDATE entries SET nas_name = 'f', nas_key = 'f' WHERE name = 'b'",
    "recorded below what the NAS does not have": "UPDATE entries SET nas_name = NULL WHERE name = 'f'",
    "version recorded below what the NAS does not have": "UPDATE versions SET nas_parent_id = 99999",
    "half recorded on the NAS": "UPDATE entries SET nas_key = NULL WHERE name = 'b'",
    "recorded with another size than its content": "UPDATE entries SET nas_size = nas_size + 1 WHERE name = 'b'",
    "purged version on the NAS": "UPDATE versions SET state = 'purged'",
    "not reachable from the root": "UPDATE entries SET parent_id = id WHERE name = 'f'",
    "recorded in a circle on the NAS": "UPDATE entries SET nas_parent_id = id WHERE name = 'f'",
    "AVAILABLE on the NAS, but not as it shall be": "UPDATE entries SET nas_desired_name = 'x' WHERE name = 'b'",
    "object without checksum": "UPDATE objects SET checksum = ''",
    "object without checksum in a content that has one": "UPDATE objects SET checksum = '', status = 'MISSING'",
    "object that no content has": "INSERT INTO objects (key, size, checksum, status) VALUES ('k', 1, 'x', 'MISSING')",
    "sums of blocks that do not fit their object": f"UPDATE objects SET blocks = checksum_bytes WHERE size = {LONG}",
    "object that stands still": "UPDATE objects SET status = 'EVICTING', status_ns = 1",
    "content that is lost: neither whole in the cache nor recorded on the NAS": "UPDATE objects SET status = 'MISSING'"
    " WHERE key = (SELECT content_id FROM entries WHERE name = 'late')",
    "lease of a reader that is gone": "INSERT INTO reader_leases VALUES ('c', 'owner', 1)",
    "path lease of nobody": "INSERT INTO path_leases VALUES (99999, 99999, FALSE)",
    "alert about a content that is gone": "INSERT INTO alerts (uuid, kind, subject, severity, message, count, trace_id,"
    " opened_ns, last_ns, untold) VALUES ('u', 'CONTENT_LOST', 'nobody', 'error', '', 1, '', 1, 1, '')",
    "vault that nobody can open": "INSERT INTO vaults (uuid, generation, created_ns) VALUES ('u', 1, 1)",
    "sealed in a vault that is not there": "UPDATE entries SET vault_id = 99, seal_id = 's' WHERE name = 'b'",
    "in a vault, and nothing says what the NAS shall say of it": "UPDATE entries SET vault_id = 99, seal_id = 's'"
    " WHERE name = 'b'",
    "half sealed": "UPDATE contents SET vault_id = 99, wrapped_key = 'w'",
    "role of recipients that does not exist": "INSERT INTO recipients (key_id, role, label, public_pem, created_ns)"
    " VALUES ('k', 'guest', '', '', 1)",
    "state of entries that does not exist": "UPDATE entries SET state = 'GONE' WHERE name = 'b'",
    "kind of entries that does not exist": "UPDATE entries SET kind = 'pipe' WHERE name = 'b'",
    "nas_status of entries that does not exist": "UPDATE entries SET nas_status = 'FINE' WHERE name = 'b'",
    "status of objects that does not exist": "UPDATE objects SET status = 'THERE'",
    "state of versions that does not exist": "UPDATE versions SET state = 'old'",
    "status of sync_events that does not exist": "UPDATE sync_events SET status = 'SOON'",
}
_NEW_ENTRY_ROW = "(SELECT id FROM entries WHERE name = 'b')"
DANGLING: dict[str, str] = {
    "content_id of entries": "UPDATE entries SET content_id = 'nobody' WHERE name = 'b'",
    "content_id of versions": "UPDATE versions SET content_id = 'nobody'",
    "entry_id of versions": "UPDATE versions SET entry_id = 99999",
    "content_id of file_parts": "INSERT INTO file_parts SELECT 'nobody', 0, key FROM objects LIMIT 1",
    "object_key of file_parts": "INSERT INTO file_parts SELECT id, 0, 'nobody' FROM contents LIMIT 1",
    "folder_id of folder_versions": "INSERT INTO folder_versions VALUES (99999, 1, NULL)",
    "entry_id of trash_metadata": "INSERT INTO trash_metadata VALUES (99999, 'x', 1, 9e18, NULL)",
    "entry_id of cache_pins": "INSERT INTO cache_pins VALUES (99999, NULL, 1)",
    "session_id of upload_parts": "INSERT INTO upload_parts"
    " (session_id, number, piece, object_key, size, checksum, blocks, created_ns)"
    " VALUES (99999, 1, 0, 'k', 1, 'x', NULL, 1)",
    "folder_id of upload_sessions": "INSERT INTO upload_sessions (uuid, content_id, folder_id, name, mime_type,"
    " on_conflict, status, trace_id, created_ns, expires_ns)"
    " VALUES ('u', 'c', 99999, 'n', '', 'ERROR', 'INIT', '', 1, 1)",
    "folder_id of grants": "INSERT INTO grants (folder_id, level) VALUES (99999, 1)",
    "user_id of grants": "INSERT INTO grants (folder_id, user_id, level) VALUES (1, 99999, 1)",
    "group_id of grants": "INSERT INTO grants (folder_id, group_id, level) VALUES (1, 99999, 1)",
    "user_id of tokens": "INSERT INTO tokens (uuid, user_id, kind, name, secret_hash, scopes, created_ns)"
    " VALUES ('u', 99999, 'bearer', 'n', 's', 'read', 1)",
    "policy_id of ip_access_rules": "INSERT INTO ip_access_rules (uuid, policy_id, cidr, note, created_ns)"
    " VALUES ('u', 99999, '192.0.2.0/24', '', 1)",
    "user_id of group_members": "INSERT INTO group_members VALUES (99999, 99999)",
    "group_id of group_members": "INSERT INTO group_members VALUES (99999, 99999)",
    "entry_id of dav_locks": "UPDATE dav_locks SET entry_id = 99999",
    "user_id of dav_locks": "UPDATE dav_locks SET user_id = 99999",
    "entry_id of dav_properties": "INSERT INTO dav_properties VALUES (99999, 'n', 'v')",
    "aggregate_id of sync_events": "UPDATE sync_events SET aggregate_id = 99999 WHERE status = 'DONE'",
    "entry_id of mirror_leases": "INSERT INTO mirror_leases (entry_id, owner, expires_ns, plan)"
    " VALUES (99999, 'o', 1, '[]')",
    "vault_id of vault_recipients": "INSERT INTO vault_recipients VALUES (99999, 99999, 1, 'w')",
    "recipient_id of vault_recipients": "INSERT INTO vault_recipients VALUES (99999, 99999, 1, 'w')",
    "lease_id of path_leases": f"INSERT INTO path_leases VALUES ({_NEW_ENTRY_ROW}, 99999, FALSE)",
}
# Damage of the rows that can be set right without losing anything.
REPAIRABLE = frozenset(
    {
        *("size differs from content", "version of another size than its content", "trash record without item"),
        *("lock on what is gone", "lost change: SYNCING without an event", "lost job: PROCESSING without a lease"),
        *("event that an entry waits for and does not have", "object that stands still", "object that no content has"),
        *("AVAILABLE on the NAS, but not as it shall be", "sums of blocks that do not fit their object"),
        *("lease of a reader that is gone", "path lease of nobody"),
        "alert about a content that is gone",
    }
)
DANGLING_REPAIRABLE = frozenset(
    name
    for name in DANGLING
    if name.rpartition(" ")[2] not in ("entries", "versions", "file_parts", "upload_sessions", "vault_recipients")
)


def make_sound(drive: Drive) -> None:
    """A folder with a file, one with a version, a long one, something in the trash, a lock; all mirrored but `late`."""
    drive.folder("f")
    for path in ("f/in", "b", "gone"):
        drive.put(path, b"old")
    drive.clock.advance(100)
    drive.put("b", b"new")
    drive.put("long", os.urandom(LONG))
    drive.copy("long", "copy")
    drive.remove("gone")
    drive.lock("b", timeout=86_400)
    drive.mirror()
    assert drive.problems(mirrored=True) == []


def plant(drive: Drive, statement: str) -> None:
    if "'late'" in statement:
        drive.put("late", b"not on the NAS yet")
    url = drive.kelp.settings.database.url
    if not url.startswith("sqlite"):
        drive.damage(statement.replace("checksum_bytes", "'\\x00'::bytea"))
        return
    drive.damaged = True
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement.replace("checksum_bytes", "X'00'"))  # here references are not enforced


def nas_file(drive: Drive, name: str) -> Path:
    """The file of the tree, or the item of the trash, with that name."""
    return next(path for path in drive.nas.rglob(f"*__{name}") if path.is_file())


def version_file(drive: Drive) -> Path:
    return next(path for path in (drive.nas / ".kelp/versions").rglob("*") if path.is_file())


def key_of(drive: Drive, path: str) -> str:
    content_id = drive.entry(path).content_id
    assert content_id is not None
    return content_id


def flip(data: bytes, at: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def rot(file: Path, at: int = 0) -> None:
    """One bit of a file changes, and nothing that its folder tells of it."""
    seen = file.stat()
    file.write_bytes(flip(file.read_bytes(), at))
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def rot_object(drive: Drive, key: str, at: int = 0) -> None:
    drive.spoil(key, flip(b"".join(drive.kelp.cache.get(key)), at))


def swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def add_old_object(drive: Drive, key: str = "orphan") -> None:
    """Only where the cache is a folder: it sets the time of a file."""
    with drive.kelp.database.read() as tx:
        known = tx.verifying.object(key)
    if known is None or key not in drive.objects():
        drive.kelp.cache.put(key, [b"x"])
    path = next((drive.kelp.settings.data / "cache").rglob(key))
    os.utime(path, ns=(drive.clock.now - 2 * HOUR_NS,) * 2)


@dataclass(frozen=True)
class Plant:
    """Damage in a store. `repaired`: the other side can set it right; `folder_only`: needs a cache in a folder."""

    kind: str
    do: Callable[[Drive], object]
    repaired: bool = True
    folder_only: bool = False


STORES: dict[str, Plant] = {
    "no object": Plant("object missing in the cache", lambda drive: drive.spoil(key_of(drive, "b"), None)),
    "object of another size": Plant("object of another size", lambda drive: drive.spoil(key_of(drive, "b"), b"newer")),
    "flipped bit in the cache": Plant("object corrupt", lambda drive: rot_object(drive, key_of(drive, "b"))),
    "flipped bit at the end of an object": Plant(
        "object corrupt", lambda drive: rot_object(drive, key_of(drive, "long"), LONG - 1)
    ),
    "orphan": Plant("orphan in the cache", add_old_object, folder_only=True),
    "no file": Plant("missing on the NAS", lambda drive: nas_file(drive, "b").unlink()),
    "no version": Plant("missing on the NAS", lambda drive: version_file(drive).unlink()),
    "no trash item": Plant("missing on the NAS", lambda drive: nas_file(drive, "gone").unlink()),
    "flipped bit on the NAS": Plant("corrupt on the NAS", lambda drive: rot(nas_file(drive, "b"))),
    "flipped bit in the middle": Plant("corrupt on the NAS", lambda drive: rot(nas_file(drive, "long"), 70_000)),
    "flipped bit of a copy": Plant("corrupt on the NAS", lambda drive: rot(nas_file(drive, "copy"), LONG - 1)),
    "flipped bit of a version": Plant("corrupt on the NAS", lambda drive: rot(version_file(drive))),
    "flipped bit in the trash": Plant("corrupt on the NAS", lambda drive: rot(nas_file(drive, "gone"))),
    "a folder for a file": Plant(
        "something else on the NAS", lambda drive: swap_for_folder(nas_file(drive, "b")), repaired=False
    ),
    "another size on the NAS": Plant(
        "of another size on the NAS", lambda drive: nas_file(drive, "b").write_bytes(b"newer"), repaired=False
    ),
    "other bytes by somebody": Plant(
        "changed on the NAS", lambda drive: nas_file(drive, "b").write_bytes(b"odd"), repaired=False
    ),
}
