"""From the kernel's calls to the core's: worker threads, patience, and the one table from errors to errnos.

pyfuse3 takes FUSEError from a handler and nothing else: any other exception ends the mount, with everybody's open
files. So each handler is an `answering` one.
"""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import pyfuse3
import trio

from fuse_mount.threads import Threads
from vfs import errors, trace
from vfs.errors import KelpError

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])

# A class that is missing here is answered as its nearest ancestor; a test sees that none is forgotten.
ERRNO: dict[type[KelpError], int] = {
    KelpError: errno.EIO,
    errors.NotFound: errno.ENOENT,
    errors.ParentNotFound: errno.ENOENT,
    errors.Deleted: errno.ENOENT,
    errors.SessionNotFound: errno.ENOENT,
    errors.AlreadyExists: errno.EEXIST,
    errors.WrongKind: errno.EINVAL,  # but see BY_HANDLER
    errors.InvalidName: errno.EINVAL,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.InvalidRequest: errno.EINVAL,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.CircularMove: errno.EINVAL,  # rename(2): a folder into itself
    errors.InTrash: errno.ENOENT,
    errors.InUse: errno.EBUSY,  # this and the next six are never raised for a drive's caller
    errors.StillSyncing: errno.EBUSY,
    errors.ChildrenSyncing: errno.EBUSY,
    errors.FolderFailed: errno.EIO,
    errors.SessionExpired: errno.EIO,
    errors.SessionCompleted: errno.EIO,
    errors.PartsIncomplete: errno.EIO,
    errors.Locked: errno.EBUSY,
    errors.LockTokenMismatch: errno.EBUSY,
    errors.Forbidden: errno.EACCES,
    errors.AddressDenied: errno.EACCES,
    errors.LocksOut: errno.EACCES,
    errors.Unauthenticated: errno.EACCES,
    errors.TooManyAttempts: errno.EAGAIN,
    errors.PreconditionFailed: errno.ESTALE,  # the entry was another one by the time of the change
    errors.NotModified: errno.EIO,
    errors.RangeNotSatisfiable: errno.EINVAL,
    errors.NoSpace: errno.ENOSPC,
    errors.TooLarge: errno.EFBIG,
    errors.UploadIncomplete: errno.EIO,
    errors.StoreError: errno.EIO,
    errors.StoreUnavailable: errno.EIO,
    errors.Conflict: errno.EIO,
    errors.NasDown: errno.EIO,
    errors.ObjectMissing: errno.EIO,
    errors.ContentCorrupt: errno.EIO,
    errors.ContentLost: errno.EIO,
    errors.NasFault: errno.EIO,
    errors.ConfigurationError: errno.EIO,
}

# Where one call has another word for the same fact.
BY_HANDLER: dict[tuple[str, type[KelpError]], int] = {
    ("unlink", errors.WrongKind): errno.EISDIR,
    ("open", errors.WrongKind): errno.EISDIR,
    ("create", errors.WrongKind): errno.EISDIR,
    ("setattr", errors.WrongKind): errno.EISDIR,
    ("rmdir", errors.WrongKind): errno.ENOTDIR,
    ("rename", errors.WrongKind): errno.ENOTDIR,
    ("opendir", errors.WrongKind): errno.ENOTDIR,
    ("readdir", errors.WrongKind): errno.ENOTDIR,
    ("setxattr", errors.InvalidRequest): errno.ENOSPC,  # more than an entry can have
    # What was written is beside the file: somebody else has changed it, or removed it.
    **dict.fromkeys(((name, errors.PreconditionFailed) for name in ("flush", "fsync", "setattr")), errno.EBUSY),
    **dict.fromkeys(((name, errors.NotFound) for name in ("flush", "fsync")), errno.ESTALE),
}


def errno_of(error: KelpError, handler: str = "") -> int:
    for kind in type(error).__mro__:
        found = BY_HANDLER.get((handler, kind)) or ERRNO.get(kind)
        if found:
            return found
    return errno.EIO


class Bridge:
    """Runs what may wait in worker threads, at most `threads` at a time.

    `patience`: seconds after which nobody waits for a thread any longer: the call ends with EIO, since who waits for
    the kernel cannot even be killed. `hard`: wait for as long as it takes, and try again while a store is away.
    """

    def __init__(self, threads: int, patience: float, *, hard: bool = False, inline: bool = False) -> None:
        """`inline`: reading the database never waits, so it is not worth a thread."""
        self._threads = Threads(threads)
        self._closing = Threads(threads)
        self._patience = patience
        self._hard = hard
        self._inline = inline

    async def look(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What only reads the database."""
        if self._inline:
            return action(*arguments, **options)
        return await self.work(action, *arguments, **options)

    async def work(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What may wait for a store or a commit. Raises FUSEError when it takes too long."""
        call = functools.partial(action, *arguments, **options)
        try:
            with trio.fail_after(float("inf") if self._hard else self._patience):
                return await self._run(call, self._threads)
        except trio.TooSlowError:
            name = getattr(action, "__name__", "a call")
            _log.error("%s has not come back for %g s: given up", name, self._patience)
            raise pyfuse3.FUSEError(errno.EIO) from None

    async def persist(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What brings a file's bytes into the stores. It takes as long as they are many; its stores have time-outs of
        their own. Such calls have threads of their own, so that they do not keep the others waiting."""
        return await self._run(functools.partial(action, *arguments, **options), self._closing)

    async def _run(self, call: Callable[[], T], threads: Threads) -> T:
        while True:
            try:
                answer: T = await threads.run(call)
                return answer
            except errors.StoreUnavailable as error:
                if not self._hard:
                    raise
                _log.warning("waiting for %s", error)
                await trio.sleep(min(error.retry_after, 5))


def answering(handler: F) -> F:
    """A handler that ends with an answer or a FUSEError, whatever happens in it; its log lines have a trace id."""
    name = handler.__name__

    @functools.wraps(handler)
    async def run(*arguments: Any) -> Any:
        with trace.Work(trace.new_id("fuse"), "fuse", name):
            begun = time.monotonic()
            try:
                return await handler(*arguments)
            except pyfuse3.FUSEError:
                raise
            except Exception as error:
                raise pyfuse3.FUSEError(_told(error, name, time.monotonic() - begun)) from None

    return cast(F, run)


def _told(error: Exception, handler: str, seconds: float) -> int:
    """The errno for it; what somebody has to look into is in the log."""
    if isinstance(error, KelpError):
        number = errno_of(error, handler)
        if number == errno.EIO:
            _log.error("%s after %.1f s: %s: %s", handler, seconds, type(error).__name__, error)
        return number
    _log.exception("%s", handler)
    return errno.ENOSPC if isinstance(error, OSError) and error.errno == errno.ENOSPC else errno.EIO


def decoded(name: bytes) -> str:
    """A name as the drive has it. Raises FUSEError (EILSEQ) for what is not UTF-8: no other face could show it."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise pyfuse3.FUSEError(errno.EILSEQ) from None


def refuse(number: int) -> NoReturn:
    """Raises FUSEError."""
    raise pyfuse3.FUSEError(number)
