"""`/connect`: the steps for each client with the server's own address, and the files to download."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from tests.faces.clients import Curl, Login, davfs_mount, find, needs
from tests.faces.conftest import Reply, ServedDrive
from tests.faces.rules.requests import raw
from vfs.crypto.certificates import write_self_signed

FILES = ("kelp.reg", "rclone.conf", "kelp.conf")


def get(drive: ServedDrive, path: str, method: str = "GET", **headers: str) -> Reply:
    """As a browser that nobody has told a password."""
    return drive.ask(method, path, Authorization="", **headers)


def commands(page: str) -> list[str]:
    return [line for block in re.findall(r"<pre>(.*?)</pre>", page, re.S) for line in unescape(block).splitlines()]


def test_it_shows_the_address_by_which_it_was_reached(shared_drive: ServedDrive) -> None:
    drive = shared_drive
    for host in (f"127.0.0.1:{drive.port}", "drive.example", "[fe80::1]:8080", "a-b.example:1"):
        page = get(drive, "/connect", Host=host)
        assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
        lines = commands(page.text)
        assert f"net use Z: http://{host}/dav /user:NAME * /persistent:yes" in lines
        assert f"gio mount dav://NAME@{host}/dav/" in lines
        assert f"http://{host}/dav/" in lines
    assert r"\\drive.example\DavWWWRoot\dav" in commands(get(drive, "/connect", Host="drive.example").text)
    assert r"\\drive.example@81\DavWWWRoot\dav" in commands(get(drive, "/connect/", Host="drive.example:81").text)


def test_behind_a_proxy_of_this_machine_that_ends_tls(shared_drive: ServedDrive) -> None:
    page = get(shared_drive, "/connect", Host="drive.example", X_Forwarded_Proto="https").text
    lines = commands(page)
    assert "net use Z: https://drive.example/dav /user:NAME * /persistent:yes" in lines
    assert r"\\drive.example@SSL\DavWWWRoot\dav" in lines
    assert "plain http" not in page and "kelp.crt" not in page  # the proxy's certificate is not ours to give


@pytest.mark.parametrize("host", ['a"b', "<b>", "a b", "a/b", "a:b", "user@a", "a:123456", "[a]x", "é", ""])
def test_a_host_that_is_none_is_not_shown(shared_drive: ServedDrive, host: str) -> None:
    request = f"GET /connect HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")
    head, _, body = raw(shared_drive, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and (not host or host.encode("latin-1") not in body)


def test_the_page_needs_nothing_from_elsewhere(shared_drive: ServedDrive) -> None:
    page = get(shared_drive, "/connect")
    style = re.search(r"<style>(.*?)</style>", page.text, re.S)
    assert style
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()}'" in policy
    assert not re.search(r"<script|<img|<link|\ssrc=|\son\w+=|\sstyle=|url\(|@import", page.text)
    links = re.findall(r'href="([^"]*)"', page.text)
    assert {f"/connect/{name}" for name in FILES} <= set(links)
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page.text
        else:
            assert get(shared_drive, link).status == 200
    assert page.headers["cache-control"] == "no-store" and page.headers["x-content-type-options"] == "nosniff"


def test_methods(shared_drive: ServedDrive) -> None:
    for path in ("/connect", "/connect/kelp.reg"):
        whole, head = get(shared_drive, path), get(shared_drive, path, "HEAD")
        assert head.body == b"" and head.headers["content-length"] == whole.headers["content-length"]
        for method in ("PUT", "POST", "DELETE", "PROPFIND", "LOCK", "MOVE"):
            refused = get(shared_drive, path, method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert shared_drive.ask("OPTIONS", path).headers["dav"] == "1, 2"
    for path in ("/connect/kelp.crt", "/connect/other", "/connect/kelp.reg/x"):  # no certificate without TLS
        assert get(shared_drive, path).status == 404
    assert get(shared_drive, "/connected").status == 401


def test_registry_file(shared_drive: ServedDrive) -> None:
    for headers, level in (({}, 2), ({"X_Forwarded_Proto": "https"}, 1)):
        reply = get(shared_drive, "/connect/kelp.reg", Host="drive.example", **headers)
        assert reply.body.startswith(b"\xff\xfe")
        text = reply.body[2:].decode("utf-16-le")
        assert text.startswith("Windows Registry Editor Version 5.00\r\n\r\n") and text.endswith("\r\n")
        assert "\n" not in text.replace("\r\n", "")
        assert r"[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WebClient\Parameters]" in text.split("\r\n")
        values = {name: int(value, 16) for name, value in re.findall(r'"(\w+)"=dword:([0-9a-f]{8})\r', text)}
        assert values == {
            "BasicAuthLevel": level,
            "FileSizeLimitInBytes": 4_294_967_295,
            "FileAttributesLimitInBytes": 10_000_000,
        }
        assert ("in the clear" in text or "read passwords" in text) == (level == 2)


@needs("rclone")
def test_rclone_works_with_the_downloaded_configuration(shared_drive: ServedDrive, tmp_path: Path) -> None:
    assert shared_drive.ask("PUT", "/dav/for-rclone", b"x").status == 201
    config = tmp_path / "rclone.conf"
    config.write_bytes(get(shared_drive, "/connect/rclone.conf").body.replace(b"NAME", shared_drive.user.encode()))
    rclone = [find("rclone") or "", "--config", str(config)]
    subprocess.run(
        [*rclone, "config", "password", "kelp", "pass", shared_drive.password], check=True, capture_output=True
    )
    listed = subprocess.run([*rclone, "lsf", "kelp:"], check=True, capture_output=True, text=True)
    assert "for-rclone\n" in listed.stdout


@pytest.fixture
def with_tls(served_with: Callable[..., ServedDrive], tmp_path: Path) -> ServedDrive:
    """Its key lies in the same file as the certificate, as some keep them."""
    cert, key = write_self_signed(["localhost"], tmp_path / "tls", datetime.now(UTC))
    cert.write_bytes(key.read_bytes() + cert.read_bytes())
    return served_with(server_tls_cert=str(cert), server_tls_key=str(key))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that davfs2's own user may read, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@needs("curl")
@needs("davfs2")
def test_own_certificate_is_offered_and_davfs2_mounts_with_it(with_tls: ServedDrive, public: Path) -> None:
    origin = f"https://localhost:{with_tls.port}/"
    anyone = Curl(Login(origin, "nobody", "x"), "-k")
    page = anyone("connect").stdout
    assert f"net use Z: {origin}dav /user:NAME * /persistent:yes" in commands(page)
    assert "certutil -addstore Root kelp.crt" in commands(page) and "plain http" not in page
    cert = public / "kelp.crt"
    cert.write_text(anyone("connect/kelp.crt").stdout)
    assert "PRIVATE" not in cert.read_text() and cert.read_text().count("-----BEGIN CERTIFICATE-----") == 1
    trusting = Curl(Login(f"{origin}dav/", with_tls.user, with_tls.password), "--cacert", str(cert))
    assert trusting.status("f", "-T", os.devnull) == 201

    settings = dict(
        line.split(" ", 1) for line in anyone("connect/kelp.conf").stdout.splitlines() if not line.startswith("#")
    )
    assert settings["trust_server_cert"] == "/etc/davfs2/certs/kelp.crt"
    settings["trust_server_cert"] = str(cert)  # nothing is put into /etc by a test
    login = Login(f"{origin}dav/", with_tls.user, with_tls.password)
    with davfs_mount(login, **settings) as mount:
        assert "f" in os.listdir(mount)
