"""Into a vault and out of it by WebDAV and REST: what clients see."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.faces.api.conftest import Api
from tests.faces.conftest import serve
from vfs.operations import crossing_progress, server_keys

BIG = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A drive with a vault `v`."""
    for drive in serve(tmp_path_factory.mktemp("drive")):
        server_keys.init(drive.kelp, bits=3072)
        api = Api(drive)
        assert api.post("/vaults", json={"name": "v"})[0] == 201
        yield api


Asked = Callable[..., int]


@pytest.fixture
def dav(api: Api) -> Asked:
    def ask(method: str, source: str, target: str, **headers: str) -> int:
        to = f"http://127.0.0.1:{api.drive.port}/dav/{target}"
        return api.drive.ask(method, f"/dav/{source}", Destination=to, **headers).status

    return ask


def test_files_by_webdav(api: Api, dav: Asked) -> None:
    id = api.make_file("a.bin", BIG)
    assert dav("COPY", "a.bin", "v/copy.bin") == 201
    assert dav("MOVE", "a.bin", "v/a.bin") == 201
    assert dav("MOVE", "v/copy.bin", "v/a.bin", Overwrite="F") == 412
    assert api.id_of("v/a.bin") == id and not api.exists("a.bin")
    assert dav("MOVE", "v/a.bin", "v/copy.bin") == 204, "inside it is a move as any"
    assert dav("MOVE", "v/copy.bin", "b.bin") == 201
    assert dav("COPY", "b.bin", "v/b.bin") == 201 and dav("COPY", "b.bin", "v/b.bin") == 204
    assert api.read("b.bin") == api.read("v/b.bin") == BIG


def test_folders_by_webdav(api: Api, dav: Asked) -> None:
    api.make_folder("f")
    api.make_file("f/one", b"1")
    assert dav("COPY", "f", "v/f") == 201 and dav("COPY", "v/f", "g") == 201
    assert api.read("v/f/one") == api.read("g/one") == b"1"
    for source, target in (("f", "v/h"), ("v/f", "h")):
        reply = api.drive.ask("MOVE", f"/dav/{source}", Destination=f"http://127.0.0.1:{api.drive.port}/dav/{target}")
        assert reply.status == 409 and b"copy the folder" in reply.body
    assert dav("COPY", "v", "w") == 409


def test_by_rest(api: Api) -> None:
    vault, id = api.id_of("v"), api.make_file("r.bin", BIG)
    status, body = api.post(f"/files/{id}/copy", json={"targetFolderId": vault})
    assert status == 201 and body["file"]["path"] == "/v/r.bin"
    status, body = api.post(f"/files/{id}/move", json={"targetFolderId": vault, "newName": "s.bin"})
    assert (status, body["file"]["id"], body["file"]["path"]) == (200, id, "/v/s.bin")
    assert api.ask("GET", f"/files/{id}/download").body == BIG
    status, body = api.post(f"/files/{id}/move", json={"targetFolderId": None})
    assert (status, body["file"]["id"], body["file"]["path"]) == (200, id, "/s.bin")
    folder = api.make_folder("r")
    status, body = api.post(f"/folders/{folder}/move", json={"targetParentId": vault})
    assert (status, body["error"]) == (409, "CROSSES_VAULT") and "copy the folder" in body["message"]
    assert api.post(f"/folders/{folder}/copy", json={"targetFolderId": vault})[0] == 201


def test_who_asks_is_told_how_far_a_long_one_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from the file while its bytes are read; a clock that runs makes it a long one."""
    id, told = api.make_file("long.bin", BIG), []
    clock = itertools.count(step=1.5)
    monkeypatch.setattr(crossing_progress, "_now", lambda: next(clock))
    counted = crossing_progress.Progress.counted

    def watched(self: crossing_progress.Progress, chunks: Iterator[bytes], tick: Callable[[], None]) -> Iterator[bytes]:
        for chunk in counted(self, chunks, tick):
            told.append(api.get(f"/files/{id}/sync-status")[1].get("resealing"))
            yield chunk

    monkeypatch.setattr(crossing_progress.Progress, "counted", watched)
    assert api.post(f"/files/{id}/move", json={"targetFolderId": api.id_of("v")})[0] == 200
    seen = [each for each in told if each]
    assert seen and all(each["bytesTotal"] == len(BIG) for each in seen)
    done = [each["bytesDone"] for each in seen]
    assert done == sorted(done) and 0 < done[0] < done[-1] <= len(BIG)
    assert "resealing" not in api.get(f"/files/{id}/sync-status")[1]
