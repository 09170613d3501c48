"""nginx in front of a drive, with a configuration of its own in a folder of its own, and no privileges."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_PATIENCE = 20.0  # seconds to come up
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# What clients.md §5 asks of a proxy: nothing decoded, nothing merged, nothing held back.
_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    merge_slashes off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{listens};
        {certificate}
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
    }}
}}
"""


def why_not() -> str | None:
    """Why nginx cannot be used here, for a skip; None when it can."""
    return None if shutil.which("nginx", path=_PATH) else "nginx is not installed (Debian package nginx)"


@contextlib.contextmanager
def reverse_proxy(folder: Path, upstream: int, certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    """The port of an nginx on 127.0.0.1 that passes everything on to port `upstream`.

    With `certificate` (certificate, key) it ends TLS; the drive behind it speaks plain HTTP and does not know.
    Skips the test where nginx is not to be had.
    """
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder.mkdir()
    port = _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder,
            port=port,
            upstream=upstream,
            user="user root;" if Path("/proc/self").owner() == "root" else "",
            listens=" ssl" if certificate else "",
            certificate="ssl_certificate {}; ssl_certificate_key {};".format(*certificate) if certificate else "",
        )
    )
    command = [shutil.which("nginx", path=_PATH) or "nginx", "-p", str(folder), "-e", str(folder / "error.log")]
    with subprocess.Popen([*command, "-c", str(configuration)], stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(process, port)
            yield port
        finally:
            process.terminate()
    log = (folder / "error.log").read_text()
    assert not log, log


def _wait(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port))):
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("nginx did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
