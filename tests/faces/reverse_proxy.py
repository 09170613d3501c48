"""nginx with the configuration that we give out, `deploy/nginx.conf`, in a folder of its own, and no privileges."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.services.child import free_port

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "nginx.conf"

_PATIENCE = 60.0  # seconds to come up
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SERVERS = ("kelp-1:8080", "kelp-2:8080")
_REFUSES = "127.0.0.1:9 down"  # in the place of a second server where there is but one

# What is around it on a machine, with every path below our folder.
_AROUND = """
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log {level};
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/kelp.conf;
}}
"""


def why_not() -> str | None:
    """Why nginx cannot be used here, for a skip; None when it can."""
    return None if shutil.which("nginx", path=_PATH) else "nginx is not installed (Debian package nginx)"


@contextlib.contextmanager
def reverse_proxy(
    folder: Path, upstream: int | Sequence[int], certificate: tuple[Path, Path] | None = None, *, calm: bool = True
) -> Iterator[int]:
    """The port of an nginx on 127.0.0.1 that passes everything on to port `upstream`, or to two of them.

    With `certificate` (certificate, key) it ends TLS, as it is given out; without, it speaks plain HTTP. Unless servers
    are to go away under it (`calm` is false), it must have nothing to complain of. Skips the test where nginx is not to
    be had.
    """
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder.mkdir()
    port = free_port()
    ports = [upstream] if isinstance(upstream, int) else list(upstream)
    (folder / "kelp.conf").write_text(_configuration(port, ports, certificate))
    around = folder / "nginx.conf"
    user = "user root;" if Path("/proc/self").owner() == "root" else ""
    around.write_text(_AROUND.format(folder=folder, user=user, level="warn" if calm else "crit"))
    command = [shutil.which("nginx", path=_PATH) or "nginx", "-p", str(folder), "-e", str(folder / "error.log")]
    with subprocess.Popen([*command, "-c", str(around)], stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(process, port)
            yield port
        finally:
            process.terminate()
    log = (folder / "error.log").read_text()
    assert not log, log


def _configuration(port: int, upstreams: Sequence[int], certificate: tuple[Path, Path] | None) -> str:
    """The file as it is, but for addresses, and without TLS where there is no certificate."""
    text = CONFIGURATION.read_text()
    for name, address in zip(_SERVERS, [f"127.0.0.1:{upstream}" for upstream in upstreams] + [_REFUSES], strict=False):
        text = _replaced(text, name, address)
    text = _replaced(text, "    listen [::]:443 ssl;\n", "")
    if certificate:
        text = _replaced(text, "listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
        text = _replaced(text, "/etc/nginx/tls/drive.crt", str(certificate[0]))
        return _replaced(text, "/etc/nginx/tls/drive.key", str(certificate[1]))
    text = _replaced(text, "listen 443 ssl;", f"listen 127.0.0.1:{port};")
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("ssl_"))


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{CONFIGURATION} was changed: {old!r}"
    return text.replace(old, new)


def _wait(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port))):
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("nginx did not start")
