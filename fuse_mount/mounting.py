"""Mount the drive and answer the kernel until it is unmounted, or told to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyfuse3
import trio

from fuse_mount import account as accounts
from fuse_mount import recovering
from fuse_mount.account import Account
from fuse_mount.attributes import Looks
from fuse_mount.bridge import Bridge
from fuse_mount.coherence import Coherence
from fuse_mount.coming import Coming
from fuse_mount.drafts import OpenFiles
from fuse_mount.extended import ExtendedHandlers
from fuse_mount.guardian import Guardian
from fuse_mount.handlers import Handlers
from fuse_mount.inodes import Inodes
from fuse_mount.notices import Notices
from fuse_mount.requests import Requests
from vfs.core import Kelp
from vfs.errors import ConfigurationError, KelpError, NotFound
from vfs.operations import logged

_log = logging.getLogger(__name__)

_READ_AHEAD = 1024  # KiB; with the kernel's 128 a sequential read was 834 MB/s, with this 2,083

_OFTEN = 0.1  # seconds between two looks for files that were made a moment ago and have no row
_LATEST = 1.0  # seconds after which a name that was made or removed is durable, whoever syncs


@dataclass(frozen=True, slots=True)
class Options:
    """How a drive is mounted. `account`: whose rights everybody has who gets at it, None: the first admin's.

    `uid`, `gid` own what nobody has given to anybody, `umask` are the permission bits that it lacks. `hard`: wait for a
    store that is away, for as long as it takes. `recover`: make files of what a killed mount left. `xattr`: with
    extended attributes. `kernel`: for libfuse as they are.
    """

    account: str | None = None
    uid: int = 0
    gid: int = 0
    umask: int = 0o022
    hard: bool = False
    recover: bool = False
    xattr: bool = False
    kernel: tuple[str, ...] = ()


def run(kelp: Kelp, mountpoint: Path, options: Options, ready: Callable[[], None]) -> None:
    """Until it is unmounted, or SIGTERM or SIGINT come; `ready` is called when it answers.

    Raises NotFound (no such account), ConfigurationError when it cannot be mounted.
    """
    settings = kelp.settings
    account = Account(kelp, options.account)
    _look_after_drafts(kelp, account, recover=options.recover)
    inodes, notices = Inodes(), Notices()
    with contextlib.ExitStack() as undo:
        files = OpenFiles(kelp, changed=notices.content)
        undo.callback(files.close, settings.fuse.patience)
        requests, is_near = Requests(), kelp.database.is_near
        bridge = Bridge(_threads(kelp), settings.fuse.patience, hard=options.hard, inline=is_near, requests=requests)
        coherence = Coherence(kelp, inodes)
        looks = Looks(options.uid, options.gid, options.umask, settings.fuse.timeout)
        handlers = ExtendedHandlers if options.xattr else Handlers
        requests.install()
        _mount(handlers(kelp, account, looks, bridge, inodes, files), mountpoint, options)
        undo.callback(pyfuse3.close)
        guardian = Guardian()
        undo.callback(guardian.stop)
        for teller in (notices, coherence):
            teller.start()
            undo.callback(teller.stop)
        trio.run(_serve, kelp, account, coherence, bridge, files.coming, partial(_begin, mountpoint, guardian, ready))
        _log.info("%s is not mounted any more", mountpoint)


def _look_after_drafts(kelp: Kelp, account: Account, *, recover: bool) -> None:
    """What mounts that are gone have left of files that nobody had closed."""
    left = recovering.found(kelp)
    if left and not recover:
        names = ", ".join(sorted({draft.header.logged for draft in left})[:5])
        _log.warning("a mount left %d drafts (%s): `kelp mount --recover` makes files of them", len(left), names)
    for draft in left if recover else ():
        try:
            try:
                entry = recovering.recover(kelp, account.caller, draft)
            except NotFound:
                entry = recovering.without_content(kelp, account.caller, draft)
        except KelpError as error:
            why = error if draft.header.vault_id is None else type(error).__name__
            _log.error("what was written to %s stays a draft: %s", draft.header.logged, why)
        else:
            _log.warning("what was written to %s and not closed is in %s now", draft.header.logged, logged.name(entry))
    if recover:
        recovering.found(kelp)  # folders that hold no draft any more go


def _threads(kelp: Kelp) -> int:
    """More than the database has connections would only wait for each other."""
    return min(kelp.settings.fuse.threads, kelp.settings.database.connections)


def _mount(handlers: Handlers, mountpoint: Path, options: Options) -> None:
    sys.stdout.flush()
    wanted = {*pyfuse3.default_options, "fsname=kelp", "subtype=kelp", *options.kernel}
    try:
        pyfuse3.init(handlers, os.fspath(mountpoint), wanted)
    except RuntimeError as error:  # libfuse has said more on standard error
        raise ConfigurationError(f"cannot mount the drive at {mountpoint}: {error}") from error


async def _serve(
    kelp: Kelp,
    account: Account,
    coherence: Coherence,
    bridge: Bridge,
    coming: Coming,
    begin: Callable[[], Awaitable[None]],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signals, bridge)
        nursery.start_soon(bridge.watch)
        nursery.start_soon(_look_at_account, account, coherence)
        nursery.start_soon(_sync, kelp)
        nursery.start_soon(_settle, coming)
        nursery.start_soon(begin)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _begin(mountpoint: Path, guardian: Guardian, ready: Callable[[], None]) -> None:
    """What can be done only once the kernel is answered."""
    device: int = await trio.to_thread.run_sync(lambda: os.stat(mountpoint).st_dev, abandon_on_cancel=True)
    guardian.start(device)
    about = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    try:
        about.write_text(str(_READ_AHEAD))
    except OSError as error:
        _log.info("long files are read ahead less than they could be, %s: %s", about, error.strerror)
    gc.collect()
    gc.freeze()  # what is there now stays: nothing of it need be looked at again and again
    _log.info("the drive is at %s", mountpoint)
    ready()


async def _stop_on_signals(bridge: Bridge) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            bridge.stop()
            pyfuse3.terminate()
            return


async def _look_at_account(account: Account, coherence: Coherence) -> None:
    """What the kernel was told before is shown by the rights of before."""
    while True:
        await trio.sleep(accounts.EVERY)
        if await trio.to_thread.run_sync(account.look, abandon_on_cancel=True):
            coherence.forget_everything()


async def _sync(kelp: Kelp) -> None:
    """What names and attributes changed, and no close or fsync has brought to the disk (`changing`)."""
    while True:
        await trio.sleep(_LATEST)
        try:
            await trio.to_thread.run_sync(kelp.database.sync, abandon_on_cancel=True)
        except KelpError as error:
            _log.debug("later: %s", error)


async def _settle(coming: Coming) -> None:
    """Others see what is made here, though nobody closes it."""
    while True:
        if coming.needs_care:
            try:
                await trio.to_thread.run_sync(coming.look_after, abandon_on_cancel=True)
            except KelpError as error:
                _log.debug("later: %s", error)
        await trio.sleep(_OFTEN)
