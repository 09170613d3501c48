"""What an S3 endpoint says, in our words: errors by code and status, listings."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from xml.etree import ElementTree

from vfs.errors import AlreadyExists, ContentCorrupt, KelpError, NoSpace, ObjectMissing, StoreUnavailable
from vfs.storage.object_store import ObjectInfo
from vfs.storage.s3_wire import ProtocolError

# "Error responses" of the S3 API, and what MinIO, Ceph and SeaweedFS add to it. All else is the store being away.
_BY_CODE: dict[str, type[KelpError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchBucket": StoreUnavailable,
    "PreconditionFailed": AlreadyExists,
    "InvalidRange": ContentCorrupt,
    "QuotaExceeded": NoSpace,
    "XMinioStorageFull": NoSpace,
    "XMinioAdminBucketQuotaExceeded": NoSpace,
    "InsufficientStorage": NoSpace,
    "StorageFull": NoSpace,
}
_BY_STATUS: dict[int, type[KelpError]] = {
    404: ObjectMissing,
    412: AlreadyExists,
    416: ContentCorrupt,
    507: NoSpace,
}
_SKEW = 5.0  # seconds that a store's clock may differ from ours without being corrected for
_FULL = re.compile(r"no free volumes|no writable volumes|no space left|disk full", re.IGNORECASE)
_CODE = re.compile(rb"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,300})</Message>")


class Refusal(NamedTuple):
    """An answer that is an error. `code` and `message` are "" when the answer had none (to HEAD, or not from S3)."""

    status: int
    code: str
    message: str

    @classmethod
    def read(cls, status: int, body: bytes) -> Refusal:
        code, message = _CODE.search(body), _MESSAGE.search(body)
        return cls(status, code[1].decode("utf-8", "replace") if code else "", _text(message[1]) if message else "")

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.status), self.code, self.message and f"({self.message})")))

    def error(self, subject: str) -> KelpError:
        """The error of the core that says the same."""
        fault = _BY_CODE.get(self.code) or _BY_STATUS.get(self.status, StoreUnavailable)
        if fault is StoreUnavailable and _FULL.search(self.message):
            fault = NoSpace
        return fault(f"cache: {subject}: {self}")


def _text(raw: bytes) -> str:
    return " ".join(raw.decode("utf-8", "replace").split())


class Page(NamedTuple):
    infos: list[ObjectInfo]
    last: str  # the last key of the page, prefix included, "" when there is none
    more: bool


def listing(body: bytes, prefix: str, behind_ns: int) -> Page:
    """A page of ListObjectsV2; keys come without `prefix`, times moved on by `behind_ns`. Raises ProtocolError."""
    try:
        text = body.decode()  # as text: otherwise the XML names its encoding, and what is looked for hides in that
        if "<!DOCTYPE" in text:
            raise ProtocolError("a listing with a document type")
        root = ElementTree.fromstring(text)
        if _local(root.tag) != "ListBucketResult":
            raise ProtocolError("not a listing")
        raw = [(fields["Key"], int(fields["Size"]), fields["LastModified"]) for fields in _contents(root)]
        infos = [ObjectInfo(key[len(prefix) :], size, _ns(at) + behind_ns) for key, size, at in raw]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ProtocolError(f"a listing that cannot be read: {error}") from error
    more = any(_local(child.tag) == "IsTruncated" and child.text == "true" for child in root)
    return Page(infos, raw[-1][0] if raw else "", more)


def _contents(root: ElementTree.Element) -> Iterator[dict[str, str]]:
    for child in root:
        if _local(child.tag) == "Contents":
            yield {_local(field.tag): field.text or "" for field in child}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _ns(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000) * 1_000_000


def behind_ns(headers: Mapping[str, str]) -> int:
    """How far the store's clock is behind ours, when it is far: an object's age must not depend on that."""
    try:
        behind = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return 0
    return int(behind) * 10**9 if abs(behind) > _SKEW else 0
