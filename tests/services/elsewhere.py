"""What a drive has outside its folder, under one name: a database, objects in a bucket, a queue."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from typing import Any, Protocol

import redis

from tests.services import postgresql, s3
from tests.services import redis as redis_service
from vfs.metadata.database import Database


class Elsewhere(Protocol):
    setting: str  # the one that says where it is

    def missing(self) -> str | None:
        """Why it cannot be had here."""
        ...

    def settings(self, name: str, new: bool) -> dict[str, object]:
        """The settings of the drive called so. `new`: this process has not asked for it yet; it may be there."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Everything of one drive, which nobody has open, also for another, which has nothing yet."""
        ...

    def drop(self, name: str) -> None:
        """Absent is fine."""
        ...


class Databases:
    """A new one is a copy of one with all migrations done: that takes a tenth of the time that they take."""

    setting = "database_url"

    def missing(self) -> str | None:
        return postgresql.missing()

    def settings(self, name: str, new: bool) -> dict[str, object]:
        server = postgresql.shared()
        if new and not server.exists(name):
            server.create(name, template=self._migrated)
        return {"database_url": server.url(name)}

    @functools.cached_property
    def _migrated(self) -> str:
        server, name = postgresql.shared(), f"kelp_migrated_{os.getpid()}"
        server.drop(name)  # half done, when migrations failed at the last call
        server.create(name)
        atexit.register(server.drop, name)
        Database(server.url(name)).close()
        return name

    def copy(self, source: str, target: str) -> None:
        postgresql.shared().create(target, template=source)

    def drop(self, name: str) -> None:
        postgresql.shared().drop(name)


class Objects:
    """All drives share a bucket, which is there before the first: Kelp says so when it makes one. Each has a prefix."""

    setting = "cache_url"
    _bucket, _variable = "kelp-tests", "KELP_TEST_S3_ENDPOINT"

    def missing(self) -> str | None:
        return None  # a package of the tests

    def settings(self, name: str, new: bool) -> dict[str, object]:
        assert self._client  # so the bucket is there
        url = f"s3://{self._bucket}?endpoint={self._endpoint}&prefix={name}/"
        return {"cache_url": url, "cache_access_key": s3.ACCESS_KEY, "cache_secret_key": s3.SECRET_KEY}

    @functools.cached_property
    def _endpoint(self) -> str:
        """Started at the first call, ended with this process; the environment names it for child processes."""
        if self._variable not in os.environ:
            stack = contextlib.ExitStack()
            atexit.register(stack.close)
            os.environ[self._variable] = stack.enter_context(s3.s3_endpoint())
        return os.environ[self._variable]

    def copy(self, source: str, target: str) -> None:
        for key in self._listed(source):
            old = {"Bucket": self._bucket, "Key": key}
            self._client.copy_object(Bucket=self._bucket, Key=target + key.removeprefix(source), CopySource=old)

    def drop(self, name: str) -> None:
        keys = self._listed(name)
        for start in range(0, len(keys), 1000):  # as many as one call takes
            these = [{"Key": key} for key in keys[start : start + 1000]]
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": these, "Quiet": True})

    def _listed(self, name: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{name}/")
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    @functools.cached_property
    def _client(self) -> Any:
        client = s3.client(self._endpoint)
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):  # some say so, in this region too
            client.create_bucket(Bucket=self._bucket)
        return client


class Queues:
    setting = "queue_url"

    def missing(self) -> str | None:
        return redis_service.missing()

    def settings(self, name: str, new: bool) -> dict[str, object]:
        return {"queue_url": redis_service.shared().url, "queue_name": name}

    def copy(self, source: str, target: str) -> None:
        """Nothing: what is to be done stands in the database."""

    def drop(self, name: str) -> None:
        with redis.Redis.from_url(redis_service.shared().url) as client:
            for key in client.scan_iter(match=f"*{name}*", count=1000):
                client.delete(key)
