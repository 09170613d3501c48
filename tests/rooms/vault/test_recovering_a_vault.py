"""A vault of a real drive, recovered from its NAS with the private key alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import kelp as command_line
from tests.mirror_drive import MirrorDrive
from tests.nasty_names import NASTY_NAMES
from tests.rooms.crypto import independent_reader
from tests.rooms.vault.drive import VAULT, make_vault
from vfs import names
from vfs.crypto import key_files
from vfs.errors import InvalidName
from vfs.operations import server_keys, vault_heads
from vfs.operations.vault_recovery import vaults
from vfs.operations.vault_recovery.findings import Finding, Told
from vfs.operations.vault_recovery.recovering import Recovered, Wishes, recover


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[MirrorDrive]:
    opened = MirrorDrive(tmp_path / "drive")
    server_keys.init(opened.kelp)
    make_vault(opened.kelp)
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


def test_a_vault_comes_back(drive: MirrorDrive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert command_line.run(["vault", "head", f"/{VAULT}", "--data", str(drive.settings.data)]) == 0
    assert capsys.readouterr().out == f"{head}\n"
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
