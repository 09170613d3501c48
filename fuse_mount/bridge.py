"""From the kernel's calls to the core's: worker threads, patience, and the one table from errors to errnos.

pyfuse3 takes FUSEError from a handler and nothing else: any other exception ends the mount, with everybody's open
files. So each handler is an `answering` one.
"""

from __future__ import annotations

import errno
import functools
import logging
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import pyfuse3
import trio

from fuse_mount.askers import asking, is_dying
from fuse_mount.requests import Requests
from fuse_mount.threads import Call, Threads
from vfs import errors, trace
from vfs.errors import KelpError

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_LOOK = 1.0  # seconds that a call waits before somebody looks who waits for it, and between two looks
_BRIEFLY = 2.0  # seconds

# Calls that change nothing, and are many: only what they hand to a thread is told of under a trace id.
_LIGHT = frozenset({"lookup", "getattr", "open", "read", "write", "readdir", "flush", "release"})

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
    errors.CrossesVault: errno.EXDEV,  # programs copy and remove then, as between two disks
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
    errors.KeyMissing: errno.EIO,
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
    # Nothing was written, and something else has the name.
    **dict.fromkeys(((name, errors.AlreadyExists) for name in ("flush", "fsync")), errno.EBUSY),
    # The name may lead to another file by now, which was renamed over it: told this, the kernel looks it up again, and
    # answers ENOENT by itself when there is nothing.
    **dict.fromkeys(((name, errors.NotFound) for name in ("open", "getattr", "setattr", "opendir")), errno.ESTALE),
}


def errno_of(error: KelpError, handler: str = "") -> int:
    for kind in type(error).__mro__:
        found = BY_HANDLER.get((handler, kind)) or ERRNO.get(kind)
        if found:
            return found
    return errno.EIO


@dataclass(eq=False, slots=True)
class _Waiting:
    """A call that is not answered yet. `asker` as in `askers.asking`; `since` by the loop's clock."""

    scope: trio.CancelScope
    asker: int
    since: float
    is_dying: bool = False


class Bridge:
    """Runs what may wait in worker threads, at most `threads` at a time.

    `patience`: seconds after which nobody waits for a thread any longer: the call ends with EIO. `hard`: wait for as
    long as it takes, and try again while a store is away. Either way a program that is killed is answered within
    seconds (`watch`), and everybody when the mount is to end (`stop`); what a thread has begun it goes on with.
    """

    def __init__(
        self,
        threads: int,
        patience: float,
        *,
        hard: bool = False,
        inline: bool = False,
        requests: Requests | None = None,
    ) -> None:
        """`inline`: reading the database never waits, so it is not worth a thread. `requests`: is told who waits."""
        self._requests = requests or Requests()
        self._threads = Threads(threads)
        self._closing = Threads(threads)
        self._early = Threads(1)
        self._patience = patience
        self._hard = hard
        self._inline = inline
        self._waiting: set[_Waiting] = set()
        self._end = math.inf  # by the loop's clock: then nobody waits any longer

    @property
    def looks_at_once(self) -> bool:
        """Looking at the database is not worth a thread."""
        return self._inline

    async def look(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What only reads the database."""
        if self._inline:
            return action(*arguments, **options)
        return await self.work(action, *arguments, **options)

    async def work(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What may wait for a store or a commit. Raises FUSEError when it takes too long."""
        call = functools.partial(action, *arguments, **options)
        return await self._run(call, self._threads, math.inf if self._hard else self._patience, hard=self._hard)

    async def persist(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What brings a file's bytes into the stores. It takes as long as they are many; its stores have time-outs of
        their own. Such calls have threads of their own, so that they do not keep the others waiting."""
        call = functools.partial(action, *arguments, **options)
        return await self._run(call, self._closing, math.inf, hard=self._hard)

    def ahead(self, action: Callable[[], object]) -> Call:
        """Begun before anybody asks for it; who does is answered by `shortly`."""
        return self._early.begin(action)

    async def shortly(self, action: Callable[[], T], begun: Call | None = None) -> T:
        """As `persist`, of what mostly takes less than a millisecond: so long nobody else is answered, at most.

        `begun`: what `ahead` has made of `action`."""
        call = functools.partial(action)
        return await self._run(call, self._closing, math.inf, hard=self._hard, is_short=True, begun=begun)

    async def briefly(self, action: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What nobody should wait for long for, with -o hard neither. Raises FUSEError."""
        call = functools.partial(action, *arguments, **options)
        return await self._run(call, self._threads, min(self._patience, _BRIEFLY), hard=False)

    async def _run(
        self,
        call: Callable[[], T],
        threads: Threads,
        patience: float,
        *,
        hard: bool,
        is_short: bool = False,
        begun: Call | None = None,
    ) -> T:
        """`begun`: without a bell, a while ago."""
        with _work(_name_of(call)):
            bell, is_done = self._requests.bell, False
            if begun is None:
                begun = threads.begin(call, bell)
            elif bell is not None:
                is_done = begun.listen(bell)
            if bell is not None:
                if not is_done:
                    self._requests.stay(alone=is_short)
                if begun.leave() and not hard:
                    answer: T = begun.answer()
                    return answer
            return await self._wait(call, begun, threads, patience, hard=hard)

    async def _wait(self, call: Callable[[], T], begun: Call, threads: Threads, patience: float, *, hard: bool) -> T:
        now = trio.current_time()
        waiting = _Waiting(trio.CancelScope(deadline=min(now + patience, self._end)), asking.get(), now)
        self._waiting.add(waiting)
        try:
            with waiting.scope as scope, self._requests.waiting():
                answer = await self._answer(call, begun, threads, hard=hard)
        finally:
            self._waiting.discard(waiting)
        if not scope.cancelled_caught:
            return answer
        if waiting.is_dying:
            refuse(errno.EINTR)
        _log.error("%s has not come back for %.1f s: given up", _name_of(call), trio.current_time() - now)
        refuse(errno.EIO)

    async def _answer(self, call: Callable[[], T], begun: Call, threads: Threads, *, hard: bool) -> T:
        while True:
            try:
                answer: T = await begun.wait()
                return answer
            except errors.StoreUnavailable as error:
                if not hard:
                    raise
                _log.warning("waiting for %s", error)
                await trio.sleep(min(error.retry_after, 5))
                begun = threads.begin(call)

    async def watch(self) -> None:
        """For as long as there is a mount: programs that are killed must not wait for a store that is away."""
        while True:
            await trio.sleep(_LOOK)
            long_ago = trio.current_time() - _LOOK
            for waiting in list(self._waiting):
                if waiting.since < long_ago and waiting.asker and is_dying(waiting.asker):
                    waiting.is_dying = True
                    waiting.scope.cancel()

    def stop(self) -> None:
        """The mount is to end: calls under way, and those that come, have `patience` seconds from now."""
        self._end = trio.current_time() + self._patience
        for waiting in self._waiting:
            waiting.scope.deadline = min(waiting.scope.deadline, self._end)


def _name_of(call: Callable[..., object]) -> str:
    return getattr(call.func, "__name__", "a call") if isinstance(call, functools.partial) else "a call"


def answering(handler: F) -> F:
    """A handler that ends with an answer or a FUSEError, whatever happens in it; its log lines have a trace id."""
    name = handler.__name__
    is_light = name in _LIGHT

    @functools.wraps(handler)
    async def run(*arguments: Any) -> Any:
        begun = time.monotonic()
        last = arguments[-1]
        asking.set(last.pid if type(last) is pyfuse3.RequestContext else 0)
        try:
            if is_light and not trace.is_followed():
                return await handler(*arguments)
            with _work(name):
                return await handler(*arguments)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            with _work(name):
                raise pyfuse3.FUSEError(_told(error, name, time.monotonic() - begun)) from None

    return cast(F, run)


def _work(name: str) -> AbstractContextManager[None]:
    """For a call, or that what it is at already."""
    return trace.Work(trace.new_id("fuse"), "fuse", name) if trace.current() == "-" else nullcontext()


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
