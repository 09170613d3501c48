"""What `kelp serve` tells people to paste, and the certificate behind it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.address import Address, address_for
from cli.banner import Certificate, show, warnings_for, ways_in
from cli.display import duration_in_words, printable, size_in_words
from cli.first_run import Login
from vfs.crypto.certificates import CertificateFacts, check_pair, make_self_signed, read_facts, write_self_signed
from vfs.errors import AlreadyExists, ConfigurationError, InvalidRequest
from vfs.settings import Settings

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def facts(*names: str, self_signed: bool = True) -> CertificateFacts:
    return CertificateFacts(names, self_signed, NOW + timedelta(days=1))


def text_of(address: Address, tls: Certificate | None, title: str) -> str:
    way = next(way for way in ways_in(address, "admin", tls) if way.title.startswith(title))
    return "\n".join((*way.lines, way.note))


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (Address("127.0.0.1", 8080, False), "http://127.0.0.1:8080/dav/"),
        (Address("drive.example", 443, True), "https://drive.example/dav/"),
        (Address("drive.example", 80, True), "https://drive.example:80/dav/"),
        (Address("::1", 8443, True), "https://[::1]:8443/dav/"),
    ],
)
def test_url(address: Address, url: str) -> None:
    assert address.url == url


def test_address_prefers_a_name_that_the_certificate_holds() -> None:
    assert address_for("127.0.0.1", 1, facts("localhost")).host == "localhost"
    assert address_for("127.0.0.1", 1, facts("127.0.0.1", "localhost")).host == "127.0.0.1"
    assert address_for("0.0.0.0", 1, facts("localhost", "drive.example")).host == "drive.example"
    assert address_for("drive.example", 1, facts("other.example")).host == "drive.example"


def test_wildcard_never_ends_up_in_a_mount_line() -> None:
    for bound in ("0.0.0.0", "::", ""):
        assert address_for(bound, 8080, None).host == "127.0.0.1"  # plain http: passwords from this machine only
        assert address_for(bound, 8080, None, plain_anywhere=True).host not in ("0.0.0.0", "::", "")


def test_the_banner_names_the_page_with_the_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.load(data=tmp_path)
    show(settings, Address("drive.example", 8443, True), Login("admin", "", "as before"), None, NOW)
    assert "https://drive.example:8443/connect has the steps" in capsys.readouterr().out


def test_windows_gets_no_line_that_fails_without_tls() -> None:
    text = text_of(Address("127.0.0.1", 8080, False), None, "Windows")
    assert "net use" not in text
    assert "kelp tls self-signed" in text


def test_windows_with_own_certificate_imports_it_first() -> None:
    tls = Certificate(Path("/srv/kelp.crt"), facts("drive.example"))
    text = text_of(Address("drive.example", 8443, True), tls, "Windows")
    assert text.index("certutil -addstore Root kelp.crt") < text.index(
        "net use Z: https://drive.example:8443/dav /user:admin *"
    )


def test_certificate_of_an_authority_needs_no_import() -> None:
    tls = Certificate(Path("/srv/kelp.crt"), facts("drive.example", self_signed=False))
    address = Address("drive.example", 443, True)
    everything = "\n".join(text_of(address, tls, title) for title in ("Windows", "macOS", "rclone", "curl", "Linux"))
    assert "kelp.crt" not in everything
    assert "net use Z: https://drive.example/dav /user:admin *" in everything


def test_paths_and_names_are_quoted_for_the_shell() -> None:
    tls = Certificate(Path("/my drive/kelp.crt"), facts("drive.example"))
    address = Address("drive.example", 443, True)
    assert "--cacert '/my drive/kelp.crt' " in text_of(address, tls, "curl")
    assert "--ca-cert '/my drive/kelp.crt'" in text_of(address, tls, "rclone")


def test_warnings() -> None:
    opened = Settings.load(server_host="0.0.0.0")
    lan = Address("192.168.0.2", 8080, False)
    assert "without TLS" in warnings_for(opened, lan, None, NOW)[0]
    assert (
        "clear text"
        in warnings_for(Settings.load(server_host="0.0.0.0", auth_allow_plain_http=True), lan, None, NOW)[0]
    )
    assert warnings_for(Settings.load(), Address("127.0.0.1", 8080, False), None, NOW) == []
    old = Certificate(Path("c"), CertificateFacts(("other.example",), True, NOW - timedelta(days=1)))
    wrong = warnings_for(opened, Address("drive.example", 443, True), old, NOW)
    assert ["other.example" in wrong[0], "expired" in wrong[1]] == [True, True]


def test_words() -> None:
    assert [size_in_words(n) for n in (0, 1023, 1024, 1536, 20 * 2**20, 5 * 2**40)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "20 MiB", "5.0 TiB",
    ]  # fmt: skip
    assert [duration_in_words(s) for s in (-1, 0, 90, 200, 9000, 400_000)] == [
        "0 s",
        "0 s",
        "90 s",
        "3 min",
        "2 h",
        "5 days",
    ]
    assert printable("a\x1b[31m\nb\u202ec é 😀") == "a\ufffd[31m\ufffdb\ufffdc é 😀"


def test_self_signed_certificate_works_with_its_own_file_as_root(tmp_path: Path) -> None:
    cert, key = write_self_signed(["drive.example", "127.0.0.1", "::1"], tmp_path / "tls", datetime.now(UTC))
    told = check_pair(cert, key)
    assert told.names == ("drive.example", "127.0.0.1", "::1")
    assert told.self_signed
    assert key.stat().st_mode & 0o077 == 0
    assert _handshake(cert, key, "drive.example") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(cert, key, "other.example")


def _handshake(cert: Path, key: Path, host: str) -> str | None:
    """Client and server in one process, over memory; returns the protocol they agreed on."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key)
    client_context = ssl.create_default_context(cafile=str(cert))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    open_sides = [client, server]
    while open_sides:
        for side in tuple(open_sides):
            try:
                side.do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                pass
    return client.version()


def test_openssl_agrees(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    cert, _ = write_self_signed(["drive.example"], tmp_path, datetime.now(UTC))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(cert), str(cert)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0


def test_certificate_is_not_replaced_unasked(tmp_path: Path) -> None:
    cert, _ = write_self_signed(["a.example"], tmp_path, NOW)
    with pytest.raises(AlreadyExists, match="--force"):
        write_self_signed(["b.example"], tmp_path, NOW)
    write_self_signed(["b.example"], tmp_path, NOW, replace=True)
    assert read_facts(cert).names == ("b.example",)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kelp.crt", "kelp.key"]


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "drive..example", "-a.example", "é.example", "x" * 64, "a." * 127 + "a"]
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(InvalidRequest, match="not a host name"):
        make_self_signed([host], NOW)


def test_certificates_that_cannot_serve(tmp_path: Path) -> None:
    cert, key = write_self_signed(["a.example"], tmp_path / "a", NOW)
    _, other_key = write_self_signed(["a.example"], tmp_path / "b", NOW)
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="does not belong"):
        check_pair(cert, other_key)
    with pytest.raises(ConfigurationError, match="not a certificate"):
        check_pair(junk, key)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        check_pair(cert, junk)
    with pytest.raises(ConfigurationError, match="cannot read the certificate"):
        check_pair(tmp_path / "absent.crt", key)
    with pytest.raises(ConfigurationError, match="cannot read the key"):
        check_pair(cert, tmp_path / "absent.key")


def test_wildcard_names_cover_one_label() -> None:
    wild = facts("*.example.org")
    assert wild.is_for("drive.example.org")
    assert not wild.is_for("example.org")
    assert not wild.is_for("a.b.example.org")
