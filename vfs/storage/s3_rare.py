"""What is rarely asked of S3, by boto3: making a bucket, and the book-keeping of an upload in parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vfs.errors import ConfigurationError, KelpError, StoreUnavailable
from vfs.storage.s3_address import S3Address
from vfs.storage.s3_answers import Refusal

log = logging.getLogger(__name__)


class Upload:
    """A multipart upload under way: its `id`, and what has come."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.parts: list[dict[str, object]] = []

    def took(self, number: int, etag: str) -> None:
        self.parts.append({"PartNumber": number, "ETag": etag})


class Rare:
    """One try a call, as in `s3.py`. For many threads."""

    def __init__(self, address: S3Address, access_key: str, secret_key: str, timeout: float) -> None:
        self._address, self._keys, self._timeout = address, (access_key, secret_key), timeout

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """One for each use: they are few, and it holds connections."""
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        access_key, secret_key = self._keys
        session = boto3.session.Session(access_key, secret_key, region_name=self._address.region)
        endpoint = self._address.endpoint
        client = session.client(
            "s3",
            endpoint_url=f"{'https' if endpoint.tls else 'http'}://{endpoint.authority}",
            config=Config(
                signature_version="s3v4",
                connect_timeout=min(self._timeout, 3.0),
                read_timeout=self._timeout,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )
        try:
            yield client
        finally:
            client.close()

    def make_bucket(self) -> None:
        """Raises ConfigurationError when the keys may not, StoreUnavailable."""
        address = self._address
        log.info("making the bucket %s at %s", address.bucket, address.endpoint.label)
        arguments: dict[str, object] = {"Bucket": address.bucket}
        if address.region != "us-east-1":  # which the API does not accept as a name
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": address.region}
        try:
            with self._client() as client, _faults(f"bucket {address.bucket}"):
                client.create_bucket(**arguments)
        except _Refused as refused:
            code = refused.refusal.code
            if code == "BucketAlreadyOwnedByYou":  # another process was faster
                return
            if refused.refusal.status in (400, 403, 409) and code != "OperationAborted":
                text = f"cannot make the bucket {address.bucket} at {address.endpoint.label}: {refused.refusal}"
                raise ConfigurationError(text) from refused
            raise refused.refusal.error(f"bucket {address.bucket}") from refused

    @contextmanager
    def upload(self, key: str, replace: bool) -> Iterator[Upload]:
        """Begin an upload in parts; complete it at the end of the block, abort it on any error.

        `key`: with the prefix. `replace`: what it holds stays until the upload is complete, and goes with that. Raises
        AlreadyExists (not with `replace`), NoSpace, StoreUnavailable.
        """
        with self._client() as client:

            def call(method: str, **arguments: object) -> Any:
                return _call(getattr(client, method), Bucket=self._address.bucket, Key=key, **arguments)

            upload = Upload(call("create_multipart_upload")["UploadId"])
            try:
                yield upload
                condition = {} if replace else {"IfNoneMatch": "*"}
                parts = {"Parts": upload.parts}
                call("complete_multipart_upload", UploadId=upload.id, MultipartUpload=parts, **condition)
            except BaseException:
                try:
                    call("abort_multipart_upload", UploadId=upload.id)
                except KelpError as error:  # the first error is the one to tell
                    log.warning("the upload of %s is left to the store's own expiry: %s", key, error)
                raise


def _call(method: Callable[..., Any], **arguments: Any) -> Any:
    try:
        with _faults(arguments["Key"]):
            return method(**arguments)
    except _Refused as refused:
        raise refused.refusal.error(arguments["Key"]) from refused


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@contextmanager
def _faults(subject: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _Refused(Refusal(status, said.get("Code", ""), said.get("Message", ""))) from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"cache: {subject}: {error}") from error
