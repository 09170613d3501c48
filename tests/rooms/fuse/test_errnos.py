"""The table from errors to errnos, and handlers that end with nothing but an answer or a FUSEError."""

from __future__ import annotations

import errno
import logging
import threading
import time

import pytest

pyfuse3 = pytest.importorskip("pyfuse3")
trio = pytest.importorskip("trio")

from fuse_mount import bridge  # noqa: E402
from fuse_mount.bridge import Bridge, answering, errno_of  # noqa: E402
from vfs import errors  # noqa: E402
from vfs.errors import KelpError  # noqa: E402


def kinds(kind: type[KelpError] = KelpError) -> list[type[KelpError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]


def test_no_error_is_forgotten() -> None:
    ours = [kind for kind in kinds() if kind.__module__ == errors.__name__]
    assert [kind.__name__ for kind in ours if kind not in bridge.ERRNO] == []
    assert all(number in errno.errorcode for number in (*bridge.ERRNO.values(), *bridge.BY_HANDLER.values()))


def test_a_class_below_is_as_its_ancestor_and_calls_have_words_of_their_own() -> None:
    class Stranger(errors.NotFound):
        pass

    assert errno_of(Stranger("x")) == errno.ENOENT
    assert errno_of(errors.WrongKind("x"), "unlink") == errno.EISDIR
    assert errno_of(errors.WrongKind("x"), "rmdir") == errno.ENOTDIR
    assert errno_of(errors.PreconditionFailed("x"), "flush") == errno.EBUSY
    assert errno_of(errors.NotFound("x"), "fsync") == errno.ESTALE


class _Handlers:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @answering
    async def lookup(self, inode: int) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NotFound("x"), errno.ENOENT),
        (errors.StoreUnavailable("x"), errno.EIO),
        (OSError(errno.ENOSPC, "x"), errno.ENOSPC),
        (OSError(errno.EBADF, "x"), errno.EIO),
        (RuntimeError("x"), errno.EIO),
        (pyfuse3.FUSEError(errno.EILSEQ), errno.EILSEQ),
    ],
    ids=repr,
)
def test_whatever_happens_the_kernel_gets_an_errno(
    error: BaseException, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> None:
        await _Handlers(error).lookup(1)

    with caplog.at_level(logging.WARNING), pytest.raises(pyfuse3.FUSEError) as caught:
        trio.run(ask)
    assert caught.value.errno == number
    assert bool(caplog.records) == (number == errno.EIO or isinstance(error, OSError))


def test_nobody_waits_longer_than_the_patience() -> None:
    go_on = threading.Event()

    async def ask() -> None:
        await Bridge(1, 0.05).work(go_on.wait, 200)

    begun = time.monotonic()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        trio.run(ask)
    go_on.set()
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - begun < 150


def test_hard_tries_again_until_the_store_is_there() -> None:
    tries: list[int] = []

    def answer() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise errors.StoreUnavailable("away", retry_after=0)
        return 5

    async def ask(hard: bool) -> int:
        return await Bridge(1, 0.05 if hard else 60, hard=hard).work(answer)

    assert trio.run(ask, True) == 5
    tries.clear()
    with pytest.raises(errors.StoreUnavailable):
        trio.run(ask, False)
