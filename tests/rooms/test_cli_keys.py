"""`kelp keys` against a real drive: what it makes, what it refuses, and that no secret is ever shown."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rooms.core.key_pairs_made import pair, plain_pem
from tests.rooms.test_cli import Run, drive, one_line, run
from vfs.core import Kelp
from vfs.crypto import key_pairs, key_ring
from vfs.operations import keyring, rewrapping, vault_keys

__all__ = ["drive", "run"]  # fixtures

PASSPHRASE = "correct horse battery"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KELP_VAULT_KEY", "KELP_VAULT_KEY_FILE", "KELP_VAULT_PASSPHRASE", "KELP_KEYS_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(key_ring, "_AGAIN", 0.0)  # as if some seconds had passed between two commands


def public_file(folder: Path, name: str) -> str:
    file = folder / f"{name}.pub"
    file.write_text(pair(name).public.pem)
    return str(file)


def new_vault(kelp: Kelp) -> int:
    with kelp.database.write() as tx:
        return vault_keys.new_vault(tx, kelp.keys, user_id=1, now_ns=1).id


def secrets_of(file: Path, passphrase: str | None = None) -> list[str]:
    """What must be in no output: lines of the file, and the numbers of the key."""
    (private,) = key_pairs.read_private(file.read_bytes(), passphrase)
    numbers = private.key.private_numbers()
    lines = [line for line in file.read_text().splitlines() if "-----" not in line]
    return [*lines, *(str(number) for number in (numbers.p, numbers.q, numbers.d)), f"{numbers.p:x}"]


def test_a_servers_key_is_made_once(run: Run, drive: Kelp, tmp_path: Path) -> None:
    assert run("keys", "list").out == ""
    made = run("keys", "init", "--label", "this one")
    file = tmp_path / "data" / "keys" / "server.pem"
    assert made.code == 0 and str(file) in made.out and stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    again = run("keys", "init")
    assert again.code == 1 and one_line(again.err) and file.read_bytes() == before
    ((key_id, *shown, _since),) = run("keys", "list").rows
    assert shown == ["server", "this one", "here", "0", "in use"] and f"made {key_id}" in made.out
    assert not any(secret in made.out + again.err for secret in secrets_of(file))


def test_who_is_added_and_removed(run: Run, drive: Kelp, tmp_path: Path) -> None:
    run("keys", "init")
    vault = new_vault(drive)
    added = run("keys", "add-recipient", public_file(tmp_path, "b"), "--role", "recovery", "--label", "the safe")
    assert added.out == f"added {pair('b').id} (recovery)\n"
    assert [row[5] for row in run("keys", "list").rows] == ["in use", "in use, 1 vaults to be wrapped"]
    assert rewrapping.run(drive).count == 1
    shown = json.loads(run("keys", "list", "--json").out)
    assert [(each["role"], each["here"], each["vaults"], each["waiting"]) for each in shown] == [
        ("server", True, 1, 0),
        ("recovery", False, 1, 0),
    ]
    removed = run("keys", "remove-recipient", pair("b").id[:10])
    assert removed.code == 0 and "no recovery key" in removed.out
    assert run("keys", "list").rows[1][5] == "removed"
    refused = run("keys", "remove-recipient", shown[0]["id"])
    assert refused.code == 1 and one_line(refused.err) and "still needed" in refused.err
    assert keyring.vault_key(drive, vault)


def test_a_rotation(run: Run, drive: Kelp, tmp_path: Path) -> None:
    run("keys", "init")
    vault = new_vault(drive)
    key = keyring.vault_key(drive, vault)
    (old,) = (row[0] for row in run("keys", "list").rows)
    rotated = run("keys", "rotate")
    folder = tmp_path / "data" / "keys"
    (kept,) = folder.glob("server-*.pem")
    assert rotated.code == 0 and str(kept) in rotated.out and f"replaced {old}" in rotated.out
    assert run("keys", "list").rows[0][5] == "replaced, 1 vaults still need it"
    assert run("keys", "remove-recipient", old).code == 1
    assert rewrapping.run(drive).count == 1
    assert run("keys", "list").rows[0][5] == "replaced, may be removed"
    assert run("keys", "remove-recipient", old).code == 0
    assert run("keys", "list").rows[0][5] == f"removed; {kept} may go"
    kept.unlink()
    assert keyring.vault_key(drive, vault) == key
    assert stat.S_IMODE((folder / "server.pem").stat().st_mode) == 0o600


def test_out_and_in_again(run: Run, drive: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("keys", "init")
    file, out = tmp_path / "data" / "keys" / "server.pem", tmp_path / "copy.pem"
    silent = run("keys", "export", str(out))
    assert silent.code == 1 and one_line(silent.err) and "KELP_KEYS_PASSPHRASE" in silent.err and not out.exists()
    monkeypatch.setenv("KELP_KEYS_PASSPHRASE", PASSPHRASE)
    secrets = secrets_of(file)
    exported = run("keys", "export", str(out))
    assert exported.code == 0 and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert key_pairs.read_private(out.read_bytes(), PASSPHRASE)
    assert not any(secret in out.read_text() for secret in secrets)
    assert run("keys", "export", str(out)).code == 1, "it is there already"
    file.unlink()
    assert [row[3] for row in run("keys", "list").rows] == ["-"]
    monkeypatch.setenv("KELP_KEYS_PASSPHRASE", "quite another one")
    wrong = run("keys", "import", str(out))
    assert wrong.code == 1 and one_line(wrong.err) and "quite another" not in wrong.err
    monkeypatch.setenv("KELP_KEYS_PASSPHRASE", PASSPHRASE)
    assert str(file) in run("keys", "import", str(out)).out
    assert [row[3] for row in run("keys", "list").rows] == ["here"]


def test_refusals_are_one_line(run: Run, drive: Kelp, tmp_path: Path) -> None:
    (tmp_path / "private.pem").write_bytes(plain_pem("b"))
    (tmp_path / "nothing").write_bytes(b"nothing")
    for arguments in (
        ("rotate",),
        ("export", str(tmp_path / "out.pem")),
        ("remove-recipient", "ffff0000"),
        ("add-recipient", str(tmp_path / "private.pem"), "--role", "admin"),
        ("add-recipient", str(tmp_path / "nothing"), "--role", "admin"),
        ("add-recipient", str(tmp_path / "absent"), "--role", "admin"),
        ("import", str(tmp_path / "absent")),
        ("import", str(tmp_path / "nothing")),
        ("init", "--bits", "2048"),
        ("init", "--locked"),
        ("init", "--label", "x" * 256),
    ):
        answer = run("keys", *arguments)
        assert answer.code == 1 and one_line(answer.err), (arguments, answer)
    assert not (tmp_path / "data" / "keys" / "server.pem").exists()
    assert run("keys", "add-recipient", str(tmp_path / "nothing")).code == 2
    assert run("keys", "init", "--passphrase", "x").code == 2, "never an argument"


def test_nothing_secret_is_told_by_anybody(
    run: Run, drive: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KELP_VAULT_PASSPHRASE", PASSPHRASE)
    told = [run("keys", "init", "--log-level", "debug")]
    file = tmp_path / "data" / "keys" / "server.pem"
    assert "ENCRYPTED" in file.read_text()
    secrets = [PASSPHRASE, *secrets_of(file, PASSPHRASE)]
    for arguments in (("list",), ("rotate",), ("list", "--json")):
        told.append(run("keys", *arguments, "--log-level", "debug"))
    (kept,) = file.parent.glob("server-*.pem")
    secrets += [*secrets_of(file, PASSPHRASE), *secrets_of(kept, PASSPHRASE)]
    monkeypatch.setenv("KELP_KEYS_PASSPHRASE", PASSPHRASE)
    told.append(run("doctor"))
    assert "KELP_KEYS_PASSPHRASE" not in told[-1].out, "taken for a setting that is mistyped"
    monkeypatch.setenv("KELP_VAULT_PASSPHRASE", "a wrong one, and as secret")
    told.append(run("keys", "rotate", "--log-level", "debug"))
    assert told[-1].code == 1
    monkeypatch.setenv("KELP_VAULT_KEY", file.read_text())
    told += [run("keys", "list", "--log-level", "debug"), run("doctor")]
    text = caplog.text + "".join(each.out + each.err for each in told)
    assert not any(secret in text for secret in (*secrets, "as secret"))


# --- at a terminal ---


def at_terminal(data: Path, *arguments: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Exit code, and what the terminal shows. `answers`: what is waited for, and typed then."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kelp", "keys", *arguments, "--data", str(data)],
        stdin=side, stdout=side, stderr=side, cwd=ROOT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(side)
    shown, left = "", list(answers)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if select.select([main], [], [], 0.2)[0]:
            try:
                shown += os.read(main, 4096).decode(errors="replace")
            except OSError:  # the other side is closed
                break
        if left and shown.rpartition("\n")[2].endswith(left[0][0]):
            os.write(main, left.pop(0)[1].encode() + b"\n")
            shown += "\n"
    os.close(main)
    return process.wait(30), shown


def test_passphrases_are_asked_for_at_a_terminal(drive: Kelp, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "copy.pem"
    twice = [("server's key: ", PASSPHRASE), ("confirmation: ", PASSPHRASE)]
    code, shown = at_terminal(data, "init", "--locked", answers=twice)
    assert code == 0 and PASSPHRASE not in shown, shown
    assert key_pairs.read_private((data / "keys" / "server.pem").read_bytes(), PASSPHRASE)
    answers = [("server's key: ", PASSPHRASE), (f"{out}: ", "another word"), ("confirmation: ", "another word")]
    code, shown = at_terminal(data, "export", str(out), answers=answers)
    assert code == 0 and "another word" not in shown, shown
    assert key_pairs.read_private(out.read_bytes(), "another word")
