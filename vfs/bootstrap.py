"""Where everything is joined: settings become a `Kelp`. Importing a module builds nothing, this does."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from vfs import allocation, trace
from vfs.background import Background
from vfs.core import Clock, JobQueue, Kelp, NoQueue, SystemClock
from vfs.crypto import key_files
from vfs.crypto.attempts import Attempts
from vfs.crypto.key_ring import KeyRing
from vfs.crypto.opened_lists import OpenedLists
from vfs.crypto.passwords import Passwords
from vfs.errors import ConfigurationError, NasDown, StoreUnavailable
from vfs.escrow import Allowance, Ample, Escrow, Seen
from vfs.gate import Gate
from vfs.holds import Holds, News
from vfs.metadata import taking, transfer
from vfs.metadata.database import Database
from vfs.operations import manifesting, nas_settings, sealing
from vfs.settings import Settings
from vfs.storage import nas_marker
from vfs.storage.folder import FolderObjectStore
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_store import NasProperties, NasStore
from vfs.storage.object_store import ObjectStore
from vfs.storage.retrying import RetryingObjectStore
from vfs.storage.s3 import S3ObjectStore
from vfs.storage.s3_address import S3Address, endpoint_of
from vfs.storage.small_contents import SmallContents
from vfs.storage.traced import TracedObjectStore
from vfs.token_uses import TokenUses

log = logging.getLogger(__name__)

_NAS_PATIENCE = 2.0  # seconds that a start waits for the NAS


def build(
    settings: Settings,
    *,
    queue: JobQueue | None = None,
    clock: Clock | None = None,
    cache: ObjectStore | None = None,
    nas: NasStore | None = None,
    unfinished: bool = False,
) -> Kelp:
    """Open database and stores; on the first start make them. A test may hand in wrapped stores.

    `unfinished`: for who makes rows of what the NAS holds, and has marked the drive.

    A NAS that is away is no error: the drive works and the mirror waits (spec §5).
    Raises ConfigurationError, in one line, for what cannot work.
    """
    allocation.keep_what_is_freed()
    _make_data_folder(settings)
    database = Database(
        settings.database.url, connections=settings.database.connections, timeout=settings.database.timeout
    )
    with contextlib.ExitStack() as undo:
        undo.callback(database.close)
        if not unfinished:
            _require_whole(database)
            settings = _with_what_was_set(settings, database)
        store = cache or _open_cache(settings)
        if trace.is_followed():
            store = TracedObjectStore(store)
        undo.callback(store.close)
        clock = clock or SystemClock()
        holds = Holds(partial(_publish, database, clock), settings.cache.publish, settings.cache.lease)
        undo.callback(holds.close)
        background = Background()
        undo.callback(background.close)
        keys = _open_vaults(settings, database)
        nas = nas or (_claim_nas if unfinished else _open_nas)(settings, database)
        return Kelp(
            settings=settings,
            database=database,
            cache=store,
            nas=nas,
            queue=queue or NoQueue(),
            passwords=Passwords(settings.auth.remember_seconds),
            small=SmallContents(),
            opened_lists=OpenedLists(),
            attempts=Attempts(),
            keys=keys,
            token_uses=TokenUses(),
            gate=Gate(),
            clock=clock,
            holds=holds,
            background=background,
            escrow=Escrow(),
            allowance=Allowance(),
            nas_ample=Ample(),
            within_limits=Seen(),
            close=undo.pop_all().close,
        )


def _make_data_folder(settings: Settings) -> None:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make the data folder {settings.data}: {error.strerror}") from error


def _open_vaults(settings: Settings, database: Database) -> KeyRing:
    """What the database seals and opens goes by the keys of this process; they are looked for when one is wanted."""
    keys = KeyRing(partial(key_files.find, settings))
    renew = partial(manifesting.renew, keys)
    database.open_vaults(sealing.VaultCipher(keys, settings.drive.case_sensitive, renew))
    return keys


@contextlib.contextmanager
def opened_for_load(settings: Settings) -> Iterator[tuple[Database, ObjectStore]]:
    """Database and cache of a drive that `loading.load` is to fill; the NAS is left alone until it is whole."""
    database = Database(
        settings.database.url, connections=settings.database.connections, timeout=settings.database.timeout
    )
    try:
        with contextlib.closing(_open_cache(settings)) as cache:
            yield database, cache
    finally:
        database.close()


Begin = Callable[[Database, Settings, nas_marker.Look, int], None]


@contextlib.contextmanager
def opened_for_taking(settings: Settings, begin: Begin) -> Iterator[Kelp]:
    """A drive whose rows are made of what its NAS holds: `begin` marks the database, then the NAS is claimed.

    Raises ConfigurationError, NasDown; before `begin` nothing is made or changed but an empty database.
    """
    look = nas_marker.look_at(settings.nas.root)
    with contextlib.closing(Database(settings.database.url, timeout=settings.database.timeout)) as database:
        begin(database, settings, look, SystemClock().now_ns())
    with contextlib.closing(build(settings, unfinished=True)) as kelp:
        yield kelp


def _publish(database: Database, clock: Clock, news: News) -> None:
    now = clock.now_ns()
    with database.write(quiet=True) as tx:
        tx.reading.publish(news.owner, news.held, now + int(news.lease * 1e9))
        tx.reading.release(news.owner, news.given_back)
        tx.reading.accessed(news.reads, now)


def _with_what_was_set(settings: Settings, database: Database) -> Settings:
    with database.read() as tx:
        return nas_settings.at_start(settings, tx)


def _require_whole(database: Database) -> None:
    with database.read() as tx:
        if transfer.progress(tx) is not None:
            raise ConfigurationError(
                "a dump was loaded into this database, and not to its end: run `kelp load` with the same dump again"
            )
        if (noted := taking.progress(tx)) is not None:
            raise ConfigurationError(
                f"`kelp nas {noted['how']}` of {noted['root']} has not come to its end in this drive: run it again"
            )


def _open_cache(settings: Settings) -> ObjectStore:
    cache = settings.cache
    scheme, found, _ = cache.url.partition("://")
    if not found:
        return FolderObjectStore(Path(cache.url))
    if scheme != "s3":
        raise ConfigurationError(f"cache.url must be a folder or s3://…, not {scheme}://…")
    if not (cache.access_key and cache.secret_key):
        raise ConfigurationError("a cache in S3 needs cache.access_key and cache.secret_key")
    try:
        public = endpoint_of(cache.public_endpoint) if cache.public_endpoint else None
    except ValueError as error:
        raise ConfigurationError(f"wrong value for cache.public_endpoint: {error}") from error
    store = S3ObjectStore(S3Address.parse(cache.url), cache.access_key, cache.secret_key, cache.timeout, public)
    with contextlib.ExitStack() as undo:
        undo.callback(store.close)
        try:
            store.prepare()
        except StoreUnavailable as error:
            log.warning("the cache is not there, reads and writes fail until it is: %s", error)
        undo.pop_all()
    return RetryingObjectStore(store)


def _within(seconds: float, look: Callable[[], None]) -> None:
    """A call to a NAS that hangs does not end: the drive starts without it, and whoever asks next finds out.

    Raises NasDown, and what `look` raises in time.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            look()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="kelp-nas-look", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if thread.is_alive():
        raise NasDown(f"the NAS has not answered for {seconds:g} s", "ETIMEDOUT")


def _claim_nas(settings: Settings, database: Database) -> NasStore:
    with database.read() as tx:
        installation = tx.accounts.value("id") or ""
    store = FolderNasStore(settings.nas.root, installation, NasProperties(frozenset(settings.nas.refused)))
    store.claim()
    store.verify()
    return store


def _open_nas(settings: Settings, database: Database) -> NasStore:
    with database.read() as tx:
        installation = tx.accounts.value("id") or ""
        known = tx.accounts.value("nas_properties")
    refused = frozenset(settings.nas.refused)
    folds_case = bool(json.loads(known)["folds_case"]) if known else False
    store = FolderNasStore(settings.nas.root, installation, NasProperties(refused, folds_case))
    try:
        if known is None:
            store.prepare(first_run=True)
        else:
            _within(_NAS_PATIENCE, lambda: store.prepare(first_run=False))
    except StoreUnavailable as error:
        log.warning("the NAS is not there, changes will wait for it: %s", error)
        return store
    seen = json.dumps({"folds_case": store.properties.folds_case})
    if seen != known:
        with database.write() as tx:
            tx.accounts.set_value("nas_properties", seen)
    return store
