"""What every NasStore does. A test file of an implementation subclasses this and has fixtures `store` (prepared) and
`tree`, the folder in which the same NAS can be seen and disturbed without Kelp."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from tests.nasty_names import NASTY_NAMES
from vfs.errors import ContentCorrupt, NasFault, ObjectMissing
from vfs.model import PIECE_SIZE, ByteRange
from vfs.storage.nas_store import ROOT, NasFile, NasInfo, NasNotEmpty, NasStore, NasTargetExists

TIME = 1_700_000_000_123_456_700  # a multiple of 100 ns, the coarsest that a NAS of today shows


def write(store: NasStore, path: str, content: bytes = b"content", **options: Any) -> NasFile:
    return store.write(path, [content], len(content), blake3(content).hexdigest(), **options)


def content_of(store: NasStore, path: str) -> bytes:
    return b"".join(store.read(path))


def names(store: NasStore, path: str = ROOT) -> dict[str, str]:
    return {name: kind for name, kind in store.list(path) if name != ".kelp"}


class BodyLost(Exception):
    pass


class NasStoreContract:
    # --- look

    def test_a_survey_tells_of_each_name_what_is_there(self, store: NasStore, tree: Path) -> None:
        written = write(store, "a file", mtime_ns=TIME)
        store.make_folder("a folder")
        (tree / "link").symlink_to("a file")
        os.mkfifo(tree / "pipe")
        (tree / os.fsdecode(b"no utf-8 \xff")).write_bytes(b"some")
        found = {name: info for name, info in store.survey(ROOT) if name != ".kelp"}
        assert found["a file"] == NasInfo("file", 7, TIME, written.inode)
        assert found["a folder"] == store.stat("a folder")
        assert {name: info.kind for name, info in found.items()} == {
            "a file": "file", "a folder": "folder", "link": "other", "pipe": "other",
            os.fsdecode(b"no utf-8 \xff"): "file",
        }  # fmt: skip

    def test_a_survey_follows_no_link_and_needs_a_folder(self, store: NasStore, tree: Path) -> None:
        store.make_folder("a folder")
        (tree / "link").symlink_to("a folder")
        write(store, "a file")
        assert list(store.survey("a folder")) == []
        for path in ("link", "a file"):
            with pytest.raises(NasFault):
                store.survey(path)
        with pytest.raises(ObjectMissing):
            store.survey("missing")

    # --- write and read

    @pytest.mark.parametrize("size", [0, 1, PIECE_SIZE, 2 * PIECE_SIZE + 17])
    def test_bytes_come_back(self, store: NasStore, tree: Path, size: int) -> None:
        content = os.urandom(size)
        checksum = blake3(content).hexdigest()
        written = store.write("a file", [content[:100], content[100:]], size, checksum, mtime_ns=TIME)
        assert content_of(store, "a file") == content == (tree / "a file").read_bytes()
        assert all(0 < len(piece) <= PIECE_SIZE for piece in store.read("a file"))
        assert written == NasFile(size, TIME, (tree / "a file").stat().st_ino)
        assert store.stat("a file") == NasInfo("file", size, TIME, written.inode)
        assert store.checksum("a file") == checksum

    @pytest.mark.parametrize("announced", [0, 5, 8, 10**12])
    def test_a_wrong_length_leaves_nothing(self, store: NasStore, announced: int) -> None:
        with pytest.raises(ContentCorrupt):
            store.write("f", [b"con", b"tent"], announced, blake3(b"content").hexdigest())
        assert names(store) == {}

    def test_a_wrong_checksum_leaves_nothing(self, store: NasStore) -> None:
        with pytest.raises(ContentCorrupt):
            store.write("f", [b"content"], 7, blake3(b"CONTENT").hexdigest())
        assert names(store) == {}

    @pytest.mark.parametrize("error", [BodyLost(), OSError(28, "not ours"), KeyboardInterrupt()])
    def test_chunks_that_break_leave_nothing(self, store: NasStore, error: BaseException) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"con"
            raise error

        with pytest.raises(type(error)) as caught:
            store.write("f", chunks(), 7, blake3(b"content").hexdigest())
        assert caught.value is error
        assert names(store) == {}

    def test_write_never_replaces(self, store: NasStore) -> None:
        write(store, "f", b"first")
        with pytest.raises(NasTargetExists):
            write(store, "f", b"second")
        assert content_of(store, "f") == b"first"

    @pytest.mark.parametrize("mtime_ns", [0, -(10**9), 1, 2**63 - 1, 2**80])
    def test_times_are_shown_as_far_as_possible(self, store: NasStore, mtime_ns: int) -> None:
        written = store.write("f", [b"x"], 1, blake3(b"x").hexdigest(), mtime_ns=mtime_ns)
        info = store.stat("f")
        assert info is not None and info.mtime_ns == written.mtime_ns

    def test_touch(self, store: NasStore) -> None:
        write(store, "f")
        touched = store.touch("f", TIME)
        assert touched.mtime_ns == TIME
        assert store.stat("f") == NasInfo("file", 7, TIME, touched.inode)
        with pytest.raises(ObjectMissing):
            store.touch("absent", TIME)

    @pytest.mark.parametrize("start, stop", [(0, 0), (3, 9), (1048570, 1048590), (0, 2000000)])
    def test_ranges(self, store: NasStore, start: int, stop: int) -> None:
        content = os.urandom(2000000)
        write(store, "f", content)
        assert b"".join(store.read("f", ByteRange(start, stop))) == content[start:stop]

    def test_a_range_past_the_end_means_the_file_was_cut(self, store: NasStore) -> None:
        write(store, "f", b"0123456789")
        with pytest.raises(ContentCorrupt):
            store.read("f", ByteRange(5, 11))

    def test_a_file_cut_while_it_is_read(self, store: NasStore, tree: Path) -> None:
        write(store, "f", bytes(3 * PIECE_SIZE))
        pieces = store.read("f")
        next(pieces)
        os.truncate(tree / "f", PIECE_SIZE)
        with pytest.raises(ContentCorrupt):
            list(pieces)

    def test_missing_shows_at_the_call(self, store: NasStore) -> None:
        for path in ("absent", "no folder/absent"):
            for ask in (store.read, store.checksum, store.list):
                with pytest.raises(ObjectMissing):
                    ask(path)
            assert store.stat(path) is None

    def test_what_is_dropped_half_way_holds_nothing(self, store: NasStore) -> None:
        write(store, "f", bytes(2 * PIECE_SIZE))
        write(store, "g")
        for _ in range(1500):  # more than a process may have open
            store.read("f")
            next(store.read("f"))
            store.list(ROOT)
            next(store.list(ROOT))

    # --- names and paths

    @pytest.mark.parametrize("name", NASTY_NAMES)
    def test_nasty_names(self, store: NasStore, tree: Path, name: str) -> None:
        store.make_folder(name)
        path = f"{name}/{name}"
        write(store, path)
        assert names(store) == {name: "folder"} and names(store, name) == {name: "file"}
        assert (tree / name / name).read_bytes() == content_of(store, path) == b"content"
        store.move(path, f"{name}/moved")
        store.move(f"{name}/moved", path)
        store.sync([name, ROOT])
        store.remove(path)
        store.remove_folder(name)
        assert names(store) == {}

    @pytest.mark.parametrize(
        "path", ["/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a//b", "a/", "a\0b"]
    )
    def test_paths_that_are_none(self, store: NasStore, path: str) -> None:
        write(store, "f")
        asks: list[Callable[[], object]] = [
            lambda: write(store, path),
            lambda: store.read(path),
            lambda: store.stat(path),
            lambda: store.move(path, "x"),
            lambda: store.move("f", path),
            lambda: store.link("f", path),
            lambda: store.remove(path),
            lambda: store.remove_folder(path),
            lambda: store.make_folder(path),
            lambda: store.list(path),
            lambda: store.sync([path]),
        ]
        for ask in asks:
            with pytest.raises(ValueError):
                ask()
        assert names(store) == {"f": "file"}

    def test_the_root_is_only_looked_at(self, store: NasStore) -> None:
        info = store.stat(ROOT)
        assert info is not None and info.kind == "folder"
        store.sync([ROOT, ROOT])
        for ask in (store.read, store.remove, store.remove_folder, store.make_folder):
            with pytest.raises(ValueError):
                ask(ROOT)

    def test_a_name_too_long_is_the_fault_of_its_entry(self, store: NasStore) -> None:
        for ask in (lambda: write(store, "x" * 256), lambda: store.make_folder("x" * 256)):
            with pytest.raises(NasFault):
                ask()

    # --- symlinks and other strangers

    def test_no_symlink_is_followed(self, store: NasStore, tree: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        (tree / "way").symlink_to(outside)
        (tree / "file").symlink_to(outside / "secret")
        (tree / "loop").symlink_to("loop")
        (tree / ".trash").symlink_to(outside)
        write(store, "own")
        asks: list[Callable[[], object]] = [
            lambda: content_of(store, "way/secret"),
            lambda: content_of(store, "file"),
            lambda: store.checksum("loop"),
            lambda: store.touch("file", TIME),
            lambda: write(store, "way/new"),
            lambda: write(store, ".trash/a/new", parents=True),
            lambda: write(store, "file"),
            lambda: store.stat("way/secret"),
            lambda: list(store.list("way")),
            lambda: store.move("way/secret", "stolen"),
            lambda: store.move("own", "way/own"),
            lambda: store.link("file", "linked"),
            lambda: store.remove("way/secret"),
            lambda: store.remove_folder("way"),
            lambda: store.make_folder("way"),
            lambda: store.make_folder("way/made"),
            lambda: store.sync(["way"]),
        ]
        for ask in asks:
            with pytest.raises(NasFault):
                ask()
        assert sorted(path.name for path in outside.iterdir()) == ["secret"]
        assert (outside / "secret").read_bytes() == b"secret"
        assert names(store)["way"] == names(store)["file"] == "other"
        info = store.stat("way")
        assert info is not None and info.kind == "other"

    def test_a_symlink_itself_can_be_put_aside_or_removed(self, store: NasStore, tree: Path) -> None:
        (tree / "link").symlink_to("/etc/passwd")
        store.move("link", "aside")
        assert os.readlink(tree / "aside") == "/etc/passwd"
        store.remove("aside")
        assert names(store) == {}

    def test_pipes_and_sockets_neither_block_nor_look_like_an_outage(self, store: NasStore, tree: Path) -> None:
        os.mkfifo(tree / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.open(tree, os.O_RDONLY)
            try:
                listener.bind(f"/proc/self/fd/{here}/socket")
            finally:
                os.close(here)
        for name in ("pipe", "socket"):
            for ask in (store.read, store.checksum):
                with pytest.raises(NasFault):
                    ask(name)
        assert names(store) == {"pipe": "other", "socket": "other"}

    def test_a_file_in_the_way(self, store: NasStore) -> None:
        write(store, "f")
        asks: list[Callable[[], object]] = [
            lambda: write(store, "f/below"),
            lambda: store.stat("f/below"),
            lambda: store.list("f"),
            lambda: store.sync(["f"]),
            lambda: store.remove_folder("f"),
        ]
        for ask in asks:
            with pytest.raises(NasFault):
                ask()
        store.make_folder("d")
        for ask in (lambda: store.read("d"), lambda: store.checksum("d"), lambda: store.remove("d")):
            with pytest.raises(NasFault):
                ask()

    # --- move and link

    def test_move(self, store: NasStore) -> None:
        write(store, "f", b"new")
        store.make_folder("d")
        store.move("f", "d/g")
        assert content_of(store, "d/g") == b"new" and names(store) == {"d": "folder"}
        with pytest.raises(ObjectMissing):
            store.move("f", "x")
        with pytest.raises(NasFault):
            store.move("d/g", "absent/g")
        with pytest.raises(NasFault):
            store.move("d", "d/inside")
        assert content_of(store, "d/g") == b"new"

    def test_move_replaces_only_when_told(self, store: NasStore) -> None:
        write(store, "f", b"new")
        write(store, "g", b"old")
        for target in ("g", "f"):
            with pytest.raises(NasTargetExists):
                store.move("f", target)
        assert content_of(store, "g") == b"old"
        store.move("f", "g", replace=True)
        assert names(store) == {"g": "file"} and content_of(store, "g") == b"new"
        store.move("g", "g", replace=True)
        assert content_of(store, "g") == b"new"

    def test_move_of_folders(self, store: NasStore) -> None:
        for path in ("a", "b", "c"):
            store.make_folder(path)
        write(store, "a/f")
        write(store, "b/g")
        with pytest.raises(NasTargetExists):
            store.move("a", "c")
        with pytest.raises(NasNotEmpty):
            store.move("a", "b", replace=True)
        store.move("a", "c", replace=True)
        assert names(store) == {"b": "folder", "c": "folder"} and names(store, "c") == {"f": "file"}
        with pytest.raises(NasFault):
            store.move("c/f", "b", replace=True)

    def test_only_case_or_normal_form_changes(self, store: NasStore) -> None:
        write(store, "Caf\u00e9")
        store.move("Caf\u00e9", "CAF\u00c9")
        store.move("CAF\u00c9", "CAFE\u0301", replace=True)
        assert content_of(store, "CAFE\u0301") == b"content" and len(names(store)) == 1

    def test_link(self, store: NasStore) -> None:
        write(store, "f")
        store.make_folder("d")
        if not store.link("f", "d/g"):
            pytest.skip("this NAS has no hard links")
        assert content_of(store, "d/g") == b"content"
        with pytest.raises(NasTargetExists):
            store.link("f", "d/g")
        with pytest.raises(NasFault):
            store.link("d", "e")
        with pytest.raises(ObjectMissing):
            store.link("absent", "e")

    def test_move_over_another_link_of_the_same_file(self, store: NasStore) -> None:
        write(store, "f")
        if not store.link("f", "g"):
            pytest.skip("this NAS has no hard links")
        with pytest.raises(NasTargetExists):
            store.move("f", "g")
        store.move("f", "g", replace=True)
        assert names(store) == {"g": "file"} and content_of(store, "g") == b"content"

    # --- folders, removal

    def test_make_folder(self, store: NasStore) -> None:
        store.make_folder("d")
        store.make_folder("d")
        with pytest.raises(NasTargetExists):
            store.make_folder("d", exist_ok=False)
        write(store, "f")
        with pytest.raises(NasTargetExists):
            store.make_folder("f")
        with pytest.raises(NasFault):
            store.make_folder("absent/d")

    def test_remove(self, store: NasStore) -> None:
        store.make_folder("d")
        write(store, "d/f")
        with pytest.raises(NasNotEmpty):
            store.remove_folder("d")
        for _ in range(2):
            store.remove("d/f")
        for _ in range(2):
            store.remove_folder("d")
        store.remove("d/f")
        store.remove_folder("d/e")
        assert names(store) == {}

    def test_parents_are_made_in_kelps_own_folders_only(self, store: NasStore) -> None:
        write(store, ".kelp/tmp/x/12-abc", b"one", parents=True)
        store.move(".kelp/tmp/x/12-abc", ".trash/20260101000000__id/f", parents=True)
        store.link(".trash/20260101000000__id/f", ".kelp/versions/v/f", parents=True)
        assert content_of(store, ".trash/20260101000000__id/f") == b"one"
        with pytest.raises(NasFault):
            write(store, "a/b", parents=True)
        with pytest.raises(NasFault):
            write(store, ".trash/unknown/f")
        assert names(store) == {".trash": "folder"}

    def test_list_tells_kinds_and_many_lists_run_at_once(self, store: NasStore) -> None:
        for number in range(300):
            write(store, f"f{number}")
        store.make_folder("d")
        expected = {"d": "folder", **{f"f{number}": "file" for number in range(300)}}
        first, second = store.list(ROOT), store.list(ROOT)
        pairs = list(zip(first, second, strict=True))
        for index in (0, 1):
            assert {pair[index].name: pair[index].kind for pair in pairs if pair[index].name != ".kelp"} == expected

    def test_sync_of_a_missing_folder(self, store: NasStore) -> None:
        store.make_folder("d")
        store.sync(iter(["d", ROOT, "d"]))
        with pytest.raises(ObjectMissing):
            store.sync(["absent"])

    # --- the NAS as a whole

    def test_usage(self, store: NasStore) -> None:
        total, free = store.usage()
        assert 0 < free <= total

    def test_probe_leaves_nothing(self, store: NasStore) -> None:
        store.verify()
        store.probe()
        store.probe()
        assert list(store.list(".kelp/tmp")) == []

    def test_progress_is_told(self, store: NasStore) -> None:
        told: list[str] = []
        store.on_progress = lambda: told.append("moved")
        store.on_flush = lambda: told.append("flush")
        write(store, "f", bytes(4 * PIECE_SIZE))
        assert told.count("moved") >= 5, "each piece counts, however big the chunk"
        assert told.count("flush") == 1 and told[-1] == "moved"
        asks: list[Callable[[], object]] = [
            lambda: store.checksum("f"),
            lambda: store.move("f", "g"),
            lambda: list(store.list(ROOT)),
            lambda: store.sync([ROOT]),
            lambda: store.stat("g"),
            store.verify,
            store.usage,
        ]
        for ask in asks:
            told.clear()
            ask()
            assert told
