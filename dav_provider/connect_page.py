"""The page at `/connect`: for each client the steps that work with this server, and its limits in a line.

docs/clients.md has the reasons and all that can be set; here are only commands. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from dav_provider.paths import MOUNT, MOUNT_HREF

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --tint: #2a7f6f; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0 0 .4rem; }
a { color: var(--tint); }
p { margin: .5rem 0; }
nav { margin: 1rem 0; }
nav a { margin-right: .8rem; white-space: nowrap; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
pre { background: #8881; border-left: 3px solid var(--tint); border-radius: 4px; padding: .6rem .8rem; margin: .4rem 0;
  overflow-x: auto; font: 14px/1.5 ui-monospace, monospace; }
.address { font-size: 1.1rem; }
.limits { color: #777; font-size: .9rem; }
.warning { border-left: 3px solid #c60; padding: .2rem .8rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Reached:
    """The server as the caller reached it: `authority` is host and port as in a URL.

    `own_root` is its certificate in PEM form, when clients know no authority that vouches for it.
    """

    secure: bool
    authority: str
    own_root: bytes | None

    @property
    def origin(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @property
    def url(self) -> str:
        return self.origin + MOUNT_HREF

    @property
    def host(self) -> str:
        return re.sub(r":[0-9]+$", "", self.authority)

    @property
    def port(self) -> str:
        return self.authority[len(self.host) + 1 :] or ("443" if self.secure else "80")

    @property
    def unc(self) -> str:
        """As Windows writes it where it takes no URL."""
        port = "" if self.port == ("443" if self.secure else "80") else f"@{self.port}"
        return rf"\\{self.host}{'@SSL' if self.secure else ''}{port}\DavWWWRoot\{MOUNT[-1]}"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, in words; lines to paste; the file to download that the words begin with."""

    words: str
    lines: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    title: str
    steps: tuple[Step, ...]
    limits: str = ""
    warning: str = ""


def page(reached: Reached) -> str:
    """The whole document."""
    clients = [make(reached) for make in _CLIENTS]
    links = "".join(f'<a href="#{_anchor(one)}">{escape(one.title)}</a>' for one in clients)
    trust = _section(_certificate(reached)) if reached.own_root else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Connect to Kelp</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head><body>\n'
        f'<h1>Connect to Kelp</h1>\n<p class="address">The drive: <b>{escape(reached.url)}</b></p>\n'
        f"<p>Write your user name where it says NAME. Each client asks for the password.</p>\n<nav>{links}</nav>\n"
        f"{trust}{''.join(map(_section, clients))}</body></html>\n"
    )


def _section(client: Client) -> str:
    warning = f'<p class="warning">{escape(client.warning)}</p>\n' if client.warning else ""
    limits = f'<p class="limits">{escape(client.limits)}</p>\n' if client.limits else ""
    steps = "".join(map(_step, client.steps))
    return f'<section id="{_anchor(client)}"><h2>{escape(client.title)}</h2>\n{warning}{steps}{limits}</section>\n'


def _step(step: Step) -> str:
    link = f'<a href="/connect/{step.file}" download>{step.file}</a> ' if step.file else ""
    lines = f"<pre>{escape(chr(10).join(step.lines))}</pre>\n" if step.lines else ""
    return f"<p>{link}{escape(step.words)}</p>\n{lines}"


def _anchor(client: Client) -> str:
    return re.sub(r"\W+", "-", client.title.lower()).strip("-")


def _certificate(reached: Reached) -> Client:
    return Client(
        "First: trust this server",
        (
            Step("is its certificate; no authority signed it. Download it.", file="kelp.crt"),
            Step(
                "Whoever can answer in this server's place can replace that file too. Compare what this prints with "
                "what it prints for the file on the server:",
                ("openssl x509 -in kelp.crt -noout -fingerprint -sha256",),
            ),
        ),
    )


def _windows(reached: Reached) -> Client:
    own = Step("In a command prompt opened as administrator:", ("certutil -addstore Root kelp.crt",))
    level = "" if reached.secure else "It also makes Windows send passwords over plain http. "
    return Client(
        "Windows",
        (
            *((own,) if reached.own_root else ()),
            Step(
                f"raises its limits. {level}Open it, then in a command prompt opened as administrator:",
                ("net stop webclient & net start webclient",),
                "kelp.reg",
            ),
            Step(
                "In an ordinary command prompt:",
                (f"net use Z: {reached.url.rstrip('/')} /user:NAME * /persistent:yes",),
            ),
            Step("Where a program takes no drive letter:", (reached.unc,)),
        ),
        "Without kelp.reg, files up to 50,000,000 bytes and folders of about 1,500 files; with it 4 GiB less a byte "
        "and about 15,000. Windows cuts uploads after 30 minutes: use rclone for bigger ones. Error 67: start the "
        "WebClient service.",
        ""
        if reached.secure
        else "This server is reached by plain http: Windows sends no password there unless it is told to, and "
        "everybody on the way can read it. Better: run `kelp tls self-signed` on the server and use https.",
    )


def _office(reached: Reached) -> Client:
    by_address = Step("Or by the address:", (f"ms-word:ofe|u|{reached.url}FILE.docx",))
    return Client(
        "Microsoft Office",
        (Step("Open from the drive letter."), *((by_address,) if reached.secure else ())),
        "By address it needs https with a trusted certificate, the host in the zone Trusted sites or Local intranet, "
        "and in recent Microsoft 365 builds a policy that allows Basic for the host.",
    )


def _macos(reached: Reached) -> Client:
    trust = "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain kelp.crt"
    return Client(
        "macOS",
        (
            *((Step("In Terminal:", (trust,)),) if reached.own_root else ()),
            Step("Finder: Go, Connect to Server, with the final slash:", (reached.url,)),
            Step("Or in Terminal:", (f"mkdir -p ~/Kelp && mount_webdav -i -v Kelp {reached.url} ~/Kelp",)),
        ),
        "macOS 15.4 and newer would wait 90 seconds before they mount when told the free space, so they are not told.",
    )


def _davfs(reached: Reached) -> Client:
    trust = "sudo install -D -m 644 kelp.crt /etc/davfs2/certs/kelp.crt"
    mount = f"sudo mount -t davfs -o conf=/etc/davfs2/kelp.conf,uid=$(id -u),gid=$(id -g) {reached.url} /mnt/kelp"
    prepare = "sudo mkdir -p /mnt/kelp && sudo install -D -m 644 kelp.conf /etc/davfs2/kelp.conf"
    return Client(
        "Linux, davfs2",
        (
            Step(
                "has its settings for this server. In a terminal, where you downloaded it:",
                (prepare, *((trust,) if reached.own_root else ()), mount),
                "kelp.conf",
            ),
        ),
        "A write goes to the server ten seconds after the file is closed, or when it is unmounted.",
    )


def _gnome_and_kde(reached: Reached) -> Client:
    scheme = "davs" if reached.secure else "dav"
    kde = f"webdav{'s' if reached.secure else ''}://NAME@{reached.authority}{MOUNT_HREF}"
    return Client(
        "Linux, GNOME and KDE",
        (
            Step("Files: Other Locations. Or in a terminal:", (f"gio mount {scheme}://NAME@{reached.authority}/dav/",)),
            Step("Dolphin, in its address line:", (kde,)),
        ),
        "GNOME never locks: of two people who save one file the last one wins; the other stays as a version.",
    )


def _rclone(reached: Reached) -> Client:
    trust = " --ca-cert kelp.crt" if reached.own_root else ""
    return Client(
        "rclone",
        (
            Step(
                "is its configuration. Write your user name in it; then, with your password for PASSWORD:",
                (
                    "rclone --config rclone.conf config password kelp pass PASSWORD",
                    f"rclone --config rclone.conf{trust} copy FOLDER kelp:FOLDER",
                    f"rclone --config rclone.conf{trust} mount kelp: /mnt/kelp --vfs-cache-mode writes",
                ),
                "rclone.conf",
            ),
        ),
        "Vendor owncloud keeps times and compares checksums; other compares sizes only.",
    )


def _apps(reached: Reached) -> Client:
    protocol = "WebDAV (HTTPS)" if reached.secure else "WebDAV (HTTP)"
    fields = f"{protocol}, server {reached.host}, port {reached.port}, path {MOUNT_HREF}, user NAME"
    winscp = f"WebDAV, encryption {'TLS/SSL Implicit' if reached.secure else 'none'}, {reached.host}, {reached.port}"
    return Client(
        "Cyberduck, Mountain Duck, WinSCP, phones",
        (
            Step("Cyberduck and Mountain Duck:", (fields,)),
            Step("WinSCP:", (f"{winscp}, directory {MOUNT_HREF}",)),
            Step("Apps on phones take the whole address, with its final slash:", (reached.url,)),
        ),
    )


_CLIENTS: tuple[Callable[[Reached], Client], ...] = (
    *(_windows, _office, _macos, _davfs),
    *(_gnome_and_kde, _rclone, _apps),
)
