"""Folders as ZIP archives: read by three programs that know the format, left unfinished when something fails."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from http_api import zip_stream
from tests.faces.api.conftest import ADMIN, Api
from tests.faces.api.test_downloads import BIG, until
from tests.nasty_names import NASTY_NAMES
from vfs.model import Entry, Kind, State, StoreStatus
from vfs.operations.archiving import Member

WHEN = 1_700_000_001


def opened(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def fetch(api: Api, path: str, **options: str) -> zipfile.ZipFile:
    reply = api.ask("GET", f"/folders/{api.id_of(path) if path else 'root'}/zip", **options)
    assert reply.status == 200, reply.text
    assert reply.headers["content-type"] == "application/zip"
    return opened(reply.body)


def test_all_that_is_below(api: Api, folder: str) -> None:
    api.make_folder(f"{folder}/empty")
    api.make_folder(f"{folder}/deep")
    api.make_folder(f"{folder}/deep/er")
    api.make_file(f"{folder}/deep/er/big", BIG)
    api.make_file(f"{folder}/nothing", b"")
    api.drive.ask("PUT", f"/dav/{folder}/dated", b"x", X_OC_Mtime=str(WHEN))
    archive = fetch(api, folder)
    assert sorted(archive.namelist()) == sorted(
        f"{folder}/{name}" for name in ("", "empty/", "deep/", "deep/er/", "deep/er/big", "nothing", "dated")
    )
    assert archive.read(f"{folder}/deep/er/big") == BIG
    assert archive.read(f"{folder}/nothing") == b""
    dated = archive.getinfo(f"{folder}/dated")
    assert datetime(*dated.date_time).astimezone(UTC).timestamp() == WHEN // 2 * 2  # the format knows even seconds
    assert WHEN.to_bytes(4, "little") in dated.extra
    until(lambda: api.drive.kelp.holds.count == 0)


def test_names_are_what_they_are(api: Api, folder: str) -> None:
    names = [
        n for n in NASTY_NAMES if api.drive.ask("PUT", f"/dav/{folder}/{quote(n, safe='')}", n.encode()).status < 300
    ]
    assert len(names) > 10
    archive = fetch(api, folder)
    for name in names:
        inside = f"{folder}/{name}".replace("\\", "%5C")
        assert archive.read(inside) == name.encode()
        assert archive.getinfo(inside).flag_bits & 0x800
    assert not any("\\" in name for name in archive.namelist())


@pytest.mark.parametrize("command", [("unzip", "-tqq"), ("bsdtar", "-tf"), ("7zz", "t")])
def test_other_programs_read_it(api: Api, folder: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    api.make_file(f"{folder}/보고서.txt", b"text")
    api.make_file(f"{folder}/big", BIG)
    content = api.ask("GET", f"/folders/{api.id_of(folder)}/zip").body
    (tmp_path / "a.zip").write_bytes(content)
    subprocess.run([*command, tmp_path / "a.zip"], check=True, capture_output=True, timeout=60)


def test_a_reader_that_cannot_seek(api: Api, folder: str, tmp_path: Path) -> None:
    if shutil.which("bsdtar") is None:
        pytest.skip("bsdtar is not installed")
    api.make_file(f"{folder}/big", BIG)
    content = api.ask("GET", f"/folders/{api.id_of(folder)}/zip").body
    subprocess.run(["bsdtar", "-xf", "-", "-C", tmp_path], input=content, check=True, timeout=60)
    assert (tmp_path / folder / "big").read_bytes() == BIG


def test_the_name_of_the_archive_and_head(api: Api, folder: str) -> None:
    id = api.make_folder(f"{folder}/자료")
    head = api.ask("HEAD", f"/folders/{id}/zip")
    assert head.status == 200 and "content-length" not in head.headers
    assert head.headers["content-disposition"].endswith("filename*=UTF-8''%EC%9E%90%EB%A3%8C.zip")
    assert api.ask("HEAD", "/folders/root/zip").headers["content-disposition"] == 'attachment; filename="Kelp.zip"'
    assert api.get("/folders/none/zip")[1]["error"] == "FOLDER_NOT_FOUND"


def test_what_the_caller_may_not_read_is_left_out(api: Api, folder: str) -> None:
    secret = api.make_folder(f"{folder}/secret")
    api.make_folder(f"{folder}/secret/open again")
    api.make_file(f"{folder}/secret/a")
    api.make_file(f"{folder}/b")
    assert api.post(f"/folders/{secret}/grants", json={"user": "other", "level": "none"})[0] < 300
    assert sorted(fetch(api, folder, user="other").namelist()) == [f"{folder}/", f"{folder}/b"]
    assert f"{folder}/secret/a" in fetch(api, folder).namelist()
    assert api.get(f"/folders/{secret}/zip", user="other")[1]["error"] == "FOLDER_NOT_FOUND"


def test_what_cannot_be_read_ends_the_connection(api: Api, folder: str) -> None:
    """Not one file less, and an end as if nothing were missing."""
    api.make_file(f"{folder}/a", os.urandom(3_000_000))
    api.make_file(f"{folder}/b", os.urandom(3_000_000))
    _lose(api, f"{folder}/b")
    connection = api.drive.connect()
    with contextlib.closing(connection):
        path = f"/api/folders/{api.id_of(folder)}/zip"
        connection.request("GET", path, headers={"Authorization": api.drive.basic()})
        reply = connection.getresponse()
        assert reply.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            reply.read()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(caught.value.partial))
    until(lambda: api.drive.kelp.holds.count == 0)


def test_what_cannot_be_read_at_all_has_a_status(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a", os.urandom(100_000))
    _lose(api, f"{folder}/a")
    for path in (f"/files/{id}/download", f"/folders/{api.id_of(folder)}/zip"):
        status, body = api.get(path)
        assert (status, body["error"]) == (500, "FILE_NOT_FOUND_IN_STORAGE")
    status, body = api.get(f"/files/{id}/preview")
    assert body["error"] == "NO_PREVIEW"


def _lose(api: Api, path: str) -> None:
    """Of a file that the NAS does not have either."""
    kelp = api.drive.kelp
    with kelp.database.read() as tx:
        entry = tx.entries.by_uuid(api.id_of(path))
        assert entry is not None and entry.content_id is not None
        content = tx.contents.get(entry.content_id)
    assert content is not None
    for part in content.parts:
        kelp.cache.delete(part.key)


# --- the format alone ---


class Made(Member):
    """A member that needs no drive."""

    def __init__(self, name: str, size: int, pieces: Iterator[bytes], kind: Kind = Kind.FILE) -> None:
        row = (
            1,
            "u",
            1,
            name,
            kind,
            State.ACTIVE,
            "c",
            size,
            "",
            WHEN * 10**9,
            WHEN,
            0,
            None,
            1,
            StoreStatus.AVAILABLE,
        )
        for field, value in (("path", (name,)), ("entry", Entry(*row)), ("_kelp", None), ("_caller", ADMIN)):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "_given", pieces)

    def pieces(self) -> Iterator[bytes]:
        return self._given  # type: ignore[attr-defined,no-any-return]


def test_beyond_four_gibibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind them, found by its offset; and the form that a file of such a size has, on a small one."""
    monkeypatch.setattr(zip_stream, "_LARGE", 3)
    members = [Made("large", 3, iter((b"abc",))), Made("small", 2, iter((b"de",)))]
    path = tmp_path / "beyond.zip"
    with path.open("wb") as file:
        file.seek(1 << 32)
        file.writelines(zip_stream.bytes_of(members, at=1 << 32))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large").header_offset == 1 << 32
        assert archive.read("large") == b"abc" and archive.read("small") == b"de"
    if shutil.which("bsdtar"):
        with path.open("rb") as file:
            file.seek(1 << 32)
            subprocess.run(["bsdtar", "-xf", "-", "-C", tmp_path], input=file.read(), check=True, timeout=60)
        assert (tmp_path / "large").read_bytes() == b"abc"


def folders(count: int) -> Iterator[Made]:
    return (Made(f"folder {number}", 0, iter(()), Kind.FOLDER) for number in range(count))


def test_more_than_65535_entries() -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_stream.archive(folders(66_000))))) as archive:
        assert len(archive.namelist()) == 66_000


def test_paths_that_no_archive_can_hold() -> None:
    """They are left out, and told, and the rest is there."""
    long = "x" * 0xFFFF
    members = [
        *(Made("left out.txt", 1, iter((b"a",))), Made(long, 1, iter((b"b",)))),
        *(Made("y" + long, 1, iter((b"c",))), Made(long, 0, iter(()), Kind.FOLDER)),
    ]
    archive = opened(b"".join(zip_stream.archive(members)))
    assert archive.namelist() == ["left out.txt", long, "left out 1.txt"]
    assert (archive.read("left out.txt"), archive.read(long)) == (b"a", b"b")
    told = archive.read("left out 1.txt").decode()
    assert "longer than 65535 bytes: 2\n" in told and f"u  …/y{long}\n" in told and f"u  …/{long}\n" in told


def test_many_entries_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_stream, "_IN_MEMORY", 64 * 1024)
    tracemalloc.start()
    peak = 0
    for _ in zip_stream.archive(folders(2_000)):
        peak = max(peak, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peak < 600_000  # zipfile: 1.4 MB, and more with each
