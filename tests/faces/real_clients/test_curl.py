"""curl: resumed downloads, uploads that ask first, TLS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faces.clients import Curl, Login, needs
from tests.faces.conftest import ServedDrive
from tests.faces.real_clients.conftest import MIB, login_of
from tests.server_process import PROGRAM
from vfs.operations import checking

# By itself curl sends anyway after a second, which a busy machine may take.
ASKING = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")


@needs("curl")
class TestCurl:
    def test_resumed_download(self, drive: ServedDrive, tmp_path: Path) -> None:
        content = os.urandom(5 * MIB)
        (tmp_path / "whole").write_bytes(content)
        curl = Curl(login_of(drive))
        assert curl.status("f", "-T", str(tmp_path / "whole")) == 201
        (tmp_path / "part").write_bytes(content[:1_234_567])
        curl("f", "-C", "-", "-o", str(tmp_path / "part"))
        assert (tmp_path / "part").read_bytes() == content
        ranged = curl("f", "-r", "1000-1999", "-o", str(tmp_path / "range"), "-w", "%{http_code} %{size_download}")
        assert ranged.stdout == "206 1000"
        assert (tmp_path / "range").read_bytes() == content[1000:2000]

    @pytest.mark.parametrize("framing", [[], ["-H", "Transfer-Encoding: chunked"]], ids=["length", "chunked"])
    def test_upload_that_asks_first(self, drive: ServedDrive, tmp_path: Path, framing: list[str]) -> None:
        """curl waits for `100 Continue` before it sends: the answer must come, and before curl gives up waiting."""
        content = os.urandom(MIB) * 50
        (tmp_path / "big").write_bytes(content)
        sent = Curl(login_of(drive))("f", "-v", *ASKING, *framing, "-T", str(tmp_path / "big"))
        assert "< HTTP/1.1 100 Continue" in sent.stderr and "< HTTP/1.1 201" in sent.stderr
        assert "Done waiting for 100-continue" not in sent.stderr
        got = Curl(login_of(drive))("f", "-o", str(tmp_path / "back"), "-w", "%{http_code}")
        assert got.stdout == "200" and (tmp_path / "back").read_bytes() == content

    def test_upload_refused_before_its_body_is_sent(self, drive: ServedDrive, tmp_path: Path) -> None:
        (tmp_path / "big").write_bytes(bytes(50 * MIB))
        curl = Curl(login_of(drive))
        asking = (*ASKING, "-T", str(tmp_path / "big"))
        answered = curl("no/such/folder/f", *asking, "-w", "\n%{http_code} %{size_upload}")
        assert answered.stdout.splitlines()[-1] == "409 0", answered.stdout

    def test_over_tls(self, served_with: Callable[..., ServedDrive], tmp_path: Path) -> None:
        tls = tmp_path / "tls"
        command = [sys.executable, str(PROGRAM), "tls", "self-signed", "--host", "localhost", "--out", str(tls)]
        subprocess.run(command, check=True, capture_output=True)
        cert, key = tls / "kelp.crt", tls / "kelp.key"
        drive = served_with(server_tls_cert=str(cert), server_tls_key=str(key))
        login = Login(f"https://localhost:{drive.port}/dav/", drive.user, drive.password)
        trusting, wary = Curl(login, "--cacert", str(cert)), Curl(login)
        (tmp_path / "f").write_bytes(os.urandom(3 * MIB))
        assert trusting.status("f", "-T", str(tmp_path / "f")) == 201
        trusting("f", "-o", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "f").read_bytes()
        assert wary("f", ok=False).returncode == 60  # the certificate is not trusted
        assert Curl(login, "--cacert", str(cert), "--tls-max", "1.1")("f", ok=False).returncode == 35
        assert checking.check(drive.kelp).problems == []
