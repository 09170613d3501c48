"""Start and end of `kelp serve`: what is looked at before anything is made, so that a refusal leaves nothing behind,
and a stop that keeps its time."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType
from typing import Protocol

from vfs.errors import ConfigurationError

_LONGEST_STOP = 12.0  # seconds; the server's own deadlines, of which it tells, are shorter
_WHY_NOT = {
    errno.EADDRINUSE: "it is in use by another program",
    errno.EACCES: "that needs more rights; ports below 1024 belong to root",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class Server(Protocol):
    def start(self) -> None:
        """Serve until `stop`, which another thread calls."""

    def stop(self) -> None:
        """Refuse new requests, let the running ones finish. Harmless when it never started."""


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


def stop_on_signals(stop: threading.Event) -> None:
    """The first SIGTERM or SIGINT stops gracefully; after it both mean what they always do."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def serve_until(stop: threading.Event, server: Server) -> None:
    """Serve in a thread of its own, so that signals find the main thread waiting. Raises what ended the server."""
    failures: list[Exception] = []

    def run() -> None:
        try:
            server.start()
        except Exception as error:
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=run, name="http", daemon=True)
    thread.start()
    while not stop.wait(1.0):  # a signal that another thread received is handled here, but does not wake this one
        pass
    if failures:
        raise failures[0]
    end(server)


def end(server: Server) -> None:
    """Stop the server, but never wait longer than promised, whatever a client or a disk does."""
    stopping = threading.Thread(target=server.stop, name="stopping", daemon=True)
    stopping.start()
    stopping.join(_LONGEST_STOP)
