"""cadaver: each of its commands that changes something, locks and properties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.clients import Cadaver, Curl, Login, needs
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.conftest import login_of


@needs("cadaver")
class TestCadaver:
    @pytest.fixture
    def cadaver(self, drive: ServedDrive, tmp_path: Path) -> Callable[..., str]:
        (tmp_path / "a.txt").write_bytes(b"first\n")
        return Cadaver(login_of(drive), tmp_path / "home")

    def test_put_get_copy_move_delete(self, cadaver: Callable[..., str], tmp_path: Path) -> None:
        (tmp_path / "back").mkdir()
        printed = cadaver(
            *("mkcol docs", "cd docs", f"put {tmp_path}/a.txt", "copy a.txt b.txt", "move b.txt c.txt"),
            *("cd ..", "copy docs more", "move more moved", f"lcd {tmp_path}/back", "get moved/c.txt c.txt"),
            *("delete docs/a.txt", "rmcol docs", "ls", "ls moved"),
        )
        assert "failed" not in printed, printed
        assert (tmp_path / "back" / "c.txt").read_bytes() == b"first\n"
        listing = printed[printed.index("Listing collection `/dav/'") :]
        assert "Coll:   moved" in listing and "docs" not in listing.partition("ls moved")[0]
        assert "a.txt" in listing and "c.txt" in listing

    def test_lock_keeps_others_out_until_unlock(
        self, drive: ServedDrive, cadaver: Callable[..., str], tmp_path: Path
    ) -> None:
        other = Curl(Login(drive.url, "other", drive.password))
        assert "failed" not in cadaver(f"put {tmp_path}/a.txt", "lock a.txt", "showlocks", "discover a.txt")
        assert other.status("a.txt", "-T", str(tmp_path / "a.txt")) == 423
        assert other.status("a.txt") == 200
        printed = cadaver("discover a.txt", "steal a.txt", f"put {tmp_path}/a.txt a.txt", "unlock a.txt")
        assert "failed" not in printed, printed
        assert other.status("a.txt", "-T", str(tmp_path / "a.txt")) == 204

    def test_properties(self, cadaver: Callable[..., str], tmp_path: Path) -> None:
        printed = cadaver(
            *(f"put {tmp_path}/a.txt", "propset a.txt colour red", "propget a.txt colour", "propnames a.txt"),
            *("move a.txt b.txt", "propget b.txt colour", "propdel b.txt colour", "propget b.txt colour"),
        )
        assert printed.count("Value of colour is: red") == 2, printed
        assert printed.count("colour") > 4

    def test_edit(self, drive: ServedDrive, cadaver: Callable[..., str], tmp_path: Path) -> None:
        """LOCK, GET, an editor, PUT, UNLOCK."""
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\necho second >> "$1"\ntouch -d "next minute" "$1"\n')  # cadaver looks at seconds
        editor.chmod(0o755)
        assert "failed" not in cadaver(f"put {tmp_path}/a.txt")
        printed = cadaver("edit a.txt", editor=str(editor))
        assert "failed" not in printed, printed
        curl = Curl(login_of(drive))
        assert curl("a.txt").stdout == "first\nsecond\n"
        assert curl.status("a.txt", "-T", str(tmp_path / "a.txt")) == 204  # no lock is left
