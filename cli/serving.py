"""What `kelp serve` makes sure of before it starts anything, so that a refusal leaves nothing behind."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from vfs.errors import ConfigurationError

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


def make_private(data: Path) -> None:
    """Make the data folder, for its owner alone: it holds everybody's files. Raises ConfigurationError."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"cannot make the data folder {data}: {error.strerror}") from error
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"cannot write to the data folder {data}: permission denied")
