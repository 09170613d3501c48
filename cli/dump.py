"""`kelp dump` and `kelp load`: a whole drive as one file, as a backup or on its way to another database and cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cli.display import complain, err, printable, size_in_words
from cli.drive import load_settings, log_option, on_drive, place_options, set_up_log
from cli.serving import make_private
from vfs import bootstrap, trace
from vfs.core import Kelp
from vfs.errors import ConfigurationError, NoSpace, StoreUnavailable
from vfs.operations import dumping, loading

_BUFFER = 1024 * 1024  # bytes read or written at a time
_UNFINISHED = ".unfinished"

Write = Callable[[bytes], object]


@click.command("dump")
@click.argument("file", metavar="FILE|-")
@click.option("--only-unmirrored", is_flag=True, help="leave out the contents that the NAS holds")
@on_drive
def dump(kelp: Kelp, file: str, only_unmirrored: bool) -> None:
    """Write the whole drive into FILE, or to standard output.

    Every row (people and their password hashes, the tree, versions, trash, locks, history ...) and every content that
    a row needs, from the cache or, where that lost it, from the NAS. `kelp load` makes a drive of it. The file is a
    tar and everything in it can be read by whoever reads the file: keep it as you keep the data folder.

    As a backup it may be made while the server runs. To move to another database or cache, stop the server first:
    what is changed after the dump has begun is not in it.

    --only-unmirrored gives a small file, good for moving only: the new drive reads the rest from the same NAS.

    Exit code 1: nothing was written, or a content that a row needs is in neither cache nor NAS (it was deleted while
    the dump was made, or it was lost before); the file is whole then but for those.
    """
    with _output(file) as write, _progress() as report:
        done = dumping.dump(kelp, write, only_unmirrored=only_unmirrored, report=report)
    _tell(f"{sum(done.rows.values())} rows and {done.objects} objects, {size_in_words(done.bytes)}, are in the dump")
    if done.absent:
        are = "object is" if done.absent == 1 else "objects are"
        complain(f"{done.absent} {are} not: neither cache nor NAS has them; the log names them")
        raise click.exceptions.Exit(1)


@click.command("load")
@click.argument("file", metavar="FILE|-")
@click.option("--same-cache", is_flag=True, help="the cache is that of the drive which was dumped")
@place_options
@log_option("warning")
def load(file: str, same_cache: bool, config: Path | None, data: Path | None, nas: Path | None, log_level: str) -> None:
    """Make a new drive of the dump in FILE, or of standard input.

    Database and cache are those of the settings, of whatever kind, and must be new; the NAS is the one that the drive
    had. Everything is verified, and nobody can use the drive before all of it is there: a dump that is cut or damaged
    makes no drive. When a load was interrupted, run it again with the same dump: it goes on where it was.

    The old server must not run any more: both would write to the same NAS. With --same-cache only the database is a
    new one: what the cache holds is compared with the dump and kept.
    """
    set_up_log(log_level)
    settings = load_settings(config, data, nas)
    with _input(file) as stream, trace.under(trace.new_id("cli")):
        opened = loading.open_dump(stream)  # a wrong file makes nothing
        make_private(settings.data)
        with _advised(), bootstrap.opened_for_load(settings) as (database, cache), _progress() as report:
            done = loading.load(database, cache, opened, same_cache=same_cache, report=report)
    with contextlib.closing(bootstrap.build(settings)):  # it can be opened; a NAS that is away is told in the log
        pass
    _tell(f"the drive is there: {done.rows} rows, {done.objects} objects, {size_in_words(done.bytes)}")
    if done.absent:
        complain(f"{done.absent} of the objects were lost when the dump was made: their files cannot be read")


@contextlib.contextmanager
def _advised() -> Iterator[None]:
    """What is away or full now may not be later."""
    try:
        yield
    except (StoreUnavailable, NoSpace) as error:
        complain(f"{error}; what came stays: run it again with the same dump")
        raise click.exceptions.Exit(1) from error


def _tell(line: str) -> None:
    """On standard error, since the dump itself may go to standard output."""
    err().print(printable(line))


@contextlib.contextmanager
def _output(file: str) -> Iterator[Write]:
    """Where a dump goes. A file appears under its name when it is whole and on the disk, never before."""
    if file == "-":
        if sys.stdout.isatty():
            raise click.UsageError("a dump is not for a terminal: name a file, or pipe it")
        with open(os.dup(sys.stdout.fileno()), "wb", buffering=0) as raw:
            yield _whole_writes(raw.fileno(), "standard output")
        return
    path = Path(file)
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise click.UsageError(f"{file} is a folder")
        with path.open("wb", buffering=0) as raw:  # a tape, a named pipe
            yield _whole_writes(raw.fileno(), file)
        return
    unfinished = path.with_name(path.name + _UNFINISHED)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"another dump is being written to {file}") from error
        try:
            os.ftruncate(fd, 0)  # what a dump left that was killed
            yield _whole_writes(fd, file)
            os.fsync(fd)
            os.rename(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise
        _sync_folder(path.parent)
    finally:
        os.close(fd)


def _whole_writes(fd: int, name: str) -> Write:
    def write(run: bytes) -> None:
        rest = memoryview(run)
        try:
            while rest:
                rest = rest[os.write(fd, rest[:_BUFFER]) :]
        except OSError as error:
            error.filename = name
            raise

    return write


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _input(file: str) -> Iterator[BinaryIO]:
    if file == "-" and sys.stdin.isatty():
        raise click.UsageError("a dump does not come from a terminal: name a file, or pipe it")
    if file != "-" and not stat.S_ISDIR(os.stat(file).st_mode):
        with open(file, "rb", buffering=_BUFFER) as stream:
            yield stream
    elif file == "-":
        yield sys.stdin.buffer
    else:
        raise click.UsageError(f"{file} is a folder")


@contextlib.contextmanager
def _progress() -> Iterator[dumping.Report]:
    """Two bars on a terminal, rows and bytes; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {name: progress.add_task(name, total=None, visible=False) for name in ("rows", "bytes")}

        def report(counted: str, done: int, total: int) -> None:
            progress.update(tasks[counted], completed=done, total=total, visible=True)

        yield report
