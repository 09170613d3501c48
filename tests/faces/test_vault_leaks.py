"""All that people do in a vault, on every face, with a log that tells everything: of names, texts and bytes nothing is
found in the database, the cache, the queue, the NAS, logs, alerts, metrics, dumps or the temporary folder; nor in what
a database server, an S3 endpoint and Redis were ever asked (tests/services/overheard.py).

Nor is anything found of a file that was moved into it, later, but in logs of what was done before, and in what others
were asked by then.

Of what programs write on a mount a draft lies on the local disk in plain, for its owner only, until they close the file
(docs/fuse.md): that is not looked at while it is there, and must be gone then, after `--recover` too.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from cli import mount_points
from jobs import batches, mirror
from tests import engines, new_drive, vaults
from tests.faces.api.test_uploads import form
from tests.faces.fuse import conftest as fuse
from tests.faces.person import OWNER, Mount, Person
from tests.leaks import MOVED, PLAIN, Needles, word
from tests.mirror_drive import StagedNas
from tests.rooms.core.drive import Clock
from tests.server_process import PROGRAM, ServerProcess
from tests.services.overheard import Parts, overheard
from tests.waiting import until
from vfs.bootstrap import build
from vfs.errors import NasFault
from vfs.model import Place, Role
from vfs.operations import access, alerts, backlog, checking, folders, nas_settings, reading, writing
from vfs.operations.backlog import Waited

MIB = 1024 * 1024
_LATER = 5.2  # seconds after which saving again makes a version
_PROPERTY = (
    "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><x:{0} xmlns:x='urn:{1}'>{1}</x:{0}></D:prop></D:set>"
    "</D:propertyupdate>"
)


def by_webdav(person: Person, needles: Needles) -> None:
    top, other = f"{vaults.FOLDER}/{word('folder')}", f"{vaults.FOLDER}/{word('other folder')}"
    person.dav("MKCOL", top)
    person.dav("MKCOL", other)
    file = f"{top}/{word('file')}.txt"
    person.dav("PUT", file, needles.content("small", 5000), Content_Type=f"text/{quote(word('type'))}")
    time.sleep(_LATER)
    person.dav("PUT", file, needles.content("version", 70_000))
    time.sleep(_LATER)
    person.dav("PUT", file, needles.content("newest", 3_000))
    person.dav("PUT", f"{top}/{word('big')}.bin", needles.content("big", 20 * MIB))
    person.dav("PROPPATCH", file, _PROPERTY.format("Quxzwillop", word("property")).encode())
    fields, _ = person.dav("LOCK", file, OWNER.format(word("owner")).encode())
    person.dav("PUT", file, b"refused", 423)
    person.dav("MOVE", file, None, 423, Destination=f"/dav/{quote(other)}/{quote(word('refused'))}")
    person.dav("UNLOCK", file, None, Lock_Token=fields["lock-token"])
    person.dav("PROPFIND", top, None, Depth="1")
    person.dav("GET", f"{top}/{word('big')}.bin", None, 206, Range="bytes=9000000-9000100")
    for method in ("GET", "DELETE", "PROPPATCH", "MOVE"):
        person.dav(method, f"{top}/{word('absent')}", None, 400, 404)
    person.dav("PUT", f"{top}/{word('no folder')}/{word('in none')}", b"x", 409)
    person.dav("MKCOL", top, None, 405)
    person.dav("COPY", file, None, Destination=f"/dav/{quote(other)}/{quote(word('copy'))}")
    person.dav("COPY", top, None, Destination=f"/dav/{quote(other)}/{quote(word('copied folder'))}")
    person.dav("MOVE", file, None, Destination=f"/dav/{quote(other)}/{quote(word('moved'))}.txt")
    person.dav("MOVE", top, None, Destination=f"/dav/{quote(other)}/{quote(word('renamed folder'))}")
    taken = f"/dav/{quote(other)}/{quote(word('moved'))}.txt"
    person.dav("MOVE", f"{other}/{word('copy')}", None, 412, Overwrite="F", Destination=taken)
    person.dav("MOVE", other, None, 403, 409, Destination=f"/dav/{quote(word('folder')[:6])}")  # over the border
    person.cut("PUT", f"/dav/{quote(other)}/{quote(word('cut'))}", needles.content("cut", 2 * MIB), 3 * MIB)
    person.dav("DELETE", f"{other}/{word('copied folder')}")
    person.dav("PUT", f"{other}/{'n' * 240}{word('too long')}", b"x", 400, 403, 409, 414)
    person.dav("FROB", f"{other}/{word('no method')}", None, 405, 501)
    person.dav("PUT", f"{other}/{word('bad')}\x01", b"x", 400, 403)


def by_rest(person: Person, needles: Needles) -> None:
    root = person.id_of(vaults.FOLDER)
    folder = person.api("POST", "/folders", {"name": word("by REST"), "parentId": root})["folder"]["id"]
    person.api("POST", "/folders", {"name": word("by REST"), "parentId": root}, 409)
    query = urlencode({"folderId": folder, "fileName": f"{word('raw')}.txt"})
    small = needles.content("by REST", 9_000)
    made = json.loads(person.ask("POST", f"/api/files/upload?{query}", small, 200, Prefer="respond-async")[1])
    person.ask("POST", f"/api/files/upload?{query}", small, 409, Prefer="respond-async")
    sent = needles.content("form", 9_000)
    body, kind = form([("folderId", None, folder.encode()), ("file", f"{word('in a form')}.txt", sent)])
    person.ask("POST", "/api/files/upload", body, 200, Content_Type=kind, Prefer="respond-async")
    file = made["fileId"]
    person.api("PUT", f"/files/{file}/rename", {"newName": f"{word('renamed by REST')}.txt"})
    time.sleep(_LATER)
    person.ask("PUT", f"/api/files/{file}/content", needles.content("again", 9_000), 200, Prefer="respond-async")
    person.api("POST", f"/files/{file}/copy", {"targetFolderId": folder, "newName": word("copied by REST")})
    person.api("POST", f"/files/{file}/copy", {"targetFolderId": folder, "newName": word("copied by REST")}, 409)
    person.api("POST", f"/files/{file}/move", {"targetFolderId": root, "newName": word("moved by REST")})
    versions = person.api("GET", f"/files/{file}/versions")["versions"]
    person.api("POST", f"/files/{file}/versions/{versions[0]['id']}/restore", None)
    person.api("GET", f"/files/{file}/history")
    person.api("GET", f"/folders/{folder}/zip")
    person.api("GET", "/sync-events")
    in_parts(person, needles, folder)
    by_tus(person, needles, folder)
    trash(person, file, folder)


def in_parts(person: Person, needles: Needles, folder: str) -> None:
    """Ended, left open, given up."""
    for name in ("ended", "open", "given up"):
        data = needles.content(f"part {name}", MIB)
        given = {"fileName": f"{word(name)}.bin", "folderId": folder, "totalSize": MIB, "mimeType": "text/quxzwillop"}
        session = person.api("POST", "/files/multipart/initiate", given)["sessionId"]
        person.ask("PUT", f"/api/files/multipart/{session}/parts/1", data, 200)
        if name == "ended":
            person.api("POST", f"/files/multipart/{session}/complete", {})
        elif name == "given up":
            person.api("DELETE", f"/files/multipart/{session}")


def by_tus(person: Person, needles: Needles, folder: str) -> None:
    given = {"filename": f"{word('by tus')}.bin", "folderId": folder, "note": word("metadata")}
    pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in given.items())
    data = needles.content("tus", 2 * MIB)
    said = {"Upload_Length": str(len(data)), "Upload_Metadata": pairs, "Tus_Resumable": "1.0.0"}
    fields, _ = person.ask("POST", "/api/tus", None, 201, **said)
    sent = {"Tus_Resumable": "1.0.0", "Content_Type": "application/offset+octet-stream"}
    person.ask("PATCH", fields["location"], data[:MIB], 204, Upload_Offset="0", **sent)
    person.ask("HEAD", fields["location"], None, 200, Tus_Resumable="1.0.0")
    person.ask("PATCH", fields["location"], data[:MIB], 409, Upload_Offset="7", **sent)  # and it is never ended


def trash(person: Person, file: str, folder: str) -> None:
    person.api("DELETE", f"/files/{file}")
    person.api("POST", f"/trash/{file}/restore", {})
    person.api("DELETE", f"/files/{file}")
    person.api("DELETE", f"/folders/{folder}")
    listed = person.api("GET", "/trash")["items"]
    assert any(STEM_IN in json.dumps(each, ensure_ascii=False) for each in listed), listed
    person.api("DELETE", f"/trash/{file}")


STEM_IN = "Quxzwillop"


def by_mount(person: Person, mount: Mount, needles: Needles) -> None:
    """Conflict copies, a killed mount and what it left too."""
    mount.start()
    folder = mount.top / word("by mount")
    folder.mkdir()
    (folder / word("saved")).write_bytes(needles.content("saved", 100_000))
    os.setxattr(folder / word("saved"), f"user.{word('attribute')}", word("its value").encode())
    os.symlink(f"../{word('target')}", folder / word("link"))
    os.rename(folder / word("saved"), folder / word("saved and renamed"))
    for wrong in ("absent", "x" * 200):
        with contextlib.suppress(OSError):
            (folder / word(wrong)).read_bytes()
    with contextlib.suppress(OSError):
        os.rename(folder, mount.path / "over the border")
    both = folder / word("both")
    both.write_bytes(needles.content("before both", 5_000))
    fd = os.open(both, os.O_RDWR)
    os.pwrite(fd, needles.content("mine", 4_096), 100)
    path = f"{vaults.FOLDER}/{word('by mount')}/{word('both')}"
    person.dav("PUT", path, needles.content("theirs", 5_000))
    with contextlib.suppress(OSError):
        os.close(fd)
    assert any("conflict" in name for name in os.listdir(folder)), os.listdir(folder)
    fd = os.open(folder / word("draft"), os.O_RDWR | os.O_CREAT)
    os.write(fd, needles.content("draft", 200_000))
    assert mount.drafts() and all(not file.stat().st_mode & 0o077 for file in mount.drafts())
    mount.kill()
    with contextlib.suppress(OSError):
        os.close(fd)
    mount_points.unmount(mount.path, lazily=True)
    mount.start("--recover")
    assert any("recovered" in name for name in os.listdir(folder)), os.listdir(folder)
    mount.end()


def outage(person: Person, server: ServerProcess, needles: Needles) -> None:
    """The NAS is away while people work."""
    away = server.nas.with_name("away")
    server.nas.rename(away)
    server.nas.mkdir()
    folder = f"{vaults.FOLDER}/{word('while it was away')}"
    person.dav("MKCOL", folder)
    person.dav("PUT", f"{folder}/{word('away')}", needles.content("away", 50_000))
    until(lambda: "the NAS is down" in server.log_text())
    server.nas.rmdir()
    away.rename(server.nas)


def closed(person: Person, server: ServerProcess, cache_away: AbstractContextManager[None]) -> None:
    """The cache is away, then the server's key. The log tells of each such request."""
    folder = f"{vaults.FOLDER}/{word('other folder')}"
    with cache_away:
        refused(person, f"{PLAIN}/{PLAIN}")
        refused(person, f"{folder}/{word('renamed folder')}/{word('big')}.bin")
    with away(server.data / "keys" / "server.pem"):
        server.stop()  # what was opened stays so while a process runs
        server.start()
        server.wait_ready()
        refused(person, folder)
    time.sleep(_LATER)  # then it looks for a key again


def moved_in(person: Person, needles: Needles) -> None:
    """What lay beside the vault: saved twice, called otherwise, then moved in."""
    for name in ("first", "second"):
        person.dav("PUT", f"{MOVED}.txt", needles.content(f"moved in, {name}", 9_000), Content_Type=f"text/{MOVED}")
        time.sleep(_LATER)
    person.dav("PROPPATCH", f"{MOVED}.txt", _PROPERTY.format(MOVED, MOVED).encode())
    person.dav("MOVE", f"{MOVED}.txt", None, Destination=f"/dav/{MOVED}%20renamed.txt")
    person.dav("MOVE", f"{MOVED} renamed.txt", None, Destination=f"/dav/{vaults.FOLDER}/{MOVED}.txt")


def later(server: ServerProcess) -> None:
    """What the mirror and batches do within hours."""
    clock = Clock(time.time_ns())
    with contextlib.closing(build(server.settings, clock=clock)) as kelp:
        for _ in range(4):  # what is expired leaves the NAS, then the cache, where somebody might read it
            clock.advance(1300)
            mirror.drain(kelp, "test")
            batches.free_all(kelp, lambda name, did, outcome: None)


def refused(person: Person, path: str) -> None:
    for method in ("GET", "PUT", "PROPFIND"):
        with contextlib.suppress(http.client.HTTPException):
            person.ask(method, f"/dav/{quote(path)}", b"x" if method == "PUT" else None)


@contextlib.contextmanager
def away(part: Path) -> Iterator[None]:
    """A file, or a folder."""
    elsewhere = part.with_name("away")
    part.rename(elsewhere)
    yield
    if part.exists():
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    elsewhere.rename(part)


def failing(server: ServerProcess) -> None:
    """What is due cannot be carried to the NAS, which refuses its names; an alert tells it. In this process."""
    with contextlib.closing(build(server.settings)) as kelp:
        nas = StagedNas(kelp.nas)

        def refuse(method: str, arguments: tuple[Any, ...]) -> None:
            if method in ("write", "move", "make_folder", "link"):
                raise NasFault("this name cannot be")

        nas.before = refuse
        broken = replace(kelp, nas=nas)  # type: ignore[arg-type]
        caller = access.system_caller(kelp, "cli")
        parent = reading.resolve(kelp, caller, [vaults.FOLDER]).entry
        assert parent is not None
        folder = folders.make_folder(kelp, caller, Place(parent.id, word("refused by the NAS")))
        writing.put_file(kelp, caller, Place(folder.id, word("refused too")), [b"x"])
        nas_settings.change(kelp, caller, {"retries": []})
        mirror.drain(broken, "test")
        assert "MIRROR_FAILED" in [each.kind for each in alerts.listing(kelp)]
        backlog.retry_failed(kelp)
        mirror.drain(kelp, "test")


@pytest.fixture
def log_of_this_process(tmp_path: Path) -> Iterator[Path]:
    """Everything that Kelp's own modules say here."""
    file = tmp_path / "drive" / "here.log"
    file.parent.mkdir(exist_ok=True)
    handler = logging.FileHandler(file)
    own = [logging.getLogger(name) for name in ("vfs", "jobs")]
    for each in own:
        each.addHandler(handler)
        each.setLevel(logging.DEBUG)
    yield file
    for each in own:
        each.setLevel(logging.NOTSET)
        each.removeHandler(handler)
    handler.close()


@pytest.fixture
def parts() -> Iterator[Parts]:
    with overheard(engines.CHOSEN, PLAIN) as parts:
        yield parts


def test_nothing_of_a_vault_is_found_outside(tmp_path: Path, log_of_this_process: Path, parts: Parts) -> None:
    drive, needles = tmp_path / "drive", Needles()
    (drive / "tmp").mkdir(parents=True)
    debug = ("--log-level", "debug")
    server = ServerProcess(drive, *debug, worker_arguments=debug, mirror_delay=0, **parts.settings)
    server.environ |= {"TMPDIR": str(drive / "tmp")}
    with contextlib.closing(build(server.settings)) as kelp:
        if not access.has_users(kelp):  # in a database of its own
            new_drive.invite(kelp, "admin", Role.ADMIN)
        vaults.make_vault(kelp)
    mount = Mount(server, tmp_path) if fuse.why_not() is None else None
    try:
        server.start()
        server.wait_ready()
        played(server, mount, parts, needles)
        require_nothing(drive, parts, needles)
        told = [fetch(Person(server), "/metrics"), fetch(Person(server), "/api/alerts")]
        (drive / "told").write_bytes(b"".join(told))
        moved_in(Person(server), needles)
        server.stop()
        failing(server)
        later(server)
        (drive / "dump").write_bytes(dumped(server))
        require_nothing(drive, parts, needles)
        with contextlib.closing(build(server.settings)) as kelp:
            report = checking.check(kelp, mirrored=False)
            assert report.ok, report.problems
    finally:
        if mount is not None:
            mount.end()
        server.kill()


def played(server: ServerProcess, mount: Mount | None, parts: Parts, needles: Needles) -> None:
    person = Person(server)
    person.dav("MKCOL", PLAIN)
    person.dav("PUT", f"{PLAIN}/{PLAIN}", PLAIN.encode())
    person.dav("GET", f"{PLAIN}/{PLAIN} absent", None, 404)
    by_webdav(person, needles)
    by_rest(person, needles)
    if mount is not None:
        by_mount(person, mount, needles)
    outage(person, server, needles)
    mirrored(server)
    closed(person, server, parts.cache_away() if parts.cache_away else away(server.data / "cache"))


def fetch(person: Person, target: str) -> bytes:
    return person.ask("GET", target, None, 200)[1]


def mirrored(server: ServerProcess) -> None:
    with contextlib.closing(build(server.settings)) as kelp:
        assert backlog.wait_until_mirrored(kelp, 120) is Waited.MIRRORED, backlog.events(kelp, 20)


def dumped(server: ServerProcess) -> bytes:
    words = [sys.executable, str(PROGRAM), "dump", "-", "--data", str(server.data), "--nas", str(server.nas)]
    done = subprocess.run(words, env=server.environ, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_nothing(drive: Path, parts: Parts, needles: Needles) -> None:
    """Not a thing of the vault anywhere; and what lies beside it in plain, wherever it is looked for."""
    parts.write_into(drive)
    files = [file for file in drive.rglob("*") if not file.is_relative_to(drive / "data" / "keys")]
    found = list(needles.found_in(files))
    heard = [str(drive / part.name) for part in parts.parts]
    old = {where for where, _, _ in found if where.endswith(".log") or any(place in where for place in heard)}
    secret = {
        (what, where, around)
        for where, what, around in found
        if what != PLAIN and not (where in old and (what == MOVED or "moved in" in what))  # done before it was secret
    }
    assert not secret, "\n".join(f"{what} in {where}: {around!r}" for what, where, around in sorted(secret))
    seen = {
        Path(where.removeprefix("name of ")).relative_to(drive).parts[0] for where, what, _ in found if what == PLAIN
    }
    own = "data" if engines.CHOSEN.database == "sqlite" or engines.CHOSEN.cache == "folder" else "nas"
    assert {own, "nas", "server.log", *(part.name for part in parts.parts)} <= seen, seen
