"""litmus, the WebDAV protocol compliance test: every suite without a failure and without a warning, on every way that
a client may come by. litmus takes any certificate, so what TLS shows here is that the protocol is the same under it:
above all that a Destination with `https://` is ours, also where a proxy ends TLS and we never see it (R16).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faces.clients import Login
from tests.faces.conftest import serve
from tests.faces.reverse_proxy import reverse_proxy
from tests.server_process import PASSWORD, PROGRAM, server_process
from vfs.bootstrap import build
from vfs.operations import checking

LITMUS = shutil.which("litmus")

Way = Callable[[Path], contextlib.AbstractContextManager[Login]]


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key, as a user makes them."""
    command = [sys.executable, str(PROGRAM), "tls", "self-signed", "--host", "127.0.0.1", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / "kelp.crt", folder / "kelp.key"


@contextlib.contextmanager
def directly(folder: Path, tls: bool = False) -> Iterator[Login]:
    settings: dict[str, object] = {}
    if tls:
        settings["server_tls_cert"], settings["server_tls_key"] = self_signed(folder / "tls")
    with contextlib.contextmanager(serve)(folder, **settings) as drive:
        assert drive.url.startswith("https:" if tls else "http:")
        yield Login(drive.url, drive.user, drive.password)
        assert checking.check(drive.kelp).ok


@contextlib.contextmanager
def through_tls(folder: Path) -> Iterator[Login]:
    with directly(folder, tls=True) as login:
        yield login


@contextlib.contextmanager
def behind_nginx(folder: Path, tls: bool = False) -> Iterator[Login]:
    certificate = self_signed(folder / "tls") if tls else None
    with (
        contextlib.contextmanager(serve)(folder) as drive,
        reverse_proxy(folder / "nginx", drive.port, certificate) as port,
    ):
        yield Login(f"{'https' if tls else 'http'}://127.0.0.1:{port}/dav/", drive.user, drive.password)
        assert checking.check(drive.kelp).ok


@contextlib.contextmanager
def behind_nginx_that_ends_tls(folder: Path) -> Iterator[Login]:
    with behind_nginx(folder, tls=True) as login:
        yield login


@contextlib.contextmanager
def with_four_processes(folder: Path) -> Iterator[Login]:
    with server_process(folder, "--processes", "4") as server:
        yield Login(f"http://127.0.0.1:{server.port}/dav/", "admin", PASSWORD)
        server.stop()
    assert " ERROR " not in server.log_text(), server.log_text()[-3000:]
    with contextlib.closing(build(server.settings)) as kelp:
        assert checking.check(kelp).ok


WAYS: list[Way] = [directly, through_tls, behind_nginx, behind_nginx_that_ends_tls, with_four_processes]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def login(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    with request.param(tmp_path_factory.mktemp("litmus")) as login:
        yield login


@pytest.mark.skipif(LITMUS is None, reason="litmus is not installed (Debian package litmus)")
@pytest.mark.parametrize("suite", ["basic", "copymove", "props", "locks", "http"])
def test_suite_passes_without_warnings(login: Login, tmp_path: Path, suite: str) -> None:
    run = subprocess.run(
        [LITMUS, "-k", login.url, login.user, login.password],  # type: ignore[list-item]
        env={"TESTS": suite, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    report = run.stdout + run.stderr
    summary = re.search(rf"summary for `{suite}': of (\d+) tests run: (\d+) passed, (\d+) failed", report)
    assert summary, report
    assert summary[1] == summary[2] and summary[3] == "0" and run.returncode == 0, report
    assert "WARNING" not in report, report
