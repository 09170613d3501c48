"""Browsers send the password that they know along with what any page asks of us: only our own pages are heard."""

from __future__ import annotations

import json

import pytest

from dav_provider.forwarding import Front
from dav_provider.request import hosts_of
from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive

OURS = "http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ({}, 201),  # a program
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://behind.a.proxy"}, 201),
        ({"Sec_Fetch_Site": "none"}, 201),  # typed by the user
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": OURS}, 403),
        # Over plain HTTP browsers say no more than this (Fetch Metadata §2: potentially trustworthy URLs only).
        ({"Origin": OURS}, 201),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example:{port}"}, 403),
        ({"Origin": "null"}, 403),  # a sandboxed frame
        ({"Origin": ""}, 403),
    ],
)
def test_who_may_change(api: Api, folder: str, says: dict[str, str], status: int) -> None:
    """As a form of another page sends it without asking first: text/plain."""
    said = {name: value.format(port=api.drive.port) for name, value in says.items()}
    body = json.dumps({"name": "made", "parentId": api.id_of(folder)}).encode()
    reply = api.ask("POST", "/folders", body=body, Content_Type="text/plain", **said)
    assert reply.status == status
    assert api.exists(f"{folder}/made") == (status == 201)


def test_a_trusted_proxy_tells_by_what_name_it_was_asked() -> None:
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "kelp:8080", "HTTP_X_FORWARDED_HOST": "Drive.example:443"}
    assert hosts_of(environ, None) == {"kelp:8080"}
    assert hosts_of(environ, Front(("10.0.0.1",), "https://files.example")) == {"kelp:8080", "files.example"}
    assert hosts_of(environ, Front(("127.0.0.1",))) == {"kelp:8080", "drive.example"}


def test_whoever_only_looks_is_not_asked(api: Api) -> None:
    """Scripts of another page cannot read the answer: nothing allows it (CORS)."""
    reply = api.ask("GET", "/folders/root", Origin="http://evil.example", Sec_Fetch_Site="cross-site")
    assert reply.status == 200
    assert not [name for name in reply.headers if name.startswith("access-control")]
