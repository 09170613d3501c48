"""Files of a vault, changed in places by a mount: what nobody touched keeps its parts, and what opens them."""

from __future__ import annotations

import random

import pytest

from fuse_mount import recovering
from fuse_mount.drafts import OpenFile
from tests.rooms.core.drive import Drive
from tests.rooms.core.vault_of_drive import content_of, forget_keys
from tests.rooms.fuse.files import Files, close, tells_what_is_in_memory, whole
from tests.rooms.fuse.test_random_writes import STEPS, Model
from tests.rooms.fuse.test_recovering import fail_to_commit
from tests.vaults import make_vault
from vfs.model import PART_SIZE, PIECE_SIZE
from vfs.operations import sealed_contents

PATH = "vault/f"


@pytest.fixture
def vault(drive: Drive) -> Drive:
    if drive.entry("").vault_id is None:
        make_vault(drive.kelp)
    else:  # all is in one
        drive.folder("vault")
    return drive


@pytest.fixture
def mount(vault: Drive, files: Files) -> Files:
    return files


class Inside(Model):
    path = PATH


@pytest.mark.parametrize("seed", [1])
def test_a_file_is_what_a_bytearray_is(mount: Files, seed: int) -> None:
    model = Inside(mount, seed)
    for _ in range(STEPS // 2):
        model.step()
    model.end()


def save(mount: Files, size: int) -> bytes:
    data = random.Random(1).randbytes(size)
    handle = mount.create(PATH)
    for at in range(0, size, PIECE_SIZE):
        handle.write(at, data[at : at + PIECE_SIZE])
    close(handle)
    return data


def test_parts_that_nobody_touched_stay(mount: Files) -> None:
    data = bytearray(save(mount, 3 * PART_SIZE + 10))
    before = mount.objects(PATH)
    handle = mount.open(PATH)
    handle.write(PART_SIZE + 5, b"changed")
    data[PART_SIZE + 5 : PART_SIZE + 12] = b"changed"
    assert whole(handle) == data
    close(handle)
    after = mount.objects(PATH)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True, True]
    assert mount.drive.read(PATH) == data
    entry = mount.drive.entry(PATH)
    content = content_of(mount.drive.kelp, entry)
    assert sealed_contents.plain_size(content) == entry.size == len(data)
    assert content.seal is not None


def test_holes_are_one_object(mount: Files) -> None:
    handle = mount.create(PATH)
    handle.truncate(20 * PART_SIZE)
    close(handle)
    assert len(set(mount.objects(PATH))) == 1 and len(mount.objects(PATH)) == 20
    reader = mount.open(PATH)
    assert reader.read(7 * PART_SIZE - 10, 20) == bytes(20)
    assert reader.size == 20 * PART_SIZE
    close(reader)


def at_once(handle: OpenFile, offset: int, size: int) -> bytes | None:
    found = handle.read_at_once(offset, size)
    return None if found is None else bytes(found)


@pytest.mark.engine(cache="folder", reason="its objects are files of this machine")
def test_what_the_kernel_has_in_memory_is_opened_at_once(mount: Files) -> None:
    is_told = tells_what_is_in_memory(mount.drive.kelp.settings.data)
    data = save(mount, PART_SIZE + 300_000)
    handle = mount.open(PATH)
    assert handle.read(0, 10) == data[:10], "what opens it is in memory now"
    for offset, size in (
        (5, 4096),
        (65_530, 20),
        (PART_SIZE - 4096, 4096),
        (PART_SIZE, 4096),
        (PART_SIZE + 299_000, 1000),
    ):
        assert at_once(handle, offset, size) == (data[offset : offset + size] if is_told else None)
    assert at_once(handle, PART_SIZE - 10, 20) is None, "of two parts"
    assert at_once(handle, 0, PIECE_SIZE) is None, "too much for the loop"
    close(handle)


def test_a_small_file_is_read_at_once(mount: Files) -> None:
    mount.save(PATH, b"little")
    handle = mount.open(PATH)
    assert handle.read(0, 6) == b"little"
    assert at_once(handle, 1, 3) == b"itt"
    close(handle)


def test_a_file_that_was_moved_stays_sealed(mount: Files) -> None:
    data = save(mount, PART_SIZE + 10)
    mount.drive.folder("vault/inner")
    handle = mount.open(PATH)
    handle.write(0, b"x")
    mount.drive.move(PATH, "vault/inner/g")
    close(handle)
    assert mount.drive.read("vault/inner/g") == b"x" + data[1:]


def test_what_is_recovered_stays_in_the_vault(mount: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = mount.drive
    drive.folder("vault/inner")
    handle = mount.create("vault/inner/f")
    handle.write(0, b"secret")
    fail_to_commit(mount, handle, monkeypatch)
    mount.open_files.close()
    for path in ("vault/inner/f", "vault/inner"):
        drive.remove(path)
    (left,) = recovering.found(drive.kelp)
    assert "f" not in left.header.logged.split()
    entry = recovering.recover(drive.kelp, mount.caller, left)
    folder = drive.entry("vault")
    root = folder if folder.is_vault else drive.entry("")
    assert (entry.parent_id, entry.vault_id) == (root.id, root.vault_id)
    assert drive.read_entry(entry) == b"secret"


def test_without_a_key_nothing_is_committed(mount: Files, files_of: object) -> None:
    from dataclasses import replace

    from fuse_mount.drafts import OpenFiles
    from vfs.errors import KeyMissing

    data = save(mount, 100)
    keyless = Files(replace(mount.drive, kelp=forget_keys(mount.drive.kelp)), None, mount.caller)  # type: ignore[arg-type]
    keyless.open_files = OpenFiles(keyless.drive.kelp)
    handle = keyless.open_files.open(mount.drive.entry(PATH), 0, mount.caller)
    with pytest.raises(KeyMissing):
        handle.read(0, 10)
    handle.release()
    keyless.open_files.close()
    assert mount.drive.read(PATH) == data
