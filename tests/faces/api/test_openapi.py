"""The document that describes the API, and the page to try it at."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from http_api import tables
from http_api.app import PREFIX
from http_api.errors import STATUS
from http_api.openapi import codes_of, document
from tests.faces.conftest import ServedDrive

# Spec §8, each with its status.
SPEC = {
    404: "FILE_NOT_FOUND FILE_DELETED FOLDER_NOT_FOUND PARENT_FOLDER_NOT_FOUND TARGET_FOLDER_NOT_FOUND "
    "UPLOAD_SESSION_NOT_FOUND SYNC_EVENT_NOT_FOUND",
    400: "FILE_IN_TRASH FILE_ALREADY_TRASHED INVALID_NAME INVALID_REQUEST UPLOAD_SESSION_EXPIRED PARTS_INCOMPLETE",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN IP_DENIED",
    409: "FILE_SYNCING FOLDER_SYNCING CHILD_FILES_SYNCING FILE_IN_USE DUPLICATE_FILE_EXISTS DUPLICATE_FOLDER_EXISTS "
    "CIRCULAR_MOVE UPLOAD_SESSION_COMPLETED",
    413: "FILE_TOO_LARGE_USE_MULTIPART",
    423: "LOCKED",
    500: "FOLDER_SYNC_FAILED FILE_NOT_FOUND_IN_STORAGE",
    503: "CACHE_UNAVAILABLE NAS_UNAVAILABLE",
    507: "INSUFFICIENT_STORAGE",
}
VAULTS = {"VAULT_KEY_MISSING"}  # spec §13
FAULTS = {code for status, codes in SPEC.items() if status >= 500 for code in codes.split()} | VAULTS


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(tables.ROUTES, PREFIX)


def test_the_document_is_valid(described: dict[str, Any]) -> None:
    validate(described)
    json.dumps(described)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(described))):
        found: Any = described
        for step in reference.split("/"):
            assert step in found, reference
            found = found[step]


@pytest.mark.parametrize("route", tables.ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_declares_what_there_is(route: Any) -> None:
    unknown = codes_of(route) - STATUS.keys()
    assert not unknown
    own_faults = {code for code in codes_of(route) if STATUS[code] >= 500} - FAULTS
    assert not own_faults
    assert (route.noun in ("file", "folder", "event", "session")) or not route.noun


def test_every_code_of_the_specification_is_declared_with_its_status() -> None:
    declared = set().union(*(codes_of(route) for route in tables.ROUTES))
    for status, codes in SPEC.items():
        for code in codes.split():
            assert (STATUS[code], code in declared) == (status, True), code


def test_no_code_is_declared_nowhere() -> None:
    """But for what no route is asked about: a path that nobody has, and what nobody foresaw."""
    declared = set().union(*(codes_of(route) for route in tables.ROUTES))
    assert STATUS.keys() - declared <= {"NOT_FOUND", "METHOD_NOT_ALLOWED", "INTERNAL_ERROR"}


def test_it_is_served_to_anybody(shared_drive: ServedDrive, described: dict[str, Any]) -> None:
    reply = shared_drive.ask("GET", "/api/openapi.json", Authorization="")
    assert json.loads(reply.body) == json.loads(json.dumps(described))


def test_the_page_and_all_that_it_needs(shared_drive: ServedDrive) -> None:
    page = shared_drive.ask("GET", "/api/docs", Authorization="")
    assert (page.status, page.headers["cache-control"]) == (200, "no-cache")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in page.text  # nothing from elsewhere
    needed = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(needed) == 3
    for path in needed:
        plain = shared_drive.ask("GET", f"/api/{path}", Authorization="")
        packed = shared_drive.ask("GET", f"/api/{path}", Authorization="", Accept_Encoding="br, gzip;q=0.8")
        assert (plain.status, packed.headers["content-encoding"]) == (200, "gzip")
        assert gzip.decompress(packed.body) == plain.body
        assert "content-encoding" not in plain.headers
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        head = shared_drive.ask("HEAD", f"/api/{path}", Authorization="")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(plain.body))


def test_paths_of_the_page_that_nobody_has(shared_drive: ServedDrive) -> None:
    version = re.search(r"docs/(\w+)/", shared_drive.ask("GET", "/api/docs").text)
    assert version is not None
    for path in (f"docs/{version[1]}/plugin.py", "docs/0/begin.js", f"docs/{version[1]}/..%2f__init__.py"):
        reply = shared_drive.ask("GET", f"/api/{path}")
        assert (reply.status, json.loads(reply.body)["error"]) == (404, "NOT_FOUND")
    moved = shared_drive.ask("GET", "/api/docs/")
    assert (moved.status, moved.headers["location"]) == (308, "/api/docs")
