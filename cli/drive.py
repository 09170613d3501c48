"""Which drive a command works on: the options that all commands share, and the door to the core."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from vfs import bootstrap, trace
from vfs.core import Kelp
from vfs.errors import ConfigurationError, InvalidRequest, NotFound
from vfs.model import Caller, Entry, Found
from vfs.operations import access, reading
from vfs.settings import Settings

Command = Callable[..., Any]

_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


def place_options(command: Command) -> Command:
    """Add --config, --data and --nas, which say where a drive lives."""
    for option in (
        # Not click's own type, which looks whether it is there: that would wait for a NAS that hangs.
        click.option("--nas", type=Path, metavar="DIR", help="NAS folder [its folder nas]"),
        click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="data folder [./kelp-data]"),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="settings, in TOML"),
    ):
        command = option(command)
    return command


def log_option(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--log-level", type=_LEVELS, default=default, show_default=True, help="what goes to standard error"
    )


def set_up_log(level: str, settings: Settings | None = None) -> None:
    """Before the settings are read, so that their refusal can be told; and again with them."""
    trace.set_up_log(level.upper(), settings.log.format if settings else "text")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it announces its plug-ins at each start


def load_settings(config: Path | None, data: Path | None, nas: Path | None, **overrides: object) -> Settings:
    """Settings from the file, the environment and the command line. The one place that looks at the environment."""
    return Settings.load(config, os.environ, data=data, nas_root=nas, **overrides)


def on_drive(command: Command) -> Command:
    """Turn `command(kelp, …)` into one that takes the shared options and opens an existing drive."""

    @place_options
    @log_option("warning")
    @functools.wraps(command)
    def run(config: Path | None, data: Path | None, nas: Path | None, log_level: str, **rest: Any) -> Any:
        set_up_log(log_level)
        settings = load_settings(config, data, nas)
        set_up_log(log_level, settings)
        with opened(settings) as kelp, trace.under(trace.new_id("cli")):
            return command(kelp, **rest)

    return run


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Kelp]:
    """The drive of `settings`, which must exist."""
    require_drive(settings)
    kelp = bootstrap.build(settings)
    try:
        yield kelp
    finally:
        kelp.close()


def require_drive(settings: Settings) -> None:
    """A mistyped folder must not become a new, empty drive. Raises ConfigurationError."""
    database = settings.database.url
    if database.startswith("sqlite:///") and not Path(database.removeprefix("sqlite:///")).exists():
        raise ConfigurationError(f"there is no drive in {settings.data}; `kelp serve` makes one, --data names another")


def operator(kelp: Kelp) -> Caller:
    """Who acts on the command line: whoever can write the data folder is an administrator."""
    return access.system_caller(kelp, "cli")


def find(kelp: Kelp, caller: Caller, path: str) -> Found:
    """Resolve a drive path as people write it, `/Docs/a.txt` or `Docs/a.txt`. Never fails for what is missing."""
    segments = [segment for segment in path.split("/") if segment]
    if any(segment in (".", "..") for segment in segments):
        raise InvalidRequest(f"a path on the drive has no . or ..: {path}")
    return reading.resolve(kelp, caller, segments)


def entry_at(kelp: Kelp, caller: Caller, path: str) -> Entry:
    """The entry at a drive path; NotFound when there is none."""
    entry = find(kelp, caller, path).entry
    if entry is None:
        raise NotFound(f"nothing is at {path}")
    return entry
