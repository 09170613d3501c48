"""LibreOffice opens and saves documents by their URL: its own WebDAV client, with locks (clients.md §1.7).

Without a window it has nobody to ask for a password (7.4 gives up before it calls the interaction handler that UNO
offers it), so a relay adds the password. All else is between LibreOffice and the drive.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

from tests.faces.clients import SYSTEM_PYTHON, needs, soffice
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.signing_relay import Relay, signing_relay

_SESSION = Path(__file__).with_name("libreoffice_session.py")
_PATIENCE = 220  # seconds for the whole session: a hundred requests, one after the other, and the office's start


def text_of(drive: ServedDrive, path: str) -> str:
    """The XML of a text document on the drive."""
    with zipfile.ZipFile(io.BytesIO(drive.ask("GET", path).body)) as parts:
        return parts.read("content.xml").decode()


def of_file(relay: Relay, path: str, *methods: str) -> list[tuple[str, int]]:
    return [(method, status) for method, where, status in relay.seen if where == path and method in methods]


def printed_by_session(pipe: str, relay: Relay) -> list[str]:
    """The lines of a session that came to its end; otherwise how far it came, and what it asked for last."""
    command = [SYSTEM_PYTHON, "-u", str(_SESSION), pipe, f"http://127.0.0.1:{relay.port}/dav/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as session:
        try:
            printed, complaints = session.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            session.kill()
            printed, complaints = session.communicate()
    how = f"exit code {session.returncode} (-9: no end after {_PATIENCE} s); asked last: {relay.seen[-10:]}"
    assert session.returncode == 0, f"{printed}{complaints}{how}"
    return printed.splitlines()


@needs("libreoffice")
def test_open_save_and_save_as(drive: ServedDrive, tmp_path: Path) -> None:
    with signing_relay(drive.port, drive.basic()) as relay, soffice(tmp_path / "office") as pipe:
        printed = printed_by_session(pipe, relay)
    assert printed == [
        *("opened first writable", "saved second", "saved third", "saved as other name.odt", "opened third"),
    ]
    assert "third" in text_of(drive, "/dav/doc.odt") and "third" in text_of(drive, "/dav/other%20name.odt")
    # It locks what it opens, saves under the lock, and leaves none behind.
    saves = of_file(relay, "/dav/doc.odt", "LOCK", "PUT")
    assert [method for method, _ in saves].count("PUT") >= 3 and saves[0][0] == "LOCK"
    assert all(status in (200, 201, 204) for _, status in saves), saves
    for path in ("/dav/doc.odt", "/dav/other%20name.odt"):
        assert ("UNLOCK", 204) in of_file(relay, path, "UNLOCK")
        assert drive.ask("PUT", path, b"", user="other").status == 204
    assert [one for one in relay.seen if one[2] >= 400 and one[2] != 404] == []
