"""A drive that has something of everything, for what carries a drive as a whole; and what two of them have alike."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.mirror_drive import Killed, MirrorDrive
from tests.nasty_names import NASTY_NAMES
from tests.services import elsewhere, postgresql
from vfs import bootstrap
from vfs.addresses import PolicyKind
from vfs.errors import InvalidName
from vfs.metadata import schema
from vfs.model import PART_SIZE, Level, Role, Scope
from vfs.operations import access, dumping, linking, loading, locking, policies, properties
from vfs.operations.policies import Author, NewRule
from vfs.settings import Settings
from vfs.vault_model import RecipientRole

BIG = bytes(range(256)) * 4096 * 9 + b"the end"  # two parts, the second one short
LEADS_TO = b"../big"  # the link younger/nested/link
TARGETS = ("embedded", "postgresql", "production")
Rows = dict[str, list[list[Any]]]


def fill(drive: MirrorDrive) -> None:
    """Mirrored, half mirrored and not mirrored at all; a worker that died in the middle is among it."""
    assert len(BIG) > PART_SIZE
    drive.mkdir("nested")
    drive.mkdir("nested/deeper")
    drive.put("nested/deeper/text", b"deep")
    for name in NASTY_NAMES:
        with suppress(InvalidName):
            drive.put(f"nested/{name}", name.encode())
    linking.make_link(drive.kelp, drive.caller, drive.place("nested/link"), LEADS_TO)
    drive.put("big", BIG)
    drive.put("empty", b"")
    for text in (b"first", b"second", b"third"):
        drive.put("written again", text)
        drive.pass_time(70)
    drive.put("to the trash", b"rubbish")
    drive.put("gone", b"gone")
    drive.settle_down()
    drive.trash("to the trash")
    drive.purge(drive.trash("gone"))
    drive.mkdir("younger")
    drive.move("nested", "younger/nested")  # a folder's id is greater than that of what is in it
    drive.copy("big", "same content")
    _people(drive)
    _vault(drive)
    drive.settle_down()
    drive.put("written again", b"fourth, not on the NAS")
    drive.pass_time(70)
    drive.put("written again", b"fifth, not on the NAS")
    drive.put("not on the NAS", BIG[::-1])
    _die_at_work(drive)


def _people(drive: MirrorDrive) -> None:
    other = access.add_user(drive.kelp, "보고서", "correct horse", Role.VIEWER)
    gone = access.add_user(drive.kelp, "gone", "correct horse", Role.EDITOR)
    with drive.kelp.database.write() as tx:
        group_id = tx.insert("INSERT INTO groups (name, name_key, uuid) VALUES (:name, :name, :name)", name="everybody")
        tx.run("INSERT INTO group_members (group_id, user_id) VALUES (:group, :user)", group=group_id, user=other.id)
        tx.grants.put(drive.entry("younger").id, other.id, None, Level.WRITE, 0)
        tx.grants.put(drive.entry("younger").id, None, group_id, Level.READ, 0)
        tx.accounts.delete(gone.id)  # the greatest number of a user is no row's any more
    for name, kind, network in (("office", PolicyKind.WHITE, "192.0.2.0/24"), ("é", PolicyKind.BLACK, "2001:db8::/32")):
        policies.create(drive.kelp, Author(drive.caller, force=True), name, kind, [NewRule(network, "note")])
    properties.patch(drive.kelp, drive.caller, drive.entry("big").id, [("{urn:x}colour", "<x:colour>é\n</x:colour>")])
    for place, infinite in (("locked, and new by that", False), ("younger", True)):
        locking.lock(
            drive.kelp, drive.caller, drive.place(place),
            scope=Scope.EXCLUSIVE, infinite=infinite, owner="<me & you>", timeout=3600,
        )  # fmt: skip


def _vault(drive: MirrorDrive) -> None:
    """Rows of one, and of keys that come and go; nothing lies in it."""
    with drive.kelp.database.write() as tx:
        old, new = (
            tx.recipients.insert(key_id * 16, RecipientRole.SERVER, "é", "-----BEGIN PUBLIC KEY-----\n", 1)
            for key_id in ("0a", "0b")
        )
        tx.recipients.retire(old, 2)
        vault = tx.vaults.insert(str(uuid.UUID(int=7)), 1, 1, 3, drive.entry("younger").id)
        for recipient in (old, new):
            tx.vaults.wrap(vault, recipient, 1, "d3JhcHBlZA")
        tx.vaults.changed(vault)


def _die_at_work(drive: MirrorDrive) -> None:
    """Leave a lease with its plan, and what it had begun on the NAS."""

    def die(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "write":
            raise Killed

    drive.nas.after = die
    with suppress(Killed):
        drive.drain("a worker that dies")
    drive.nas.calm()


def all_rows(drive: MirrorDrive, *, loaded: bool = False, same_cache: bool = False) -> Rows:
    """Every row of every table, as both engines would have it, in order.

    `loaded`: as they shall be in a drive that was made of this one. Its leases have run out, and the cache lacks what
    nobody can reach, unless it is the `same_cache`.
    """
    drive.kelp.holds.flush()  # what was read is written now, not in the middle of something
    found: Rows = {}
    kept = reachable(drive) if loaded else set()
    with drive.kelp.database.scan() as tx:
        for table in schema.metadata.sorted_tables:
            if table.name in ("reader_leases", "byte_grants", "changes"):  # of processes
                found[table.name] = []
                continue
            columns = [column.name for column in table.columns]
            flags = {column.name for column in table.columns if column.type.python_type is bool}
            rows = tx.all(f'SELECT {", ".join(columns)} FROM "{table.name}"')
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            for row in named:
                row.update({name: bool(row[name]) for name in flags if row[name] is not None})
                if loaded and table.name == "mirror_leases":
                    row["expires_ns"] = 0
                if loaded and not same_cache and table.name == "objects" and row["key"] not in kept:
                    row["status"] = "MISSING"
            found[table.name] = sorted((list(row.values()) for row in named), key=repr)
    return found


def reachable(drive: MirrorDrive) -> set[str]:
    """Keys of the objects of all contents that an entry or a version still shows."""
    with drive.kelp.database.read() as tx:
        shown = tx.all("SELECT content_id FROM entries WHERE state <> 'DELETED' AND content_id IS NOT NULL")
        older = tx.all("SELECT content_id FROM versions WHERE state <> 'purged'")
        found = [tx.contents.get(row[0]) for row in shown + older]
    return {part.key for content in found if content for part in content.parts}


def contents(drive: MirrorDrive) -> dict[str, bytes]:
    """The bytes of every object in the cache that a content needs."""
    return {key: b"".join(drive.kelp.cache.get(key)) for key in sorted(reachable(drive))}


def dumped(drive: MirrorDrive, **options: Any) -> bytes:
    out = io.BytesIO()
    dumping.dump(drive.kelp, out.write, **options)
    return out.getvalue()


def load_into(settings: Settings, dump: bytes, **options: Any) -> loading.Loaded:
    """As `kelp load` does."""
    opened = loading.open_dump(io.BytesIO(dump))
    settings.data.mkdir(parents=True, exist_ok=True)
    with bootstrap.opened_for_load(settings) as (database, cache):
        return loading.load(database, cache, opened, **options)


@contextmanager
def new_place(kind: str, folder: Path, nas: Path) -> Iterator[Callable[..., Settings]]:
    """Settings of a drive that is not there yet, at the NAS of another: `kind` is one of TARGETS.

    What is made outside of `folder` goes with the block.
    """
    given: dict[str, object] = {"data": folder, "nas_root": nas}
    name = "kelp_new_" + uuid.uuid4().hex
    with ExitStack() as undo:
        if kind != "embedded":
            server = postgresql.shared()
            server.create(name)
            undo.callback(server.drop, name)
            given["database_url"] = server.url(name)
        if kind == "production":
            objects = elsewhere.Objects()
            given |= objects.settings(name, new=True)
            undo.callback(objects.drop, name)
        yield lambda **more: Settings.load(None, {}, **{**given, **more})
