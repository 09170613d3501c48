"""Where private keys come from: a file that only its owner reads, with those it has replaced beside it; or the
environment. Secrets are in no message: files are named, and what is wrong with them.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vfs.crypto import key_pairs
from vfs.crypto.key_pairs import PrivateKey
from vfs.errors import AlreadyExists, ConfigurationError, InvalidRequest
from vfs.settings import Settings, Vault

_MOST_AT_ONCE = 100  # keys that are kept within a second
_LARGEST = 1024 * 1024  # bytes of a file of keys; a device or a disk image is none


@dataclass(frozen=True, slots=True)
class Found:
    """`keys`: each once, the one in use first. `faults`: what could not be read, and why, a line each."""

    keys: tuple[PrivateKey, ...] = ()
    faults: tuple[str, ...] = ()


def server_file(settings: Settings) -> Path:
    """Where the server's key is, or shall be."""
    return settings.vault.key_file or settings.data / "keys" / "server.pem"


def find(settings: Settings) -> Found:
    """All private keys that the settings lead to. Raises nothing."""
    keys: list[PrivateKey] = []
    faults: list[str] = []
    for what, read in _sources(settings):
        try:
            keys += key_pairs.read_private(read(), passphrase_of(settings.vault))
        except (ConfigurationError, InvalidRequest) as error:
            faults.append(str(error) if isinstance(error, ConfigurationError) else f"{what}: {error}")
    return Found(tuple({key.id: key for key in keys}.values()), tuple(dict.fromkeys(faults)))


def _sources(settings: Settings) -> Iterator[tuple[str, Callable[[], bytes]]]:
    vault = settings.vault
    if vault.key:
        yield "vault.key", lambda: vault.key.replace("\\n", "\n").encode()
    if vault.key_file or not vault.key:
        file = server_file(settings)
        for each in (file, *kept(file)):
            if vault.key_file == each or _is_there(each):
                yield str(each), _reader(each)


def in_use(settings: Settings) -> PrivateKey | str:
    """The server's own key, whatever was kept beside it; else why it cannot be used, "" when there is none."""
    source = next(_sources(settings), None)
    if source is None or (not settings.vault.key and not _is_there(server_file(settings))):
        return ""
    what, read = source
    try:
        return key_pairs.read_private(read(), passphrase_of(settings.vault))[0]
    except InvalidRequest as error:
        return f"{what}: {error}"
    except ConfigurationError as error:
        return str(error)


def is_locked(settings: Settings) -> bool:
    """There is a key, and the passphrase that it needs is not in the settings. Raises nothing."""
    try:
        texts = [read() for _, read in _sources(settings)]
        return any(map(key_pairs.is_locked, texts)) and passphrase_of(settings.vault) is None
    except ConfigurationError:
        return False


def kept_by_id(settings: Settings) -> dict[str, Path]:
    """Files of keys that were replaced, by the keys' ids; those that cannot be read are left out."""
    found: dict[str, Path] = {}
    for file in kept(server_file(settings)):
        try:
            for key in key_pairs.read_private(read(file), passphrase_of(settings.vault)):
                found.setdefault(key.id, file)
        except (ConfigurationError, InvalidRequest):
            continue
    return found


def _reader(file: Path) -> Callable[[], bytes]:
    return lambda: read(file)


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a folder that we may not look into: reading tells
        return True


def kept(file: Path) -> list[Path]:
    """The keys that `file` has replaced, the newest first."""
    try:
        return sorted(file.parent.glob(f"{file.stem}-[0-9]*Z*{file.suffix}"), reverse=True)
    except OSError:
        return []


def passphrase_of(vault: Vault) -> str | None:
    """What locks the server's key. Raises ConfigurationError when its file cannot be read, or is empty."""
    if vault.passphrase_file is None:
        return vault.passphrase or None
    try:
        first = read(vault.passphrase_file).decode().splitlines()[:1]
    except UnicodeDecodeError:
        first = []
    if not first or not first[0]:
        raise ConfigurationError(f"there is no passphrase in {vault.passphrase_file}")
    return first[0]


def read(file: Path) -> bytes:
    """Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{file} is too large for a key")
    return data


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Nobody else makes or replaces the server's key meanwhile. Raises ConfigurationError."""
    folder = server_file(settings).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"cannot keep a key in {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_new(file: Path, pem: bytes) -> None:
    """Durably, readable by its owner only; whole or not at all. Raises AlreadyExists, ConfigurationError."""
    with _beside(file, pem) as fresh:
        try:
            _second_name(fresh, file)
        except FileExistsError as error:
            raise AlreadyExists(f"{file} exists already") from error


def replace(file: Path, pem: bytes, now: datetime.datetime) -> Path:
    """Put a new key in the place of the one in `file`, which is kept beside it under the time: at no instant is there
    none, and a crash loses neither. Gives the old one's file. Raises ConfigurationError."""
    with _beside(file, pem) as fresh:
        old = _keep(file, file, now)
        _sync_folder(file.parent)
        fresh.replace(file)
    return old


def write_beside(file: Path, pem: bytes, now: datetime.datetime) -> Path:
    """One more key beside the one in `file`, as if that had replaced it. Gives its file. Raises ConfigurationError."""
    with _beside(file, pem) as fresh:
        return _keep(fresh, file, now)


def _keep(source: Path, file: Path, now: datetime.datetime) -> Path:
    """A second name for `source`, with the time, beside `file`."""
    for number in range(_MOST_AT_ONCE):
        again = f".{number}" if number else ""
        name = file.with_name(f"{file.stem}-{now:%Y%m%dT%H%M%SZ}{again}{file.suffix}")
        with contextlib.suppress(FileExistsError):
            _second_name(source, name)
            return name
    raise ConfigurationError(f"too many old keys beside {file}")


@contextlib.contextmanager
def _beside(file: Path, data: bytes) -> Iterator[Path]:
    """A new file in the same folder, gone at the end unless it has become another; the folder is synced last."""
    fresh = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # of somebody who was killed: nobody knows that key
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            yield fresh
        finally:
            fresh.unlink(missing_ok=True)
            _sync_folder(file.parent)
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error


def _second_name(file: Path, name: Path) -> None:
    """Raises FileExistsError."""
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # no hard links there
        with file.open("rb") as source, name.open("xb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
