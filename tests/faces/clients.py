"""The WebDAV clients that people use, as tests drive them: each the real program."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

Run = subprocess.CompletedProcess[str]

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has LibreOffice's bridge
_PATIENCE = 240  # seconds for one run of a client
_UNHURRIED = {"connect_timeout": 60, "read_timeout": 200}  # davfs2, which gives a busy machine 10 and 30 s by itself


def find(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


_PROGRAM_OF = {"davfs2": "mount.davfs", "gvfs": "gio", "libreoffice": "soffice"}  # where it is not the client's name
_PACKAGES_OF = {
    "gvfs": "gvfs-backends, libglib2.0-bin and dbus",
    "libreoffice": "libreoffice-writer-nogui, python3-uno",
}


def why_not(client: str) -> str | None:
    """Why `client` cannot be used here, for a skip; None when it can."""
    if find(_PROGRAM_OF.get(client, client)) is None or not _rest_is_here(client):
        return f"{client} is not installed (Debian: {_PACKAGES_OF.get(client, client)})"
    if client == "davfs2" and not (os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)):
        return "a davfs2 mount needs root and /dev/fuse"
    return None


def _rest_is_here(client: str) -> bool:
    if client == "gvfs":  # gio comes with GLib, the backend for WebDAV with gvfs
        services = ("/usr/share/gvfs/mounts/dav.mount", "/usr/local/share/gvfs/mounts/dav.mount")
        return find("dbus-run-session") is not None and any(os.path.exists(service) for service in services)
    if client == "libreoffice":
        return _run([SYSTEM_PYTHON, "-c", "import uno"], ok=False).returncode == 0
    return True


def needs(client: str) -> pytest.MarkDecorator:
    """Skips a test, with the reason, where `client` is not to be had."""
    reason = why_not(client)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


@dataclass(frozen=True)
class Login:
    """Where a drive is and who comes: `url` is the mount, ending in `/`."""

    url: str
    user: str
    password: str


def _run(command: Iterable[str], *, ok: bool, **options: object) -> Run:
    done: Run = subprocess.run(list(command), capture_output=True, text=True, timeout=_PATIENCE, **options)  # type: ignore[call-overload]
    if ok:
        assert done.returncode == 0, f"{done.args}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


class Rclone:
    """rclone, with the remote `:webdav:` made of environment variables."""

    def __init__(self, login: Login, vendor: str = "owncloud") -> None:
        hidden = _run(["rclone", "obscure", "-"], ok=True, input=login.password).stdout.strip()
        self._environ = {
            "PATH": _PATH,
            "HOME": tempfile.gettempdir(),
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_WEBDAV_URL": login.url,
            "RCLONE_WEBDAV_VENDOR": vendor,
            "RCLONE_WEBDAV_USER": login.user,
            "RCLONE_WEBDAV_PASS": hidden,
            "RCLONE_WEBDAV_NEXTCLOUD_CHUNK_SIZE": "0",  # its own protocol for chunks
        }

    def __call__(self, *arguments: str, ok: bool = True) -> Run:
        """Run `rclone ARGUMENTS`. With `ok`, anything but exit code 0 is a failure of the test."""
        return _run(["rclone", *arguments], ok=ok, env=self._environ)


class Cadaver:
    """cadaver, with its commands on standard input. It always exits with 0: what it prints tells."""

    def __init__(self, login: Login, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        host = urlsplit(login.url).hostname
        netrc = home / ".netrc"
        netrc.touch(0o600)
        netrc.write_text(f'machine {host}\nlogin {login.user}\npassword "{login.password}"\n')
        self._url = login.url
        self._environ = {"PATH": _PATH, "HOME": str(home), "LC_ALL": "C", "EDITOR": ""}

    def __call__(self, *commands: str, editor: str = "", cwd: Path | None = None) -> str:
        """Run the commands; all that it printed."""
        script = "".join(f"{command}\n" for command in (*commands, "quit"))
        environ = {**self._environ, "EDITOR": editor}
        return _run(["cadaver", self._url], ok=True, input=script, env=environ, cwd=cwd).stdout


class Curl:
    """curl; `path` is below the mount and not yet encoded."""

    def __init__(self, login: Login, *always: str) -> None:
        self._login = login
        self._always = ("-sS", "-u", f"{login.user}:{login.password}", *always)

    def url(self, path: str) -> str:
        return self._login.url + quote(path)

    def __call__(self, path: str, *arguments: str, ok: bool = True) -> Run:
        return _run(["curl", *self._always, *arguments, self.url(path)], ok=ok)

    def status(self, path: str, *arguments: str) -> int:
        """The status of a request whose body does not matter."""
        return int(self(path, "-o", os.devnull, "-w", "%{http_code}", *arguments).stdout)

    def fetch(self, paths: Iterable[str], into: Path) -> None:
        """Read files, eight at a time, into the same paths below `into`."""
        lines = (f'url = "{self.url(path)}"\noutput = "{into / path}"\n' for path in paths)
        arguments = ("--fail", "--create-dirs", "--parallel", "--parallel-max", "8", "--config", "-")
        _run(["curl", *self._always, *arguments], ok=True, input="".join(lines))


class Gvfs:
    """GNOME's virtual file system: `gio` with daemons of its own on a private session bus, and no display."""

    def __init__(self, login: Login, home: Path) -> None:
        for folder in (home, home / "runtime"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        parts = urlsplit(login.url)
        self.url = (
            parts._replace(scheme="davs" if parts.scheme == "https" else "dav")
            .geturl()
            .replace("://", f"://{quote(login.user)}@", 1)
        )
        self._password = login.password
        own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "runtime"), "GVFS_DISABLE_FUSE": "1"}
        self._environ = {"PATH": _PATH, "LC_ALL": "C.UTF-8", **own}

    def __call__(self, script: str, *, ok: bool = True) -> Run:
        """Mount, run the lines of a shell script that has the drive's address as `$D`, unmount; stops at an error."""
        session = f'set -e\nprintf "%s\\n" "$P" | gio mount "$D" >&2\n{script}\ngio mount -u "$D"\n'
        environ = {**self._environ, "D": self.url, "P": self._password}
        return _run(["dbus-run-session", "--", "sh", "-c", session], ok=ok, env=environ)


@contextlib.contextmanager
def soffice(home: Path) -> Iterator[str]:
    """LibreOffice without a window; the name of the pipe on which it listens for UNO."""
    pipe = f"kelp{uuid.uuid4().hex}"
    options = ("--headless", "--norestore", "--nologo", "--nodefault", f"--accept=pipe,name={pipe};urp;")
    office = subprocess.Popen(
        [find("soffice") or "soffice", *options, f"-env:UserInstallation={home.as_uri()}"],
        env={"PATH": _PATH, "HOME": str(home), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # soffice is a script that starts the office: both have to end
    )
    try:
        yield pipe
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            office.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(office.pid, signal.SIGKILL)
        office.wait()


@contextlib.contextmanager
def davfs_mount(login: Login, **settings: object) -> Iterator[Path]:
    """A davfs2 mount of the whole drive, unmounted at the end, which uploads what it still holds.

    Its cache belongs to the user davfs2, so it must not lie below pytest's private folders. `buf_size`: newer kernels
    ask for more of a folder at once than davfs2's default buffer holds, and get EINVAL.
    """
    folder = Path(tempfile.mkdtemp(prefix="davfs-"))
    folder.chmod(0o755)
    cache, point, secrets, conf = (folder / name for name in ("cache", "mnt", "secrets", "davfs2.conf"))
    cache.mkdir()
    cache.chmod(0o777)
    point.mkdir()
    secrets.touch(0o600)
    secrets.write_text(f'{login.url} {login.user} "{login.password}"\n')
    own = {"secrets": secrets, "cache_dir": cache, "use_locks": 1, "delay_upload": 0, "buf_size": 256}
    conf.write_text("".join(f"{name} {value}\n" for name, value in {**own, **_UNHURRIED, **settings}.items()))
    try:
        mounted = _run([find("mount.davfs") or "", "-o", f"conf={conf}", login.url, str(point)], ok=False)
        if mounted.returncode and "fuse device" in mounted.stderr:
            pytest.skip(f"no mount is allowed here: {mounted.stderr.strip()}")
        assert mounted.returncode == 0, mounted.stderr
        try:
            yield point
            assert not [name for name in os.listdir(point / "lost+found") if name], "davfs2 could not upload these"
        finally:
            unmounted = _run(["umount", str(point)], ok=False)
        assert unmounted.returncode == 0, unmounted.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)
