"""A server, and a mount, that start without the key: the vault is closed on every face, with a clear answer, nothing is
lost, what needs no key goes on; and when the file is there again, so is all, without a new start."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import vaults
from tests.faces.fuse.conftest import why_not
from tests.faces.person import OWNER, Mount, Person
from tests.server_process import ServerProcess
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.operations import backlog, checking, evicting, scrubbing
from vfs.operations.backlog import Waited

AGAIN = 5.2  # seconds after which a process looks for a key again
WAITS = "last"
FILES = {"sealed name": b"sealed bytes" * 1000, "big": bytes(range(256)) * 40_000, WAITS: b"waits for the NAS"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """With a vault that holds FILES, mirrored, and one file that waits to be."""
    server = ServerProcess(tmp_path / "drive", mirror_delay=0)
    with drive(server) as kelp:
        vaults.make_vault(kelp)
    try:
        server.start()
        server.wait_ready()
        for name, data in FILES.items():
            if name == WAITS:
                with drive(server) as kelp:
                    assert backlog.wait_until_mirrored(kelp, 60) is Waited.MIRRORED
                server.nas.rename(server.nas.with_name("away"))
            Person(server).dav("PUT", f"{vaults.FOLDER}/{name}", data)
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def drive(server: ServerProcess) -> Iterator[Kelp]:
    with contextlib.closing(build(server.settings)) as kelp:
        yield kelp


@contextlib.contextmanager
def no_key(server: ServerProcess) -> Iterator[None]:
    """Inside it has been started anew without; what a process has opened stays open while it runs."""
    file = server.data / "keys" / "server.pem"
    file.rename(server.data / "away.pem")
    server.stop()
    server.start()
    server.wait_ready()
    yield
    (server.data / "away.pem").rename(file)
    time.sleep(AGAIN)


def by_webdav(person: Person) -> None:
    """The vault is listed in its folder; in it there is nothing but a clear answer, and no wish comes true half."""
    _, listed = person.dav("PROPFIND", "", None, 207, Depth="1")
    assert f"/dav/{vaults.FOLDER}/".encode() in listed
    closed = {
        ("PROPFIND", ""): None,
        ("GET", "/sealed name"): None,
        ("PUT", "/sealed name"): b"another",
        ("PUT", "/new"): b"new",
        ("MKCOL", "/folder"): None,
        ("DELETE", "/sealed name"): None,
        ("LOCK", "/new"): OWNER.format("me").encode(),
    }
    for (method, path), body in closed.items():
        status, fields, text = person.reply(method, f"/dav/{vaults.FOLDER}{quote(path)}", body, Depth="1")
        assert status == 503 and int(fields["retry-after"]) > 0, (method, path, status, text)
        assert b"key" in text and b"Traceback" not in text, (method, path, text)


def by_rest(person: Person, root: str, file: str) -> None:
    asked = {
        ("GET", f"/folders/{root}/children"): None,
        ("GET", f"/files/{file}"): None,
        ("GET", f"/files/{file}/download"): None,
        ("PUT", f"/files/{file}/rename"): {"newName": "x"},
        ("POST", "/folders"): {"name": "x", "parentId": root},
        ("POST", "/files/multipart/initiate"): {"fileName": "x", "folderId": root, "totalSize": 5},
    }
    for (method, path), body in asked.items():
        answer = person.api(method, path, body, 503)
        assert answer["error"] == "VAULT_KEY_MISSING", (method, path, answer)
    assert vaults.FOLDER in [row["name"] for row in person.api("GET", "/folders/root/children")["folders"]]
    for path in ("/trash", "/sync-events", "/locks", "/alerts"):
        person.api("GET", path)


def by_mount(mount: Mount) -> None:
    assert vaults.FOLDER in os.listdir(mount.path)
    for call in (
        lambda: (mount.top / "never seen").read_bytes(),
        lambda: (mount.top / "new").write_bytes(b"x"),
        lambda: (mount.top / "folder").mkdir(),
        lambda: os.rename(mount.top / "sealed name", mount.top / "x"),
    ):
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.EIO, refused.value


def care_goes_on(server: ServerProcess) -> None:
    """What waited is mirrored, by the server; scrub and eviction run here, where there is no key either."""
    server.nas.with_name("away").rename(server.nas)
    with drive(server) as kelp:
        assert backlog.wait_until_mirrored(kelp, 120) is Waited.MIRRORED, backlog.events(kelp, 20)
        for _ in range(20):
            scrubbing.run(kelp)
        assert evicting.evict(kelp, 1 << 40).count > 0
        assert checking.check(kelp, mirrored=True).problems == []


def whole(person: Person) -> None:
    for name, data in FILES.items():
        assert person.dav("GET", f"{vaults.FOLDER}/{name}", None, 200)[1] == data


def test_closed_and_opened_again(server: ServerProcess, tmp_path: Path) -> None:
    person = Person(server)
    root, file = person.id_of(vaults.FOLDER), person.id_of(f"{vaults.FOLDER}/sealed name")
    mount = Mount(server, tmp_path) if why_not() is None else None
    try:
        if mount is not None:
            mount.start()
            assert (mount.top / "big").read_bytes() == FILES["big"]
            mount.end()
        with no_key(server):
            if mount is not None:
                mount.start()
            by_webdav(person)
            by_rest(person, root, file)
            if mount is not None:
                by_mount(mount)
            care_goes_on(server)
        whole(person)
        if mount is not None:
            assert {name: (mount.top / name).read_bytes() for name in os.listdir(mount.top)} == FILES
    finally:
        if mount is not None:
            mount.end()
    with drive(server) as kelp:
        report = checking.check(kelp, mirrored=True)
        assert report.ok, report.problems
    assert vaults.on_nas(server.nas) == FILES
    assert "Traceback" not in server.log_text(), server.log_text()[-3000:]
