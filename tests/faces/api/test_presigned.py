"""Parts that go straight to the cache (spec §6, seed 001 §1-B): presign, put, notify."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]

from tests.faces.api.conftest import Api
from tests.faces.api.test_multipart import MIB, Session, pattern
from tests.faces.conftest import ServedDrive, serve
from tests.services import s3
from vfs.operations import checking


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with s3.own_s3() as store:
        settings = {"cache_url": s3.bucket_url(store.url), "cache_public_endpoint": f"http://localhost:{store.port}"}
        keys = {"cache_access_key": s3.ACCESS_KEY, "cache_secret_key": s3.SECRET_KEY}
        served = contextlib.contextmanager(serve)(tmp_path_factory.mktemp("s3"), **settings, **keys)
        with served as drive:
            yield Api(drive)


def put_at(url: str, data: bytes) -> int:
    split = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(split.netloc, timeout=60)) as connection:
        connection.request("PUT", f"{split.path}?{split.query}", data)
        return connection.getresponse().status


def test_a_part_goes_straight_to_the_cache(api: Api, folder: str) -> None:
    data = pattern(17 * MIB)
    session = Session(api, folder, totalSize=len(data))
    path = f"/files/multipart/{session.id}/parts"
    for number, piece in ((2, data[9 * MIB :]), (1, data[: 9 * MIB])):
        status, given = api.post(f"{path}/{number}/presign")
        assert (status, given["method"], given["partNumber"]) == (200, "PUT", number)
        assert given["url"].startswith("http://localhost:")
        assert put_at(given["url"], b"spoilt") == put_at(given["url"], piece) == 200
        status, told = api.post(f"{path}/{number}/notify", json={"size": len(piece), "etag": "whatever"})
        assert (status, told["size"]) == (200, len(piece))
        assert api.post(f"{path}/{number}/notify") == (status, told)
    assert not [key for key in session.objects if "staging" in key]
    assert session.complete()[0] == 200
    assert api.read(f"{folder}/big.bin") == data
    assert not checking.check(api.drive.kelp).problems


def test_told_of_what_is_not_so(api: Api, folder: str) -> None:
    session = Session(api, folder, totalSize=100)
    path = f"/files/multipart/{session.id}/parts"
    assert api.post(f"{path}/1/notify")[1]["missingParts"] == [1]
    assert put_at(api.post(f"{path}/1/presign")[1]["url"], b"x" * 50) == 200
    assert api.post(f"{path}/1/notify", json={"size": 60})[1]["error"] == "UPLOAD_INCOMPLETE"
    assert put_at(api.post(f"{path}/1/presign")[1]["url"], b"x" * 101) == 200
    assert api.post(f"{path}/1/notify")[1]["error"] == "INVALID_REQUEST"
    assert api.post(f"{path}/10001/presign")[1]["error"] == "INVALID_REQUEST"
    assert session.abort()[0] == 200
    assert api.post(f"{path}/1/presign")[1]["error"] == "UPLOAD_SESSION_NOT_FOUND"
    assert not session.objects


def test_the_signature_is_that_of_the_standard(api: Api, folder: str) -> None:
    session = Session(api, folder)
    url = api.post(f"/files/multipart/{session.id}/parts/1/presign")[1]["url"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    signer = S3SigV4QueryAuth(Credentials(s3.ACCESS_KEY, s3.SECRET_KEY), "s3", "us-east-1", int(query["X-Amz-Expires"]))
    request = AWSRequest("PUT", url.partition("?")[0])
    request.context["timestamp"] = query["X-Amz-Date"]
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    assert query["X-Amz-Signature"] == expected


def test_a_folder_takes_no_parts(shared_drive: ServedDrive) -> None:
    api = Api(shared_drive)
    if "://" in shared_drive.kelp.settings.cache.url:
        pytest.skip("the cache is no folder")
    api.make_folder("plain")
    session = Session(api, "plain")
    status, answer = api.post(f"/files/multipart/{session.id}/parts/1/presign")
    assert (status, answer["error"]) == (400, "INVALID_REQUEST") and "server" in answer["message"]
