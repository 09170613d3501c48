"""The command `kelp`: joins the groups of `cli/` and starts the processes of a drive.

The only module that knows several faces. `serve` lives here, since it is what puts bootstrap, jobs and the WebDAV
face together; everything else is in `cli/`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import (
    alerts,
    banner,
    cache,
    check,
    companion,
    doctor,
    dump,
    gc,
    grants,
    groups,
    keys,
    locks,
    mount,
    nas,
    nas_taking,
    policies,
    processes,
    status,
    sync,
    tls,
    tokens,
    trash,
    users,
    vault,
    vault_recovery,
    versions,
    worker,
)
from cli.address import address_for
from cli.allocator import share_arenas
from cli.display import complain
from cli.drive import load_settings, log_option, place_options, set_up_log
from cli.first_run import Login, ensure_admin
from cli.serving import end, make_private, require_free, serve_until, stop_on_signals
from vfs import bootstrap, counts, telemetry
from vfs.core import JobQueue, Kelp
from vfs.errors import ConfigurationError, KelpError
from vfs.operations import telling
from vfs.settings import Queue as QueueSettings
from vfs.settings import Settings

# Faces and jobs are imported where they are started: the import takes half a second, which is a third of what
# `kelp status` needs.
if TYPE_CHECKING:
    from cli.gc import Tell
    from dav_provider.recording import Recorder
    from dav_provider.request import WsgiApp
    from jobs.redis_queue import QueueLook
    from vfs.operations.diagnosing import Check

_log = logging.getLogger("kelp")
_INTERRUPTED = 130  # what shells expect of a command that Ctrl-C ended


def _look_at_queue(settings: QueueSettings) -> QueueLook:
    from jobs import redis_queue

    return redis_queue.look(settings)


def _check_queue(settings: Settings) -> Check:
    from jobs import diagnosing

    return diagnosing.check_queue(settings)


def _free_all(kelp: Kelp, tell: Tell) -> None:
    from jobs import batches

    batches.free_all(kelp, tell)


_GROUPS = (
    status.status,
    sync.sync,
    users.user,
    groups.group,
    grants.grant,
    tokens.token,
    locks.locks,
    trash.trash,
    versions.versions,
    check.check,
    tls.tls,
    nas.nas,
    dump.dump,
    dump.load,
    doctor.make_command(_check_queue),
    alerts.alerts,
    gc.make_command(_free_all),
    cache.cache,
    policies.policy,
    keys.keys,
    vault.vault,
    mount.umount,
)


@click.group("kelp", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kelp", message="kelp %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """A network drive: mount it by WebDAV, find every file on the NAS."""
    context.obj = _look_at_queue  # for `kelp status`


for _group in _GROUPS:
    commands.add_command(_group)


@commands.command("serve")
@click.option("--host", metavar="HOST", help="address to listen on [127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", help="port to listen on; 0 takes a free one [8080]"
)
@click.option("--processes", type=click.IntRange(1, 64), metavar="N", help="server processes that share the port [1]")
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="certificate, PEM")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="its key, PEM")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="append each exchange, anonymised")
@place_options
@log_option("info")
def serve(
    config: Path | None, data: Path | None, nas: Path | None, log_level: str, record: Path | None, **server: object
) -> None:
    """Start the drive and keep it running until Ctrl-C or SIGTERM.

    The first start on an empty data folder makes the database and the user admin.
    """
    from dav_provider.app import check_settings
    from dav_provider.recording import Recorder

    set_up_log(log_level)
    overrides = {f"server_{name}": value for name, value in server.items()}
    settings = load_settings(config, data, nas, **overrides)
    set_up_log(log_level, settings)
    share_arenas()
    if record and settings.server.processes > 1:
        raise click.UsageError("a recording is made by one process: leave --processes out")
    certificate = banner.Certificate.of(settings)
    check_settings(settings)  # wrong ones are refused before a made-up password is shown
    telemetry.check(settings)
    telling.check(settings.alerts)
    require_free(settings.server.host, settings.server.port)
    recorder = Recorder(record) if record else None
    make_private(settings.data)
    _run(settings, certificate, recorder)


def _run(settings: Settings, certificate: banner.Certificate | None, recorder: Recorder | None) -> None:
    _app_maker()  # imported before there are several processes
    if settings.server.processes > 1:
        _run_processes(settings, certificate)
        return

    def announce(kelp: Kelp, port: int) -> None:
        login = ensure_admin(kelp, os.environ)  # after the port is ours: a made-up password is shown only once
        _show_banner(settings, port, login, certificate)

    stop = threading.Event()
    stop_on_signals(stop)
    _serve(settings, stop, announce, recorder)


def _run_processes(settings: Settings, certificate: banner.Certificate | None) -> None:
    with processes.port_held(settings.server.host, settings.server.port) as port:
        settings = replace(settings, server=replace(settings.server, port=port))
        with contextlib.closing(bootstrap.build(settings)) as kelp:  # closed before the processes are forked
            login = ensure_admin(kelp, os.environ)
        processes.run(
            settings.server.processes,
            lambda stop, ready: _serve(settings, stop, lambda _kelp, _port: ready()),
            lambda: _show_banner(settings, port, login, certificate),
        )


def _app_maker() -> Callable[[Kelp, counts.Counting], WsgiApp]:
    """What makes the faces that speak HTTP."""
    from dav_provider.app import make_app
    from http_api.app import make_api

    return lambda kelp, counting: make_app(kelp, counting, make_api(kelp))


def _serve(
    settings: Settings, stop: threading.Event, opened: Callable[[Kelp, int], None], recorder: Recorder | None = None
) -> None:
    """One process of a drive until `stop`. `opened` is called with the port as soon as clients may connect."""
    from dav_provider.http_server import make_server
    from jobs import runner

    with contextlib.ExitStack() as undo:
        kelp = undo.enter_context(_drive(settings, "server"))
        counting = undo.enter_context(counts.shared(settings.data / "metrics", "server"))
        app = _app_maker()(kelp, counting)
        app = recorder.around(app) if recorder else app
        server = make_server(settings, app)
        server.open()
        undo.callback(end, server)
        opened(kelp, server.port)
        if not settings.queue.url:  # else `kelp worker` runs them
            undo.callback(runner.start(kelp).stop)
        serve_until(stop, server)


def _work(settings: Settings, stop: threading.Event, ready: Callable[[], None]) -> None:
    """One process of `kelp worker` until `stop`."""
    from jobs import numbers
    from jobs import worker as queue_worker

    with contextlib.ExitStack() as undo:
        kelp = undo.enter_context(_drive(settings, "worker"))
        counting = undo.enter_context(counts.shared(settings.data / "metrics", "worker"))
        undo.enter_context(numbers.shown(kelp, counting))
        queue_worker.run(kelp, stop, ready)


@contextlib.contextmanager
def _drive(settings: Settings, kind: str, tell: Callable[[], object] | None = None) -> Iterator[Kelp]:
    """The drive with the queue that the settings name, for a process that stays. `tell`: has the jobs run by another,
    where there is no such queue."""
    from jobs.queue import FarQueue, InProcessQueue

    with contextlib.ExitStack() as undo:
        undo.enter_context(telemetry.following(settings, kind))
        queue: JobQueue = InProcessQueue() if tell is None else FarQueue(tell)
        if settings.queue.url:
            from jobs.redis_queue import RedisQueue

            queue = undo.enter_context(contextlib.closing(RedisQueue(settings.queue)))
        yield undo.enter_context(contextlib.closing(bootstrap.build(settings, queue=queue)))


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """No process of this machine runs the drive's jobs, nor begins to before the block ends."""
    from jobs.jobs_lock import JobsLock

    with contextlib.closing(JobsLock(settings)) as lock:
        if not lock.take_alone():
            raise ConfigurationError("a server of this drive is running: stop it first")
        yield


def _mount(settings: Settings, mountpoint: Path, options: mount.MountOptions, ready: Callable[[], None]) -> None:
    """The process of `kelp mount` until it is unmounted."""
    try:
        from fuse_mount import mounting
    except ImportError as error:
        raise ConfigurationError(
            f"the drive cannot be mounted here: {error}. It needs libfuse3 (Debian: apt install fuse3 libfuse3-dev "
            "pkg-config gcc) and then pip install kelp[fuse]"
        ) from error
    from jobs import runner

    with contextlib.ExitStack() as undo:
        beside = None
        if not settings.queue.url:  # as beside any process of the drive: whoever is first runs its jobs
            beside = undo.enter_context(companion.beside(lambda hear: _run_jobs(settings, hear), options.log))
        kelp = undo.enter_context(_drive(settings, "mount", beside.ring if beside else None))
        undo.enter_context(counts.shared(settings.data / "metrics", "mount"))
        if beside is not None:
            undo.enter_context(beside.replaced(lambda: runner.start(kelp).stop))
        how = mounting.Options(
            *(options.account, options.uid, options.gid, options.umask, options.hard, options.recover),
            xattr=options.xattr,
            kernel=options.kernel,
        )
        mounting.run(kelp, mountpoint, how, ready)


def _run_jobs(settings: Settings, hear: companion.Hear) -> None:
    """The process beside a mount, until `hear` has heard the end."""
    from jobs import runner
    from jobs.queue import InProcessQueue

    with contextlib.ExitStack() as undo:
        kelp = undo.enter_context(_drive(settings, "jobs"))
        undo.enter_context(counts.shared(settings.data / "metrics", "jobs"))
        undo.callback(runner.start(kelp).stop)
        assert isinstance(kelp.queue, InProcessQueue)
        hear(kelp.queue.ring)


commands.add_command(mount.make_command(_mount))
_helper = mount.make_helper(_mount)
commands.add_command(worker.make_command(_work))
for _command in nas_taking.make_commands(_alone):
    nas.nas.add_command(_command)
for _command in (vault_recovery.recover_, vault_recovery.head):
    vault.vault.add_command(_command)


def _show_banner(settings: Settings, port: int, login: Login, certificate: banner.Certificate | None) -> None:
    facts = certificate.facts if certificate else None
    address = address_for(settings.server.host, port, facts, plain_anywhere=settings.auth.allow_plain_http)
    banner.show(settings, address, login, certificate, datetime.now(UTC))


def main() -> None:
    """Run the command line. Every ending is an exit code, and every refusal one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    code = run()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        os._exit(code)  # a request that outlived its grace; what was acknowledged is on the disk
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command, with sys.argv when no `arguments` are given; the exit code."""
    asked: click.Command = _helper if Path(sys.argv[0]).name == _helper.name else commands
    try:
        return int(asked.main(arguments, prog_name=asked.name or "kelp", standalone_mode=False) or 0)
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
