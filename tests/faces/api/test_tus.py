"""tus 1.0 over uploads in parts: each rule of the protocol's text that a server must keep, by its chapter."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from email.utils import parsedate_to_datetime

import pytest

from tests.faces.api.conftest import Api
from tests.faces.api.test_multipart import MIB, pattern
from tests.faces.conftest import Reply
from vfs.operations import checking

BYTES = "application/offset+octet-stream"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {encoded(value)}" for key, value in pairs.items())


class Upload:
    """One, from its creation on."""

    def __init__(
        self, api: Api, folder: str, size: int, name: str = "한글.bin", body: bytes | None = None, **more: str
    ):
        self.api, self.size = api, size
        headers = {"Upload_Length": str(size), "Tus_Resumable": "1.0.0"}
        headers["Upload_Metadata"] = metadata(filename=name, folderId=api.id_of(folder), **more)
        if body is not None:
            headers["Content_Type"] = BYTES
        self.created = api.drive.ask("POST", "/api/tus", body, **headers)
        self.path = self.created.headers.get("location", "")

    def ask(self, method: str, body: bytes | None = None, **headers: str) -> Reply:
        return self.api.drive.ask(method, self.path, body, **{"Tus_Resumable": "1.0.0", **headers})

    def patch(self, offset: int, data: bytes, **headers: str) -> Reply:
        return self.ask("PATCH", data, **{"Content_Type": BYTES, "Upload_Offset": str(offset), **headers})

    @property
    def offset(self) -> int:
        return int(self.ask("HEAD").headers["upload-offset"])


def test_an_upload_that_is_cut_and_goes_on(api: Api, folder: str) -> None:
    data = pattern(10 * MIB)
    upload = Upload(api, folder, len(data), filetype="video/mp4")
    assert (upload.created.status, upload.created.headers["tus-resumable"]) == (201, "1.0.0")
    assert parsedate_to_datetime(upload.created.headers["upload-expires"])
    head = upload.ask("HEAD")
    assert (head.status, head.headers["upload-offset"], head.headers["upload-length"]) == (200, "0", str(len(data)))
    assert head.headers["cache-control"] == "no-store"
    assert "filename " + encoded("한글.bin") in head.headers["upload-metadata"]
    first = upload.patch(0, data[: 3 * MIB])
    assert (first.status, first.headers["upload-offset"], first.body) == (204, str(3 * MIB), b"")
    assert "upload-expires" in first.headers
    assert upload.offset == 3 * MIB
    last = upload.patch(3 * MIB, data[3 * MIB :])
    assert (last.status, last.headers["upload-offset"]) == (204, str(len(data)))
    assert last.headers["kelp-file-id"] == api.id_of(f"{folder}/한글.bin")
    assert api.read(f"{folder}/한글.bin") == data
    assert api.get(f"/files/{last.headers['kelp-file-id']}")[1]["file"]["mimeType"] == "video/mp4"
    again = upload.ask("HEAD")
    assert (again.status, again.headers["upload-offset"]) == (200, str(len(data)))
    assert again.headers["kelp-file-id"] == last.headers["kelp-file-id"]
    assert upload.patch(len(data), b"").status == 204
    assert upload.patch(0, data[:1]).status == 409


def test_what_came_before_a_cut_counts(api: Api, folder: str) -> None:
    data = pattern(12 * MIB)
    upload = Upload(api, folder, len(data))
    with contextlib.closing(api.drive.connect()) as connection:
        connection.putrequest("PATCH", upload.path)
        headers = {"Authorization": api.drive.basic(), "Tus-Resumable": "1.0.0", "Content-Type": BYTES}
        for name, value in {**headers, "Upload-Offset": "0", "Content-Length": str(len(data))}.items():
            connection.putheader(name, value)
        connection.endheaders(data[: 10 * MIB])
        connection.sock.shutdown(1)
        assert connection.getresponse().status == 400
    offset = upload.offset
    assert 8 * MIB <= offset <= 10 * MIB
    assert upload.patch(offset, data[offset:]).status == 204
    assert api.read(f"{folder}/한글.bin") == data


@pytest.mark.parametrize("size", [0, 5, 9 * MIB])
def test_creation_with_upload(api: Api, folder: str, size: int) -> None:
    upload = Upload(api, folder, size, body=pattern(size))
    assert (upload.created.status, upload.created.headers["upload-offset"]) == (201, str(size))
    assert api.read(f"{folder}/한글.bin") == pattern(size)
    partly = Upload(api, folder, size + 1, "partly", body=pattern(size))
    assert (partly.created.headers["upload-offset"], partly.offset) == (str(size), size)


def test_nothing_to_send(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 0, "empty")
    assert upload.created.headers["kelp-file-id"] == api.id_of(f"{folder}/empty")


def test_offsets_must_be_right(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    assert upload.patch(0, b"01234").status == 204
    for offset in (0, 4, 6):
        refused = upload.patch(offset, b"56789")
        assert (refused.status, refused.headers["tus-resumable"]) == (409, "1.0.0")
    assert upload.patch(5, b"56789A").status == 400, "more than announced"
    assert upload.offset == 5
    for wrong in ("", "-1", "x", "1.0"):
        assert upload.ask("PATCH", b"5", Content_Type=BYTES, Upload_Offset=wrong).status == 400
    assert upload.ask("PATCH", b"5", Content_Type="text/plain", Upload_Offset="5").status == 415


def test_two_that_go_on_at_once(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 9 * MIB)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(upload.patch(0, pattern(9 * MIB)).status)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {204, 409}
    offset = upload.offset
    if offset < 9 * MIB:
        assert upload.patch(offset, pattern(9 * MIB)[offset:]).status == 204
    assert api.read(f"{folder}/한글.bin") == pattern(9 * MIB)


def test_checksum(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 6)
    good = base64.b64encode(hashlib.sha1(b"abc").digest()).decode()
    wrong = upload.patch(0, b"xyz", Upload_Checksum=f"sha1 {good}")
    assert (wrong.status, upload.offset) == (460, 0)
    assert upload.patch(0, b"abc", Upload_Checksum=f"sha1 {good}").status == 204
    md5 = base64.b64encode(hashlib.md5(b"abc").digest()).decode()
    for malformed in (f"crc32 {good}", f"md5 {good}", "sha1", "sha1 ???", ""):
        assert upload.patch(3, b"abc", Upload_Checksum=malformed).status == 400
    assert upload.patch(3, b"abc", Upload_Checksum=f"md5 {md5}").status == 204
    assert api.read(f"{folder}/한글.bin") == b"abcabc"


def test_what_the_server_can_do(api: Api) -> None:
    for path in ("/api/tus", "/api/tus/any"):
        told = api.drive.ask("OPTIONS", path)
        assert told.status == 204
        assert told.headers["tus-version"] == "1.0.0"
        assert set(told.headers["tus-extension"].split(",")) >= {"creation", "checksum", "expiration", "termination"}
        assert "sha1" in told.headers["tus-checksum-algorithm"]
        assert int(told.headers["tus-max-size"]) > 1 << 40


def test_another_version(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    for version in ("0.2.2", "2.0.0", ""):
        refused = upload.ask("HEAD", Tus_Resumable=version)
        assert (refused.status, refused.headers["tus-version"]) == (412, "1.0.0")
        assert upload.ask("PATCH", b"x", Content_Type=BYTES, Upload_Offset="0", Tus_Resumable=version).status == 412
    assert upload.offset == 0
    assert api.drive.ask("POST", "/api/tus", Upload_Length="1").status == 412


def test_creation_is_refused(api: Api, folder: str) -> None:
    for length in ("", "-1", "x"):
        assert api.drive.ask("POST", "/api/tus", Tus_Resumable="1.0.0", Upload_Length=length).status == 400
    too_large = api.drive.ask("POST", "/api/tus", Tus_Resumable="1.0.0", Upload_Length=str(1 << 50))
    assert too_large.status == 413
    for value in ("filename", "filename ???", " ", f"filename {encoded('x')},filename {encoded('y')}", "filename /w=="):
        refused = api.drive.ask("POST", "/api/tus", Tus_Resumable="1.0.0", Upload_Length="1", Upload_Metadata=value)
        assert refused.status == 400, value
    assert Upload(api, folder, 1, conflictStrategy="MERGE").created.status == 400
    api.make_file(f"{folder}/taken")
    assert Upload(api, folder, 1, "taken", conflictStrategy="ERROR").created.status == 409


def test_termination(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    upload.patch(0, b"01234")
    assert upload.ask("DELETE").status == 204
    assert upload.ask("HEAD").status == upload.patch(5, b"56789").status == upload.ask("DELETE").status == 404
    assert "upload-offset" not in upload.ask("HEAD").headers
    complete = Upload(api, folder, 1, "kept", body=b"x")
    assert complete.ask("DELETE").status == 409
    assert api.exists(f"{folder}/kept")


def test_expiration(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    with api.drive.kelp.database.write() as tx:
        tx.run("UPDATE upload_sessions SET expires_ns = 1 WHERE uuid = :id", id=upload.path.rpartition("/")[2])
    assert upload.ask("HEAD").status == upload.patch(0, b"x").status == 404


def test_a_name_that_was_taken_meanwhile(api: Api, folder: str) -> None:
    """No client takes for done what is no file: the last PATCH and each HEAD say so, until it can be one."""
    upload = Upload(api, folder, 5, "same", conflictStrategy="ERROR")
    other = Upload(api, folder, 5, "same")
    api.make_file(f"{folder}/same")
    refused = upload.patch(0, b"01234")
    assert refused.status == upload.ask("HEAD").status == 409
    assert other.patch(0, b"other").status == 204
    assert api.read(f"{folder}/same (1)") == b"other"
    api.drive.ask("DELETE", f"/dav/{folder}/same")
    assert upload.offset == 5
    assert api.read(f"{folder}/same") == b"01234"


def test_other_methods_in_disguise(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    headers = {"Content_Type": BYTES, "Upload_Offset": "0", "X_HTTP_Method_Override": "PATCH"}
    assert upload.ask("POST", b"01234", **headers).headers["upload-offset"] == "5"
    assert upload.ask("POST", X_HTTP_Method_Override="DELETE").status == 204
    assert upload.ask("POST", X_HTTP_Method_Override="GET").status == 400


def test_others_may_not(api: Api, folder: str) -> None:
    upload = Upload(api, folder, 10)
    assert upload.api.drive.ask("HEAD", upload.path, user="other", Tus_Resumable="1.0.0").status == 404
    viewer = api.drive.ask("POST", "/api/tus", user="viewer", Tus_Resumable="1.0.0", Upload_Length="1",
                           Upload_Metadata=metadata(filename="x"))  # fmt: skip
    assert viewer.status == 403
    parts = f"/files/multipart/{upload.path.rpartition('/')[2]}"
    assert api.ask("PUT", f"{parts}/parts/1", body=b"x").status == 404


def test_nothing_is_left(api: Api) -> None:
    assert not checking.check(api.drive.kelp).problems


def test_it_goes_on_from_what_the_cache_lost(api: Api, folder: str) -> None:
    """A client takes a refused HEAD for the end of it all, and asks after a conflict where to go on (§ PATCH)."""
    data = pattern(20 * MIB)
    upload = Upload(api, folder, len(data), "lost")
    upload.patch(0, data[:-1])
    lose(api, upload, 2)
    assert upload.patch(len(data) - 1, data[-1:]).status == 409
    assert upload.offset == 8 * MIB
    with api.drive.kelp.database.write() as tx:  # as if the server had died before all that came was a file
        tx.run("UPDATE upload_sessions SET size = :size WHERE uuid = :id", size=8 * MIB, id=upload.path.split("/")[-1])
    lose(api, upload, 1)
    assert upload.offset == 0
    assert upload.patch(0, data[: 8 * MIB]).status == 204
    assert api.read(f"{folder}/lost") == data[: 8 * MIB]


def lose(api: Api, upload: Upload, number: int) -> None:
    sql = """SELECT p.object_key FROM upload_parts p JOIN upload_sessions s ON s.id = p.session_id
             WHERE s.uuid = :id AND p.number = :number"""
    with api.drive.kelp.database.read() as tx:
        [(key,)] = tx.all(sql, id=upload.path.split("/")[-1], number=number)
    api.drive.kelp.cache.delete(key)
