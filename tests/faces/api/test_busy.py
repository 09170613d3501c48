"""Who does not ask to be patient with the NAS is refused what is on its way there, or read, and nothing is changed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from jobs import mirror
from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive
from vfs.errors import NasDown
from vfs.operations import nas_outage


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


@pytest.fixture
def hasty(api: Api) -> Api:
    """Sends no `Prefer`."""
    return replace(api, patient=False)


@pytest.fixture
def target(api: Api, folder: str) -> str:
    """Where things are moved to; it and the test's folder are on the NAS."""
    id = api.make_folder(f"{folder}/to")
    carry(api.drive)
    return id


def carry(drive: ServedDrive) -> None:
    for _ in range(200):
        mirror.drain(drive.kelp, "test")
        with drive.kelp.database.read() as tx:
            if not tx.events.counts():
                return
        time.sleep(0.01)
    raise AssertionError("never mirrored")


_CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("put", "/rename", {"newName": "new"}),
    ("put", "/rename", {"newName": "taken", "conflictStrategy": "RENAME"}),
    ("post", "/move", {"targetFolderId": "TARGET"}),
    ("post", "/move", {"targetFolderId": "TARGET", "conflictStrategy": "SKIP"}),
    ("delete", "", None),
]


@pytest.mark.parametrize("kind", ["files", "folders"])
@pytest.mark.parametrize(("method", "path", "body"), _CHANGES)
def test_what_is_on_its_way(
    api: Api, hasty: Api, folder: str, target: str, kind: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    make = api.make_file if kind == "files" else api.make_folder
    id, taken = make(f"{folder}/x"), make(f"{folder}/taken")
    sent = None if body is None else {name: target if value == "TARGET" else value for name, value in body.items()}
    if sent is not None and kind == "folders" and path == "/move":
        sent["targetParentId"] = sent.pop("targetFolderId")
    status, answer = getattr(hasty, method)(f"/{kind}/{id}{path}", json=sent)
    assert (status, answer["error"]) == (409, "FILE_SYNCING" if kind == "files" else "FOLDER_SYNCING")
    assert api.id_of(f"{folder}/x") == id and api.id_of(f"{folder}/taken") == taken
    assert getattr(api, method)(f"/{kind}/{id}{path}", json=sent)[0] == 200


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_what_is_there(api: Api, hasty: Api, folder: str, target: str, kind: str) -> None:
    """What the NAS has is changed, and then it is on its way."""
    id = (api.make_file if kind == "files" else api.make_folder)(f"{folder}/x")
    carry(api.drive)
    status, body = hasty.put(f"/{kind}/{id}/rename", json={"newName": "y"})
    shown = body["file" if kind == "files" else "folder"]
    assert status == 200 and shown["storageStatus"]["nas"] == "SYNCING"
    assert shown["nasSyncMessage"] == "on its way to the NAS"
    assert hasty.get(f"/sync-events/{shown['syncEventId']}")[1]["syncEvent"]["eventType"] == "RENAME"
    assert hasty.put(f"/{kind}/{id}/rename", json={"newName": "z"})[0] == 409
    carry(api.drive)
    assert hasty.delete(f"/{kind}/{id}")[0] == 200


def test_what_gives_way(api: Api, hasty: Api, folder: str, target: str) -> None:
    id = api.make_file(f"{folder}/x", b"mine")
    carry(api.drive)
    taken = api.make_file(f"{folder}/to/x", b"theirs")
    for what in ("move", "copy"):
        body = {"targetFolderId": target, "conflictStrategy": "OVERWRITE"}
        status, answer = hasty.post(f"/files/{id}/{what}", json=body)
        assert (status, answer["error"]) == (409, "FILE_SYNCING")
    assert api.id_of(f"{folder}/to/x") == taken and api.read(f"{folder}/to/x") == b"theirs"


@pytest.mark.parametrize("what", ["delete", "merge"])
def test_files_deep_in_a_folder(api: Api, hasty: Api, folder: str, target: str, what: str) -> None:
    id = api.make_folder(f"{folder}/a")
    api.make_folder(f"{folder}/a/b")
    api.make_folder(f"{folder}/to/a")
    carry(api.drive)
    file = api.make_file(f"{folder}/a/b/x")

    def ask(client: Api) -> tuple[int, dict[str, Any]]:
        if what == "delete":
            return client.delete(f"/folders/{id}")
        return client.post(f"/folders/{id}/move", json={"targetParentId": target, "conflictStrategy": "MERGE"})

    status, body = ask(hasty)
    assert (status, body["error"]) == (409, "CHILD_FILES_SYNCING")
    assert body["syncingFiles"] == [{"id": file, "name": "x", "path": f"/{folder}/a/b/x"}]
    assert api.exists(f"{folder}/a/b/x")
    # A folder is renamed and moved whatever is on its way in it: what is below keeps its place in it.
    assert hasty.put(f"/folders/{id}/rename", json={"newName": "a2"})[0] == 200
    assert api.put(f"/folders/{id}/rename", json={"newName": "a"})[0] == 200
    assert ask(api)[0] == 200


def test_a_version_is_restored_later(api: Api, hasty: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/x", b"first")
    assert api.drive.ask("PUT", f"/dav/{folder}/x", b"second", user="other").status == 204
    (version,) = api.get(f"/files/{id}/versions")[1]["versions"]
    status, body = hasty.post(f"/files/{id}/versions/{version['id']}/restore")
    assert (status, body["error"]) == (409, "FILE_SYNCING")
    carry(api.drive)
    assert hasty.post(f"/files/{id}/versions/{version['id']}/restore")[0] == 200


def test_while_the_nas_is_down_everything_goes_on(api: Api, hasty: Api, folder: str) -> None:
    id, inner = api.make_folder(f"{folder}/a"), api.make_file(f"{folder}/a/x")
    with _nas_down(api.drive):
        status, body = hasty.put(f"/files/{inner}/rename", json={"newName": "y"})
        assert status == 200 and body["file"]["storageStatus"]["nas"] == "SYNCING"
        told = [body["file"]["nasSyncMessage"]]
        told.append(hasty.get(f"/folders/{id}/children")[1]["files"][0]["nasSyncMessage"])
        told.append(hasty.get(f"/files/{inner}/sync-status")[1]["nasSyncMessage"])
        # That it is away, but not why: that may name folders of the server.
        assert all("the NAS is away" in each and "ESTALE" not in each and "/mnt" not in each for each in told), told
        assert hasty.put(f"/folders/{id}/rename", json={"newName": "b"})[0] == 200
        assert hasty.delete(f"/folders/{id}")[0] == 200


@contextlib.contextmanager
def _nas_down(drive: ServedDrive) -> Iterator[None]:
    nas_outage.declare(drive.kelp, NasDown("/mnt/nas: ESTALE", "ESTALE"))
    try:
        yield
    finally:
        assert nas_outage.probe(drive.kelp)


def test_what_is_read_is_not_deleted(api: Api, hasty: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/x", bytes(24 * 1024 * 1024))  # more than the connection takes by itself
    carry(api.drive)
    with contextlib.closing(api.drive.connect()) as connection:
        connection.request("GET", f"/dav/{folder}/x", headers={"Authorization": api.drive.basic()})
        connection.getresponse().read(1000)
        _wait_for_leases(api.drive, 1)
        assert hasty.delete(f"/files/{id}")[1]["error"] == "FILE_IN_USE"
        assert api.delete(f"/files/{id}")[0] == 200  # as a drive does: who reads it reads on
        assert api.post(f"/trash/{id}/restore", json={})[0] == 200
    _wait_for_leases(api.drive, 0)
    carry(api.drive)
    assert hasty.delete(f"/files/{id}")[0] == 200


def _wait_for_leases(drive: ServedDrive, count: int) -> None:
    for _ in range(3000):
        with drive.kelp.database.read() as tx:
            if tx.reading.count(drive.kelp.clock.now_ns()) == count:
                return
        time.sleep(0.02)
    raise AssertionError("readers are not noted")
