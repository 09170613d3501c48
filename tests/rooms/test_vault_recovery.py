"""`kelp vault recover`: from a folder and a private key alone; whatever was done to the folder is named."""

from __future__ import annotations

import hashlib
import re
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nasty_names import NASTY_NAMES
from tests.rooms.crypto import independent_reader
from tests.rooms.crypto.vault_folder import STAMP, Folder, Made, VaultFolder
from vfs import links, names
from vfs.crypto import key_pairs, manifests, vault_keys
from vfs.crypto.key_pairs import PrivateKey, PublicKey
from vfs.crypto.manifests import ManifestKind
from vfs.errors import InvalidName, InvalidRequest, KeyMissing
from vfs.operations.vault_recovery.findings import Finding, Told
from vfs.operations.vault_recovery.recovering import Recovered, Wishes, recover

RSA = rsa.generate_private_key(65537, 3072)
KEY = PrivateKey(PublicKey(key_pairs.key_id(RSA.public_key()), 3072, RSA.public_key()), RSA)
OTHER = key_pairs.generate()
MTIME = 1_767_258_000_123_456_789  # of all that VaultFolder makes
MIB = 1024 * 1024


@dataclass
class Result:
    out: Path
    told: Told
    faults: list[Finding]
    notes: list[Finding]
    vaults: list[Recovered]

    @property
    def files(self) -> dict[str, bytes]:
        return {
            str(file.relative_to(self.out)): file.read_bytes() for file in sorted(self.out.rglob("*")) if file.is_file()
        }

    @property
    def folders(self) -> set[str]:
        return {str(each.relative_to(self.out)) for each in self.out.rglob("*") if each.is_dir()}


def run(nas: Path, out: Path, *keys: PrivateKey, wishes: Wishes | None = None) -> Result:
    found: list[Finding] = []
    told = Told(found.append)
    vaults = recover(nas, out, keys or (KEY,), told, wishes)
    faults = [each for each in found if each.is_fault]
    assert told.tally.faults == len(faults)
    return Result(out, told, faults, [each for each in found if not each.is_fault], vaults)


def random_bytes(label: str, size: int) -> bytes:
    return hashlib.shake_128(label.encode()).digest(size)


def is_legal(name: str) -> bool:
    try:
        return bool(names.check_segment(name))
    except InvalidName:
        return False


# --- what is whole comes back ---------------------------------------------------------------------


def test_all_comes_back(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    legal = [name for name in NASTY_NAMES if is_legal(name)]
    below: Folder = vault.root
    expected, folders = {}, set()
    path = ""
    for number, name in enumerate(legal[:4]):
        below, path = vault.folder(below, name), f"{path}{name}/"
        folders.add(path.rstrip("/"))
        vault.folder(below, "empty")
        folders.add(f"{path}empty")
        for other in legal[number::4]:
            data = random_bytes(other, number * 70_000)
            vault.file(below, f"_{other}"[:120], [data] if data else [])
            expected[path + f"_{other}"[:120]] = data
    link = links.packed("../wöhin".encode())
    vault.file(vault.root, "link", [link], kind=ManifestKind.SYMLINK)
    vault.file(vault.root, "n" * 255, [b"long"])
    shared = [b"first" * 40_000, b"\0" * 70_000]
    vault.file(vault.root, "slices", shared, [(1, 0, 70_000), (0, 7, 150_000), (1, 5, 1), (0, 0, 200_000)])
    expected |= {
        "link": link,
        "n" * 255: b"long",
        "slices": shared[1] + shared[0][7:150_007] + b"\0" + shared[0],
    }
    result = run(tmp_path / "nas", tmp_path / "out")
    assert result.faults == result.notes == []
    assert (result.files, result.folders) == (expected, folders)
    assert result.vaults == [Recovered("", vault.key.vault_id.hex(), vault.head)]
    assert {each.stat().st_mtime_ns for each in result.out.rglob("*")} == {MTIME}
    assert {each.stat().st_mode & 0o077 for each in (result.out, *result.out.rglob("*"))} == {0}
    other = independent_reader.read_vault(RSA, tmp_path / "nas")
    assert (other.files, set(other.folders), other.head) == (expected, folders, vault.head)

    again = run(tmp_path / "nas", tmp_path / "out")
    tally = again.told.tally
    assert (tally.there, tally.files, tally.folders, tally.faults) == (len(expected), 0, 0, 0)
    assert again.files == expected


def test_a_nas_with_several_vaults(tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    for place, key in (("Docs/a/Secret", RSA), ("Other", RSA), ("Closed", OTHER.key), (".trash/1__x/Gone", RSA)):
        vault = VaultFolder(nas / place, key)
        vault.file(vault.folder(vault.root, "in"), f"of {place[-3:]}", [place.encode()])
    (nas / "Docs" / "plain.txt").write_text("plain")
    (nas / ".kelp" / "tmp").mkdir(parents=True)
    result = run(nas, tmp_path / "out")
    expected = {"Docs/a/Secret/in/of ret": b"Docs/a/Secret", "Other/in/of her": b"Other"}
    assert result.files == expected
    (fault,) = result.faults
    assert fault.where == "Closed/vault.json" and OTHER.id in fault.what and "recovery 'the safe of Åsa'" in fault.what
    assert [each.at for each in result.vaults] == ["Docs/a/Secret", "Other"]
    both = run(nas, tmp_path / "out", KEY, OTHER, wishes=Wishes(trash=True))
    assert both.faults == []
    assert both.files == {**expected, "Closed/in/of sed": b"Closed", ".trash/1__x/Gone/in/of one": b".trash/1__x/Gone"}


def test_manifests_of_an_older_key(tmp_path: Path) -> None:
    older = vault_keys.VaultKey.generate()
    vault = VaultFolder(tmp_path / "nas", RSA, vault_keys.VaultKey.generate(older.vault_id, 2))
    folder = vault.folder(vault.root, "old", key=older)
    vault.file(folder, "old too", [b"1"], key=older)
    vault.file(vault.root, "new", [b"2"])
    vault.write_vault_json(older)
    assert run(vault.top, tmp_path / "out").files == {"old/old too": b"1", "new": b"2"}
    vault.write_vault_json()
    result = run(vault.top, tmp_path / "later")
    (fault, *_) = result.faults
    assert "of generation 1 of the vault's key, not 2" in fault.what
    assert result.files["new"] == b"2"


def test_much_in_little_memory(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    part = random_bytes("part", 8 * MIB)
    vault.file(vault.root, "big", [part], [(0, 0, 8 * MIB)] * 20)
    run(tmp_path / "nas", tmp_path / "first")  # all that is imported and kept is there
    tracemalloc.start()
    result = run(tmp_path / "nas", tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * MIB
    assert result.faults == [] and result.told.tally.bytes == 160 * MIB
    with (tmp_path / "out/big").open("rb") as file:
        assert all(file.read(8 * MIB) == part for _ in range(20)) and not file.read()


# --- whatever was done to it is named -------------------------------------------------------------


@dataclass
class Sample:
    """A vault with what must come of it. `older`: bundles as they were before, by the place of what they are now."""

    top: Path
    head: str
    files: dict[str, bytes]
    folders: set[str]
    older: dict[Path, Path]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    base = tmp_path_factory.mktemp("sample")
    vault = VaultFolder(base / "nas", RSA)
    papers = vault.folder(vault.root, "Papers")
    deep = vault.folder(papers, "deep")
    vault.folder(vault.root, "empty folder")
    shared = [random_bytes("one", 70_000), random_bytes("two", 300)]
    made = {
        "slices.bin": vault.file(vault.root, "slices.bin", shared, [(0, 5, 60_000), (1, 0, 300), (0, 0, 70_000)]),
        "empty": vault.file(vault.root, "empty", []),
        "a.txt": vault.file(vault.root, "a.txt", [b"of the top"]),
        "Papers/a.txt": vault.file(papers, "a.txt", [b"of papers"]),
        "Papers/two parts": vault.file(papers, "two parts", [b"x" * 65_536, b"y" * 65_537]),
        "Papers/deep/b": vault.file(deep, "b", [b"deep down"]),
    }
    files, head, older = {path: each.plain for path, each in made.items()}, vault.head, {}
    for path, parent in (("a.txt", vault.root), ("Papers/two parts", papers)):
        older[made[path].place] = base / f"older-{len(older)}"
        shutil.move(earlier(vault, parent, path, made[path]), older[made[path].place])
    return Sample(vault.top, head, files, {"Papers", "Papers/deep", "empty folder"}, older)


def earlier(vault: VaultFolder, parent: Folder, path: str, now: Made) -> Path:
    """A bundle of the same entry with another content, and an older manifest."""
    before = vault.file(parent, path.rpartition("/")[2], [b"as it was earlier"])
    content = before.manifest.content
    manifest = replace(now.manifest, sequence=now.manifest.sequence - 1, content=content)
    (before.place / "manifest").write_bytes(manifests.seal_manifest(vault.key, manifest))
    return before.place


def bundles(top: Path) -> list[Path]:
    return sorted(each for each in top.rglob(f"{STAMP}__*"))


def folders(top: Path) -> list[Path]:
    return sorted(each for each in top.rglob("*") if each.is_dir() and len(each.name) == 26)


def damage_file(data: st.DataObject, top: Path) -> Path:
    """Of one file; where it lies."""
    file = data.draw(st.sampled_from(sorted(each for each in top.rglob("*") if each.is_file())))
    held = bytearray(file.read_bytes())
    how = data.draw(st.sampled_from(["flip", "cut", "grow", "drop", "other", "double"]))
    if how == "flip":
        bit = data.draw(st.integers(0, len(held) * 8 - 1))
        held[bit // 8] ^= 1 << bit % 8
    elif how == "cut":
        del held[data.draw(st.integers(0, len(held) - 1)) :]
    elif how == "grow":
        held += data.draw(st.binary(min_size=1, max_size=20))
    elif how == "double":
        held += bytes(held)
    elif how == "other":
        other = data.draw(st.sampled_from(sorted(each for each in top.rglob("*") if each.is_file() and each != file)))
        held = bytearray(other.read_bytes())
    if how == "drop":
        file.unlink()
    else:
        file.write_bytes(held)
    return file


def swap_files(data: st.DataObject, top: Path) -> Path:
    """Two of a sort: manifests, lists, or parts."""
    every = sorted(each for each in top.rglob("*") if each.is_file() and each.name != "vault.json")
    one = data.draw(st.sampled_from(every))
    is_like = (lambda name: name == one.name) if one.name in ("manifest", "parts") else (lambda name: len(name) == 26)
    other = data.draw(st.sampled_from([each for each in every if is_like(each.name)]))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return one


def copy_entry(data: st.DataObject, top: Path) -> Path:
    entry = data.draw(st.sampled_from(bundles(top) + folders(top)))
    into = data.draw(st.sampled_from([top, *(each for each in folders(top) if not each.is_relative_to(entry))]))
    return Path(shutil.copytree(entry, into / other_name(data, entry)))


def move_entry(data: st.DataObject, top: Path) -> Path:
    entry = data.draw(st.sampled_from(bundles(top) + folders(top)))
    into = data.draw(st.sampled_from([top, *(each for each in folders(top) if not each.is_relative_to(entry))]))
    return Path(shutil.move(entry, into / other_name(data, entry)))


def other_name(data: st.DataObject, entry: Path) -> str:
    """Before or behind all others."""
    return entry.name[:-26] + data.draw(st.sampled_from("2z")) * 26


def add_stranger(data: st.DataObject, top: Path) -> Path:
    into = data.draw(st.sampled_from([top, *folders(top), *bundles(top)]))
    name = data.draw(st.sampled_from(["notes.txt", "Thumbs.db", "k" * 26, "manifest.bak"]))
    (into / name).write_bytes(b"stranger")
    return into / name


def drop_entry(data: st.DataObject, top: Path) -> Path:
    entry = data.draw(st.sampled_from(bundles(top) + folders(top)))
    shutil.rmtree(entry)
    return entry


Damage = Callable[[st.DataObject, Path], Path]
DAMAGES: list[Damage] = [damage_file, swap_files, copy_entry, move_entry, add_stranger, drop_entry]


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_was_changed_is_told_and_no_byte_is_wrong(sample: Sample, tmp_path: Path, data: st.DataObject) -> None:
    for each in tmp_path.iterdir():
        shutil.rmtree(each)
    nas = Path(shutil.copytree(sample.top, tmp_path / "nas"))
    damage = data.draw(st.sampled_from(DAMAGES))
    place = str(damage(data, nas).relative_to(nas))
    try:
        result = run(nas, tmp_path / "out")
    except (InvalidRequest, KeyMissing):
        assert place == "vault.json"
        return
    restored = result.files
    right = {held: path.rpartition("/")[2] for path, held in sample.files.items()}
    for path, held in restored.items():  # whatever is there is what was sealed, under its own name
        name = path.rpartition("/")[2]
        assert right.get(held) == name or re.fullmatch(r"(.*) \(\d+\)(.*)", name), path
        assert held in right
    is_same = (restored, result.folders) == (sample.files, sample.folders)
    heads = [each.head for each in result.vaults]
    if not result.faults and heads == [sample.head]:
        assert is_same
    if damage is drop_entry:
        assert not result.faults and heads != [sample.head]
    else:
        assert result.faults or is_same
        near = place.partition("/")[0]
        assert is_same or any(near in each.where + each.what or damage is swap_files for each in result.faults)
    if place != "vault.json" and damage is not drop_entry:  # all others are there, wherever
        lost = {held for path, held in sample.files.items() if held not in restored.values()}
        assert len(lost) <= (2 if damage is swap_files else 1)


@pytest.mark.parametrize("what", ["bundle", "manifest", "parts"])
def test_older_states_that_were_put_back(sample: Sample, tmp_path: Path, what: str) -> None:
    """A whole older bundle is told by the head alone; a part of it by what is left of the newer one."""
    nas = Path(shutil.copytree(sample.top, tmp_path / "nas"))
    now, before = next(iter(sample.older.items()))
    target = nas / now.relative_to(sample.top)
    if what == "bundle":
        shutil.rmtree(target)
        shutil.copytree(before, target)
    else:
        shutil.copy(before / what, target / what)
    result = run(nas, tmp_path / "out")
    if what == "bundle":
        assert not result.faults and b"as it was earlier" in result.files.values()
    else:
        assert [each.where for each in result.faults] == [str(target.relative_to(nas))]
        assert "parts: is not the one of this content" in result.faults[0].what
    assert (result.vaults[0].head == sample.head) == (what == "parts")


def test_an_older_bundle_beside_the_newer_one_gets_a_number(sample: Sample, tmp_path: Path) -> None:
    nas = Path(shutil.copytree(sample.top, tmp_path / "nas"))
    for now, before in sample.older.items():
        beside = nas / now.relative_to(sample.top).with_name(f"{STAMP}__{'a' * 26}")
        shutil.copytree(before, beside)
    result = run(nas, tmp_path / "out")
    old = {"a (1).txt": b"as it was earlier", "Papers/two parts (1)": b"as it was earlier"}
    assert result.files == sample.files | old
    assert result.vaults[0].head == sample.head
    assert {each.path for each in result.faults} == set(old)
    again = run(nas, tmp_path / "out")
    assert again.files == result.files and again.told.tally.files == 0


def test_a_fault_says_which_frame_of_which_part(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    made = vault.file(vault.root, "report", [random_bytes(str(each), 600_000) for each in range(5)])
    spoilt = made.place / made.parts[2][0].name
    held = bytearray(spoilt.read_bytes())
    held[7 * 65_552 + 100] ^= 1
    spoilt.write_bytes(held)
    (made.place / made.parts[4][0].name).unlink()
    result = run(vault.top, tmp_path / "out")
    assert [(each.where, each.path, each.is_there) for each in result.faults] == [
        (made.place.name, "report", False)
    ] * 2
    first, second = (each.what for each in result.faults)
    assert f"part 3 of 5: part {spoilt.name}: frame 7" in first
    assert second == f"part 5 of 5: part {made.parts[4][0].name}: is not there"
    assert result.files == {}
    kept = run(vault.top, tmp_path / "out", wishes=Wishes(keep_damaged=True))
    plain = bytearray(made.plain)
    plain[1_200_000 + 7 * 65_536 : 1_200_000 + 8 * 65_536] = bytes(65_536)
    plain[2_400_000:] = bytes(600_000)
    assert kept.files == {"report.damaged": plain}
    assert [each.path for each in kept.faults] == ["report.damaged"] * 2


def test_bytes_that_only_an_older_state_of_the_file_needed(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    made = vault.file(vault.root, "f", [random_bytes("f", 200_000)], [(0, 0, 10), (0, 20, 30)])
    spoilt = made.place / made.parts[0][0].name
    held = bytearray(spoilt.read_bytes())
    held[-1] ^= 1
    spoilt.write_bytes(held)
    result = run(vault.top, tmp_path / "out")
    assert result.files == {"f": made.plain}
    assert "frame 3" in result.faults[0].what and result.faults[0].is_there


def test_what_lies_in_a_folder_without_a_manifest(sample: Sample, tmp_path: Path) -> None:
    nas = Path(shutil.copytree(sample.top, tmp_path / "nas"))
    papers = next(each.parent for each in folders(nas) if each.parent != nas)
    (papers / "manifest").write_bytes(b"nothing")
    result = run(nas, tmp_path / "out")
    assert result.files == {path.replace("Papers", papers.name): data for path, data in sample.files.items()}
    (fault,) = result.faults
    assert (fault.where, fault.path, fault.is_there) == (papers.name, papers.name, True)


def test_vault_json_is_damaged(sample: Sample, tmp_path: Path) -> None:
    nas = Path(shutil.copytree(sample.top, tmp_path / "nas"))
    copy = Path(shutil.copy(nas / "vault.json", tmp_path / "copy.json"))
    text = copy.read_text()
    for wrong in (
        text.replace("the safe of", "the house of"),
        text.replace('"generation": 1', '"generation": 4'),
        re.sub('"root_seal_id": "..', '"root_seal_id": "00', text),
        text.replace(KEY.id, "0" * 32),
    ):
        (nas / "vault.json").write_text(wrong)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        result = run(nas, tmp_path / "out")
        assert (result.files, result.folders) == (sample.files, sample.folders)
        assert result.faults[0].where == "vault.json" and "was changed" in result.faults[0].what
    (nas / "vault.json").write_text(text[:300])
    result = run(nas, tmp_path / "out")
    assert (result.vaults, [each.where for each in result.faults]) == ([], ["vault.json"])
    (nas / "vault.json").unlink()
    with pytest.raises(InvalidRequest, match="no vault here"):
        run(nas, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert run(nas, tmp_path / "out", wishes=Wishes(vault_file=copy)).files == sample.files
