"""COPY, MOVE, DELETE and MKCOL (RFC 4918 §9.3, §9.6, §9.8, §9.9): a few checks of form, then one call each."""

from __future__ import annotations

from dav_provider import conditions
from dav_provider.paths import MOUNT, ElsewhereError, Segments, parse_destination
from dav_provider.request import Answer, Request, text_answer
from dav_provider.resources import client_mtime, locate, locate_existing, place_of
from vfs.core import Kelp
from vfs.errors import AlreadyExists, Forbidden, InvalidRequest
from vfs.model import Found, OnConflict, Place
from vfs.operations import copying, folders, moving, reading, trashing


def make_collection(kelp: Kelp, request: Request) -> Answer:
    """MKCOL: 201. An existing name is AlreadyExists, a body of any kind 415 (RFC 4918 §9.3)."""
    if request.body.read(1):
        return text_answer(415, "MKCOL with a body is not supported")
    found = locate(kelp, request)
    if not found.segments:
        raise AlreadyExists("the drive itself exists")
    mtime_ns, accepted = client_mtime(request)
    folders.make_folder(
        kelp, request.caller, place_of(found), condition=conditions.for_change(request), mtime_ns=mtime_ns
    )
    return Answer(201, accepted)


def delete(kelp: Kelp, request: Request) -> Answer:
    """DELETE: 204, always with all that is below."""
    found = _source(kelp, request)
    _whole_tree_only(request, found)
    trashing.remove(kelp, request.caller, place_of(found), condition=conditions.for_change(request), seen=found.entry)
    return Answer(204)


def move(kelp: Kelp, request: Request) -> Answer:
    """MOVE: 201 for a new name, 204 when something gave way for it."""
    found = _source(kelp, request)
    _whole_tree_only(request, found)
    mtime_ns, accepted = client_mtime(request)
    outcome = moving.move(
        kelp,
        request.caller,
        place_of(found),
        _target(kelp, request),
        on_conflict=_on_conflict(request),
        condition=conditions.for_change(request),
        mtime_ns=mtime_ns,
        seen=found.entry,
    )
    return Answer(204 if outcome.replaced else 201, accepted)


def copy(kelp: Kelp, request: Request) -> Answer:
    """COPY: like MOVE; Depth 0 copies a folder without what is in it (RFC 4918 §9.8.3)."""
    found = _source(kelp, request)
    is_folder = found.entry is not None and found.entry.is_folder
    if is_folder and request.depth == "1":
        raise InvalidRequest("COPY of a folder is with Depth 0 or infinity")
    mtime_ns, accepted = client_mtime(request)
    outcome = copying.copy(
        kelp,
        request.caller,
        place_of(found),
        _target(kelp, request),
        on_conflict=_on_conflict(request),
        deep=is_folder and request.depth != "0",
        condition=conditions.for_change(request),
        mtime_ns=mtime_ns,
    )
    return Answer(204 if outcome.replaced else 201, accepted)


def _source(kelp: Kelp, request: Request) -> Found:
    """What is to be moved, copied or deleted. Raises NotFound; Forbidden for the drive itself."""
    found, entry = locate_existing(kelp, request)
    if entry.is_root:
        raise Forbidden("the drive itself cannot be moved, copied or deleted")
    return found


def _target(kelp: Kelp, request: Request) -> Place:
    header = request.header("Destination")
    if header is None:
        raise InvalidRequest("a Destination header is needed")
    path: Segments = parse_destination(header, request.hosts)
    if path[:1] != MOUNT:
        raise ElsewhereError("Destination is outside the drive", same_host=True)
    if path == MOUNT:
        raise Forbidden("the drive itself cannot be replaced")
    return place_of(reading.resolve(kelp, request.caller, path[len(MOUNT) :]))


def _on_conflict(request: Request) -> OnConflict:
    """Overwrite (RFC 4918 §10.6): T unless said otherwise."""
    text = (request.header("Overwrite") or "T").strip().upper()
    if text not in ("T", "F"):
        raise InvalidRequest("Overwrite must be T or F")
    return OnConflict.OVERWRITE if text == "T" else OnConflict.ERROR


def _whole_tree_only(request: Request, found: Found) -> None:
    """Folders are moved and deleted whole (RFC 4918 §9.6.1, §9.9.2); on files Depth says nothing."""
    if found.entry is not None and found.entry.is_folder and request.depth not in (None, "infinity"):
        raise InvalidRequest("for a folder Depth must be infinity")
