"""PUT (RFC 9110 §9.3.4, clients.md R11): the body goes to the core piece by piece, and all of it or nothing counts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dav_provider import conditions
from dav_provider.http_body import PIECE_SIZE, Body
from dav_provider.request import Answer, Request
from dav_provider.resources import client_mtime, locate, place_of
from vfs.core import Kelp
from vfs.errors import InvalidRequest, UploadIncomplete, WrongKind
from vfs.model import Expected
from vfs.operations import writing
from vfs.web.contents import validators

_CHECKSUM = re.compile(r"(SHA1|MD5):(\S*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_HEX = re.compile(r"[0-9a-f]*")
_HEX_DIGITS = {"sha1": 40, "md5": 32}


def put(kelp: Kelp, request: Request) -> Answer:
    """201 for a new name, 204 for a new content; both with the entity tag and the date of what is stored now.

    Raises what `writing.put_file` raises; WrongKind for the root.
    """
    if request.header("Content-Range") is not None:
        # Storing a part as if it were the whole would cut the file (RFC 9110 §14.4).
        raise InvalidRequest("PUT of a part is not supported")
    expected = expected_of(request)
    mtime_ns, accepted = client_mtime(request)
    found = locate(kelp, request)
    if not found.segments:
        raise WrongKind("the drive itself is a folder")
    written = writing.put_file(
        kelp,
        request.caller,
        place_of(found),
        pieces(request.body),
        expected=expected,
        mtime_ns=mtime_ns,
        condition=conditions.for_change(request),
        seen=found.entry,
    )
    return Answer(201 if written.created else 204, [*validators(written.entry), *accepted])


def pieces(body: Body) -> Iterator[bytes]:
    """The body in pieces of 1 MiB; raises UploadIncomplete where it is cut."""
    while piece := body.read(PIECE_SIZE):
        yield piece


def expected_of(request: Request) -> Expected:
    """What the client announced about the body. Raises UploadIncomplete when two announcements contradict."""
    length = request.length
    hint = request.header("X-Expected-Entity-Length")  # macOS, beside a chunked body
    if hint is not None and _LENGTH.fullmatch(hint.strip()):
        if length is not None and length != int(hint):
            raise UploadIncomplete("X-Expected-Entity-Length differs from Content-Length")
        length = int(hint)
    sums: dict[str, str] = {}
    for kind, value in _CHECKSUM.findall(request.header("OC-Checksum") or ""):
        kind, value = kind.lower(), value.lower()
        if len(value) != _HEX_DIGITS[kind] or not _HEX.fullmatch(value):
            raise InvalidRequest("malformed OC-Checksum")
        sums[kind] = value
    return Expected(length=length, sha1=sums.get("sha1"), md5=sums.get("md5"))
