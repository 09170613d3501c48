"""The commands, each against a real drive in a folder of its own; no server runs."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

import kelp as command_line
from jobs import mirror
from jobs.jobs_lock import JobsLock
from tests import new_drive
from tests.new_drive import PASSWORD
from vfs import bootstrap
from vfs.core import Kelp
from vfs.crypto.certificates import read_facts
from vfs.model import ROOT_ID, Caller, Place, Role, Scope
from vfs.operations import access, checking, locking, reading, trashing, writing
from vfs.settings import Settings


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Run = Callable[..., Answer]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run one command in this process, with `stdin` as its input; it works on `tmp_path/data`."""

    def run(*arguments: str, stdin: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        code = command_line.run([*arguments, "--data", str(tmp_path / "data")])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Kelp]:
    """A drive with an admin, still open while commands work on it, as beside a server; checked at the end."""
    new_drive.put_into(tmp_path, "data/nas")
    with closing(bootstrap.build(Settings.load(data=tmp_path / "data"))) as kelp:
        yield kelp
        assert checking.check(kelp).problems == []


@pytest.fixture
def someone(drive: Kelp) -> Caller:
    return access.authenticate(drive, "admin", PASSWORD, face="rest")


def put(drive: Kelp, caller: Caller, name: str, data: bytes = b"data") -> None:
    writing.put_file(drive, caller, Place(ROOT_ID, name), [data])


def shown(drive: Kelp, caller: Caller) -> list[str]:
    return [row.name for row in reading.list_folder(drive, caller, ROOT_ID)]


def content(drive: Kelp, caller: Caller, name: str) -> bytes:
    entry = reading.resolve(drive, caller, [name]).entry
    assert entry is not None
    return b"".join(reading.open_content(drive, caller, entry).chunks(None))


def one_line(text: str) -> bool:
    return text.startswith("kelp: ") and text.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["sync", "wait"], ["sync", "retry", "--all"], ["user", "list"], ["locks", "list"],
        ["trash", "list"], ["versions", "a"], ["check"],
    ],
)  # fmt: skip
def test_a_mistyped_folder_does_not_become_a_drive(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    answer = run(*arguments)
    assert answer.code == 1
    assert one_line(answer.err)
    assert "there is no drive in" in answer.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [["nonsense"], ["status", "--nonsense"], ["user", "add"], ["sync", "retry"]])
def test_wrong_usage_is_exit_code_2(run: Run, drive: Kelp, arguments: list[str]) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert "Usage:" in answer.err


def test_users(run: Run, drive: Kelp) -> None:
    assert run("user", "add", "otto", "--role", "viewer", "--password-stdin", stdin="langes wort\n").code == 0
    assert [row[:2] for row in run("user", "list").rows] == [["admin", "admin"], ["otto", "viewer"]]
    assert access.authenticate(drive, "otto", "langes wort", face="dav").role is Role.VIEWER
    assert run("user", "passwd", "otto", "--password-stdin", stdin="neues wort\n").code == 0
    assert access.authenticate(drive, "otto", "neues wort", face="dav").name == "otto"
    assert run("user", "remove", "otto").code == 0
    assert [row[0] for row in run("user", "list").rows] == ["admin"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "reason"),
    [
        (["user", "add", "admin", "--password-stdin"], "langes wort\n", "admin"),
        (["user", "add", "otto", "--password-stdin"], "kurz\n", "at least"),
        (["user", "add", "otto", "--password-stdin"], "", "empty"),
        (["user", "add", "a:b", "--password-stdin"], "langes wort\n", "colon"),
        (["user", "passwd", "nobody", "--password-stdin"], "langes wort\n", "nobody"),
        (["user", "remove", "admin"], "", "last admin"),
        (["versions", "absent.txt"], "", "nothing is at absent.txt"),
        (["status", "absent.txt"], "", "nothing is at absent.txt"),
        (["status", "../etc"], "", "no . or .."),
        (["locks", "break", "urn:uuid:0"], "", "no such lock"),
        (["trash", "restore", "0"], "", "not in the trash"),
        (["trash", "purge", "0", "--yes"], "", "not in the trash"),
        (["sync", "retry", "0"], "", "no sync event"),
    ],
)
def test_refusals_are_one_line(run: Run, drive: Kelp, arguments: list[str], stdin: str, reason: str) -> None:
    answer = run(*arguments, stdin=stdin)
    assert answer.code == 1
    assert one_line(answer.err)
    assert reason in answer.err


def test_trash(run: Run, drive: Kelp, someone: Caller) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        put(drive, someone, name)
        trashing.remove(drive, someone, Place(ROOT_ID, name))
    listed = {row[1]: row for row in run("trash", "list").rows}
    assert {name: row[2:4] for name, row in listed.items()} == {
        name: ["4 B", "admin"] for name in ("/a.txt", "/b.txt", "/c.txt")
    }
    assert run("trash", "restore", listed["/a.txt"][0]).out == "restored /a.txt\n"
    put(drive, someone, "b.txt")
    assert run("trash", "restore", listed["/b.txt"][0]).code == 1
    assert run("trash", "restore", "--rename", listed["/b.txt"][0]).out == "restored /b (1).txt\n"
    assert run("trash", "purge", listed["/c.txt"][0], stdin="n\n").code == 1
    assert run("trash", "purge", listed["/c.txt"][0], stdin="y\n").code == 0
    assert run("trash", "list").rows == []
    trashing.remove(drive, someone, Place(ROOT_ID, "b.txt"))
    assert run("trash", "empty", stdin="").code == 1, "no answer is no"
    assert run("trash", "empty", "--yes").out == "purged 1 entry\n"
    assert sorted(shown(drive, someone)) == ["a.txt", "b (1).txt"]


def test_versions(run: Run, drive: Kelp, someone: Caller) -> None:
    put(drive, someone, "a.txt", b"first")
    _grow_old(drive)
    put(drive, someone, "a.txt", b"second")
    (version,) = run("versions", "a.txt").rows
    assert version == run("versions", "list", "/a.txt").rows[0]
    assert version[1] == "5 B"
    assert run("versions", "restore", "a.txt", "nonsense").code == 1
    assert run("versions", "restore", "a.txt", version[0][:8]).code == 0
    assert content(drive, someone, "a.txt") == b"first"


def _grow_old(drive: Kelp) -> None:
    """Contents replaced within seconds by the same user are no versions (spec §6): let an hour pass."""
    with drive.database.write() as tx:
        for column in ("content_ns", "created_ns", "registered_ns", "mtime_ns"):
            if any(row[1] == column for row in tx.all("PRAGMA table_info(entries)")):
                tx.run(f"UPDATE entries SET {column} = {column} - 3600000000000")


def test_locks(run: Run, drive: Kelp, someone: Caller) -> None:
    result = locking.lock(
        drive, someone, Place(ROOT_ID, "a.txt"), scope=Scope.EXCLUSIVE, infinite=False, owner="x", timeout=600
    )
    (row,) = run("locks", "list").rows
    assert (row[0], row[1], row[2], row[4]) == ("/a.txt", "admin", "exclusive", result.lock.token)
    assert "admin" in run("status", "/a.txt").out
    assert run("locks", "break", result.lock.token).code == 0
    assert run("locks", "list").rows == []


def test_status(run: Run, drive: Kelp, someone: Caller) -> None:
    assert json.loads(run("status", "--json").out)["mirror"]["pending"] == 0
    put(drive, someone, "a.txt", b"12345")
    facts = json.loads(run("status", "--json").out)
    assert (facts["mirror"]["pending"], facts["mirror"]["bytes"]) == (1, 5)
    assert facts["nas"]["up"] is True
    told = json.loads(run("status", "/a.txt", "--json").out)
    assert (told["path"], told["kind"], told["size"], told["nas"]) == ("/a.txt", "file", 5, "SYNCING")
    assert ["path", "/a.txt"] in run("status", "a.txt").rows
    assert json.loads(run("status", "/", "--json").out)["path"] == "/"


def test_sync_wait_without_a_server(run: Run, drive: Kelp, someone: Caller) -> None:
    assert run("sync", "wait").code == 0
    put(drive, someone, "a.txt")
    answer = run("sync", "wait", "--timeout", "0.1")
    assert answer.code == 2
    assert one_line(answer.err)


def test_what_failed_is_told_and_tried_again(run: Run, drive: Kelp, someone: Caller) -> None:
    put(drive, someone, "a.txt")
    _fail_all(drive)
    answer = run("sync", "wait")
    assert answer.code == 1
    assert "sync retry --all" in answer.err
    (failure,) = json.loads(run("status", "--json").out)["failures"]
    assert (failure["path"], failure["error"]) == ("/a.txt", "the NAS refuses this name")
    assert "the NAS refuses this name" in run("status").out
    assert run("sync", "retry", failure["id"]).out == "1 change is tried again\n"
    _fail_all(drive)
    assert run("sync", "retry", "--all").out == "1 change is tried again\n"
    assert run("sync", "retry", "--all").out == "0 changes are tried again\n"


def _fail_all(drive: Kelp) -> None:
    with drive.database.write() as tx:
        for (entry_id,) in tx.all("SELECT DISTINCT aggregate_id FROM sync_events WHERE status = 'PENDING'"):
            tx.events.fail(entry_id, tx.events.newest(entry_id) or 0, "the NAS refuses this name", drive.clock.now_ns())


def test_check(run: Run, tmp_path: Path) -> None:
    new_drive.put_into(tmp_path, "data/nas")
    with closing(bootstrap.build(Settings.load(data=tmp_path / "data"))) as drive:
        put(drive, access.authenticate(drive, "admin", PASSWORD, face="rest"), "a.txt", b"whole")
    assert (run("check").code, run("check").rows) == (0, [])
    assert json.loads(run("check", "--json").out)["ok"] is True
    (item,) = (file for file in (tmp_path / "data" / "cache").rglob("*") if file.is_file() and file.stat().st_size == 5)
    item.write_bytes(b"wrong")
    assert run("check", "--quick").code == 0
    answer = run("check", "--json")
    assert answer.code == 1
    assert len(json.loads(answer.out)["problems"]) == 1
    assert len(run("check").rows) == 1


def test_check_repairs_what_one_side_has_good(run: Run, tmp_path: Path) -> None:
    new_drive.put_into(tmp_path, "data/nas")
    with closing(bootstrap.build(Settings.load(data=tmp_path / "data"))) as drive:
        caller = access.authenticate(drive, "admin", PASSWORD, face="rest")
        put(drive, caller, "a.txt", b"whole")
        assert mirror.drain(drive, "test")
        put(drive, caller, "b.txt", b"nowhere else")
    stored = {file.stat().st_size: file for file in (tmp_path / "data" / "cache").rglob("*") if file.is_file()}
    stored[5].write_bytes(b"wrong")
    answer = run("check", "--repair")
    assert answer.code == 0 and answer.rows[0][:2] == ["repaired", "object corrupt"]
    assert stored[5].read_bytes() == b"whole" and run("check").code == 0
    stored[12].write_bytes(b"nobody's now")
    answer = run("check", "--repair", "--json")
    assert answer.code == 1 and json.loads(answer.out)["repaired"] == []
    assert run("check", "--repair").rows[0][0] == "left"
    assert run("check", "--shallow").code == 1, "it is known to be lost"


def test_tables_are_for_people_and_tabs_for_programs(
    run: Run, drive: Kelp, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("user", "list").out.count("\t") == 2
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        patch.setenv("TERM", "dumb")
        answer = run("user", "list")
    assert "\t" not in answer.out
    assert answer.out.split()[:3] == ["name", "role", "since"]


def test_self_signed_certificate(run: Run, tmp_path: Path) -> None:
    answer = run("tls", "self-signed", "--host", "drive.example", "--host", "10.0.0.7")
    cert, key = tmp_path / "data/tls/kelp.crt", tmp_path / "data/tls/kelp.key"
    assert answer.code == 0
    assert f"--tls-cert {cert} --tls-key {key}" in answer.out
    assert read_facts(cert).names == ("drive.example", "10.0.0.7")
    assert run("tls", "self-signed").code == 1
    assert run("tls", "self-signed", "--force").code == 0
    assert "localhost" in read_facts(cert).names
    assert read_facts(cert).expires > datetime.now(UTC)
    assert run("tls", "self-signed", "--force", "--host", "not a name").code == 1
    assert sorted(file.name for file in cert.parent.iterdir()) == ["kelp.crt", "kelp.key"]


def test_settings_that_cannot_work(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "kelp.toml"
    for text in ("[server]\nport = 'x'", "[server]\ncolour = 1", "no toml", "[server]\nport = 70000"):
        config.write_text(text)
        answer = run("serve", "--config", str(config))
        assert answer.code == 1
        assert one_line(answer.err), answer.err
    monkeypatch.setenv("KELP_SERVER_THREADS", "0")
    assert one_line(run("serve").err)
    assert not (tmp_path / "data").exists()


def test_health_and_capacity_of_the_nas(drive: Kelp, run: Run) -> None:
    assert json.loads(run("nas", "health", "--json").out)["state"] == "unknown"
    assert run("nas", "health", "--now").code == 0
    told = json.loads(run("nas", "health", "--json").out)
    assert (told["state"], len(told["history"])) == ("healthy", 1)
    capacity = json.loads(run("nas", "capacity", "--json").out)
    assert capacity["total"] == capacity["used"] + capacity["free"] == told["capacity"]["total"]
    assert run("nas", "capacity").rows[2][0] == "free"


def test_a_nas_that_is_away_is_down(drive: Kelp, run: Run, tmp_path: Path) -> None:
    marker = tmp_path / "data" / "nas" / ".kelp" / "drive.json"
    marker.rename(tmp_path / "aside")
    answer = run("nas", "health", "--now", "--json")
    assert answer.code == 1 and json.loads(answer.out)["state"] == "down"
    (tmp_path / "aside").rename(marker)
    assert run("nas", "health", "--now").code == 0


def test_scan_tells_and_takes_in(drive: Kelp, run: Run, someone: Caller, tmp_path: Path) -> None:
    assert json.loads(run("nas", "scan", "--json").out) == {"looked": 0, "found": []}
    (tmp_path / "data" / "nas" / "new").write_bytes(b"by somebody else")
    told = run("nas", "scan")
    assert (told.code, told.rows[0][:2]) == (1, ["new", "new"])
    taken = run("nas", "scan", "--take-in", "--json")
    assert taken.code == 0 and json.loads(taken.out)["found"][0]["done"]
    assert shown(drive, someone) == ["new"]
    assert run("nas", "scan", "/").out == "1 looked at\n"
    assert "no folder /missing" in run("nas", "scan", "/missing").err


def test_adopt_and_recover(run: Run, tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    (nas / "folder").mkdir(parents=True)
    (nas / "folder" / "file").write_bytes(b"from before")
    (nas / "link").symlink_to("x")
    assert "1 files and 1 folders" in run("nas", "adopt", "--nas", str(nas), "--dry-run").out
    assert not (tmp_path / "data").exists()
    adopted = run("nas", "adopt", "--nas", str(nas))
    assert adopted.code == 0 and "link" in adopted.out
    assert "already" in run("nas", "adopt", "--nas", str(nas)).err
    assert "files already" in run("nas", "recover", "--nas", str(nas)).err
    shutil.rmtree(tmp_path / "data")
    assert "kelp nas recover" in run("nas", "adopt", "--nas", str(nas)).err
    assert run("nas", "recover", "--nas", str(nas)).code == 0
    assert "no admin yet" in run("trash", "list", "--nas", str(nas)).err


def test_adopt_waits_for_no_server(drive: Kelp, run: Run, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "file").write_bytes(b"from before")
    with closing(JobsLock(drive.settings)) as lock:
        assert lock.take_alone()
        answer = run("nas", "adopt", "--nas", str(tmp_path / "nas"))
    assert answer.code == 1 and "a server of this drive is running" in answer.err
