"""`kelp worker`: the processes that carry changes to the NAS where the queue is on Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import click

from cli import processes
from cli.drive import load_settings, log_option, opened, place_options, set_up_log
from cli.serving import make_private, stop_on_signals
from vfs import telemetry
from vfs.errors import ConfigurationError
from vfs.operations import telling
from vfs.settings import Settings

_log = logging.getLogger(__name__)

Work = Callable[[Settings, threading.Event, Callable[[], None]], None]  # one process; calls the last when it is ready


def make_command(work: Work) -> click.Command:
    """The command, for the module that knows the jobs."""

    @click.command("worker")
    @click.option(
        "--workers", type=click.IntRange(1, 64), metavar="N", help="processes, each at one file at a time [2]"
    )
    @place_options
    @log_option("info")
    def worker(config: Path | None, data: Path | None, nas: Path | None, log_level: str, workers: int | None) -> None:
        """Carry changes to the NAS until Ctrl-C or SIGTERM, where queue.url names a Redis.

        It may run on several machines that have the same NAS.
        """
        set_up_log(log_level)
        settings = load_settings(config, data, nas, mirror_workers=workers)
        set_up_log(log_level, settings)
        telemetry.check(settings)
        telling.check(settings.alerts)
        if not settings.queue.url:
            raise ConfigurationError("queue.url is not set: `kelp serve` runs the jobs itself, no worker is needed")
        make_private(settings.data)
        stop = threading.Event()
        stop_on_signals(stop)
        if not _drive_exists(settings, stop):
            return
        count = settings.mirror.workers
        processes.run(
            count,
            lambda stop, ready: work(settings, stop, ready),
            lambda: _log.info("%d workers carry changes to %s", count, settings.nas_root),
            kind="worker process",
        )

    return worker


def _drive_exists(settings: Settings, stop: threading.Event) -> bool:
    """Wait for it: the first `kelp serve` makes it, and services may be started in any order. False: told to stop."""
    told = False
    while not stop.wait(0.5 if told else 0.0):
        try:
            with opened(settings):  # closed before the processes are forked
                pass
            return not stop.is_set()  # the signal came meanwhile; it would be lost
        except ConfigurationError as error:
            if not str(error).startswith("there is no drive"):
                raise
            if not told:
                _log.warning("%s; waiting for it", error)
            told = True
    return False
