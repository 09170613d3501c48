"""A vault of a real drive, recovered from its NAS with the private key alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kelp as command_line
from tests import engines
from tests.mirror_drive import MirrorDrive
from tests.nasty_names import NASTY_NAMES
from tests.rooms.crypto import independent_reader
from tests.rooms.test_cli import Answer
from tests.rooms.vault.drive import VAULT
from tests.vaults import make_vault
from vfs import links, names
from vfs.crypto import key_files
from vfs.errors import InvalidName
from vfs.operations import linking, manifesting, rewrapping, server_keys, vault_heads
from vfs.operations.vault_recovery import vaults
from vfs.operations.vault_recovery.findings import Finding, Told
from vfs.operations.vault_recovery.recovering import Recovered, Wishes, recover

Run = Callable[..., Answer]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: Answer(command_line.run(arguments), *capsys.readouterr())


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    opened = MirrorDrive(tmp_path / "drive")
    make_vault(opened.kelp, VAULT)
    yield opened
    opened.check(mirrored=False)
    opened.close()


def carried(drive: MirrorDrive) -> str:
    """All is on the NAS; the head of the vault."""
    drive.settle_down()
    vault_id = drive.entry(VAULT).vault_id
    assert vault_id is not None
    return vault_heads.head(drive.kelp, vault_id)


def recovered(
    drive: MirrorDrive, nas: Path, out: Path, wishes: Wishes | None = None
) -> tuple[list[Finding], list[Recovered]]:
    found: list[Finding] = []
    keys = vaults.read_keys(key_files.server_file(drive.settings), None)
    vaults_found = recover(nas, out, keys, Told(found.append), wishes)
    return found, vaults_found


def tree(out: Path) -> dict[str, bytes | None]:
    return {str(each.relative_to(out)): None if each.is_dir() else each.read_bytes() for each in out.rglob("*")}


def legal(name: str) -> bool:
    try:
        return bool(names.check_segment(name))
    except InvalidName:
        return False


def test_a_vault_comes_back(drive: MirrorDrive, tmp_path: Path) -> None:
    below = VAULT
    for number, name in enumerate(filter(legal, NASTY_NAMES)):
        if number % 4 == 0:
            below = f"{below}/{name[:60]}"
            drive.mkdir(below)
        drive.put(f"{below}/{name}", name.encode() * number * 300)
    drive.mkdir(f"{VAULT}/empty")
    drive.put(f"{VAULT}/big", b"0123456789abcdef" * 600_000)
    drive.put(f"{VAULT}/gone", b"in the trash")
    carried(drive)
    drive.pass_time(3600)
    drive.put(f"{VAULT}/big", b"another" * 1_500_000)
    drive.move(f"{VAULT}/empty", f"{VAULT}/empty and renamed")
    drive.trash(f"{VAULT}/gone")
    head = carried(drive)
    shown = {path.removeprefix(f"{VAULT}/"): held for path, held in drive.shown().items() if path != VAULT}

    copy = Path(shutil.copytree(drive.root, tmp_path / "copy of the nas"))
    found, (vault,) = recovered(drive, copy / VAULT, tmp_path / "out")
    assert found == []
    assert tree(tmp_path / "out") == shown
    assert vault.head == head
    key = vaults.read_keys(key_files.server_file(drive.settings), None)[0].key
    assert independent_reader.read_vault(key, copy / VAULT).head == head

    found, _ = recovered(drive, copy, tmp_path / "all", Wishes(trash=True, versions=True))
    held = tree(tmp_path / "all" / VAULT)
    beside = {path: data for path, data in held.items() if path.startswith(".kelp-")}
    assert found == [] and {path: data for path, data in held.items() if path not in beside} == shown
    assert {path.split("/")[-1]: data for path, data in beside.items() if data is not None} == {
        "big": b"0123456789abcdef" * 600_000, "gone": b"in the trash"
    }  # fmt: skip
    for path in [path for path, held in shown.items() if held is not None]:
        entry = drive.entry(f"{VAULT}/{path}")
        assert (tmp_path / "out" / path).stat().st_mtime_ns == entry.mtime_ns


def test_after_moves_copies_links_and_a_new_key(drive: MirrorDrive, tmp_path: Path) -> None:
    for path in ("a", "a/b", "c"):
        drive.mkdir(f"{VAULT}/{path}")
    drive.put(f"{VAULT}/a/b/shared", b"0123456789" * 1_000_000)
    drive.put(f"{VAULT}/a/to the trash", b"and back")
    linking.make_link(drive.kelp, drive.caller, drive.place(f"{VAULT}/a/link"), b"b/shared")
    carried(drive)
    drive.copy(f"{VAULT}/a/b/shared", f"{VAULT}/c/copy")
    drive.copy(f"{VAULT}/a", f"{VAULT}/copy of a")
    drive.move(f"{VAULT}/a/b", f"{VAULT}/c/b moved")
    uuid = drive.trash(f"{VAULT}/a/to the trash")
    carried(drive)
    drive.restore(uuid)
    server_keys.rotate(drive.kelp)
    rewrapping.run(drive.kelp)
    manifesting.run(drive.kelp)
    head = carried(drive)
    shown = {path.removeprefix(f"{VAULT}/"): held for path, held in drive.shown().items() if path != VAULT}
    assert len(shown) == 12
    found, (vault,) = recovered(drive, drive.root / VAULT, tmp_path / "out")
    assert found == [] and vault.head == head
    assert tree(tmp_path / "out") == shown
    assert links.target_of((tmp_path / "out/a/link").read_bytes()) == b"b/shared"


def test_the_head_is_shown_and_found_again(
    drive: MirrorDrive, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in engines.environ_of(drive.settings.data).items():
        monkeypatch.setenv(name, value)
    drive.put(f"{VAULT}/a.txt", b"first")
    drive.mkdir("plain")
    head = carried(drive)
    shutil.copytree(drive.root / VAULT, tmp_path / "earlier")
    drive.put(f"{VAULT}/a.txt", b"second")
    new = carried(drive)
    data = ["--data", str(drive.settings.data)]
    assert (run("vault", "head", f"/{VAULT}/a.txt", *data).out, head == new) == (f"{new}\n", False)
    assert run("vault", "head", "/plain", *data).code == 1
    key = str(key_files.server_file(drive.settings))
    for nas, expected, code in ((drive.root, new, 0), (tmp_path / "earlier", new, 1), (tmp_path / "earlier", head, 0)):
        out = str(tmp_path / f"out-{code}-{expected[:8]}")
        assert run("vault", "recover", "--key", key, "--head", expected, str(nas), out).code == code
