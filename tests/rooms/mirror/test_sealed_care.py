"""Care of a vault on the NAS without any key: what is missing or changed there is found, told and set right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mirror_drive import MirrorDrive
from tests.rooms.mirror.sealed_rows import SealedRows
from vfs.model import Content
from vfs.operations import checking, dumping, evicting, restoring, scanning, scrubbing, taking_in
from vfs.operations.scanning import Finding

Rows = SealedRows


@pytest.fixture
def rows(open_drive: Callable[..., MirrorDrive]) -> SealedRows:
    """One file with a version, in a folder of the vault."""
    rows = SealedRows(open_drive(cache_publish=0.01))
    rows.overwrite(rows.file(b"an older part", parent=rows.folder()), b"first" * 1000, b"second", b"first" * 1000)
    rows.check()
    return rows


def bundles(rows: Rows) -> list[Path]:
    """That of the file, that of the version."""
    top = rows.drive.root
    return [path.parent for root in (top / "Secret", top / ".kelp/versions") for path in root.rglob("parts")]


def parts(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.iterdir() if len(path.name) == 26)


def contents(rows: Rows) -> list[Content]:
    with rows.drive.kelp.database.read() as tx:
        found = [tx.contents.get(row[0]) for row in tx.all("SELECT id FROM contents WHERE vault_id IS NOT NULL")]
    return [content for content in found if content is not None]


def bytes_of(rows: Rows) -> dict[str, bytes]:
    keys = {part.key for content in contents(rows) for part in content.parts}
    return {key: b"".join(rows.drive.kelp.cache.get(key)) for key in keys}


def problems(rows: Rows, *, repair: bool = False) -> set[tuple[str, str]]:
    report = checking.check(rows.drive.kelp, mirrored=True, repair=repair)
    return {(problem.kind, problem.subject) for problem in report.problems}


def relative(rows: Rows, path: Path) -> str:
    return str(path.relative_to(rows.drive.root))


def flip(path: Path) -> None:
    """A bit, as a disk does it: the time stays."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(times.st_mtime_ns, times.st_mtime_ns))


def test_what_left_the_cache_comes_back_from_parts_on_the_nas(rows: Rows) -> None:
    before = bytes_of(rows)
    rows.drive.pass_time(30)
    assert evicting.evict(rows.drive.kelp, 1 << 40).count == len(before)
    assert not list(rows.drive.kelp.cache.list())
    for content in contents(rows):
        assert restoring.restore(rows.drive.kelp, content).left == 0
    assert bytes_of(rows) == before
    rows.check()


def test_a_nas_that_numbers_its_files_anew_is_read_part_by_part(rows: Rows) -> None:
    with rows.drive.kelp.database.write() as tx:
        tx.run("UPDATE entries SET nas_inode = 1 WHERE nas_inode IS NOT NULL")
    rows.drive.pass_time(30)
    assert evicting.evict(rows.drive.kelp, 1 << 40).count == 3
    rows.drive.check()


def test_nothing_leaves_the_cache_whose_bundle_lacks_a_part(rows: Rows) -> None:
    (bundle, version) = bundles(rows)
    parts(bundle)[0].unlink()
    rows.drive.pass_time(30)
    assert evicting.evict(rows.drive.kelp, 1 << 40).count == len(parts(version))


def _lose_part(bundle: Path) -> None:
    parts(bundle)[0].unlink()


def _flip_part(bundle: Path) -> None:
    flip(parts(bundle)[-1])


def _flip_list(bundle: Path) -> None:
    flip(bundle / "parts")


def _flip_manifest(bundle: Path) -> None:
    flip(bundle / "manifest")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "part lost": (_lose_part, "of another size on the NAS"),
    "part flipped": (_flip_part, "corrupt on the NAS"),
    "list flipped": (_flip_list, "corrupt on the NAS"),
    "manifest flipped": (_flip_manifest, "corrupt on the NAS"),
    "manifest lost": (lambda bundle: (bundle / "manifest").unlink(), "something else on the NAS"),
    "all lost": (shutil.rmtree, "missing on the NAS"),
}


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("number", [0, 1])
def test_damage_is_found_and_repaired_from_the_cache(rows: Rows, number: int, what: str) -> None:
    damage, kind = DAMAGE[what]
    bundle = bundles(rows)[number]
    damage(bundle)
    assert (kind, relative(rows, bundle)) in problems(rows)
    if kind in ("missing on the NAS", "corrupt on the NAS"):
        problems(rows, repair=True)
        rows.check()


@pytest.mark.parametrize("what", ["part flipped", "list flipped", "manifest flipped"])
def test_the_scrub_finds_it_too(rows: Rows, what: str) -> None:
    for bundle in bundles(rows):
        DAMAGE[what][0](bundle)
    for _ in range(20):
        scrubbing.run(rows.drive.kelp)
        if scrubbing.progress(rows.drive.kelp).stage == "rest":
            break
    assert scrubbing.progress(rows.drive.kelp).repaired == 2
    rows.check()


@pytest.mark.parametrize("how", ["lost", "flipped"])
def test_what_tells_of_folders_is_written_again(rows: Rows, how: str) -> None:
    inner = bundles(rows)[0].parent
    for file in (inner / "manifest", inner.parent / "vault.json"):
        file.unlink() if how == "lost" else flip(file)
    told = {("without its manifest on the NAS", relative(rows, folder)) for folder in (inner, inner.parent)}
    assert told <= problems(rows)
    problems(rows, repair=True)
    rows.check()


def test_strangers_are_told_and_stay(rows: Rows) -> None:
    (bundle, version) = bundles(rows)
    strangers = [bundle / "Thumbs.db", version / "more", bundle.parent / "x", bundle.parent.parent / "y"]
    for stranger in strangers:
        stranger.write_bytes(b"theirs")
    assert problems(rows) == {("foreign on the NAS", relative(rows, stranger)) for stranger in strangers}
    for stranger in strangers:
        assert stranger.read_bytes() == b"theirs"


def scan(rows: Rows) -> dict[str, Finding]:
    return {each.path: each for each in scanning.scan(rows.drive.kelp, settled=0).findings}


def test_a_scan_takes_nothing_in_from_a_vault(rows: Rows) -> None:
    assert scan(rows) == {}
    (bundle, _) = bundles(rows)
    (bundle / "manifest").write_bytes(b"another")
    (bundle.parent / "plain.txt").write_bytes(b"theirs")
    shutil.copytree(bundle, bundle.parent / ("20260101000000__" + 26 * "a"))
    shutil.copytree(bundle, rows.drive.root / ("20260101000000__" + 26 * "b"))
    found = scan(rows)
    assert {each.what.value for each in found.values()} == {"changed", "left alone"} and len(found) == 4
    outcomes = taking_in.take_in(rows.drive.kelp, rows.drive.caller, list(found.values()))
    assert not any(each.done for each in outcomes) and all(each.why for each in outcomes)


def test_what_is_missing_is_written_again_when_told(rows: Rows) -> None:
    (bundle, _) = bundles(rows)
    shutil.rmtree(bundle.parent)
    (found,) = (each for each in scan(rows).values() if each.is_folder)
    left = taking_in.take_in(rows.drive.kelp, rows.drive.caller, [found])
    assert not left[0].done and "--restore" in left[0].why
    assert taking_in.take_in(rows.drive.kelp, rows.drive.caller, [found], restore=True)[0].done
    rows.check()


def test_a_dump_has_what_only_the_nas_has(rows: Rows) -> None:
    rows.drive.pass_time(30)
    evicting.evict(rows.drive.kelp, 1 << 40)
    dumped = dumping.dump(rows.drive.kelp, lambda data: None)
    assert (dumped.absent, dumped.bytes) == (0, sum(content.size for content in contents(rows)))
