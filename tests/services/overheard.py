"""Engines of one test's own that keep all they were ever told, for who looks whether something was.

    with overheard(engines.CHOSEN, mark="said by nobody else") as parts:
        ServerProcess(folder, **parts.settings)
        parts.write_into(folder)

PostgreSQL logs every statement with its values and keeps rows that are gone, the bucket keeps every version of every
object, and a listener writes down what anybody asks of Redis.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis

from tests.engines import Engines
from tests.services import postgresql, s3
from tests.services import redis as redis_service
from tests.services.child import scratch_folder
from tests.services.faulty_proxy import FaultyProxy, Pass, Refuse
from tests.waiting import until

_DATABASE = "kelp"
_PAGES = "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace OR relkind = 't'"


class Part(Protocol):
    name: str
    settings: dict[str, object]

    def write_into(self, folder: Path) -> None:
        """Files with all that it has and was told up to now; more at each call."""
        ...


@dataclass(frozen=True)
class Parts:
    """Those that are no part of the drive's own folder."""

    parts: tuple[Part, ...]
    cache_away: Callable[[], AbstractContextManager[None]] | None  # None: the cache is a folder

    @property
    def settings(self) -> dict[str, object]:
        return {name: value for part in self.parts for name, value in part.settings.items()}

    def write_into(self, folder: Path) -> None:
        """A folder for each of the `parts`, by its name."""
        for part in self.parts:
            (folder / part.name).mkdir(exist_ok=True)
            part.write_into(folder / part.name)


@contextlib.contextmanager
def overheard(chosen: Engines, mark: str) -> Iterator[Parts]:
    """`mark` is found in what each tells when it listens well: it stands in the rows and objects of the test's own
    doing; to Redis, where only ids go, it is said at the end."""
    with ExitStack() as undo:
        parts: list[Part] = []
        cache_away = None
        if chosen.database == "postgresql":
            server = undo.enter_context(postgresql.postgresql_server(log_statement="all", log_line_prefix=""))
            parts.append(_Database(server))
        if chosen.cache == "s3":
            store = undo.enter_context(s3.own_s3())
            parts.append(objects := _Objects(store, undo.enter_context(FaultyProxy(store.port))))
            cache_away = objects.away
        if chosen.queue == "redis":
            queue = undo.enter_context(redis_service.redis_server())
            folder = undo.enter_context(scratch_folder("kelp-overheard-"))
            parts.append(_Queue(queue, folder / "asked", mark))
        yield Parts(tuple(parts), cache_away)


class _Database:
    name = "postgresql"

    def __init__(self, server: postgresql.OwnPostgreSQL) -> None:
        self._server = server
        server.create(_DATABASE)
        self.settings: dict[str, object] = {"database_url": server.url(_DATABASE)}

    def write_into(self, folder: Path) -> None:
        """A dump, for what a page has compressed; the pages of its tables, where rows that are gone still stand, for
        nobody vacuums; the log of changes; each statement, once."""
        dump = ["pg_dump", "--dbname", self._server.url(_DATABASE), "--file", str(folder / "dump.sql")]
        subprocess.run(dump, check=True, timeout=60)
        with psycopg.connect(self._server.url(_DATABASE), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            pages = [self._server.folder / path for (path,) in connection.execute(_PAGES) if path]
        files = [file for page in pages for file in (page, *page.parent.glob(f"{page.name}.*")) if file.exists()]
        for file in (*files, *(file for file in (self._server.folder / "pg_wal").iterdir() if file.is_file())):
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file)
        lines = self._server.log.read_bytes().splitlines(keepends=True)
        (folder / "statements.log").write_bytes(b"".join(dict.fromkeys(lines)))


class _Objects:
    name = "s3"

    def __init__(self, server: s3.OwnS3, proxy: FaultyProxy) -> None:
        self._server, self._proxy, self._client = server, proxy, s3.client(server.url)
        self._client.create_bucket(Bucket=s3.BUCKET)
        self._client.put_bucket_versioning(Bucket=s3.BUCKET, VersioningConfiguration={"Status": "Enabled"})
        url = s3.bucket_url(f"http://127.0.0.1:{proxy.port}")
        keys = {"cache_access_key": s3.ACCESS_KEY, "cache_secret_key": s3.SECRET_KEY}
        self.settings: dict[str, object] = {"cache_url": url, **keys}

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self._proxy.mode = Refuse()
        yield
        self._proxy.mode = Pass()

    def write_into(self, folder: Path) -> None:
        """Objects under their keys, also those that are gone; what stands beside the bytes; what was asked."""
        heads = []
        for kind, listed in (("list_object_versions", "Versions"), ("list_multipart_uploads", "Uploads")):
            for page in self._client.get_paginator(kind).paginate(Bucket=s3.BUCKET):
                heads += [self._head(folder, item) for item in page.get(listed, ())]
        (folder / "heads").write_text(json.dumps(heads, default=str, ensure_ascii=False))
        (folder / "server.log").write_bytes(self._server.log.read_bytes())

    def _head(self, folder: Path, item: dict[str, Any]) -> dict[str, Any]:
        if "VersionId" not in item:
            return item
        this = {"Bucket": s3.BUCKET, "Key": item["Key"], "VersionId": item["VersionId"]}
        file = folder / "objects" / f"{item['Key']}.{item['VersionId']}"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self._client.get_object(**this)["Body"].read())
        return {**item, **self._client.head_object(**this), **self._client.get_object_tagging(**this)}


class _Queue:
    name = "redis"

    def __init__(self, server: redis_service.OwnRedis, asked: Path, mark: str) -> None:
        self._asked, self._mark, self._said = asked, mark, 0
        self._client = redis.Redis.from_url(server.url)
        self._client.config_set("rdbcompression", "no")  # DUMP gives values as they are
        self.settings: dict[str, object] = {"queue_url": server.url}
        listening = socket.create_connection(("127.0.0.1", server.port))
        listening.sendall(b"MONITOR\r\n")
        asked.touch()
        threading.Thread(target=self._listen, args=(listening,), daemon=True).start()
        until(lambda: b"OK" in asked.read_bytes())

    def _listen(self, listening: socket.socket) -> None:
        """Until the server is gone."""
        with contextlib.suppress(OSError), listening, self._asked.open("ab", buffering=0) as file:
            while data := listening.recv(64 * 1024):
                file.write(data)

    def write_into(self, folder: Path) -> None:
        """Every request, and every value that there is; what is packed in them, as RQ packs jobs, too."""
        self._said += 1
        said = f"{self._mark} {self._said}"
        self._client.set("mark", said)
        until(lambda: said.encode() in self._asked.read_bytes())
        asked = self._asked.read_bytes().decode("unicode_escape").encode("latin-1")  # MONITOR writes bytes as \xNN
        kept = b"\n".join(part for key in self._client.scan_iter() for part in (key, self._client.dump(key) or b""))
        (folder / "asked.log").write_bytes(asked)
        (folder / "kept.log").write_bytes(kept)
        (folder / "unpacked.log").write_bytes(b"\n".join(dict.fromkeys(_unpacked(asked))))


def _unpacked(data: bytes) -> Iterator[bytes]:
    """What may be zlib's (RFC 1950), wherever that begins."""
    at = -1
    while (at := data.find(b"x\x9c", at + 1)) >= 0:
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[at : at + 1024 * 1024])
