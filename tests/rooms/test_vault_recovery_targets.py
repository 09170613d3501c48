"""`kelp vault recover`: the command, where it writes to, and vaults that were made to do harm."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import kelp as command_line
from tests import warm_starts
from tests.rooms.crypto.vault_folder import Made, VaultFolder
from tests.rooms.test_cli import Answer
from tests.rooms.test_vault_recovery import KEY, MIB, OTHER, RSA, random_bytes, run
from tests.small_disk import small_disk
from vfs.crypto import base64url, key_pairs, manifests
from vfs.crypto.manifests import ManifestKind
from vfs.crypto.vault_keys import VaultKey
from vfs.errors import InvalidRequest, NoSpace
from vfs.operations.vault_recovery import placing
from vfs.operations.vault_recovery.recovering import Wishes

ROOT = Path(__file__).resolve().parents[2]


Command = Callable[..., Answer]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """`kelp vault recover --key KEY …`, without a terminal."""
    (tmp_path / "key.pem").write_bytes(key_pairs.write_private(KEY))

    def run(*arguments: object, key: Path = tmp_path / "key.pem") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b""), "utf-8"))
        code = command_line.run(["vault", "recover", "--key", str(key), *map(str, arguments)])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def vault(tmp_path: Path) -> VaultFolder:
    made = VaultFolder(tmp_path / "nas", RSA)
    made.file(made.folder(made.root, "Papers"), "report.txt", [b"figures"])
    made.file(made.root, "top.txt", [b"top"])
    return made


# --- the command ----------------------------------------------------------------------------------


def test_the_command(command: Command, vault: VaultFolder, tmp_path: Path) -> None:
    answer = command(vault.top, tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[:3] == ["restored: files 2, folders 1, 10 B", "all was whole", f"head {vault.head}"]
    assert "older state" in lines[3]
    assert (tmp_path / "out/Papers/report.txt").read_bytes() == b"figures"
    again = command("--head", vault.head.upper(), vault.top, tmp_path / "out")
    assert again.code == 0 and "files that were there already: 2" in again.out and "that was expected" in again.out
    wrong = command("--head", "0" * 64, vault.top, tmp_path / "out")
    assert wrong.code == 1 and "not the head that was expected" in wrong.out
    shutil.rmtree(vault.made["top.txt"].place)
    assert command("--head", vault.head, vault.top, tmp_path / "out").code == 1


def test_faults_are_listed(command: Command, vault: VaultFolder, tmp_path: Path) -> None:
    place = vault.made["report.txt"].place
    (place / "parts").write_bytes(b"")
    (place / "stranger\x1b[2J").write_bytes(b"")
    answer = command(vault.top, tmp_path / "out")
    where = f"{place.parent.name}/{place.name}"
    assert answer.code == 1
    assert (
        f"{where}: parts: is not the one of this content: changed, or of an older state (left out: Papers/report.txt)"
        in answer.out
    )
    assert "faults: 1" in answer.out and "\x1b" not in answer.out
    assert not (tmp_path / "out/Papers/report.txt").exists()


def test_what_cannot_begin(command: Command, vault: VaultFolder, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(key_pairs.write_private(OTHER))
    (tmp_path / "empty").mkdir()
    refused = [
        (["--head", "abc", vault.top, tmp_path / "out"], {}, "64 hex digits"),
        ([vault.top, tmp_path / "out"], {"key": tmp_path / "other.pem"}, KEY.id),
        ([vault.top, tmp_path / "out"], {"key": vault.top / "vault.json"}, "no private key"),
        ([vault.top, vault.top / "out"], {}, "on the NAS"),
        ([vault.top, vault.top], {}, "on the NAS"),
        ([tmp_path / "empty", tmp_path / "out"], {}, "no vault"),
        ([tmp_path / "nothing", tmp_path / "out"], {}, "nothing"),
    ]
    for arguments, more, why in refused:
        answer = command(*arguments, **more)
        assert answer.code == 2 and why in answer.err, (arguments, answer)
        assert not (tmp_path / "out").exists()


def test_a_locked_key(command: Command, vault: VaultFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key_pairs.write_private(KEY, "correct horse"))
    for passphrase, code in ((None, 2), ("wrong horse", 2), ("correct horse", 0)):
        if passphrase:
            monkeypatch.setenv("KELP_KEYS_PASSPHRASE", passphrase)
        answer = command(vault.top, tmp_path / "out", key=locked)
        assert answer.code == code, answer
        assert "horse" not in answer.err


def test_a_full_disk(command: Command, tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    for number in range(6):
        vault.file(vault.root, f"{number}", [random_bytes(str(number), 600_000)])
    with small_disk(tmp_path / "disk") as disk:
        answer = command(vault.top, disk / "out")
        assert answer.code == 1 and "make room" in answer.err
        whole = sorted(each for each in (disk / "out").iterdir())
        assert 0 < len(whole) < 6
        assert all(each.read_bytes() == random_bytes(each.name, 600_000) for each in whole)
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        answer = command(vault.top, disk / "out")
        assert answer.code == 0 and f"there already: {len(whole)}" in answer.out
        assert len(list((disk / "out").iterdir())) == 6


# --- nothing there is overwritten -----------------------------------------------------------------


def test_what_is_there_stays(vault: VaultFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "Papers").write_text("a file where a folder goes")
    (out / "top.txt").mkdir()
    (out / "top (1).txt").symlink_to(tmp_path / "elsewhere")
    (out / "top (2).txt").write_bytes(b"xyz")
    result = run(vault.top, out)
    assert result.faults == []
    assert {each.path for each in result.notes} == {"Papers (1)", "top (3).txt"}
    assert (out / "Papers (1)/report.txt").read_bytes() == b"figures"
    assert (out / "top (3).txt").read_bytes() == b"top"
    assert (out / "top (2).txt").read_bytes() == b"xyz" and not (tmp_path / "elsewhere").exists()
    again = run(vault.top, out)
    assert (again.files, again.told.tally.files) == (result.files, 0)


def test_the_same_bytes_are_known_whatever_their_time(vault: VaultFolder, tmp_path: Path) -> None:
    """On a file system that has coarse times, say."""
    run(vault.top, tmp_path / "out")
    os.utime(tmp_path / "out/top.txt", ns=(1, 1))
    result = run(vault.top, tmp_path / "out")
    assert (result.told.tally.there, result.told.tally.files, result.notes) == (2, 0, [])
    (tmp_path / "out/top.txt").write_bytes(b"TOP")
    result = run(vault.top, tmp_path / "out")
    assert (result.files["top.txt"], result.files["top (1).txt"]) == (b"TOP", b"top")


def test_no_folder_is_entered_by_a_link(vault: VaultFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/Papers").symlink_to(tmp_path / "elsewhere")
    result = run(vault.top, tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert result.files["Papers (1)/report.txt"] == b"figures"


def test_a_folder_of_the_vault_called_as_that_of_unfinished_files(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    vault.file(vault.folder(vault.root, placing.UNFINISHED), "1", [b"data"])
    assert run(vault.top, tmp_path / "out").files == {f"{placing.UNFINISHED} (1)/1": b"data"}


def test_two_at_once(vault: VaultFolder, tmp_path: Path) -> None:
    target = placing.Target(tmp_path / "out")
    with pytest.raises(InvalidRequest, match="another recovery"):
        run(vault.top, tmp_path / "out")
    target.close()
    assert run(vault.top, tmp_path / "out").faults == []


def test_names_that_a_file_system_refuses() -> None:
    """The forms that are tried; whatever else is wrong is not the name's fault."""
    trying = placing._Names("a:b?é.", is_folder=False)
    assert list(itertools.islice(trying, 2)) == ["a:b?é.", "a:b?é (1)."]
    trying.was_refused(OSError(errno.EINVAL, ""))
    assert list(itertools.islice(trying, 2)) == ["a%3Ab%3Fé", "a%3Ab%3Fé (1)"]
    trying.was_refused(OSError(errno.EILSEQ, ""))
    assert list(itertools.islice(trying, 2)) == ["a_b__.", "a_b__ (1)."]
    with pytest.raises(OSError):
        trying.was_refused(OSError(errno.EINVAL, ""))
    with pytest.raises(OSError):
        placing._Names("a", is_folder=False).was_refused(OSError(errno.EACCES, ""))


KILLED = """
import os, signal, sys
from pathlib import Path
from vfs.operations.vault_recovery import vaults
from vfs.operations.vault_recovery.findings import Told
from vfs.operations.vault_recovery.recovering import recover
nas, out, key, after = sys.argv[1:]
calls = iter(range(int(after)))
def progress(files, size):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
recover(Path(nas), Path(out), vaults.read_keys(Path(key), None), Told(print, progress))
"""


def test_killed_and_run_again(command: Command, tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    below, expected = vault.root, {}
    for number in range(12):
        below = vault.folder(below, f"in {number}") if number % 3 == 2 else below
        made = vault.file(below, f"file {number}", [random_bytes(f"{number}.{part}", 400_000) for part in range(3)])
        expected[made.plain] = f"file {number}"
    out = tmp_path / "out"
    for after in (0, 7, 20):
        command_line = [sys.executable, "-c", KILLED, vault.top, out, tmp_path / "key.pem", str(after)]
        done = warm_starts.run(command_line, os.environ)
        assert done.returncode == -signal.SIGKILL
        for file in out.rglob("*"):  # what has a name is whole
            if file.is_file() and placing.UNFINISHED not in file.parts:
                assert expected[file.read_bytes()] == file.name
    assert list((out / placing.UNFINISHED).iterdir()) != []
    answer = command(vault.top, out)
    assert answer.code == 0 and "files that were there already" in answer.out
    assert {file.read_bytes(): file.name for file in out.rglob("*") if file.is_file()} == expected
    assert not (out / placing.UNFINISHED).exists()


# --- vaults that were made to do harm -------------------------------------------------------------


def rename(key: VaultKey, made: Made, name: bytes) -> None:
    """What no drive makes: whoever has the vault's key can."""
    sealed = base64url.encode(key.names.encrypt(name, [b"name", made.manifest.parent_seal_id]))
    manifest = replace(made.manifest, sealed_name=sealed)
    (made.place / "manifest").write_bytes(manifests.seal_manifest(key, manifest))


@pytest.mark.parametrize("name", [b"..", b".", b"../evil", b"/evil", b"a/b", b"a\0b", b"\xff\xfe", b"a\nb"])
def test_names_that_lead_elsewhere(vault: VaultFolder, tmp_path: Path, name: bytes) -> None:
    rename(vault.key, vault.made["report.txt"], name)
    before = set(tmp_path.rglob("*"))
    result = run(vault.top, tmp_path / "out")
    assert result.files == {"top.txt": b"top"}
    (fault,) = result.faults
    assert "manifest: a name below" in fault.what
    assert {each for each in tmp_path.rglob("*") if each not in before} == {
        tmp_path / "out", tmp_path / "out/top.txt", tmp_path / "out/Papers"
    }  # fmt: skip


@pytest.mark.parametrize("what", ["manifest", "parts", "part", "bundle", "vault.json"])
@pytest.mark.parametrize("how", ["link", "pipe", "folder", "huge", "loop"])
def test_nothing_but_plain_files_is_read(vault: VaultFolder, tmp_path: Path, what: str, how: str) -> None:
    """Nothing outside is shown, nothing hangs, and nothing huge is read into memory."""
    made = vault.made["top.txt"]
    inner = {"bundle": "", "part": made.parts[0][0].name, "vault.json": "../vault.json"}.get(what, what)
    victim = Path(os.path.normpath(made.place / inner))
    kept = Path(shutil.move(victim, tmp_path / "kept"))
    if how == "link":
        victim.symlink_to(kept)
    elif how == "pipe":
        os.mkfifo(victim)
    elif how == "folder":
        victim.mkdir()
    elif how == "huge":
        with victim.open("wb") as file:
            file.truncate(1 << 40)
    else:
        victim.symlink_to(victim)
    result = run(vault.top, tmp_path / "out")
    assert result.faults and "top.txt" not in result.files
    if what != "vault.json":
        assert result.files == {"Papers/report.txt": b"figures"}


def test_a_file_that_has_no_room_is_told_before_it_is_written(tmp_path: Path) -> None:
    """A list may name one part again and again, for terabytes."""
    vault = VaultFolder(tmp_path / "nas", RSA)
    part = bytes(8 * 1024 * 1024)
    vault.file(vault.root, "huge", [part[:10]], [(0, 0, 10)])
    with small_disk(tmp_path / "disk") as disk:
        vault.file(vault.root, "much", [part], [(0, 0, len(part))])
        with pytest.raises(NoSpace, match="8388608 bytes"):
            run(vault.top, disk / "out")


def test_folders_deeper_than_any_path(tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    here = os.getcwd()
    try:
        os.chdir(vault.top)
        folder = replace(vault.root, place=Path())
        for number in range(200):  # 27 bytes each: over 4096 together
            folder = vault.folder(folder, f"{number}-" + "x" * 40)
            os.chdir(folder.place)
            folder = replace(folder, place=Path())
        vault.file(folder, "bottom", [b"deep"])
    finally:
        os.chdir(here)
    result = run(vault.top, tmp_path / "out")
    assert (result.faults, result.told.tally.folders, result.told.tally.files) == ([], 200, 1)


# --- trash and versions ---------------------------------------------------------------------------


def test_trash_and_versions(tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    for name in ("One", "Two"):
        vault = VaultFolder(nas / name, RSA)
        folder = vault.folder(vault.root, "gone folder")
        vault.file(folder, "below", [f"below {name}".encode()])
        gone = vault.file(vault.root, "gone", [f"gone {name}".encode()])
        for place in (folder.place, gone.place):
            into = nas / ".trash" / f"20260101000000__{place.name[-4:]}"
            into.mkdir(parents=True)
            shutil.move(place, into / place.name)
        kept = vault.file(vault.root, "kept", [f"kept {name}".encode()])
        versions = nas / ".kelp/versions/7"
        versions.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            older = vault.file(vault.root, "kept", [f"older {number} {name}".encode()], kind=ManifestKind.VERSION)
            manifest = replace(older.manifest, seal_id=kept.manifest.seal_id, sequence=number)
            (older.place / "manifest").write_bytes(manifests.seal_manifest(vault.key, manifest))
            shutil.move(older.place, versions / f"20260101000000~{name.encode().hex()}{number:02}")
    (nas / ".kelp/versions/8").mkdir()
    (nas / ".kelp/versions/8/20260101000000~12345678.txt").write_text("an older state of a plain file")
    plain = nas / ".trash/20260101000000__x"
    plain.mkdir()
    (plain / "plain.txt").write_text("plain")
    assert run(nas, tmp_path / "out").files == {f"{name}/kept": f"kept {name}".encode() for name in ("One", "Two")}
    for _ in range(2):
        result = run(nas, tmp_path / "out", wishes=Wishes(trash=True, versions=True))
        found = sorted((path.split("/")[0], path.split("/")[-1], data.decode()) for path, data in result.files.items())
        assert (result.faults, result.notes) == ([], [])
        assert found == sorted(
            (name, shown, f"{what} {name}")
            for name in ("One", "Two")
            for shown, what in (
                *(("kept", "kept"), ("kept", "older 1"), ("kept (1)", "older 0"), ("gone", "gone"), ("below", "below")),
            )
        )


def test_versions_beside_their_file(tmp_path: Path) -> None:
    """On a drive where every registration stays one file."""
    vault = VaultFolder(tmp_path / "nas", RSA)
    vault.file(vault.root, "f.txt", [b"older"], kind=ManifestKind.VERSION)
    vault.digests.clear()
    vault.file(vault.root, "f.txt", [b"now"])
    result = run(vault.top, tmp_path / "out")
    assert (result.files, result.faults, result.told.tally.older) == ({"f.txt": b"now"}, [], 1)
    assert result.vaults[0].head == vault.head
    every = run(vault.top, tmp_path / "every", wishes=Wishes(versions=True))
    assert (every.files, every.faults + every.notes) == ({"f.txt": b"now", "f (1).txt": b"older"}, [])
    assert every.vaults[0].head == vault.head


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from vfs.operations.vault_recovery import vaults
from vfs.operations.vault_recovery.findings import Told
from vfs.operations.vault_recovery.recovering import recover
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started this in the background has it ignored
nas, out, key = sys.argv[1:]
moved = []
def progress(files, size):
    moved.append(size)
    if len(moved) == 1:
        os.kill(os.getpid(), signal.SIGINT)
try:
    recover(Path(nas), Path(out), vaults.read_keys(Path(key), None), Told(print, progress))
except KeyboardInterrupt:
    print(max(moved))
"""


def test_ctrl_c_does_not_wait_for_a_large_file(command: Command, tmp_path: Path) -> None:
    vault = VaultFolder(tmp_path / "nas", RSA)
    vault.file(vault.root, "large", [bytes(8 * MIB)], [(0, 0, 8 * MIB)] * 100)
    arguments = [str(vault.top), str(tmp_path / "out"), str(tmp_path / "key.pem")]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) < 400 * MIB
    assert list((tmp_path / "out").iterdir()) == []
