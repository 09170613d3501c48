"""What every NasStore does with bundles, which are sealed files. Fixtures as those of `nas_store_contract`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from tests.contracts.nas_store_contract import TIME, content_of, names, write
from vfs.errors import ContentCorrupt, NasFault, ObjectMissing
from vfs.storage import bundles
from vfs.storage.bundles import BundlePart
from vfs.storage.nas_store import ROOT, NasFile, NasInfo, NasNotEmpty, NasStore, NasTargetExists

ONE, OTHER = "20260101000000__m4v6mwkqj3rl7xto2dnbyc5hga", "20260101000001__ctaxq4ywv3tn2hmbf7kr6zd5ue"
PART, SECOND = "k7gq2x5dvnw4tj3yb6lfcm2zoe", "5b1ffa26-7e0b-4d7a-9f2c-0c5a2f9a8b11"
TEMP = ".kelp/tmp/12-0"


def part(name: str, data: bytes, checksum: str | None = None) -> BundlePart:
    return BundlePart(name, len(data), checksum or blake3(data).hexdigest(), [data])


def bundle(store: NasStore, path: str = TEMP, parts: dict[str, bytes] | None = None, text: bytes = b"m") -> NasFile:
    held = {PART: b"first", SECOND: b"and second"} if parts is None else parts
    return bundles.write(store, path, [part(name, data) for name, data in held.items()], b"the list", text, TIME)


def files(tree: Path, path: str) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (tree / path).iterdir()}


class BundleContract:
    def test_a_bundle_is_shown_as_a_file(self, store: NasStore, tree: Path) -> None:
        written = bundle(store)
        store.move(TEMP, ONE)
        assert files(tree, ONE) == {PART: b"first", SECOND: b"and second", "parts": b"the list", "manifest": b"m"}
        inode = (tree / ONE / "manifest").stat().st_ino
        assert written == NasFile(15, TIME, inode)
        assert store.stat(ONE) == dict(store.survey(ROOT))[ONE] == NasInfo("file", 15, TIME, inode, True)
        assert names(store) == {ONE: "file"}
        assert content_of(store, f"{ONE}/{PART}") == b"first"
        assert store.checksum(f"{ONE}/{SECOND}") == blake3(b"and second").hexdigest()
        assert names(store, ONE) == dict.fromkeys((PART, SECOND, "parts", "manifest"), "file")

    def test_without_parts(self, store: NasStore) -> None:
        assert bundle(store, parts={}).size == 0
        store.move(TEMP, ONE)
        info = store.stat(ONE)
        assert info is not None and (info.kind, info.size) == ("file", 0)

    def test_it_has_no_bytes_of_its_own(self, store: NasStore) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        for ask in (store.read, store.checksum, lambda path: store.link(path, OTHER), store.make_folder):
            with pytest.raises(NasFault):
                ask(ONE)

    @pytest.mark.parametrize("bad", [part(SECOND, b"x", "0" * 64), BundlePart(SECOND, 3, "0" * 64, [b"x"])])
    def test_a_bad_part_leaves_nothing(self, store: NasStore, bad: BundlePart) -> None:
        with pytest.raises(ContentCorrupt):
            bundles.write(store, TEMP, [part(PART, b"first"), bad], b"", b"m", TIME)
        assert store.stat(TEMP) is None and list(store.list(".kelp/tmp")) == []

    def test_plain_folders_are_none(self, store: NasStore) -> None:
        for name in ("docs", "ctaxq4ywv3tn2hmbf7kr6zd5ue", "2026__m4v6mwkqj3rl7xto2dnbyc5hga", f"{ONE}x"):
            store.make_folder(name)
            write(store, f"{name}/manifest")
            info = store.stat(name)
            assert info is not None and (info.kind, names(store)[name]) == ("folder", "folder")
            with pytest.raises(NasFault):
                store.remove(name)
        store.make_folder(ONE)
        write(store, f"{ONE}/parts")
        assert names(store)[ONE] == "folder"

    def test_a_folder_held_aside_is_none(self, store: NasStore) -> None:
        store.make_folder("docs")
        write(store, "docs/manifest")
        write(store, "docs/more")
        store.move("docs", ".kelp/tmp/held-5-12", parents=True)
        assert names(store, ".kelp/tmp") == {"held-5-12": "folder"}
        bundle(store)
        store.move(TEMP, ".kelp/tmp/held-6-12")
        assert names(store, ".kelp/tmp") == {"held-5-12": "folder", "held-6-12": "file"}

    @pytest.mark.parametrize("inner", ["", PART, ONE])
    def test_nor_is_a_folder_of_a_vault(self, store: NasStore, inner: str) -> None:
        """It has a manifest of its own, and what is in it may be named as parts are."""
        store.make_folder(PART)
        write(store, f"{PART}/manifest")
        if inner:
            store.make_folder(f"{PART}/{inner}")
            write(store, f"{PART}/{inner}/manifest")
        store.move(PART, ".kelp/tmp/held-5-12", parents=True)
        info = store.stat(".kelp/tmp/held-5-12")
        assert names(store, ".kelp/tmp") == {"held-5-12": "folder"} and info is not None and info.kind == "folder"

    def test_touch(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        touched = store.touch(ONE, TIME + 10**9)
        assert touched == NasFile(15, TIME + 10**9, (tree / ONE / "manifest").stat().st_ino)
        assert store.stat(ONE) == NasInfo("file", *touched, True)

    def test_replace(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        bundle(store, parts={PART: b"new"}, text=b"n")
        with pytest.raises(NasTargetExists):
            store.move(TEMP, ONE)
        store.move(TEMP, ONE, replace=True)
        assert files(tree, ONE) == {PART: b"new", "parts": b"the list", "manifest": b"n"}
        assert list(store.list(".kelp/tmp")) == []
        store.move(ONE, ONE, replace=True)
        store.move(ONE, OTHER)
        assert names(store) == {OTHER: "file"} and files(tree, OTHER)[PART] == b"new"

    def test_bundles_and_files_replace_each_other_but_no_folder(self, store: NasStore, tree: Path) -> None:
        write(store, ONE, b"plain")
        bundle(store)
        store.move(TEMP, ONE, replace=True)
        assert names(store) == {ONE: "file"} and files(tree, ONE)[PART] == b"first"
        write(store, "f", b"plain")
        store.move("f", ONE, replace=True)
        assert content_of(store, ONE) == b"plain" and list(store.list(".kelp/tmp")) == []
        store.make_folder("d")
        write(store, "d/f")
        bundle(store)
        with pytest.raises(NasNotEmpty):
            store.move(TEMP, "d", replace=True)
        store.move(TEMP, OTHER)
        for source, target in (("d", OTHER), (OTHER, "d")):
            with pytest.raises(NasFault):
                store.move(source, target, replace=True)
        assert content_of(store, "d/f") == b"content" and files(tree, OTHER)[PART] == b"first"

    def test_link(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        version = ".kelp/versions/7/20260101000000~5b1ffa26"
        if not bundles.link(store, ONE, version, TEMP, b"version", TIME + 5 * 10**9):
            pytest.skip("this NAS has no hard links")
        assert files(tree, version) == {**files(tree, ONE), "manifest": b"version"}
        assert (tree / version / PART).stat().st_ino == (tree / ONE / PART).stat().st_ino
        info = store.stat(version)
        assert info is not None and (info.kind, info.size, info.mtime_ns) == ("file", 15, TIME + 5 * 10**9)
        assert files(tree, ONE)["manifest"] == b"m" and list(store.list(".kelp/tmp")) == []
        with pytest.raises(NasTargetExists):
            bundles.link(store, ONE, version, TEMP, b"again", TIME)
        with pytest.raises(ObjectMissing):
            bundles.link(store, OTHER, f"{version}x", TEMP, b"again", TIME)
        assert list(store.list(".kelp/tmp")) == []
        store.remove(ONE)
        assert content_of(store, f"{version}/{PART}") == b"first"

    def test_only_the_manifest_is_rewritten(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        before = files(tree, ONE)
        bundles.replace_file(store, f"{ONE}/manifest", b"renamed", ".kelp/tmp/12-manifest", TIME)
        assert files(tree, ONE) == {**before, "manifest": b"renamed"}
        assert list(store.list(".kelp/tmp")) == []

    def test_remove(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        for _ in range(2):
            store.remove(ONE)
        assert names(store) == {} and list(store.list(".kelp/tmp")) == []

    def test_what_was_not_finished_is_removed_too(self, store: NasStore) -> None:
        write(store, f"{TEMP}/{PART}", parents=True)
        write(store, ".kelp/tmp/bundle-0123456789abcdef/parts", parents=True)
        write(store, ".kelp/tmp/gone-5-12/parts", parents=True)
        assert set(names(store, ".kelp/tmp").values()) == {"folder"}
        store.remove(TEMP)
        store.remove(".kelp/tmp/bundle-0123456789abcdef")
        with pytest.raises(NasFault):
            store.remove(".kelp/tmp/gone-5-12")
        assert names(store, ".kelp/tmp") == {"gone-5-12": "folder"}

    def test_what_somebody_put_into_one_is_kept(self, store: NasStore, tree: Path) -> None:
        bundle(store)
        store.move(TEMP, ONE)
        (tree / ONE / "Thumbs.db").write_bytes(b"theirs")
        (tree / ONE / "@eaDir").mkdir()
        info = store.stat(ONE)
        assert info is not None and (info.kind, info.size) == ("file", 15)
        store.remove(ONE)
        assert names(store) == {}
        (kept,) = (tree / ".kelp/foreign").iterdir()
        assert sorted(os.listdir(kept)) == ["@eaDir", "Thumbs.db"]

    def test_no_symlink_in_one_is_followed(self, store: NasStore, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/manifest").write_bytes(b"m")
        (tree / ONE).symlink_to(tmp_path / "outside")
        assert names(store) == {ONE: "other"}
        (tree / OTHER).mkdir()
        (tree / OTHER / "manifest").symlink_to(tmp_path / "outside/manifest")
        assert names(store)[OTHER] == "folder"
        store.remove(ONE)
        assert (tmp_path / "outside/manifest").exists()
