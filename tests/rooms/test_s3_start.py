"""What `build` says about an S3 cache that cannot work, and what it does with one that is away just now."""

from __future__ import annotations

import socket
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.services import s3
from tests.services.faulty_proxy import Answer, FaultyProxy, Pass, Refuse
from tests.waiting import until
from vfs.bootstrap import build
from vfs.errors import ConfigurationError, StoreUnavailable
from vfs.settings import Settings
from vfs.storage.object_store import ObjectStore


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.s3_endpoint() as url:
        yield url


@pytest.fixture
def proxy(endpoint: str) -> Iterator[FaultyProxy]:
    port = urlsplit(endpoint).port
    assert port
    with FaultyProxy(port) as proxy:
        yield proxy


def settings(folder: Path, url: str, **more: object) -> Settings:
    keys = {"cache_access_key": s3.ACCESS_KEY, "cache_secret_key": s3.SECRET_KEY, "cache_timeout": 2.0}
    return Settings.load(None, None, data=folder, cache_url=url, **{**keys, **more})


def refused(folder: Path, url: str, **more: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        build(settings(folder, url, **more))
    text = str(caught.value)
    assert "\n" not in text and s3.SECRET_KEY not in text
    return text


@pytest.mark.parametrize(
    "url",
    [
        "s3://kelp",
        "s3://kelp?endpoint=",
        "s3://?endpoint=http://h",
        "s3://k?endpoint=http://h",
        "s3://Kelp?endpoint=http://h",
        "s3://ke..lp?endpoint=http://h",
        "s3://kelp?endpoint=ftp://h",
        "s3://kelp?endpoint=127.0.0.1:9000",
        "s3://kelp?endpoint=http://h:99999",
        "s3://kelp?endpoint=http://h/path",
        "s3://kelp?endpoint=http://user:word@h",
        "s3://kelp/path?endpoint=http://h",
        "s3://kelp?endpoint=http://h&endpoint=http://i",
        "s3://kelp?endpoint=http://h&timeout=3",
        "s3://kelp?endpoint=http://h&region=",
        "s3://kelp?endpoint=http://h&prefix=../x",
        "s3://kelp?endpoint=http://h&prefix=a b",
        "s3://kelp?endpoint=http://h#x",
        "gs://kelp?endpoint=http://h",
    ],
)
def test_urls_that_are_none(tmp_path: Path, url: str) -> None:
    assert "cache.url" in refused(tmp_path, url)


@pytest.mark.parametrize(
    "url",
    ["s3://key:word@kelp?endpoint=http://h", "s3://kelp?endpoint=ftp://key:word@h", "s3://kelp?endpoint=key:word@h"],
)
def test_keys_in_the_url_are_not_told(tmp_path: Path, url: str) -> None:
    told = refused(tmp_path, url)
    assert "cache.url" in told and "word" not in told


def test_keys_are_needed(tmp_path: Path) -> None:
    url = "s3://kelp?endpoint=http://127.0.0.1:1"
    assert "cache.secret_key" in refused(tmp_path, url, cache_secret_key="")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"-ERR unknown command\r\n",
    ],
)
def test_something_else_listens_there(tmp_path: Path, proxy: FaultyProxy, data: bytes) -> None:
    proxy.mode = Answer(data)
    url = f"http://127.0.0.1:{proxy.port}"
    text = refused(tmp_path, s3.bucket_url(url))
    assert "no S3 endpoint" in text and url in text


def test_plain_http_where_tls_is_expected(tmp_path: Path, proxy: FaultyProxy) -> None:
    assert "no S3 endpoint" in refused(tmp_path, s3.bucket_url(f"https://127.0.0.1:{proxy.port}"))


def test_wrong_keys(tmp_path: Path) -> None:
    with s3.own_s3() as server:
        reset = urllib.request.Request(
            f"{server.url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(reset).close()  # from here on it looks at keys
        text = refused(tmp_path, s3.bucket_url(server.url))
    assert "refuses" in text and "403" in text


def test_a_new_bucket_is_made(tmp_path: Path, endpoint: str) -> None:
    kelp = build(settings(tmp_path, f"s3://kelp-{uuid.uuid4()}?endpoint={endpoint}&region=eu-north-1"))
    kelp.cache.put("key", [b"x"])
    assert [info.key for info in kelp.cache.list()] == ["key"]
    kelp.close()


def test_away_at_the_start_is_no_reason_not_to_start(
    tmp_path: Path, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The bucket is made when the endpoint is there."""
    proxy.mode = Refuse()
    kelp = build(settings(tmp_path, f"s3://kelp-{uuid.uuid4()}?endpoint=http://127.0.0.1:{proxy.port}"))
    assert "the cache is not there" in caplog.text
    with pytest.raises(StoreUnavailable) as caught:
        kelp.cache.put("key", [b"x"])
    assert caught.value.retry_after > 0
    proxy.mode = Pass()
    with pytest.raises(StoreUnavailable):
        kelp.cache.stat("key")  # nothing is called missing while the bucket is
    until(lambda: is_put(kelp.cache))
    assert kelp.cache.stat("key") == 1
    kelp.close()


def is_put(cache: ObjectStore) -> bool:
    """Making the bucket may take all the patience that one call has."""
    try:
        cache.put("key", [b"x"])
    except StoreUnavailable:
        return False
    return True


def test_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    build(settings(tmp_path, s3.bucket_url(f"http://127.0.0.1:{port}"))).close()
    assert "the cache is not there" in caplog.text
