"""gvfs, as GNOME's Files uses it: mount, list, save, copy, move, rename, delete, space, unmount."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faces.clients import Curl, Gvfs, Login, needs
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.conftest import login_of


@needs("gvfs")
class TestGvfs:
    @pytest.fixture
    def gvfs(self, drive: ServedDrive, tmp_path: Path) -> Gvfs:
        return Gvfs(login_of(drive), tmp_path / "home")

    def test_files_and_folders(self, drive: ServedDrive, gvfs: Gvfs, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"first\n")
        printed = gvfs(
            f"""
            gio copy '{tmp_path}/a.txt' "$D"a.txt
            gio mkdir "$D"docs
            gio copy "$D"a.txt "$D"docs/
            gio rename "$D"docs/a.txt 'ü 100% #1;+.txt' >&2
            gio copy "$D"docs/%C3%BC%20100%25%20%231%3B+.txt "$D"copy.txt
            gio move "$D"copy.txt "$D"docs/moved.txt
            gio rename "$D"docs papers >&2
            gio list -l "$D"papers
            gio remove "$D"papers/moved.txt
            gio remove "$D"a.txt
            gio list "$D"
            """
        ).stdout
        assert "ü 100% #1;+.txt\t6\t(regular)" in printed and "moved.txt\t6\t(regular)" in printed
        assert printed.rstrip().endswith("papers")
        curl = Curl(login_of(drive))
        assert curl("papers/ü 100% #1;+.txt").stdout == "first\n"
        assert curl.status("papers/moved.txt") == 404

    def test_save_over_an_old_file(self, drive: ServedDrive, gvfs: Gvfs) -> None:
        """Saves are plain PUTs here: gvfs never locks."""
        printed = gvfs(
            """
            echo first | gio save "$D"f
            echo second | gio save "$D"f
            gio cat "$D"f
            gio info -a etag::value,standard::size "$D"f
            """
        ).stdout
        assert "second\n" in printed and "standard::size: 7" in printed
        assert Curl(login_of(drive))("f").stdout == "second\n"

    def test_someone_elses_lock_is_an_error_that_changes_nothing(self, drive: ServedDrive, gvfs: Gvfs) -> None:
        drive.ask("PUT", "/dav/f", b"theirs")
        lockinfo = (
            b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
            b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
        )
        assert drive.ask("LOCK", "/dav/f", lockinfo, user="other").status == 200
        assert gvfs('echo mine | gio save "$D"f', ok=False).returncode != 0
        assert Curl(login_of(drive))("f").stdout == "theirs"

    def test_space(self, gvfs: Gvfs) -> None:
        printed = gvfs('gio info -f "$D"').stdout
        assert int(printed.partition("filesystem::free: ")[2].split()[0]) > 0

    def test_wrong_password(self, drive: ServedDrive, tmp_path: Path) -> None:
        wrong = Gvfs(Login(drive.url, drive.user, "wrong"), tmp_path / "home")
        assert wrong('gio list "$D"', ok=False).returncode != 0
