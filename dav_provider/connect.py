"""`/connect`: how to reach this drive from each client, with the address that the caller used, and files to download.

It needs no password: people read it before they have connected anything, and it tells nothing but the URL they came
by and, like every TLS handshake, the server's certificate.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from dav_provider.connect_page import CONTENT_POLICY, Reached, page
from dav_provider.request import Answer, Request, text_answer
from vfs.operations.certificate import own_root
from vfs.settings import Settings

PATH = "connect"
_METHODS = "GET, HEAD, OPTIONS"
# A name or an address with a port: what stands in it is shown, and pasted into shells.
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_GUARDS = [
    ("Cache-Control", "no-store"),  # the same URL is another page for whoever came by another name
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]


def answers(request: Request) -> bool:
    """Whether the request is for this module. OPTIONS is the same everywhere, so others answer it (R1)."""
    return request.path[:1] == (PATH,) and request.method != "OPTIONS"


def answer(settings: Settings, request: Request) -> Answer:
    """The page or one of its files."""
    if request.method not in ("GET", "HEAD"):
        return text_answer(405, f"{request.method} is not supported here", ("Allow", _METHODS))
    host = (request.header("Host") or "").strip()
    if not _HOST.fullmatch(host):
        return text_answer(400, "The request does not say, in its Host header, by which name it came here.")
    reached = Reached(_came_by_tls(request), host, own_root(settings))
    if len(request.path) == 1:
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", CONTENT_POLICY)]
        return Answer(200, [*headers, *_GUARDS], page(reached).encode())
    made = _FILES.get(request.path[1]) if len(request.path) == 2 else None
    content = made(reached) if made else None
    if content is None:
        return text_answer(404, "There is no such file here.")
    name = request.path[1]
    kind = _TYPES[name.rpartition(".")[2]]
    headers = [("Content-Type", kind), ("Content-Disposition", f'attachment; filename="{name}"')]
    return Answer(200, [*headers, *_GUARDS], content)


def _came_by_tls(request: Request) -> bool:
    """A proxy that ends TLS says so; it is believed from this machine only, which passwords in the clear are too."""
    if request.secure:
        return True
    forwarded = (request.header("X-Forwarded-Proto") or "").strip().lower()
    return forwarded == "https" and request.local


def registry(reached: Reached) -> bytes:
    """Settings of Windows' WebClient service, in the form that Registry Editor imports: UTF-16LE, BOM, CRLF."""
    level = (
        ["; 1, as Windows has it: passwords go over https only.", '"BasicAuthLevel"=dword:00000001']
        if reached.secure
        else [
            "; This server is reached by plain http, where Windows sends no password unless this is 2. Everybody on",
            "; the way can then read passwords and files, of every such server: better let Kelp use https, and set 1.",
            '"BasicAuthLevel"=dword:00000002',
        ]
    )
    lines = [
        "Windows Registry Editor Version 5.00",
        "",
        f"; For the Kelp drive {reached.url}",
        "; Then, in a command prompt opened as administrator: net stop webclient & net start webclient",
        r"[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WebClient\Parameters]",
        *level,
        "; Files up to 4294967295 bytes, the most that Windows can; without this it stops at 50000000.",
        '"FileSizeLimitInBytes"=dword:ffffffff',
        "; Listings up to 10000000 bytes, some 15000 files in a folder; without this it stops at 1000000.",
        '"FileAttributesLimitInBytes"=dword:00989680',
        "",
    ]
    return codecs.BOM_UTF16_LE + "\r\n".join(lines).encode("utf-16-le")


def rclone_config(reached: Reached) -> bytes:
    """A remote `kelp:` without its password, which `rclone config password` adds obscured."""
    return f"[kelp]\ntype = webdav\nurl = {reached.url}\nvendor = owncloud\nuser = NAME\n".encode()


def davfs_config(reached: Reached) -> bytes:
    """What davfs2 needs beyond its defaults."""
    lines = [
        f"# davfs2, for {reached.url}",
        "# With the default of 16, newer kernels (seen with Linux 6.18) get EINVAL for every listing.",
        "buf_size 256",
    ]
    if reached.own_root:
        lines.append("trust_server_cert /etc/davfs2/certs/kelp.crt")
    return ("\n".join(lines) + "\n").encode()


_FILES: dict[str, Callable[[Reached], bytes | None]] = {
    "kelp.reg": registry,
    "rclone.conf": rclone_config,
    "kelp.conf": davfs_config,
    "kelp.crt": lambda reached: reached.own_root,
}
_TYPES = {
    "reg": "text/plain; charset=utf-16",
    "conf": "text/plain; charset=utf-8",
    "crt": "application/x-x509-ca-cert",
}
