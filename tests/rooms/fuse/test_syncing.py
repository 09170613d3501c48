"""A sync that begins before it is asked for: it is no less than one that begins then."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace

import pytest

from tests import engines, vaults
from tests.rooms.core.drive import Drive
from tests.waiting import until
from vfs.errors import StoreUnavailable
from vfs.model import ROOT_ID, Place
from vfs.operations import folders

trio = pytest.importorskip("trio")
requests = pytest.importorskip("fuse_mount.requests")
bridge = pytest.importorskip("fuse_mount.bridge")
syncing = pytest.importorskip("fuse_mount.syncing")
threads = pytest.importorskip("fuse_mount.threads")

PATIENCE = 60.0


class Disk:
    """What `Syncing` asks of a database. Each sync waits for `free`, and fails while there are `faults`."""

    is_near = True

    def __init__(self) -> None:
        self.changes = self.synced = self.begun = 0
        self.free = threading.Event()
        self.free.set()
        self.faults: list[Exception] = []
        self._syncing = threading.Lock()

    @property
    def is_synced(self) -> bool:
        return not self._syncing.locked() and self.synced == self.changes

    def has_synced(self, changes: int) -> bool:
        return self.synced == changes

    def sync(self) -> None:
        with self._syncing:
            changes = self.changes
            self.begun += 1
            assert self.free.wait(PATIENCE)
            if self.faults:
                raise self.faults.pop()
            self.synced = changes


class Mount:
    def __init__(self, disk: Disk, *, bell: bool) -> None:
        self.disk, self.requests = disk, requests.Requests()
        self.mine, self.theirs = os.pipe()
        self.bell = bell
        threads = bridge.Bridge(2, PATIENCE, requests=self.requests)
        self.syncing = syncing.Syncing(SimpleNamespace(database=disk), threads)

    def change(self) -> None:
        self.disk.changes += 1
        self.syncing.changed()

    async def sync(self) -> None:
        """As a handler does; whatever was changed before is synced then."""
        changes = self.disk.changes
        await self.syncing.sync()
        assert self.disk.synced >= changes

    def run(self, ask: Callable[[], Awaitable[None]]) -> None:
        async def serve() -> None:
            async with self.requests.open_nursery():
                if self.bell:  # from the first request on
                    os.write(self.theirs, b"a")
                    await self.requests.wait_readable(self.mine)
                    os.read(self.mine, 1)
                    assert self.requests.bell is not None
                await ask()

        trio.run(serve)


@pytest.fixture(params=[False, True], ids="bell: {}".format)
def mount(request: pytest.FixtureRequest) -> Mount:
    return Mount(Disk(), bell=request.param)


def test_after_a_change_and_its_sync_the_next_begins_with_the_change(mount: Mount) -> None:
    async def ask() -> None:
        mount.change()
        assert mount.disk.begun == 0
        await mount.sync()
        for number in range(2, 200):
            mount.change()
            if number % 3:  # sometimes it is done before it is asked for, sometimes not
                until(partial(mount.disk.has_synced, number))
            await mount.sync()
            assert mount.disk.begun == number
        await mount.sync()  # of nothing
        assert mount.disk.begun == 199

    mount.run(ask)


def test_what_is_changed_after_it_has_begun_is_synced_too(mount: Mount) -> None:
    async def ask() -> None:
        mount.change()
        await mount.sync()
        mount.disk.free.clear()
        mount.change()
        until(lambda: mount.disk.begun == 2)
        mount.change()
        threading.Timer(0.05, mount.disk.free.set).start()
        await mount.sync()
        assert mount.disk.begun == 3
        mount.change()  # two have come before one sync: none is expected
        await trio.sleep(0.01)
        assert mount.disk.begun == 3
        await mount.sync()

    mount.run(ask)


def test_the_fault_of_one_that_has_begun_is_told_to_who_asks(mount: Mount) -> None:
    async def ask() -> None:
        mount.change()
        await mount.sync()
        mount.disk.faults.append(StoreUnavailable("away"))
        mount.change()
        until(lambda: not mount.disk.faults)
        mount.disk.sync()  # somebody else's: a disk tells its fault once
        with pytest.raises(StoreUnavailable):
            await mount.sync()
        await mount.sync()

    mount.run(ask)


def test_one_that_nobody_asks_for_is_begun_once(mount: Mount) -> None:
    async def ask() -> None:
        mount.change()
        await mount.sync()
        for _ in range(100):
            mount.change()
        await trio.sleep(0.01)
        assert mount.disk.begun <= 2
        await mount.sync()

    mount.run(ask)


def test_who_asks_beside_it_is_answered_no_sooner(mount: Mount) -> None:
    async def ask() -> None:
        mount.change()
        await mount.sync()
        mount.disk.free.clear()
        mount.change()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(mount.sync)
            await trio.sleep(0.05)
            assert mount.disk.synced == 1
            mount.disk.free.set()

    mount.run(ask)


@pytest.mark.skipif(engines.CHOSEN.database != "sqlite" or vaults.ALL, reason="a server is asked")
def test_of_a_drive(drive: Drive) -> None:
    database = drive.kelp.database

    def change(name: str) -> None:
        with database.deferring():
            folders.make_folder(drive.kelp, drive.editor, Place(ROOT_ID, name))

    early = syncing.Syncing(drive.kelp, bridge.Bridge(2, PATIENCE))

    async def ask() -> None:
        for number in range(5):
            change(str(number))
            assert not database.is_synced
            early.changed()
            await early.sync()
            assert database.is_synced

    trio.run(ask)


def test_a_bell_that_is_heard_late_is_heard(mount: Mount) -> None:
    """In all orders of the thread's end and the loop's listening: each has its answer, and no ring is left."""

    async def ask() -> None:
        some, pause = threads.Threads(1), threading.Event()
        bell = os.eventfd(0)
        for number in range(300):
            begun = some.begin(partial(int, number))
            if number % 2:
                pause.wait(number % 7 * 1e-5)
            if not begun.listen(bell) and number % 3:
                pause.wait(1e-3)
            begun.leave()
            assert await begun.wait() == number
        assert not select.select([bell], [], [], 0)[0]
        os.close(bell)

    mount.run(ask)
