"""`kelp doctor` behind the faces: each part right, wrong and away; what it says, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

import kelp as command_line
from tests import new_drive
from tests.server_process import server_process
from tests.services import postgresql, redis, s3
from tests.services.child import free_port
from tests.small_disk import small_disk
from vfs import bootstrap
from vfs.metadata import schema
from vfs.model import ROOT_ID, Place, Role
from vfs.operations import access, checking, diagnosing, writing
from vfs.operations.diagnosing import Area, Check, ClockReading, Finding, Readings
from vfs.operations.diagnosis import disks, words
from vfs.settings import Settings

needs_postgresql = pytest.mark.skipif(postgresql.missing() is not None, reason=str(postgresql.missing()))
needs_redis = pytest.mark.skipif(redis.missing() is not None, reason=str(redis.missing()))

STORES = [
    ("settings", "file"), ("database", "disk"), ("database", "server"), ("database", "schema"), ("database", "write"),
    ("database", "durability"), ("database", "round trip"), ("cache", "place"), ("cache", "disk"), ("cache", "space"),
    ("cache", "small object"), ("cache", "overwriting"), ("cache", "large object"), ("NAS", "root"), ("NAS", "disk"),
    ("NAS", "space"), ("NAS", "write"), ("NAS", "features"), ("queue", "kind"), ("face", "server"),
    ("clock", "clocks"), ("backlog", "changes"),
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[tuple[str, str], tuple[str, str, str]]:
        """(area, check) → (mark, fact, advice)."""
        findings = json.loads(self.out)["findings"]
        return {(f["area"], f["check"]): (f["mark"], f["fact"], f["advice"]) for f in findings}

    @property
    def errors(self) -> set[tuple[str, str]]:
        return {where for where, (mark, _, _) in self.found.items() if mark == "error"}


Run = Callable[..., Answer]


@pytest.fixture
def tmp_path(disk_path: Path) -> Path:
    """The command complains of disks that forget."""
    return disk_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in this process; settings are given as for `Settings.load`. No server runs at its port."""

    def run(*arguments: str, **settings: object) -> Answer:
        with monkeypatch.context() as context:
            for name in [name for name in os.environ if name.startswith("KELP_") and name != "KELP_DOCTOR_PASSWORD"]:
                context.delenv(name)  # what chooses the engines of this run
            for name, value in {"data": tmp_path / "data", "server_port": free_port(), **settings}.items():
                context.setenv(f"KELP_{name.upper()}", str(value))
            code = command_line.run(["doctor", *(arguments or ("--json",))])
        return Answer(code, *capsys.readouterr())

    return run


def make_drive(tmp_path: Path, **settings: object) -> None:
    """A drive with a file in it, mirrored nowhere yet."""
    with contextlib.closing(bootstrap.build(Settings.load(data=tmp_path / "data", **settings))) as kelp:
        if not access.has_users(kelp):
            new_drive.invite(kelp, "admin", Role.ADMIN)
        writing.put_file(kelp, access.system_caller(kelp), Place(ROOT_ID, "a"), [b"data"])


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    """The folder of an embedded drive, whole at the end."""
    new_drive.put_into(tmp_path, "data/nas")
    make_drive(tmp_path)
    yield tmp_path
    with contextlib.closing(bootstrap.build(Settings.load(data=tmp_path / "data"))) as kelp:
        assert checking.check(kelp).ok


def files(folder: Path) -> dict[str, bytes]:
    """All of a drive but what SQLite and the processes keep for themselves."""
    own = ("kelp.db", "kelp.db-wal", "kelp.db-shm", "kelp.changes", "kelp.claims", "jobs.lock")
    found = (file for file in sorted(folder.rglob("*")) if file.name not in own)
    return {str(file.relative_to(folder)): file.read_bytes() if file.is_file() else b"/" for file in found}


def rows(**settings: object) -> dict[str, list[Any]]:
    with contextlib.closing(bootstrap.build(Settings.load(**settings))) as kelp, kelp.database.scan() as tx:
        return {
            table.name: sorted(map(repr, map(tuple, tx.all(f'SELECT * FROM "{table.name}"'))))
            for table in schema.metadata.sorted_tables
        }


# --------------------------------------------------------------------------------------------------- embedded


def test_an_embedded_drive_is_well(run: Run, drive: Path) -> None:
    before, rows_before = files(drive), rows(data=drive / "data")
    answer = run()
    assert answer.code == 0, answer.out
    assert list(answer.found) == STORES, "programs read these names"
    assert answer.errors == set()
    assert files(drive) == before
    assert rows(data=drive / "data") == rows_before
    said = json.loads(answer.out)
    assert (said["ok"], said["errors"]) == (True, 0)
    assert set(said["findings"][0]) == {"mark", "area", "check", "fact", "advice"}


def test_outside_of_a_terminal_it_is_a_line_each_with_tabs(run: Run, drive: Path) -> None:
    lines = [line.split("\t") for line in run("--log-level", "error").out.splitlines()]
    assert [(line[1], line[2]) for line in lines] == STORES
    assert {len(line) for line in lines} <= {4, 5}


def test_a_server_that_does_not_run_is_told_and_no_fault_unless_expected(run: Run, drive: Path) -> None:
    assert run().found["face", "server"][0] == "warning"
    url = f"http://127.0.0.1:{free_port()}"
    for answer in (run("--json", "--url", url), run(server_public_url=url)):
        mark, fact, advice = answer.found["face", "server"]
        assert (answer.code, mark) == (1, "error")
        assert url in fact and "kelp serve" in advice


def test_without_a_drive_the_database_says_so_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    answer = run()
    assert answer.code == 1
    assert answer.found["database", "server"][0] == "error"
    assert answer.found["backlog", "changes"][0] == "note"
    assert not (tmp_path / "data").exists()


def test_an_old_database_is_left_as_it_is(run: Run, drive: Path) -> None:
    with contextlib.closing(sqlite3.connect(drive / "data" / "kelp.db")) as connection:
        for revision, mark in (("0000", "warning"), ("9999", "error"), (schema.REVISION, "ok")):
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            connection.commit()
            assert run().found["database", "schema"][0] == mark
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)


def test_a_broken_database_costs_its_own_lines_only(run: Run, drive: Path) -> None:
    file = drive / "data" / "kelp.db"
    kept = file.read_bytes()
    file.write_bytes(b"no database at all" * 1000)
    answer = run()
    file.write_bytes(kept)
    assert answer.code == 1
    assert answer.errors == {("database", "server")}
    assert answer.found["cache", "large object"][0] == answer.found["NAS", "write"][0] == "ok"


def test_a_nas_that_is_not_mounted(run: Run, drive: Path) -> None:
    nas = drive / "data" / "nas"
    nas.rename(drive / "elsewhere")
    assert "nas.root" in run().found["NAS", "root"][2]
    nas.mkdir()
    answer = run()
    assert (answer.code, answer.errors) == (1, {("NAS", "root")})
    assert "not mounted" in answer.found["NAS", "root"][1] and "mount" in answer.found["NAS", "root"][2]
    assert list(nas.iterdir()) == []
    nas.rmdir()
    (drive / "elsewhere").rename(nas)


def test_another_drives_nas(run: Run, drive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_drive(other)
    answer = run(nas_root=other / "data" / "nas")
    assert answer.errors == {("NAS", "root")}
    assert "not the NAS of this installation" in answer.found["NAS", "root"][1]


def test_disks_that_forget(run: Run, drive: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "memory", "64m") as memory:
        answer = run(cache_url=memory)
        assert ("cache", "disk") in answer.errors and "power cut" in answer.found["cache", "disk"][2]
        assert answer.found["cache", "space"][:1] == ("error",), "nothing is left above the reserve"
        assert [file for file in memory.rglob("*") if file.is_file()] == []


def test_a_full_cache(run: Run, drive: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "tiny", "2m") as tiny:
        answer = run(cache_url=tiny)
        assert {("cache", "space"), ("cache", "large object")} <= answer.errors
        assert "room" in answer.found["cache", "large object"][2]
        assert [file for file in tiny.rglob("*") if file.is_file()] == []


def test_what_failed_is_one_line(run: Run, drive: Path) -> None:
    with contextlib.closing(bootstrap.build(Settings.load(data=drive / "data"))) as kelp:
        with kelp.database.write() as tx:
            tx.run("UPDATE sync_events SET status = 'FAILED'")
        assert "kelp sync retry" in run().found["backlog", "failed"][2]
        with kelp.database.write() as tx:
            tx.run("UPDATE sync_events SET status = 'PENDING'")
            tx.accounts.set_value("nas", '{"up": false, "reason": "ESTALE", "since_ns": 0}')
        answer = run()
        assert answer.errors == {("backlog", "NAS")}
        assert answer.found["backlog", "changes"][1].startswith("1 on their way")


def test_a_name_that_is_no_setting(run: Run, drive: Path) -> None:
    mark, fact, _ = run(nas_roto="/mnt/nas").found["settings", "environment"]
    assert mark == "warning" and "KELP_NAS_ROTO" in fact


def test_a_proxy_that_nobody_named(run: Run, drive: Path) -> None:
    answer = run(server_public_url="https://127.0.0.1:1")
    assert answer.found["settings", "proxy"][0] == "warning"
    named = run(server_public_url="https://127.0.0.1:1", server_trusted_proxies="127.0.0.1")
    assert ("settings", "proxy") not in named.found


def test_a_file_of_settings_that_all_can_read(run: Run, drive: Path, tmp_path: Path) -> None:
    config = tmp_path / "kelp.toml"
    config.write_text('[cache]\nsecret_key = "sesame"\n')
    config.chmod(0o644)
    answer = run("--json", "--config", str(config))
    assert answer.found["settings", "secrets"][0] == "warning"
    assert "sesame" not in answer.out
    config.chmod(0o600)
    assert ("settings", "secrets") not in run("--json", "--config", str(config)).found


@pytest.mark.parametrize(
    ("url", "said"),
    [("https://me:sesame@drive", "password"), ("drive", "https://"), ("https://drive/x", "path"), ("http://[", "URL")],
)
def test_a_url_that_is_none(run: Run, drive: Path, url: str, said: str) -> None:
    answer = run("--url", url)
    assert answer.code == 1
    assert said in answer.err and "sesame" not in answer.err


def test_a_password_is_no_argument(run: Run, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELP_DOCTOR_PASSWORD", raising=False)
    answer = run("--user", "admin")
    assert answer.code == 2
    assert "KELP_DOCTOR_PASSWORD" in answer.err


# ----------------------------------------------------------------------------------------------- the running


def test_a_check_that_hangs_is_left_alone() -> None:
    go, ended = threading.Event(), threading.Event()

    def hanging() -> Iterator[Finding]:
        try:
            yield Area("first").ok("a", "")
            go.wait()
            yield Area("first").ok("b", "")
            yield Area("first").ok("never", "")
        finally:
            ended.set()

    checks = [Check("first", hanging, "wake it"), Check("second", lambda: iter([Area("second").ok("c", "")]))]
    found = []
    for finding in diagnosing.run(checks, patience=1.0):
        found.append((finding.area, finding.check, finding.advice))
        if finding.area == "second":
            go.set()
    assert found == [("first", "a", ""), ("first", "answer", "wake it"), ("second", "c", "")]
    assert ended.wait(60), "it cleans up when it comes back"


def test_who_goes_waits_until_all_is_removed() -> None:
    removed = []

    def slow() -> Iterator[Finding]:
        try:
            yield Area("slow").ok("a", "")
            time.sleep(0.2)
            yield Area("slow").ok("b", "")
        finally:
            removed.append(True)

    with contextlib.closing(diagnosing.run([Check("slow", slow)])) as findings:
        next(findings)
    assert removed == [True]


def test_what_nobody_foresaw_is_a_line() -> None:
    def broken() -> Iterator[Finding]:
        yield Area("x").ok("a", "")
        raise ZeroDivisionError("by nothing")

    found = list(diagnosing.run([Check("x", broken)]))
    assert [finding.mark for finding in found] == ["ok", "error"]
    assert "ZeroDivisionError" in found[1].fact


TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw,relatime - nfs4 nas:/export rw,vers=4.2,soft,timeo=600
31 22 0:41 / /mnt/nas/deep rw - nfs nas:/other rw,hard
32 22 0:42 / /srv/with\040space rw - cifs //nas/share rw
33 22 0:43 / /srv/memory rw - tmpfs tmpfs rw
34 22 0:44 / /srv/memory rw - xfs /dev/sdb rw
35 22 0:45 / /srv/ssh rw - fuse.sshfs me@there rw
36 22 0:46 / /srv/usb rw - fuseblk /dev/sdc1 rw
a line that nobody understands
"""


@pytest.mark.parametrize(
    ("path", "kind", "network", "soft"),
    [
        ("/", "ext4", False, False),
        ("/mnt/nasty", "ext4", False, False),
        ("/mnt/nas", "nfs4", True, True),
        ("/mnt/nas/x/y", "nfs4", True, True),
        ("/mnt/nas/deep/x", "nfs", True, False),
        ("/srv/with space/x", "cifs", True, False),
        ("/srv/memory/x", "xfs", False, False),
        ("/srv/ssh", "fuse.sshfs", True, False),
        ("/srv/usb", "fuseblk", False, False),
    ],
)
def test_which_disk_a_folder_is_on(path: str, kind: str, network: bool, soft: bool) -> None:
    mount = disks.find(path, TABLE)
    assert mount is not None
    assert (mount.kind, mount.is_network, mount.is_soft) == (kind, network, soft)


@pytest.mark.parametrize(
    ("ahead", "within", "mark"),
    [(0.2, 0.1, "ok"), (-5.4, 0.5, "ok"), (6.0, 0.5, "warning"), (-59.0, 1.0, "warning"), (-62.0, 1.0, "error")],
)
def test_clocks(ahead: float, within: float, mark: str) -> None:
    readings = Readings(clocks=[ClockReading("the database", ahead, within)])
    [finding, _] = diagnosing.run(diagnosing.last_checks(Settings.load(), readings))
    assert (finding.mark, finding.check) == (mark, "database")
    if mark != "ok":
        assert ("ahead of" if ahead > 0 else "behind") in finding.fact


def test_measures_in_words() -> None:
    assert [words.seconds(value) for value in (0.00004, 0.0031, 0.25, 2.04)] == ["0.04 ms", "3.1 ms", "250 ms", "2.0 s"]
    assert [words.size(value) for value in (999, 1536, 20 << 20)] == ["999 B", "1.5 KiB", "20 MiB"]


# ------------------------------------------------------------------------------------------------ PostgreSQL


@needs_postgresql
def test_postgresql(run: Run, tmp_path: Path) -> None:
    with postgresql.postgresql_server(durable=True, max_connections="60") as server:
        server.create("drive")
        settings = {"database_url": server.url("drive"), "server_processes": 2}
        assert run(**settings).found["database", "schema"][0] == "warning", "there is no drive in it"
        make_drive(tmp_path, **settings)
        before = rows(data=tmp_path / "data", **settings)
        answer = run(**settings)
        assert answer.code == 0, answer.out
        assert rows(data=tmp_path / "data", **settings) == before
        found = answer.found
        assert found["database", "isolation"] == ("ok", "read committed", "")
        assert found["database", "durability"][0] == found["database", "encoding"][0] == "ok"
        assert found["database", "server"][1].startswith("PostgreSQL 1")
        assert found["clock", "database"][0] == "ok"
        crowded = run(**{**settings, "server_processes": 4}).found["database", "connections"]
        assert crowded[0] == "warning" and "max_connections to 90" in crowded[2]
        server.stop()
        away = run(**settings)
        assert away.errors == {("database", "server")}
        assert "start PostgreSQL" in away.found["database", "server"][2]
        assert away.found["NAS", "write"][0] == "ok"


@needs_postgresql
def test_postgresql_that_forgets_or_is_named_wrongly(run: Run, tmp_path: Path) -> None:
    with postgresql.postgresql_server() as server:
        server.create("drive")
        make_drive(tmp_path, database_url=server.url("drive"))
        answer = run(database_url=server.url("drive"))
        assert answer.errors == {("database", "durability")}
        assert "fsync and full_page_writes" in answer.found["database", "durability"][2]
        wrong = run(database_url=server.url("nowhere").replace("postgres@", "postgres:sesame@"))
        assert wrong.errors == {("database", "server")}
        assert "createdb" in wrong.found["database", "server"][2]
        assert "sesame" not in wrong.out + wrong.err


# -------------------------------------------------------------------------------------------------------- S3


def keys(url: str) -> dict[str, object]:
    return {"cache_url": url, "cache_access_key": s3.ACCESS_KEY, "cache_secret_key": s3.SECRET_KEY}


def test_s3(run: Run, tmp_path: Path) -> None:
    with s3.s3_endpoint() as endpoint:
        settings = keys(s3.bucket_url(endpoint))
        make_drive(tmp_path, **settings)
        with contextlib.closing(bootstrap.build(Settings.load(data=tmp_path / "data", **settings))) as kelp:
            before = list(kelp.cache.list())
            answer = run(**settings)
            assert list(kelp.cache.list()) == before
        found = answer.found
        assert found["cache", "small object"][0] == found["cache", "large object"][0] == "ok", answer.out
        assert found["cache", "durability"][0] == "note" and "docs/operations.md" in found["cache", "durability"][2]
        assert found["clock", "object store"][0] == "ok"
        assert s3.SECRET_KEY not in answer.out
        assert run(**{**settings, "cache_secret_key": ""}).errors == {("cache", "place")}


def test_a_bucket_that_is_not_there_is_not_made(run: Run, drive: Path) -> None:
    with s3.own_s3() as server:
        settings = keys(s3.bucket_url(server.url).replace("kelp-test", "kelp-none"))
        for _ in range(2):
            assert run(**settings).found["cache", "place"][0] == "warning"


def test_an_endpoint_that_is_away_or_something_else(
    run: Run, drive: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = run(**keys(s3.bucket_url(f"http://127.0.0.1:{free_port()}")))
    assert away.errors == {("cache", "place")}
    assert "endpoint" in away.found["cache", "place"][2]
    with server_process(tmp_path_factory.mktemp("other")) as server:
        other = run(**keys(s3.bucket_url(f"http://127.0.0.1:{server.port}")))
    assert other.errors == {("cache", "place")}
    assert "not as S3" in other.found["cache", "place"][2]


# ----------------------------------------------------------------------------------------------------- Redis


@needs_redis
def test_a_queue_without_and_with_a_worker(run: Run, tmp_path: Path) -> None:
    with redis.redis_server() as server, redis_client.Redis.from_url(server.url) as client:
        data = tmp_path / "data"
        queue = {"queue_url": server.url, "queue_name": "mine"}
        queue |= {"database_url": f"sqlite:///{data}/kelp.db", "cache_url": str(data / "cache")}  # on every engine
        with server_process(tmp_path, worker=False, **queue) as idle:
            settings = {**queue, "nas_root": idle.nas}
            answer = run("--json", "--data", str(idle.data), **settings)
            assert answer.found["queue", "server"][0] == "ok"
            assert answer.errors == {("queue", "workers")}
            assert "kelp worker" in answer.found["queue", "workers"][2]
            assert not [key for key in client.scan_iter() if b"doctor" in key]
        with server_process(tmp_path, **queue) as served:
            answer = run("--json", "--data", str(served.data), **settings)
            until = time.monotonic() + 60
            while ("queue", "job") not in answer.found and time.monotonic() < until:  # the worker comes up by itself
                answer = run("--json", "--data", str(served.data), **settings)
            assert answer.found["queue", "job"][0] == "ok", answer.out
            assert not [key for key in client.scan_iter() if b"doctor" in key]
            assert client.llen("rq:queue:mine") == 0
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert run(**queue).found["queue", "memory"][0] == "warning"
        server.stop()
        away = run("--json", "--data", str(tmp_path / "data"), **settings)
        assert away.errors == {("queue", "server")}
        assert "start Redis" in away.found["queue", "server"][2]


@needs_redis
def test_redis_that_is_silent_or_locked(run: Run, drive: Path) -> None:
    with redis.redis_server() as server:
        server.freeze()
        answer = run(queue_url=server.url)
        server.thaw()
        assert answer.errors == {("queue", "server")}
        with redis_client.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "sesame")
            with_none = run(queue_url=server.url)
            assert "PASSWORD" in with_none.found["queue", "server"][2], with_none.out
            wrong = run(queue_url=server.url.replace("//", "//:open-sesame@"))
            assert "correct the password" in wrong.found["queue", "server"][2]
            assert "sesame" not in wrong.out + with_none.out
