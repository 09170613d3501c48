"""Damage to a vault on the NAS: each is named with its place, and all that is whole is still read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.rooms.crypto import independent_reader
from tests.rooms.crypto.independent_reader import Damaged, read_vault
from tests.rooms.crypto.vault_folder import VaultFolder
from vfs.crypto import manifests, sealed_names
from vfs.crypto.vault_keys import VaultKey


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture
def vault(tmp_path: Path, rsa_key: RSAPrivateKey) -> VaultFolder:
    made = VaultFolder(tmp_path / "vault", rsa_key)
    folder = made.folder(made.root, "folder")
    made.file(folder, "inside.txt", [b"inside" * 30, b"more"], mime_type="text/plain")
    made.file(made.root, "top.txt", [b"top" * 30, b"less"])
    return made


def read(vault: VaultFolder) -> independent_reader.Recovered:
    return read_vault(vault.private_key, vault.top)


WHOLE = {"folder/inside.txt": b"inside" * 30 + b"more", "top.txt": b"top" * 30 + b"less"}


def test_a_fresh_vault_is_read(vault: VaultFolder) -> None:
    found = read(vault)
    assert (found.faults, found.files, found.head) == ([], WHOLE, vault.head)
    assert found.types["folder/inside.txt"] == "text/plain"


def test_parts_swapped_left_out_doubled_or_from_elsewhere_are_found(vault: VaultFolder, tmp_path: Path) -> None:
    top, inside = vault.made["top.txt"], vault.made["folder/inside.txt".split("/")[1]]
    first, second = (top.place / key.name for key, _ in top.parts)
    foreign = inside.place / inside.parts[0][0].name

    def fails(change: Callable[[], object], named: str) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(vault.top, copy)
        change()
        found = read(vault)
        shutil.rmtree(vault.top)
        copy.rename(vault.top)
        assert [place for place, _ in found.faults] == [top.place.name], found.faults
        assert named in found.faults[0][1]
        assert found.files == {"folder/inside.txt": WHOLE["folder/inside.txt"]}

    def swap() -> None:
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)

    fails(swap, first.name)
    fails(first.unlink, first.name)
    fails(lambda: first.write_bytes(first.read_bytes()[:-1]), first.name)
    fails(lambda: first.write_bytes(first.read_bytes() * 2), first.name)
    fails(lambda: first.write_bytes(foreign.read_bytes()), first.name)
    fails(lambda: shutil.copy(foreign, top.place), foreign.name)
    fails(lambda: shutil.copy(inside.place / "parts", top.place), "part list")
    fails((top.place / "parts").unlink, "parts")


def test_entries_moved_doubled_or_of_another_vault_are_found(vault: VaultFolder, tmp_path: Path) -> None:
    top, inside = vault.made["top.txt"].place, vault.made["inside.txt"].place
    shutil.copytree(top, inside.parent / top.name)  # into another folder
    shutil.copytree(top, vault.top / ("29990101000000__" + "a" * 26))  # a second time
    stranger = VaultFolder(tmp_path / "other", vault.private_key)
    stranger.file(stranger.root, "x", [b"x"])
    shutil.copytree(stranger.made["x"].place, vault.top / ("29990101000000__" + "b" * 26))
    (vault.top / "stray").write_bytes(b"")
    found = read(vault)
    whys = dict(found.faults)
    assert "another folder" in whys[f"{inside.parent.name}/{top.name}"]
    assert "twice" in whys["29990101000000__" + "a" * 26]
    assert "another vault" in whys["29990101000000__" + "b" * 26]
    assert "does not belong" in whys["stray"]
    assert len(whys) == 4
    assert found.files == WHOLE
    assert found.head != vault.head


def test_what_lies_in_a_folder_whose_manifest_is_damaged_is_still_found(vault: VaultFolder) -> None:
    inside = vault.made["inside.txt"].place
    (inside.parent / "manifest").write_bytes(b"KELPMAN1")
    found = read(vault)
    assert found.files == {f"{inside.parent.name}/inside.txt": WHOLE["folder/inside.txt"], "top.txt": WHOLE["top.txt"]}
    assert [place for place, _ in found.faults] == [inside.parent.name]


def test_what_was_there_before_is_seen_by_the_head_alone(vault: VaultFolder) -> None:
    entry = vault.made["top.txt"]
    before, head = (entry.place / "manifest").read_bytes(), vault.head
    renamed = manifests.seal_manifest(
        vault.key,
        manifests.Manifest(
            **{name: getattr(entry.manifest, name) for name in entry.manifest.__slots__}
            | {"sequence": 8, "sealed_name": sealed_names.seal_name(vault.key, vault.root.seal_id, "renamed.txt")}
        ),
    )
    (entry.place / "manifest").write_bytes(renamed)
    found = read(vault)
    assert found.faults == [] and "renamed.txt" in found.files and found.head != head
    known = found.head
    (entry.place / "manifest").write_bytes(before)  # put back
    found = read(vault)
    assert found.faults == [] and found.head == head != known


def test_half_way_to_a_new_key(tmp_path: Path, rsa_key: RSAPrivateKey) -> None:
    older = VaultKey.generate()
    vault = VaultFolder(tmp_path / "vault", rsa_key, VaultKey.generate(older.vault_id, 2))
    folder = vault.folder(vault.root, "old folder", key=older)
    vault.file(folder, "new in old.txt", [b"n"])
    vault.file(vault.root, "old.txt", [b"o"], key=older)
    assert len(read(vault).faults) == 2  # the older key is gone
    vault.write_vault_json(older)
    assert (read(vault).faults, read(vault).files) == ([], {"old folder/new in old.txt": b"n", "old.txt": b"o"})


def test_another_private_key_is_refused(vault: VaultFolder) -> None:
    with pytest.raises(Damaged, match="not among the recipients"):
        read_vault(rsa.generate_private_key(65537, 3072), vault.top)


def test_recipients_of_another_vault_are_refused(vault: VaultFolder, tmp_path: Path) -> None:
    """The wrapped key of another vault, for the same person, put into this one."""
    stranger = VaultFolder(tmp_path / "other", vault.private_key)
    shown, other = (json.loads((each.top / "vault.json").read_text("utf-8")) for each in (vault, stranger))
    for changed in (shown | {"recipients": other["recipients"]}, other | {"vault_id": shown["vault_id"]}):
        (vault.top / "vault.json").write_text(json.dumps(changed), "utf-8")
        with pytest.raises(Damaged, match=r"vault\.json"):
            read(vault)
