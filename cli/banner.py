"""What `kelp serve` prints when it is ready: where the drive is, and lines to paste that work as it was started."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote
from urllib.parse import quote as urlquote

from rich.text import Text

from cli.address import Address, is_loopback
from cli.display import err, out
from cli.first_run import Login
from vfs.crypto.certificates import CertificateFacts, check_pair
from vfs.settings import Settings

_ENDING = "Stop with Ctrl-C. `kelp status` in another terminal shows what is on its way to the NAS."


@dataclass(frozen=True, slots=True)
class Way:
    """One way to reach the drive: `lines` are commands to paste, `note` is what people must know or do by hand."""

    title: str
    lines: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's certificate: its file and what it says."""

    file: Path
    facts: CertificateFacts

    @classmethod
    def of(cls, settings: Settings) -> Certificate | None:
        """The one that the settings name, proved usable; None without TLS. Raises ConfigurationError."""
        cert, key = settings.server.tls_cert, settings.server.tls_key
        return cls(cert.absolute(), check_pair(cert, key)) if cert and key else None


def ways_in(address: Address, user: str, certificate: Certificate | None) -> list[Way]:
    """The mount lines for each client. None of them holds the password: each client asks for it."""
    # Clients have to be told about a certificate that no authority signed; its file is the proof.
    own_root = quote(str(certificate.file)) if certificate and certificate.facts.self_signed else None
    curl_trust = f"--cacert {own_root} " if own_root else ""
    return [
        _davfs(address, own_root),
        Way("Linux, GNOME", (f"gio mount {_gvfs(address, user)}",)),
        _rclone(address, user, own_root),
        Way("curl", (f"curl {curl_trust}-u {quote(user)} -T FILE {address.url}",)),
        _cyberduck(address, user),
        _macos(address, user, own_root),
        _windows(address, user, own_root),
    ]


def _davfs(address: Address, own_root: str | None) -> Way:
    # Newer kernels (seen with Linux 6.18) ask for more of a folder at once than davfs2's default buffer of 16 KiB
    # holds; davfs2 1.6 then answers EINVAL to every listing.
    lines = (
        "sudo mkdir -p /mnt/kelp && echo buf_size 256 | sudo tee /etc/davfs2/kelp.conf",
        f"sudo mount -t davfs -o conf=/etc/davfs2/kelp.conf,uid=$(id -u),gid=$(id -g) {address.url} /mnt/kelp",
    )
    return Way("Linux, davfs2", lines, "It shows the certificate and asks whether to trust it: y" if own_root else "")


def _rclone(address: Address, user: str, own_root: str | None) -> Way:
    # `rclone obscure -` reads a pipe, but no terminal; an argument would show in `ps`.
    password = "RCLONE_WEBDAV_PASS=$(printf 'Password: ' >&2; read -rs p; printf %s \"$p\" | rclone obscure -)"
    trust = f" --ca-cert {own_root}" if own_root else ""
    line = (
        f"{password} rclone lsf :webdav: --webdav-url {address.url} --webdav-vendor owncloud"
        f" --webdav-user {quote(user)}{trust}"
    )
    return Way("rclone", (line,), "In bash or zsh. Vendor owncloud keeps times and compares checksums.")


def _gvfs(address: Address, user: str) -> str:
    return f"{'davs' if address.tls else 'dav'}://{urlquote(user)}@{address.authority}/dav/"


def _cyberduck(address: Address, user: str) -> Way:
    protocol = "WebDAV (HTTPS)" if address.tls else "WebDAV (HTTP)"
    note = f"Open Connection, {protocol}, server {address.host}, port {address.port}, path /dav/, user name {user}"
    return Way("Cyberduck", note=note)


def _macos(address: Address, user: str, own_root: str | None) -> Way:
    trust = (
        ("sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain kelp.crt",)
        if own_root
        else ()
    )
    mount = f"mkdir -p ~/Kelp && mount_webdav -i -v Kelp {address.url} ~/Kelp"
    note = f"Or in Finder: Go, Connect to Server, {address.url} as {user}."
    return Way("macOS", (*trust, mount), f"{note} Copy {own_root} there as kelp.crt first." if own_root else note)


def _windows(address: Address, user: str, own_root: str | None) -> Way:
    if not address.tls:
        return Way(
            "Windows",
            note="Not yet: Windows sends passwords only over trusted https. Run `kelp tls self-signed`, start again "
            "with --tls-cert and --tls-key, and this place will show the two lines to paste on Windows.",
        )
    trust = ("certutil -addstore Root kelp.crt",) if own_root else ()
    mount = f"net use Z: {address.scheme}://{address.authority}/dav /user:{user} *"
    note = (
        f"Copy {own_root} to the Windows machine as kelp.crt first; run certutil there as administrator, net use as "
        "yourself."
        if own_root
        else ""
    )
    return Way("Windows", (*trust, mount), note)


def warnings_for(settings: Settings, address: Address, certificate: Certificate | None, now: datetime) -> list[str]:
    """What is likely to go wrong with the way the server was started, one sentence each."""
    warnings = []
    host = settings.server.host
    if certificate is None and not is_loopback(host):
        effect = (
            "passwords cross the network in clear text"
            if settings.auth.allow_plain_http
            else "other machines are refused, since their passwords would cross the network in clear text"
        )
        warnings.append(f"listening on {host} without TLS: {effect}. `kelp tls self-signed` makes a certificate.")
    if certificate and not certificate.facts.is_for(address.host):
        warnings.append(
            f"the certificate is for {', '.join(certificate.facts.names) or 'nobody'}, not for {address.host}."
        )
    if certificate and certificate.facts.expires <= now:
        warnings.append(f"the certificate expired on {certificate.facts.expires:%Y-%m-%d}.")
    return warnings


def show(settings: Settings, address: Address, login: Login, certificate: Certificate | None, now: datetime) -> None:
    """Print the banner on standard output and warnings on standard error."""
    console = out()
    console.print(Text.assemble("Kelp is ready: ", (address.url, "bold green")))
    console.print()
    for name, value in _facts(settings, address, login):
        console.print(Text.assemble((f"  {name:<10}", "dim"), value))
    for way in ways_in(address, login.user, certificate):
        console.print()
        console.print(Text(way.title, "bold"))
        for line in way.lines:
            console.print(f"  {line}")
        if way.note:
            console.print(Text(f"  {way.note}", "dim"))
    console.print()
    console.print(Text(_ENDING, "dim"))
    sys.stdout.flush()
    for warning in warnings_for(settings, address, certificate, now):
        err().print(Text.assemble(("warning: ", "bold yellow"), warning))


def _facts(settings: Settings, address: Address, login: Login) -> list[tuple[str, str]]:
    password = [("password", login.password), ("", login.note)] if login.password else [("password", login.note)]
    facts = [("user", login.user), *password, ("NAS", str(settings.nas_root)), ("data", str(settings.data))]
    if settings.queue.url:
        facts.append(("jobs", "`kelp worker` carries changes to the NAS; none is carried while none runs"))
    facts.append(("connect", f"{address.steps_url} has the steps for each client, and files to download"))
    facts.append(("programs", f"{address.steps_url.removesuffix('/connect')}/api/docs has all that they can do"))
    if is_loopback(settings.server.host):
        facts.append(("reach", "this machine only; --host 0.0.0.0 with TLS opens it to others"))
    return facts
