"""What only the NAS in a folder has: its marker, mounts that come and go, a full disk, file systems that fold case."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from tests.small_disk import mount, small_disk, unmount
from vfs.errors import ConfigurationError, NasDown, NasFault
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_store import ROOT, NasProperties, NasStore, SeenFile, SmallFile, fault_of


def prepared(root: Path, installation: str = "ours") -> FolderNasStore:
    store = FolderNasStore(root, installation)
    store.prepare(first_run=True)
    return store


def write(store: NasStore, path: str, content: bytes = b"content") -> None:
    store.write(path, [content], len(content), blake3(content).hexdigest(), parents=True)


# --- the marker


def test_the_first_run_claims_an_empty_root(tmp_path: Path) -> None:
    root = tmp_path / "new" / "nas"
    store = prepared(root)
    marker = json.loads((root / ".kelp" / "drive.json").read_text())
    assert marker["installation"] == "ours" and marker["format"] == 1 and marker["made"].endswith("+00:00")
    assert os.listdir(root / ".kelp") == ["drive.json"]
    store.verify()
    prepared(root)
    FolderNasStore(root, "ours").prepare(first_run=False)


def test_a_new_file_system_and_a_first_run_cut_short_count_as_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".kelp").mkdir()
    (tmp_path / ".kelp" / "drive.json.new").write_text('{"inst')
    prepared(tmp_path).verify()


def test_processes_that_claim_it_at_once_all_have_it(tmp_path: Path) -> None:
    """A server and its worker start together on a new drive."""
    for number in range(20):
        with ThreadPoolExecutor(4) as several:
            claims = [several.submit(prepared, tmp_path / str(number)) for _ in range(4)]
        for claim in claims:
            claim.result().verify()
        assert os.listdir(tmp_path / str(number) / ".kelp") == ["drive.json"]


@pytest.mark.parametrize("stranger", ["photo.jpg", ".hidden", ".kelp/names"])
def test_a_root_that_holds_something_is_not_claimed(tmp_path: Path, stranger: str) -> None:
    (tmp_path / ".kelp").mkdir()
    (tmp_path / stranger).write_bytes(b"")
    with pytest.raises(ConfigurationError, match="must be an empty folder, but it holds"):
        prepared(tmp_path)
    assert not (tmp_path / ".kelp" / "drive.json").exists()


def test_a_root_of_another_installation_is_not_claimed(tmp_path: Path) -> None:
    prepared(tmp_path, "theirs")
    with pytest.raises(ConfigurationError, match="another installation"):
        prepared(tmp_path)


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot use"):
        prepared(tmp_path / "file" / "nas")


@pytest.mark.parametrize(
    "text", [None, "", "[]", "null", '{"installation": "theirs", "format": 1}', "\xff", "[" * 4000]
)
def test_a_missing_or_different_marker_means_down(tmp_path: Path, text: str | None) -> None:
    store = prepared(tmp_path)
    write(store, "f")
    marker = tmp_path / ".kelp" / "drive.json"
    kept = marker.read_bytes()
    marker.unlink()
    if text is not None:
        marker.write_text(text, encoding="latin-1")
    for ask in (store.verify, store.probe, store.usage, lambda: store.stat("f"), lambda: store.prepare(False)):
        with pytest.raises(NasDown) as caught:
            ask()
        assert caught.value.reason == "marker"
    marker.write_bytes(kept)
    assert store.stat("f") is not None, "once the marker is back, all goes on by itself"


def test_a_later_start_never_makes_anything(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        store = FolderNasStore(root, "ours")
        with pytest.raises(NasDown):
            store.prepare(first_run=False)
        with pytest.raises(NasDown):
            store.make_folder("d")
    assert list(tmp_path.iterdir()) == []


def test_a_root_deleted_under_us_is_an_outage_and_nothing_is_missing(tmp_path: Path) -> None:
    store = prepared(tmp_path / "nas")
    shutil.rmtree(tmp_path / "nas")
    asks: list[Callable[[], object]] = [lambda: store.stat("f"), lambda: store.remove("f"), store.verify]
    for ask in asks:
        with pytest.raises(NasDown):
            ask()


# --- mounts


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "nas"
    with small_disk(root):
        yield root


def test_a_mount_that_drops_and_comes_back(mounted: Path, tmp_path: Path) -> None:
    store = prepared(mounted)
    write(store, "f")
    aside = tmp_path / "aside"
    aside.mkdir()
    subprocess.run(["mount", "--bind", str(mounted), str(aside)], check=True)
    try:
        unmount(mounted)
        write(store, "during a job")  # the job goes on where it began, on the NAS …
        assert list(mounted.iterdir()) == []  # … and never below the mount point
        with pytest.raises(NasDown):
            store.verify()
        with pytest.raises(NasDown):
            write(store, "g")
        assert list(mounted.iterdir()) == []
        subprocess.run(["mount", "--bind", str(aside), str(mounted)], check=True)
    finally:
        unmount(aside)
    store.verify()
    assert {name for name, _ in store.list(ROOT)} == {".kelp", "f", "during a job"}


def test_another_share_mounted_in_its_place(mounted: Path) -> None:
    store = prepared(mounted)
    mount(mounted)
    try:
        prepared(mounted, "theirs")
        with pytest.raises(NasDown):
            store.verify()
        with pytest.raises(NasDown):
            write(store, "f")
        assert os.listdir(mounted) == [".kelp"]
    finally:
        unmount(mounted)
    store.verify()


def test_a_full_nas_is_down_for_want_of_space_and_nothing_is_left(mounted: Path) -> None:
    store = prepared(mounted)
    write(store, "f", bytes(500_000))
    with pytest.raises(NasDown) as caught:
        write(store, "g", bytes(5_000_000))
    assert caught.value.reason == "ENOSPC"
    assert store.stat("g") is None and store.stat("f") is not None
    total, free = store.usage()
    assert total == 2 * 1024 * 1024 and free > 1_000_000
    store.probe()


def test_a_read_only_nas_is_down(mounted: Path) -> None:
    store = prepared(mounted)
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    store.verify()
    for ask in (store.probe, lambda: store.make_folder("d")):
        with pytest.raises(NasDown) as caught:
            ask()
        assert caught.value.reason == "EROFS"


def test_a_nas_that_folds_case(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("making a file system needs root and mkfs.ext4")
    image, root = tmp_path / "image", tmp_path / "nas"
    image.write_bytes(b"")
    os.truncate(image, 4 * 1024 * 1024)
    root.mkdir()
    made = subprocess.run(["mkfs.ext4", "-q", "-O", "casefold,^has_journal", str(image)], capture_output=True)
    if (
        made.returncode
        or subprocess.run(["mount", "-o", "loop", str(image), str(root)], capture_output=True).returncode
    ):
        pytest.skip("this kernel has no file system that folds case")
    try:
        (root / "folded").mkdir()
        if subprocess.run(["chattr", "+F", str(root / "folded")], capture_output=True).returncode:
            pytest.skip("this kernel has no file system that folds case")
        store = prepared(root / "folded")
        assert store.properties.folds_case
        write(store, "name")
        store.move("name", "NAME")
        store.move("NAME", "Name", replace=True)
        assert {name for name, _ in store.list(ROOT)} == {".kelp", "Name"}
        assert store.stat("nAME") is not None
    finally:
        unmount(root)


def test_properties_are_known_before_the_nas_answers(tmp_path: Path) -> None:
    known = NasProperties(refused=frozenset(':"'), folds_case=True)
    store = FolderNasStore(tmp_path, "ours", known)
    assert store.properties == known
    store.prepare(first_run=True)
    assert store.properties == NasProperties(refused=frozenset(':"'), folds_case=False)


# --- whose fault


@pytest.mark.parametrize("number", [116, 5, 110, 107, 30, 28, 122, 112])  # design §5, in its order
def test_faults_of_the_nas(number: int) -> None:
    fault = fault_of("f", OSError(number, os.strerror(number)))
    assert isinstance(fault, NasDown) and fault.reason in [
        "ESTALE",
        "EIO",
        "ETIMEDOUT",
        "ENOTCONN",
        "EROFS",
        "ENOSPC",
        "EDQUOT",
        "EHOSTDOWN",
    ]


@pytest.mark.parametrize("number", [13, 1, 36, 84, 22, 20, 21, 40, 16, 18, 27, 0])
def test_faults_of_one_entry(number: int) -> None:
    assert isinstance(fault_of("f", OSError(number, "x")), NasFault)


# --- several small files at a time


def small(number: int, size: int = 100) -> SmallFile:
    return SmallFile(f"{number}-0", bytes([number]) * size, (1_700_000_000 + number) * 10**9)


def test_files_written_together_are_there_with_their_times(tmp_path: Path) -> None:
    store, told = prepared(tmp_path), list[str]()
    store.on_flush = lambda: told.append("flush")
    store.on_progress = lambda: told.append("moved")
    files = [small(number, size) for number, size in enumerate([0, 1, 4096, 65536])]
    written = store.write_together(".kelp/tmp", files)
    assert told.count("flush") == 4 and told[-1] == "moved"
    for file in files:
        path = f".kelp/tmp/{file.name}"
        info = store.stat(path)
        assert b"".join(store.read(path)) == file.data and info is not None
        assert (
            written[file.name] == (info.size, info.mtime_ns, info.inode) == (len(file.data), file.mtime_ns, info.inode)
        )
    assert store.write_together(".kelp/tmp", []) == {}


def test_of_files_written_together_each_has_its_own_faults(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    write(store, ".kelp/tmp/2-0", b"was there")
    tmp_path.joinpath(".kelp/tmp/3-0").symlink_to("/etc/passwd")
    files = [small(1), small(2), small(3), SmallFile("x" * 300, b"a name that is too long", 0), small(4)]
    assert store.write_together(".kelp/tmp", files).keys() == {"1-0", "4-0"}
    assert sorted(os.listdir(tmp_path / ".kelp/tmp")) == ["1-0", "2-0", "3-0", "4-0"]
    assert b"".join(store.read(".kelp/tmp/2-0")) == b"was there"


def test_of_files_written_together_those_go_that_have_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = prepared(disk)
        files = [small(number, 65536) for number in range(60)]
        written = store.write_together(".kelp/tmp", files)
        assert 10 < len(written) < 40 and list(written) == [file.name for file in files][: len(written)]
        assert {item.name for item in store.list(".kelp/tmp")} == written.keys(), "nothing is left of the others"
        with pytest.raises(NasDown, match="space"):
            write(store, ".kelp/tmp/alone", files[-1].data)


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """One file at a time needs one: a batch is none that says the NAS is down since it wants thirty."""
    store = prepared(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir("/proc/self/fd")}
    free = [number for number in range(len(taken) + 6) if number not in taken]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[5] + 1, before[1]))
        written = store.write_together(".kelp/tmp", [small(number) for number in range(30)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert 0 < len(written) < 30
    assert {item.name for item in store.list(".kelp/tmp")} == written.keys()


def test_files_that_come_to_their_places_together_replace_nothing(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    store.write_together(".kelp/tmp", [small(number) for number in range(4)])
    store.make_folder("d")
    write(store, "d/b", b"was there")
    names = [("0-0", "a"), ("1-0", "b"), ("never", "c"), ("2-0", "x" * 300), ("3-0", "e")]
    assert store.place_together(".kelp/tmp", "d", names) == {"a", "e"}
    assert sorted(os.listdir(tmp_path / "d")) == ["a", "b", "e"]
    assert b"".join(store.read("d/b")) == b"was there" and b"".join(store.read("d/e")) == small(3).data
    assert sorted(os.listdir(tmp_path / ".kelp/tmp")) == ["1-0", "2-0"]
    assert store.place_together(".kelp/tmp", "d/nowhere", names) == set()
    assert store.place_together(".kelp/tmp", "", [("1-0", "top")]) == {"top"}


def seen(store: FolderNasStore, path: str) -> SeenFile:
    info = store.stat(path)
    assert info is not None
    return SeenFile(path.rpartition("/")[2], info.size, info.mtime_ns)


def test_of_files_removed_together_those_stay_that_are_others(tmp_path: Path) -> None:
    store, told = prepared(tmp_path), list[str]()
    store.make_folder("d")
    for name in ("a", "b", "c", "e"):
        write(store, f"d/{name}", b"bytes")
    files = [seen(store, f"d/{name}") for name in ("a", "b", "c", "e")]
    write(store, "d/outside", b"kept")
    tmp_path.joinpath("d/b").write_bytes(b"other bytes")
    tmp_path.joinpath("d/c").unlink()
    tmp_path.joinpath("d/c").symlink_to(tmp_path / "d/outside")
    store.on_progress = lambda: told.append("moved")
    gone = store.remove_together("d", [*files, SeenFile("never", 1, 1), SeenFile("x" * 300, 1, 1)])
    assert gone == {"a", "e", "never"} and told
    assert sorted(os.listdir(tmp_path / "d")) == ["b", "c", "outside"]
    told.clear()
    assert store.remove_together("d", [SeenFile("b", 1, 1)] * 9) == set()
    assert len(told) > 9, "a NAS that answers, slowly, about files that stay does not hang"
    assert store.remove_together("d/nowhere", files) == {file.name for file in files}
    assert store.remove_together("d", []) == set()


def test_each_is_asked_for_right_before_it_is_removed(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    for name in ("a", "b"):
        write(store, name, b"bytes")
    known = [seen(store, name) for name in ("a", "b")]

    def held() -> Iterator[SeenFile]:
        yield known[0]
        assert not tmp_path.joinpath("a").exists()
        raise RuntimeError("the database does not answer")

    with pytest.raises(RuntimeError):
        store.remove_together("", held())
    assert tmp_path.joinpath("b").exists()
