"""The NAS root and the marker that proves it is ours: `{root}/.kelp/drive.json`.

An unmounted share is an empty folder, and another share may be mounted in its place. So no step is done but from
a root whose marker was read through that very descriptor: what comes later to the same path is never written to.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from vfs.errors import ConfigurationError, NasDown
from vfs.storage.beneath import Root, identity, look, open_file
from vfs.storage.faults import Faults
from vfs.storage.files import make_durably, write_all
from vfs.storage.nas_store import NasProperties, fault_of

_OWN = ".kelp"
_MARKER = "drive.json"
_UNFINISHED = "drive.json.new"
_FORMAT = 1
_HARMLESS = frozenset({"lost+found", _OWN})


class MarkedRoot:
    """The root path, what is opened there, and what was seen of its ways with names."""

    def __init__(self, path: Path, installation_id: str, properties: NasProperties) -> None:
        self._path = path
        self._installation = installation_id
        self._root: Root | None = None
        self.properties = properties

    def root(self) -> Root:
        """The verified root. Raises NasDown."""
        return self._root or self.verify()

    def verify(self) -> Root:
        """Compare marker, device and inode with what was opened; open again what was mounted anew.

        Raises NasDown; then every step does, until this succeeds again.
        """
        try:
            self._root = self._verified()
        except NasDown:
            self._root = None
            raise
        except OSError as error:
            self._root = None
            reason = errno.errorcode.get(error.errno or 0, "EIO")
            raise NasDown(f"the NAS at {self._path} is away: {error.strerror or error}", reason) from error
        return self._root

    def is_in_place(self) -> bool:
        """Whether the root path still leads to what is opened."""
        root = self._root
        try:
            return root is not None and root.identity == identity(os.stat(self._path))
        except OSError:
            return False

    def faults(self, subject: str) -> Faults:
        """For a step below the root."""
        return Faults(subject or "root", fault_of, self._gone)

    def _gone(self) -> OSError | None:
        """The root itself was deleted or unmounted."""
        return None if self.is_in_place() else OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def prepare(self, first_run: bool) -> None:
        """Claim the root on the first run, then `verify`. Raises NasDown, ConfigurationError (first run only)."""
        if first_run:
            self.claim()
        self.verify()

    def claim(self, *, whatever_it_holds: bool = False) -> None:
        """Mark a root that nobody has marked; unless `whatever_it_holds`, only an empty one, made if missing.

        Raises ConfigurationError.
        """
        try:
            self._claim(whatever_it_holds)
        except OSError as error:
            raise ConfigurationError(f"cannot use {self._path} as the NAS: {error.strerror or error}") from error

    def _verified(self) -> Root:
        root = self._root
        if root is not None and self.is_in_place():
            with suppress(OSError, NasDown):  # a stale handle of a server that came back, perhaps: the path decides
                self._check(root)
                return root
        root = Root(self._path)
        self._check(root)
        self.properties = replace(self.properties, folds_case=_folds_case(root))
        return root

    def _check(self, root: Root) -> None:
        found = _read_marker(root)
        if found is None:
            raise NasDown(f"the NAS is not mounted at {self._path}: it holds no {_OWN}/{_MARKER}", "marker")
        if found != {"installation": self._installation, "format": _FORMAT}:
            raise NasDown(f"{self._path} is not the NAS of this installation, by its {_OWN}/{_MARKER}", "marker")

    def _claim(self, whatever_it_holds: bool) -> None:
        if not whatever_it_holds:
            make_durably(self._path)
        root = Root(self._path)
        found = _read_marker(root)
        if found is None:
            strangers = [] if whatever_it_holds else _strangers(root)
            if not strangers:
                _write_marker(root, self._installation)
            found = _read_marker(root)  # another process of ours may have made it meanwhile
            if found is None:
                some = ", ".join(map(repr, strangers[:3])) + (" …" if len(strangers) > 3 else "")
                raise ConfigurationError(
                    f"the NAS root {self._path} must be an empty folder, but it holds {some}; `kelp nas adopt` makes a"
                    " drive of what is there"
                )
        if found.get("installation") != self._installation:
            raise ConfigurationError(f"the NAS root {self._path} belongs to another installation of Kelp")


class PlainRoot(MarkedRoot):
    """A root that nobody has marked, to be looked at only."""

    def _check(self, root: Root) -> None:
        return

    def _verified(self) -> Root:
        return Root(self._path)


@dataclass(frozen=True, slots=True)
class Look:
    """What is at a root path: whose it is (None: nobody's, "": nobody can tell), and whether it is empty."""

    installation: str | None
    is_empty: bool


def look_at(path: Path) -> Look:
    """Open a root and see whose it is; nothing is changed. Raises ConfigurationError when it cannot be opened."""
    try:
        root = Root(path)
        found = _read_marker(root)
        return Look(None if found is None else str(found.get("installation", "")), not _strangers(root))
    except OSError as error:
        raise ConfigurationError(f"cannot open {path}: {error.strerror or error}") from error


def _read_marker(root: Root) -> dict[str, object] | None:
    """Installation and format of the marker, None when there is none; {} for one that cannot be understood."""
    try:
        folder = root.descend((_OWN,))
    except FileNotFoundError:
        return None
    try:
        fd, _ = open_file(folder, _MARKER)
    except FileNotFoundError:
        return None
    finally:
        os.close(folder)
    try:
        document = json.loads(os.read(fd, 4096))
        return {"installation": document["installation"], "format": document["format"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    finally:
        os.close(fd)


def _write_marker(root: Root, installation: str) -> None:
    """Durably, and whole or not at all: a crash leaves at most _UNFINISHED."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"installation": installation, "made": made, "format": _FORMAT}, indent=1) + "\n"
    unfinished = f"{_UNFINISHED}{secrets.token_hex(4)}"  # several processes may start at once
    folder = root.descend((_OWN,), make=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(unfinished, flags, 0o666, dir_fd=folder)
        try:
            write_all(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(unfinished, _MARKER, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def _strangers(root: Root) -> list[str]:
    """Names that forbid to claim the root: all but what a new file system or a first run cut short leaves."""
    names = [name for name in _names(root, ()) if name not in _HARMLESS]
    with suppress(FileNotFoundError):
        names += [f"{_OWN}/{name}" for name in _names(root, (_OWN,)) if not name.startswith(_UNFINISHED)]
    return sorted(names)


def _names(root: Root, segments: tuple[str, ...]) -> list[str]:
    folder = root.descend(segments)
    try:
        return os.listdir(folder)
    finally:
        os.close(folder)


def _folds_case(root: Root) -> bool:
    """Whether the marker answers to its name in capitals too."""
    folder = root.descend((_OWN,))
    try:
        small, capital = look(folder, _MARKER), look(folder, _MARKER.upper())
    finally:
        os.close(folder)
    return small is not None and capital is not None and identity(small) == identity(capital)
