"""Into a vault and out of it: a copy or move of a file is sealed anew, as one change, and leaves nothing behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from jobs import batches
from tests.rooms.core.drive import Drive, holding, rest
from tests.rooms.core.vault_of_drive import forget_keys
from tests.rooms.vault.drive import VAULT
from tests.vaults import make_vault
from vfs import links
from vfs.errors import AlreadyExists, CrossesVault, KeyMissing, Locked, NoSpace, NotFound, StoreUnavailable
from vfs.metadata.schema import metadata
from vfs.metadata.tx import Tx
from vfs.model import PART_SIZE, Content, Expected, OnConflict
from vfs.operations import browsing, contents, linking, moving, pinning, posix, properties, reading
from vfs.storage.wrappers import FailingObjectStore, Failure, When

BIG = bytes(range(256)) * (PART_SIZE // 256) + b"and some more"
FACES = pytest.mark.parametrize("on_rest", [False, True], ids=["dav", "rest"])


@pytest.fixture
def drive(plain_drive_with: Callable[..., Drive]) -> Drive:
    """With a vault in it."""
    return plain_drive_with()


def inside(name: str) -> str:
    return f"{VAULT}/{name}"


WAYS = pytest.mark.parametrize(
    ("source", "target"), [("a.txt", inside("b.bin")), (inside("a.txt"), "b.bin")], ids=["in", "out"]
)


def content_of(drive: Drive, path: str) -> Content:
    with drive.kelp.database.read() as tx:
        return contents.get(tx, drive.entry(path).content_id or "")


def is_sealed(path: str) -> bool:
    return path.startswith(VAULT)


def require_sealed(drive: Drive, path: str, data: bytes) -> None:
    """The file shows this, and what is stored is what its place asks for."""
    entry, content = drive.entry(path), content_of(drive, path)
    assert drive.read(path) == data and entry.size == len(data)
    assert (content.seal is not None) == (entry.vault_id is not None) == is_sealed(path)
    stored = b"".join(b"".join(drive.kelp.cache.get(part.key)) for part in content.parts)
    assert (stored == data) == (not is_sealed(path) or not data)


@WAYS
@pytest.mark.parametrize("data", [b"", b"some", BIG], ids=["empty", "small", "two parts"])
def test_a_copy_is_sealed_for_where_it_is(drive: Drive, source: str, target: str, data: bytes) -> None:
    made = drive.put(source, data, mtime_ns=1_500_000_000_000_000_000)
    properties.patch(drive.kelp, drive.editor, made.id, [("{n}p", "<p/>")])
    copied = drive.copy(source, target).entry
    require_sealed(drive, source, data)
    require_sealed(drive, target, data)
    assert copied.uuid != made.uuid and copied.mtime_ns == made.mtime_ns
    assert reading.properties_of(drive.kelp, drive.editor, copied.id) == {"{n}p": "<p/>"}


@WAYS
@pytest.mark.parametrize("data", [b"", b"some", BIG], ids=["empty", "small", "two parts"])
def test_a_moved_file_is_the_same_document(drive: Drive, source: str, target: str, data: bytes) -> None:
    before = drive.put(source, data, mtime_ns=1_500_000_000_000_000_000)
    properties.patch(drive.kelp, drive.editor, before.id, [("{n}p", "<p/>")], created_ns=77 * 10**9)
    posix.set_attributes(drive.kelp, drive.editor, before.id, mode=0o640)
    pinning.pin(drive.kelp, drive.admin, before)
    token = drive.lock(source)
    drive.clock.advance(5)
    moved = drive.move(source, target, caller=holding(drive.editor, token)).entry
    assert drive.find(source) is None and drive.trashed() == []
    require_sealed(drive, target, data)
    assert (moved.uuid, moved.mtime_ns, moved.created_ns, moved.owner_id) == (
        *(before.uuid, before.mtime_ns, 77 * 10**9, before.owner_id),
    )
    assert moved.id != before.id and moved.name == "b.bin" and moved.mime_type == "application/octet-stream"
    assert reading.properties_of(drive.kelp, drive.editor, moved.id) == {"{n}p": "<p/>"}
    assert drive.sql("SELECT mode FROM entries WHERE id = :id", id=moved.id) == [(0o640,)]
    assert drive.sql("SELECT entry_id FROM cache_pins") == [(moved.id,)]
    assert drive.sql("SELECT 1 FROM dav_locks") == []
    told = [line.event for line in browsing.history(drive.kelp, drive.editor, moved.uuid, moved.kind, None, 10)[0]]
    assert told == ["move", "create"]


# --- what it meets there ---


@WAYS
@FACES
def test_over_a_file(drive: Drive, source: str, target: str, on_rest: bool) -> None:
    """As any move: on a drive face it takes over that document, else what is there goes to the trash."""
    caller = rest(drive.editor) if on_rest else drive.editor
    taken = drive.put(target, b"old")
    moved = drive.put(source, b"new")
    token = drive.lock(target)
    drive.clock.advance(6)
    with pytest.raises(Locked):
        drive.move(source, target, OnConflict.OVERWRITE, caller)
    assert len(drive.objects()) == 2
    outcome = drive.move(source, target, OnConflict.OVERWRITE, holding(caller, token))
    assert outcome.replaced
    require_sealed(drive, target, b"new")
    assert outcome.entry.uuid == (moved.uuid if on_rest else taken.uuid)
    assert drive.trashed() == ([f"/{target}"] if on_rest else [])
    assert drive.versions(target) == ([] if on_rest else [b"old"])
    assert drive.sql("SELECT entry_id FROM dav_locks") == [(outcome.entry.id,)]


@WAYS
def test_a_copy_over_a_file_makes_a_version(drive: Drive, source: str, target: str) -> None:
    drive.put(source, b"new")
    taken = drive.put(target, b"old")
    drive.clock.advance(6)
    assert drive.copy(source, target, OnConflict.OVERWRITE).entry.uuid == taken.uuid
    require_sealed(drive, target, b"new")
    assert drive.versions(target) == [b"old"]


@WAYS
def test_the_other_strategies(drive: Drive, source: str, target: str) -> None:
    drive.put(source, b"new")
    drive.put(target, b"old")
    before = drive.objects()
    for act in (drive.move, drive.copy):
        with pytest.raises(AlreadyExists):
            act(source, target)
        assert act(source, target, OnConflict.SKIP).skipped
    assert drive.objects() == before and drive.read(source) == b"new"
    assert drive.copy(source, target, OnConflict.RENAME).entry.name == "b (1).bin"
    assert drive.move(source, target, OnConflict.RENAME).entry.name == "b (2).bin"
    for number in (1, 2):
        require_sealed(drive, target.replace("b.bin", f"b ({number}).bin"), b"new")
    require_sealed(drive, target, b"old")


@WAYS
def test_a_link_stays_one(drive: Drive, source: str, target: str) -> None:
    place = drive.place(source)
    linking.make_link(drive.kelp, drive.editor, place, b"where/to")
    drive.copy(source, target)
    drive.move(source, f"{target}2")
    for path in (target, f"{target}2"):
        assert linking.target_of(drive.kelp, drive.entry(path).content_id or "") == b"where/to"
        assert drive.entry(path).mime_type == links.TYPE


# --- folders ---


def tree(drive: Drive, root: str) -> dict[str, bytes]:
    drive.folder(root)
    drive.folder(f"{root}/Ärger")
    drive.folder(f"{root}/Ärger/empty")
    files = {"one": b"1", "Ärger/two": BIG, "Ärger/none": b""}
    for name, data in files.items():
        drive.put(f"{root}/{name}", data)
    drive.copy(f"{root}/one", f"{root}/same")
    return {**files, "same": b"1"}


@pytest.mark.parametrize(("source", "target"), [("f", inside("g")), (inside("f"), "g")], ids=["in", "out"])
def test_a_folder_is_copied_with_all_that_is_in_it(drive: Drive, source: str, target: str) -> None:
    files = tree(drive, source)
    drive.copy(source, target)
    for name, data in files.items():
        require_sealed(drive, f"{target}/{name}", data)
    assert drive.names(f"{target}/Ärger") == ["empty", "none", "two"]
    assert drive.entry(f"{target}/one").content_id == drive.entry(f"{target}/same").content_id, "sealed once"
    drive.copy(source, f"{target}2", deep=False)
    assert drive.names(f"{target}2") == []


@pytest.mark.parametrize(("source", "target"), [("f", inside("g")), (inside("f"), "g")], ids=["in", "out"])
def test_a_folder_is_not_moved(drive: Drive, source: str, target: str) -> None:
    tree(drive, source)
    for strategy in (OnConflict.ERROR, OnConflict.MERGE, OnConflict.OVERWRITE):
        with pytest.raises(CrossesVault, match="copy the folder"):
            drive.move(source, target, strategy)


def test_rename_of_posix_copies(drive: Drive) -> None:
    """`mv` is told EXDEV, as between two disks."""
    drive.put("a")
    with pytest.raises(CrossesVault):
        moving.move(drive.kelp, drive.editor, drive.place("a"), drive.place(inside("a")), alike=True)


def test_a_vault_is_not_copied_unseen(drive: Drive) -> None:
    """Its copy would be a plain folder."""
    drive.folder("f")
    drive.put(inside("secret"), b"secret")
    with pytest.raises(CrossesVault, match="is a vault"):
        drive.copy(VAULT, "copy")
    drive.move(VAULT, f"f/{VAULT}")
    with pytest.raises(CrossesVault, match="is a vault"):
        drive.copy("f", "copy")
    make_vault(drive.kelp, "other")
    for act in (drive.copy, drive.move):
        with pytest.raises(CrossesVault):
            act("f", "other/f")
    with pytest.raises(CrossesVault, match="cannot lie in a vault"):
        drive.move(f"f/{VAULT}", "other/vault")
    assert drive.names() == ["f", "other"]


def test_from_one_vault_to_another(drive: Drive) -> None:
    other = make_vault(drive.kelp, "other")
    drive.put(inside("a"), BIG)
    drive.copy(inside("a"), "other/b")
    drive.move(inside("a"), "other/a")
    for name in ("a", "b"):
        entry, content = drive.entry(f"other/{name}"), content_of(drive, f"other/{name}")
        assert drive.read(f"other/{name}") == BIG
        assert content.seal is not None and content.seal.vault_id == entry.vault_id == other.vault_id
    assert drive.names(VAULT) == []


# --- nothing, or all ---


class Meddling:
    """A cache in which something happens once, while the next object is stored."""

    def __init__(self, inner: Any, act: Callable[[], object]) -> None:
        self._inner, self._act = inner, act

    def __getattr__(self, name: str) -> Any:
        if name == "put" and self._act is not None:
            act, self._act = self._act, None
            act()
        return getattr(self._inner, name)


@WAYS
def test_a_source_that_is_written_meanwhile_is_taken_as_it_is_then(drive: Drive, source: str, target: str) -> None:
    drive.put(source, b"first")
    whole = drive.kelp
    for act in (drive.copy, drive.move):
        drive.kelp = replace(whole, cache=Meddling(whole.cache, lambda: writing(b"second")))

        def writing(data: bytes) -> None:
            drive.kelp = whole
            drive.clock.advance(10)
            drive.put(source, data)

        act(source, target, OnConflict.OVERWRITE)
        drive.kelp = whole
        require_sealed(drive, target, b"second")
    known = {row[0] for row in drive.sql("SELECT key FROM objects")}
    assert set(drive.objects()) == known, "what was sealed of the first is gone"


@WAYS
def test_a_source_that_goes_meanwhile(drive: Drive, source: str, target: str) -> None:
    drive.put(source, b"some")
    whole = drive.kelp
    drive.kelp = replace(whole, cache=Meddling(whole.cache, lambda: drive.remove(source)))
    with pytest.raises(NotFound):
        drive.move(source, target)
    drive.kelp = whole
    assert len(drive.objects()) == 1 and drive.find(target) is None


def state(drive: Drive) -> dict[str, list[Any]]:
    """Every row that this could leave, times of use apart."""
    tables = (
        *("entries", "contents", "file_parts", "versions", "sync_events", "file_events", "name_memory"),
        *("dav_properties", "manifests", "dav_locks", "trash_metadata"),
    )
    found = {table: sorted(map(repr, drive.sql(f"SELECT * FROM {table}"))) for table in tables}
    return found | {"objects": drive.sql("SELECT key, size, checksum, status FROM objects ORDER BY key")}


FAILING = [
    *(("put", call, when) for call in (1, 2) for when in When),
    *(("get", call, when) for call in (1, 2) for when in (When.BEFORE, When.MIDSTREAM)),
]


@WAYS
@pytest.mark.parametrize("what", ["copy", "move"])
def test_each_call_of_the_cache_fails(drive: Drive, source: str, target: str, what: str) -> None:
    drive.put(source, BIG)
    before, objects, whole = state(drive), drive.objects(), drive.kelp
    for method, call, when in FAILING:
        cache = FailingObjectStore(whole.cache)
        drive.kelp = replace(whole, cache=cache)
        for number in range(call, 30 if method == "get" else call + 1):
            cache.failures.plan(Failure(method, StoreUnavailable("the cache is away"), number, when))
        with pytest.raises(StoreUnavailable):
            getattr(drive, what)(source, target)
        drive.kelp = whole
        assert state(drive) == before and drive.objects() == objects, (method, call, when)
    getattr(drive, what)(source, target)
    require_sealed(drive, target, BIG)


@WAYS
@pytest.mark.parametrize("what", ["copy", "move"])
def test_the_commit_fails(drive: Drive, source: str, target: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drive.put(source, BIG)
    before, objects = state(drive), drive.objects()
    finish, failed = Tx.finish, list[int]()

    def fail(self: Tx) -> None:
        finish(self)
        if not failed and self.changed_folders:
            failed.append(1)
            raise StoreUnavailable("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(Tx, "finish", fail)
        with pytest.raises(StoreUnavailable):
            getattr(drive, what)(source, target)
    assert failed and state(drive) == before and drive.objects() == objects and drive.read(source) == BIG
    drive.clock.advance(7200)
    getattr(drive, what)(source, target)
    require_sealed(drive, target, BIG)


def test_without_room_nothing_happens(plain_drive_with: Callable[..., Drive]) -> None:
    drive = plain_drive_with(cache_hard_limit=len(BIG) + 1000)
    drive.put("a", BIG)
    objects = drive.objects()
    with pytest.raises(NoSpace):
        drive.move("a", inside("a"))
    assert drive.objects() == objects and drive.read("a") == BIG


def test_without_the_key(drive: Drive) -> None:
    drive.put("a")
    drive.put(inside("b"))
    whole = drive.kelp
    drive.kelp = forget_keys(whole)
    # The names are in the memory of the database's cipher for some seconds; contents are not to be opened at once.
    for act in (drive.copy, drive.move):
        with pytest.raises(KeyMissing):
            act(inside("b"), "b")
    drive.kelp = whole
    assert drive.names() == ["a", VAULT] and drive.read(inside("b")) == b"some"


# --- what stays behind ---


def everything(drive: Drive) -> Iterator[tuple[str, bytes]]:
    """What the database, its files, the cache and the NAS have, with names."""
    url = make_url(drive.kelp.settings.database.url)
    if url.get_backend_name() == "sqlite":
        for file in sorted(Path(url.database or "").parent.glob("kelp.*")):
            yield file.name, file.read_bytes()
    for table in metadata.sorted_tables:
        for row in drive.sql(f"SELECT * FROM {table.name}"):
            for value in row:
                data = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                yield f"{table.name}: {row}", data
    for info in drive.kelp.cache.list():
        yield info.key, info.key.encode() + b"".join(drive.kelp.cache.get(info.key))
    for path in drive.nas.rglob("*"):
        relative = path.relative_to(drive.nas).as_posix()
        yield relative, relative.encode() + (path.read_bytes() if path.is_file() else b"")


def found(drive: Drive, *secrets: bytes) -> list[str]:
    return [where for where, data in everything(drive) if any(each in data.lower() for each in secrets)]


def run_batches(drive: Drive) -> None:
    for _ in range(4):
        drive.mirror(seconds=1300)
        for batch in batches.BATCHES:
            if batch.frees:
                (batch.at_once or batch.round)(drive.kelp)


@pytest.mark.parametrize("duplicates", ["replace", "keep-dated"])
def test_what_went_into_a_vault_is_nowhere_else(plain_drive_with: Callable[..., Drive], duplicates: str) -> None:
    drive = plain_drive_with(drive_duplicates=duplicates)
    drive.folder("f")
    digest = hashlib.sha1(b"grain of the second").hexdigest()
    for number in (b"first", b"second"):
        data = b"grain of the " + number
        expected = Expected(sha1=hashlib.sha1(data).hexdigest())
        made = drive.put("f/Hoard-42.txt", data, expected=expected, mime_type="text/x-hoard")
        drive.clock.advance(100)
        drive.mirror()
    drive.move("f/Hoard-42.txt", "f/Hoard-43.txt")
    drive.put("f/Hoard-43.tmp", b"grain of the third")  # saved as editors do
    drive.move("f/Hoard-43.tmp", "f/Hoard-43.txt", OnConflict.OVERWRITE)
    properties.patch(drive.kelp, drive.editor, drive.entry("f/Hoard-43.txt").id, [("{hoard}p", "<hoard/>")])
    drive.mirror()
    secrets = (b"hoard", b"grain of", digest.encode())
    assert len(found(drive, *secrets)) > 10
    moved = drive.move("f/Hoard-43.txt", inside("Hoard-43.txt")).entry
    assert moved.uuid == made.uuid and drive.versions(inside("Hoard-43.txt")) == []
    run_batches(drive)
    assert found(drive, *secrets) == []
    assert drive.read(inside("Hoard-43.txt")) == b"grain of the third"
    lines, _ = browsing.history(drive.kelp, drive.editor, moved.uuid, moved.kind, None, 100)
    assert {"/f/Hoard-42.txt", f"/{VAULT}/Hoard-43.txt"} <= {line.detail for line in lines}


def test_what_came_out_tells_nothing_of_the_vault(drive: Drive) -> None:
    drive.folder(inside("hoard"))
    drive.put(inside("hoard/a"), b"grain of it")
    drive.move(inside("hoard/a"), "b")
    run_batches(drive)
    assert found(drive, b"hoard") == []
    assert drive.read("b") == b"grain of it"
    assert [name for name in drive.nas_files() if name.endswith("__b")] != []
