"""The servers that are compared: how each is started on a port and a folder of its own, and what it cannot do.

All ask for the same name and password (Kelp always does; the peers get the cheapest kind of password file), log no
requests, and keep a connection for as many requests as a client likes. Else they are as Debian or their authors
configure them. Nothing is read from /etc but Debian's list of MIME types.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.client import PASSWORD, USER

ROOT = Path(__file__).resolve().parent.parent
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_MODULES = Path("/usr/lib")
_MIME_TYPES = Path("/etc/mime.types")
_NO_PROPPATCH = "stores no properties of clients"


@dataclass(frozen=True)
class Place:
    """Where one server lives: what it serves, what it keeps beside that, its port on 127.0.0.1."""

    folder: Path
    port: int

    @property
    def served(self) -> Path:
        return self.folder / "served"

    @property
    def own(self) -> Path:
        return self.folder / "own"

    def write(self, name: str, text: str) -> Path:
        (self.own / name).write_text(text)
        return self.own / name


class Peer:
    """A kind of server. `lacks`: methods it refuses, and why. `preloadable`: LD_PRELOAD can make it durable."""

    name: str
    mount = "/"
    lacks: Mapping[str, str] = {}
    preloadable = True
    account: str | None = None  # it drops to this account, which must be able to write what it serves

    def missing(self) -> str:
        """What is not installed here; empty when nothing is."""
        return ""

    def command(self, place: Place) -> list[str]:
        """The command that serves `place` in the foreground; its configuration is written by the way."""
        raise NotImplementedError

    def synced(self, place: Place) -> list[Path]:
        """Folders whose changes its durable variant syncs. Databases of locks and properties sync by themselves."""
        return [place.served]


class Kelp(Peer):
    name = "Kelp"
    mount = "/dav/"
    preloadable = False  # it is durable by itself

    def __init__(self, processes: int) -> None:
        self._processes = processes

    def command(self, place: Place) -> list[str]:
        places = ["--data", str(place.folder / "data"), "--nas", str(place.folder / "nas")]
        numbers = ["--port", str(place.port), "--processes", str(self._processes)]
        return [sys.executable, str(ROOT / "kelp.py"), "serve", *places, *numbers, "--log-level", "warning"]


class Apache(Peer):
    name = "Apache"
    _modules = "mpm_event authn_core authn_file authz_core authz_user auth_basic mime setenvif dav dav_fs".split()

    def __init__(self) -> None:
        self.account = "www-data" if os.geteuid() == 0 else None

    def missing(self) -> str:
        folder = _MODULES / "apache2/modules"
        return "" if _found("apache2") and (folder / "mod_dav_fs.so").exists() else "apache2-bin"

    def command(self, place: Place) -> list[str]:
        folder = _MODULES / "apache2/modules"
        lines = [f"LoadModule {name}_module {folder}/mod_{name}.so" for name in self._modules]
        if self.account:
            lines.append(f"User {self.account}\nGroup {self.account}")
        (place.own / "locks").mkdir()
        text = _APACHE.format(
            modules="\n".join(lines),
            place=place,
            types=_MIME_TYPES if _MIME_TYPES.exists() else "/dev/null",
            passwords=place.write("passwords", f"{USER}:{_sha1()}\n"),
        )
        return [_found("apache2"), "-DFOREGROUND", "-f", str(place.write("apache.conf", text))]


class Nginx(Peer):
    name = "nginx"
    lacks: Mapping[str, str] = {"PROPPATCH": _NO_PROPPATCH}
    _module = _MODULES / "nginx/modules/ngx_http_dav_ext_module.so"

    def missing(self) -> str:
        return "" if _found("nginx") and self._module.exists() else "nginx-light, libnginx-mod-http-dav-ext"

    def command(self, place: Place) -> list[str]:
        text = _NGINX.format(
            module=self._module,
            place=place,
            user="user root;" if os.geteuid() == 0 else "",
            passwords=place.write("passwords", f"{USER}:{_sha1()}\n"),
        )
        file = place.write("nginx.conf", text)
        return [_found("nginx"), "-e", str(place.own / "error.log"), "-p", str(place.own), "-c", str(file)]

    def synced(self, place: Place) -> list[Path]:
        return [place.served, place.own / "body"]  # a body comes whole into the one, and is renamed into the other


class Lighttpd(Peer):
    name = "lighttpd"
    _modules = _MODULES / "lighttpd"

    def missing(self) -> str:
        found = _found("lighttpd") and (self._modules / "mod_webdav.so").exists()
        return "" if found else "lighttpd, lighttpd-mod-webdav"

    def command(self, place: Place) -> list[str]:
        (place.own / "uploads").mkdir()
        text = _LIGHTTPD.format(place=place, passwords=place.write("passwords", f"{USER}:{PASSWORD}\n"))
        return [_found("lighttpd"), "-D", "-m", str(self._modules), "-f", str(place.write("lighttpd.conf", text))]

    def synced(self, place: Place) -> list[Path]:
        return [place.served, place.own / "uploads"]


class Rclone(Peer):
    name = "rclone"
    lacks: Mapping[str, str] = {"PROPPATCH": _NO_PROPPATCH}
    preloadable = False  # a Go program makes its system calls by itself

    def missing(self) -> str:
        return "" if _found("rclone") else "rclone"

    def command(self, place: Place) -> list[str]:
        login = ["--user", USER, "--pass", PASSWORD]
        return [_found("rclone"), "serve", "webdav", str(place.served), "--addr", f"127.0.0.1:{place.port}", *login]


class WsgiDav(Peer):
    name = "WsgiDAV"

    def command(self, place: Place) -> list[str]:
        return [sys.executable, "-m", "bench.plain_wsgidav", str(place.served), str(place.port)]


PEERS = (Apache, Nginx, Lighttpd, Rclone, WsgiDav)


def _found(program: str) -> str:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":" + _SBIN) or ""


def _sha1() -> str:
    return "{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()


# Threads and processes as in Debian's mpm_event.conf.
_APACHE = """\
ServerRoot "{place.own}"
ServerName 127.0.0.1
Listen 127.0.0.1:{place.port}
PidFile "{place.own}/pid"
ErrorLog "{place.own}/error.log"
LogLevel error
{modules}
TypesConfig "{types}"
StartServers 2
MinSpareThreads 25
MaxSpareThreads 75
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
DocumentRoot "{place.served}"
DavLockDB "{place.own}/locks/DavLock"
<Directory "{place.served}">
    Dav On
    AuthType Basic
    AuthName bench
    AuthUserFile "{passwords}"
    Require valid-user
</Directory>
"""

_NGINX = """\
load_module {module};
daemon off;
{user}
worker_processes auto;
pid "{place.own}/pid";
error_log "{place.own}/error.log" error;
events {{ worker_connections 768; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path "{place.own}/body";
    proxy_temp_path "{place.own}/proxy";
    fastcgi_temp_path "{place.own}/fastcgi";
    uwsgi_temp_path "{place.own}/uwsgi";
    scgi_temp_path "{place.own}/scgi";
    dav_ext_lock_zone zone=locks:10m;
    server {{
        listen 127.0.0.1:{place.port};
        root "{place.served}";
        auth_basic bench;
        auth_basic_user_file "{passwords}";
        location / {{
            dav_methods PUT DELETE MKCOL COPY MOVE;
            dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK;
            dav_ext_lock zone=locks;
        }}
    }}
}}
"""

_LIGHTTPD = """\
server.document-root = "{place.served}"
server.bind = "127.0.0.1"
server.port = {place.port}
server.errorlog = "{place.own}/error.log"
server.upload-dirs = ( "{place.own}/uploads" )
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 60
server.modules = ( "mod_auth", "mod_authn_file", "mod_webdav" )
webdav.activate = "enable"
webdav.sqlite-db-name = "{place.own}/webdav.db"
auth.backend = "plain"
auth.backend.plain.userfile = "{passwords}"
auth.require = ( "/" => ( "method" => "basic", "realm" => "bench", "require" => "valid-user" ) )
"""
