"""GET and HEAD (RFC 9110 §9.3.1): whole files, ranges, conditions, and a plain list for people's browsers."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from dav_provider import conditions
from dav_provider.live_properties import content_type, is_folder
from dav_provider.paths import encode, href
from dav_provider.request import Answer, Headers, Request
from dav_provider.resources import locate_existing, tokens_on
from vfs.core import Kelp
from vfs.errors import NotModified
from vfs.model import ByteRange, Entry
from vfs.operations import reading
from vfs.web import contents
from vfs.web.conditions import wanted_range

_HARMLESS = (contents.NOSNIFF, contents.SANDBOX)


def get(kelp: Kelp, request: Request) -> Answer:
    """Also HEAD. Raises NotFound, NotModified, PreconditionFailed, RangeNotSatisfiable, StoreError."""
    found, entry = locate_existing(kelp, request)
    tokens = tokens_on(kelp, request, found)
    try:
        conditions.check_read(request, entry, tokens)
    except NotModified:
        return Answer(304, contents.validators(entry))
    if entry.is_folder:
        return _folder_page(kelp, request, entry)
    if request.method == "HEAD":  # a Range is defined for GET only (RFC 9110 §14.2)
        return Answer(200, [*_headers(entry), ("Content-Length", str(entry.size))])
    part = wanted_range(request.header, entry)
    return _content(kelp, request, entry, part)


def _content(kelp: Kelp, request: Request, entry: Entry, part: ByteRange | None) -> Answer:
    reader = reading.open_content(kelp, request.caller, entry)
    status, span = contents.span_of(entry, part)
    return Answer(status, [*_headers(entry), *span], contents.body_of(reader.chunks(part), entry, part))


def _headers(entry: Entry) -> Headers:
    return [
        ("Content-Type", content_type(entry)),
        ("Accept-Ranges", "bytes"),
        *contents.validators(entry),
        *_HARMLESS,
    ]


def _folder_page(kelp: Kelp, request: Request, entry: Entry) -> Answer:
    base = href(request.path, folder=True)
    rows = reading.list_folder(kelp, request.caller, entry.id)
    lines = [f'<li><a href="{base}../">..</a>'] if not entry.is_root else []
    for row in rows:
        slash = "/" if is_folder(row) else ""
        lines.append(f'<li><a href="{escape(base + encode(row.name))}{slash}">{escape(row.name)}{slash}</a>')
    page = _page("/".join(("", *request.path)), lines)
    return Answer(200, [("Content-Type", "text/html; charset=utf-8"), *contents.validators(entry), *_HARMLESS], page)


def _page(title: str, lines: Iterable[str]) -> bytes:
    items = "\n".join(lines)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<h1>{escape(title)}</h1>\n<ul>\n{items}\n</ul></html>\n"
    ).encode()
