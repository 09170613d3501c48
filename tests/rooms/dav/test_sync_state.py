"""`sync-state`: how far an entry's way to the NAS is, told over WebDAV to whoever asks for it by name."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dav_provider.app import make_app
from tests.mirror_drive import MirrorDrive
from vfs.errors import NasFault

BASIC = "Basic " + base64.b64encode(b"admin:correct horse").decode()
STATE, MESSAGE = "{urn:kelp:dav}sync-state", "{urn:kelp:dav}sync-message"
ASKED = (
    b'<D:propfind xmlns:D="DAV:" xmlns:K="urn:kelp:dav"><D:prop><K:sync-state/><K:sync-message/></D:prop></D:propfind>'
)
NAMES = b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'
SET = (
    b'<D:propertyupdate xmlns:D="DAV:" xmlns:K="urn:kelp:dav"><D:set><D:prop><K:sync-state>AVAILABLE</K:sync-state>'
    b"</D:prop></D:set></D:propertyupdate>"
)


class Asked:
    def __init__(self, folder: Path) -> None:
        self.drive = MirrorDrive(folder)
        self.app = make_app(self.drive.kelp)

    def ask(self, path: str, body: bytes = ASKED, depth: str = "0", method: str = "PROPFIND") -> ET.Element:
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "REQUEST_URI": path,
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_AUTHORIZATION": BASIC,
            "HTTP_DEPTH": depth,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }
        said: list[Any] = []
        answer = b"".join(self.app(environ, lambda status, headers, exc_info=None: said.append(status)))
        assert said[-1].startswith("207"), (said, answer)
        return ET.fromstring(answer)

    def states(self, path: str, depth: str = "0") -> dict[str, tuple[str | None, str | None]]:
        """By address: state and message; None where it is told to be missing."""
        return {
            str(one.findtext("{DAV:}href")): (
                one.findtext(f".//{STATE}") or None,
                one.findtext(f".//{MESSAGE}") or None,
            )
            for one in self.ask(path, depth=depth).iter("{DAV:}response")
        }


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(tmp_path)
    yield asked
    asked.drive.close()


def broken(words: str) -> Callable[[str, tuple[Any, ...]], None]:
    def fail(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "write":
            raise NasFault(words)

    return fail


def test_it_follows_a_file_to_the_nas(asked: Asked) -> None:
    drive = asked.drive
    drive.settle_down()
    drive.put("a")
    assert asked.states("/dav/a") == {"/dav/a": ("SYNCING", None)}
    assert asked.states("/dav/", depth="1") == {"/dav/": ("AVAILABLE", None), "/dav/a": ("SYNCING", None)}
    drive.settle_down()
    assert asked.states("/dav/a") == {"/dav/a": ("AVAILABLE", None)}  # nothing on the drive has changed: not kept
    assert asked.states("/dav/", depth="1") == {"/dav/": ("AVAILABLE", None), "/dav/a": ("AVAILABLE", None)}
    drive.move("a", "b")
    assert asked.states("/dav/b") == {"/dav/b": ("SYNCING", None)}


def test_it_tells_what_went_wrong(asked: Asked) -> None:
    drive = asked.drive
    drive.nas.before = broken("NAS: bad <name> \x01: no")
    drive.put("a")
    drive.drain()
    state, message = asked.states("/dav/a")["/dav/a"]
    assert state == "SYNCING" and message is not None and "bad <name>" in message  # tried again later
    for _ in range(5):
        drive.pass_time(60)
        drive.drain()
    assert asked.states("/dav/", depth="1")["/dav/a"] == ("ERROR", message)
    drive.nas.calm()
    drive.put("a", b"newer")  # a later change replaces the failed one
    drive.settle_down()
    assert asked.states("/dav/a") == {"/dav/a": ("AVAILABLE", None)}


def test_it_is_told_by_name_only(asked: Asked) -> None:
    asked.drive.put("a")
    for body in (b"", b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'):
        assert asked.ask("/dav/a", body).find(f".//{STATE}") is None
    assert asked.ask("/dav/a", NAMES).find(f".//{STATE}") is not None
    assert asked.ask("/dav/a", NAMES).find(f".//{MESSAGE}") is None
    included = ASKED.replace(b"<D:prop>", b"<D:allprop/><D:include>").replace(b"</D:prop>", b"</D:include>")
    assert asked.ask("/dav/a", included).findtext(f".//{STATE}") == "SYNCING"


def test_nobody_sets_it(asked: Asked) -> None:
    asked.drive.put("a")
    answer = asked.ask("/dav/a", SET, method="PROPPATCH")
    assert "403" in str(answer.findtext(".//{DAV:}status"))
    assert asked.states("/dav/a") == {"/dav/a": ("SYNCING", None)}


def test_long_listings_have_it_too(asked: Asked) -> None:
    drive = asked.drive
    drive.mkdir("many")
    drive.settle_down()
    drive.put("many/0000")
    for n in range(1, 1200):
        drive.copy("many/0000", f"many/{n:04}")
    states = asked.states("/dav/many/", depth="1")
    assert len(states) == 1201
    assert states.pop("/dav/many/") == ("AVAILABLE", None)
    assert set(states.values()) == {("SYNCING", None)}


def test_what_is_above_the_drive_has_none(asked: Asked) -> None:
    assert asked.states("/", depth="1") == {"/": (None, None), "/dav/": (None, None)}
