"""What a small S3 call costs, by several clients, and how fast big contents go: `python -m bench.s3_calls`.

Against the endpoint in KELP_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY, which should be a fast one (moto takes
longer than any client). Processor time is this process's own, so the endpoint's does not count.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import boto3
import urllib3
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from vfs.model import PART_SIZE, ByteRange
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address
from vfs.storage.s3_signing import Signer

BUCKET = "kelp-bench"
SMALL = os.urandom(4096)
CALLS = 300
THREADS = 8


class Client(Protocol):
    def put(self, key: str, body: bytes) -> object: ...
    def get(self, key: str) -> bytes: ...
    def head(self, key: str) -> object: ...
    def delete(self, key: str) -> object: ...


class Endpoint:
    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self.url, self.keys = url, (access_key, secret_key)
        self.authority = urlsplit(url).netloc

    def boto3(self) -> boto3.session.Session:
        config = Config(signature_version="s3v4", max_pool_connections=2 * THREADS, s3={"addressing_style": "path"})
        access, secret = self.keys
        return boto3.session.Session(access, secret, region_name="us-east-1").client(
            "s3", endpoint_url=self.url, config=config
        )


class Kelp:
    def __init__(self, endpoint: Endpoint) -> None:
        address = S3Address.parse(f"s3://{BUCKET}?endpoint={endpoint.url}")
        self.store = S3ObjectStore(address, *endpoint.keys, 8.0)
        self.store.prepare()

    def put(self, key: str, body: bytes) -> object:
        return self.store.put(key, [body])

    def get(self, key: str) -> bytes:
        return b"".join(self.store.get(key, ByteRange(0, len(SMALL))))

    def head(self, key: str) -> object:
        return self.store.stat(key)

    def delete(self, key: str) -> None:
        self.store.delete(key)


class Boto3:
    def __init__(self, endpoint: Endpoint) -> None:
        self.client = endpoint.boto3()

    def put(self, key: str, body: bytes) -> object:
        return self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def head(self, key: str) -> object:
        return self.client.head_object(Bucket=BUCKET, Key=key)

    def delete(self, key: str) -> object:
        return self.client.delete_object(Bucket=BUCKET, Key=key)


class Signed:
    """Verbs over a function that sends one signed request."""

    def request(self, method: str, key: str, body: bytes = b"") -> bytes:
        raise NotImplementedError

    def put(self, key: str, body: bytes) -> object:
        return self.request("PUT", key, body)

    def get(self, key: str) -> bytes:
        return self.request("GET", key)

    def head(self, key: str) -> object:
        return self.request("HEAD", key)

    def delete(self, key: str) -> object:
        return self.request("DELETE", key)


class Urllib3(Signed):
    """Its pool, with botocore's signer or ours."""

    def __init__(self, endpoint: Endpoint, *, botocore: bool) -> None:
        self.url, self.pool = endpoint.url, urllib3.PoolManager(maxsize=2 * THREADS)
        self.theirs = S3SigV4Auth(Credentials(*endpoint.keys), "s3", "us-east-1") if botocore else None
        self.ours = Signer(*endpoint.keys, "us-east-1", endpoint.authority)

    def request(self, method: str, key: str, body: bytes = b"") -> bytes:
        path = f"/{BUCKET}/{key}"
        if self.theirs is not None:
            request = AWSRequest(method, self.url + path, data=body)
            self.theirs.add_auth(request)
            headers = dict(request.headers.items())
        else:
            headers = dict(line.split(":", 1) for line in self.ours.head(method, path, "", {}).split("\r\n") if line)
        return self.pool.request(method, self.url + path, body=body or None, headers=headers).data


class HttpClient(Signed):
    """The standard library's, a connection for each thread, with our signer."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.authority, self.held = endpoint.authority, threading.local()
        self.signer = Signer(*endpoint.keys, "us-east-1", endpoint.authority)

    def request(self, method: str, key: str, body: bytes = b"") -> bytes:
        connection = getattr(self.held, "connection", None)
        if connection is None:
            connection = self.held.connection = http.client.HTTPConnection(self.authority)
        path = f"/{BUCKET}/{key}"
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for line in self.signer.head(method, path, "", {}).split("\r\n")[:-1]:
            connection.putheader(*line.split(":", 1))
        if method == "PUT":
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse().read()


class Obstore:
    """A client in Rust; measured when it is installed."""

    def __init__(self, endpoint: Endpoint) -> None:
        from obstore.store import S3Store

        access, secret = endpoint.keys
        self.store = S3Store(
            BUCKET, endpoint=endpoint.url, access_key_id=access, secret_access_key=secret,
            region="us-east-1", virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip

    def put(self, key: str, body: bytes) -> object:
        return self.store.put(key, body, use_multipart=False)

    def get(self, key: str) -> bytes:
        return bytes(self.store.get(key).bytes())

    def head(self, key: str) -> object:
        return self.store.head(key)

    def delete(self, key: str) -> object:
        return self.store.delete(key)


def clients(endpoint: Endpoint) -> Iterator[tuple[str, Client]]:
    yield "Kelp", Kelp(endpoint)
    yield "http.client, our signer", HttpClient(endpoint)
    yield "urllib3, our signer", Urllib3(endpoint, botocore=False)
    yield "urllib3, botocore's signer", Urllib3(endpoint, botocore=True)
    yield "boto3", Boto3(endpoint)
    with contextlib.suppress(ImportError):
        yield "obstore", Obstore(endpoint)


@dataclass(frozen=True)
class Small:
    """Seconds of one call on one thread, processor time and in all, by verb; calls a second on `THREADS` threads."""

    cpu: dict[str, float]
    wall: dict[str, float]
    puts: float
    gets: float


def _each(keys: list[str], call: Callable[[str], object]) -> tuple[float, float]:
    """(processor time, time) of one call, in seconds."""
    call(keys[0])
    cpu, wall = time.process_time(), time.perf_counter()
    for key in keys[1:]:
        call(key)
    done = len(keys) - 1
    return (time.process_time() - cpu) / done, (time.perf_counter() - wall) / done


def measure_small(client: Client, calls: int = CALLS) -> Small:
    keys = [str(uuid.uuid4()) for _ in range(calls)]
    cpu, wall = {}, {}
    verbs: dict[str, Callable[[str], object]] = {
        "put": lambda key: client.put(key, SMALL), "get": client.get, "head": client.head, "delete": client.delete,
    }  # fmt: skip
    for verb, call in verbs.items():
        cpu[verb], wall[verb] = _each(keys, call)
    with ThreadPoolExecutor(THREADS) as threads:
        begun = time.perf_counter()
        for _ in threads.map(lambda key: client.put(key, SMALL), keys):
            pass
        middle = time.perf_counter()
        for _ in threads.map(client.get, keys):
            pass
        end = time.perf_counter()
        list(threads.map(client.delete, keys))
    return Small(cpu, wall, calls / (middle - begun), calls / (end - middle))


def measure_big(endpoint: Endpoint) -> None:
    """256 MiB: ours in parts of 8 MiB, four at a time, and boto3's transfer with the same numbers."""
    part, count = os.urandom(PART_SIZE), 32
    kelp, boto = Kelp(endpoint), endpoint.boto3()
    keys = [str(uuid.uuid4()) for _ in range(count)]

    def ours() -> None:
        with ThreadPoolExecutor(kelp.store.at_once) as threads:
            list(threads.map(lambda key: kelp.store.put(key, [part]), keys))

    def back() -> None:
        with ThreadPoolExecutor(kelp.store.at_once) as threads:
            list(threads.map(lambda key: sum(map(len, kelp.store.get(key, ByteRange(0, PART_SIZE)))), keys))

    def theirs() -> None:
        config = TransferConfig(multipart_threshold=1, multipart_chunksize=PART_SIZE, max_concurrency=4)
        boto.upload_file("/tmp/kelp-bench.bin", BUCKET, "big", Config=config)

    def theirs_back() -> None:
        config = TransferConfig(multipart_threshold=1, multipart_chunksize=PART_SIZE, max_concurrency=4)
        boto.download_file(BUCKET, "big", os.devnull, Config=config)

    with open("/tmp/kelp-bench.bin", "wb") as file:
        for _ in range(count):
            file.write(part)
    for name, work in (("Kelp put", ours), ("Kelp get", back), ("boto3 put", theirs), ("boto3 get", theirs_back)):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        taken = time.perf_counter() - wall
        print(f"{name:12} {count * PART_SIZE / taken / 1e6:6.0f} MB/s, {(time.process_time() - cpu):.2f} s processor")
    os.unlink("/tmp/kelp-bench.bin")
    for key in keys:
        kelp.store.delete(key)
    boto.delete_object(Bucket=BUCKET, Key="big")


def main() -> None:
    url = os.environ.get("KELP_TEST_S3_ENDPOINT", "")
    if not url:
        sys.exit("KELP_TEST_S3_ENDPOINT must name an S3 endpoint")
    endpoint = Endpoint(url, os.environ["KELP_TEST_S3_ACCESS_KEY"], os.environ["KELP_TEST_S3_SECRET_KEY"])
    print(f"4 KiB, ms a call on one thread (processor / in all), then calls a second on {THREADS} threads")
    print(f"{'':28}{'put':15}{'get':15}{'head':15}{'delete':15}put/s   get/s")
    for name, client in clients(endpoint):
        small = measure_small(client)
        cells = [f"{small.cpu[verb] * 1e3:5.2f} / {small.wall[verb] * 1e3:5.2f}" for verb in small.cpu]
        print(f"{name:28}{'  '.join(cells)}  {small.puts:6.0f}  {small.gets:6.0f}", flush=True)
    measure_big(endpoint)


if __name__ == "__main__":
    main()
