"""What `kelp serve` makes sure of before it starts anything, so that a refusal leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from vfs.errors import ConfigurationError

_LOCK_NAME = "serve.lock"
_WHY_NOT = {
    errno.EADDRINUSE: "it is in use by another program",
    errno.EACCES: "that needs more rights; ports below 1024 belong to root",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


def require_free(host: str, port: int) -> None:
    """Bind the address for a moment. Raises ConfigurationError that says why a server could not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: no address of that name is known") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: not stopped by TIME_WAIT
        try:
            probe.bind(address)
        except OSError as error:
            reason = _WHY_NOT.get(error.errno or 0, error.strerror)
            raise ConfigurationError(f"cannot listen on {host or '*'} port {port}: {reason}") from error


@contextlib.contextmanager
def alone_on(data: Path) -> Iterator[None]:
    """Hold the data folder for this server. Raises ConfigurationError when another one serves it, or none could.

    The lock belongs to the open file, so it ends with the process, however that ends.
    """
    lock = data / _LOCK_NAME
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot use the data folder {data}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(f"another `kelp serve` is running on {data}") from error
        yield
    finally:
        os.close(descriptor)
