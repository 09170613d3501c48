"""The command `kelp`: joins the groups of `cli/` and starts the processes of a drive.

The only module that knows several faces. `serve` lives here, since it is what puts bootstrap, jobs and the WebDAV
face together; everything else is in `cli/`.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from cli import banner, check, locks, status, sync, tls, trash, users, versions
from cli.address import address_for
from cli.display import complain
from cli.drive import load_settings, log_option, place_options, set_up_log
from cli.first_run import ensure_admin
from cli.serving import make_private, require_free
from dav_provider.app import make_app
from dav_provider.http_server import HttpServer, make_server
from jobs import runner
from jobs.queue import InProcessQueue
from vfs import bootstrap
from vfs.errors import KelpError
from vfs.settings import Settings

_log = logging.getLogger("kelp")
_INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended
_GROUPS = (status.status, sync.sync, users.user, locks.locks, trash.trash, versions.versions, check.check, tls.tls)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kelp", message="kelp %(version)s")
def commands() -> None:
    """A network drive: mount it by WebDAV, find every file on the NAS."""


for _group in _GROUPS:
    commands.add_command(_group)


@commands.command("serve")
@click.option("--host", metavar="HOST", help="address to listen on [127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", help="port to listen on; 0 takes a free one [8080]"
)
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="certificate, PEM")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="its key, PEM")
@place_options
@log_option("info")
def serve(config: Path | None, data: Path | None, nas: Path | None, log_level: str, **server: object) -> None:
    """Start the drive and keep it running until Ctrl-C or SIGTERM.

    The first start on an empty data folder makes the database and the user admin.
    """
    set_up_log(log_level)
    overrides = {f"server_{name}": value for name, value in server.items()}
    settings = load_settings(config, data, nas, **overrides)
    certificate = banner.Certificate.of(settings)
    require_free(settings.server.host, settings.server.port)
    make_private(settings.data)
    _run(settings, certificate)


def _run(settings: Settings, certificate: banner.Certificate | None) -> None:
    stop = threading.Event()
    _stop_on_signals(stop)
    kelp = bootstrap.build(settings, queue=InProcessQueue())
    try:
        server = make_server(settings, make_app(kelp))
        server.open()
        login = ensure_admin(kelp, os.environ)  # after the port is ours: a made-up password is shown only once
        address = address_for(
            settings.server.host,
            server.port,
            certificate.facts if certificate else None,
            plain_anywhere=settings.auth.allow_plain_http,
        )
        jobs = runner.start(kelp)
        try:
            banner.show(settings, address, login, certificate, datetime.now(UTC))
            _serve_until(stop, server)
        finally:
            jobs.stop()
    finally:
        kelp.close()


def _stop_on_signals(stop: threading.Event) -> None:
    """The first SIGTERM or SIGINT stops gracefully; after it both mean what they always do."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _serve_until(stop: threading.Event, server: HttpServer) -> None:
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
    stop.wait()
    if not failures:
        _log.info("stopping: new requests are refused, running ones have ten seconds to finish")
        server.stop()
        thread.join()
    if failures:
        raise failures[0]


def main() -> None:
    """Run the command line. Every ending is an exit code, and every refusal one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command, with sys.argv when no `arguments` are given; the exit code."""
    try:
        return int(commands.main(arguments, prog_name="kelp", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        # click turns Ctrl-C into Abort too; a question answered with no has no cause.
        return _INTERRUPTED if isinstance(error.__cause__ or error, KeyboardInterrupt) else 1
    except KelpError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        _log.debug("unexpected", exc_info=True)
        complain(f"unexpected {type(error).__name__}: {error} (--log-level debug shows where)")
    return 1


if __name__ == "__main__":
    main()
