"""Whatever is changed, by whichever process: a kept listing is what a fresh one would be."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dav_provider import listing_cache
from dav_provider.app import make_app
from dav_provider.listing_cache import ListingCache
from tests.mirror_drive import MirrorDrive
from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.model import Caller, OnConflict, Scope
from vfs.operations import locking, properties, reading, trashing

BASIC = "Basic " + base64.b64encode(b"admin:correct horse").decode()
NAMED = (
    b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><D:resourcetype/><x xmlns="urn:x"/>'
    b"<D:lockdiscovery/></D:prop></D:propfind>"
)
QUESTIONS = [(path, depth, body) for path in ("/dav/", "/dav/d/", "/dav/a") for depth in "01" for body in (b"", NAMED)]

Change = Callable[[MirrorDrive, int], object]


def ask(app: Any, path: str, depth: str, body: bytes) -> bytes:
    environ = {
        "REQUEST_METHOD": "PROPFIND",
        "PATH_INFO": path,
        "REQUEST_URI": path,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_AUTHORIZATION": BASIC,
        "HTTP_DEPTH": depth,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
    }
    said: list[str] = []
    answer = b"".join(app(environ, lambda status, headers, exc_info=None: said.append(status)))
    return said[-1].encode() + b"\n" + answer


def _lock(drive: MirrorDrive, number: int) -> None:
    locking.lock(
        drive.kelp, drive.caller, drive.entry("a").place, scope=Scope.EXCLUSIVE, infinite=False, owner="o", timeout=60
    )


def _unlock(drive: MirrorDrive, number: int) -> None:
    for lock, _ in locking.list_locks(drive.kelp, drive.caller):
        locking.break_lock(drive.kelp, drive.caller, lock.token)


def _label(path: str) -> Change:
    def change(drive: MirrorDrive, number: int) -> None:
        value = f'<x xmlns="urn:x">{number}</x>'
        properties.patch(drive.kelp, drive.caller, drive.entry(path).id, [("{urn:x}x", value)])

    return change


def _restore(drive: MirrorDrive, number: int) -> None:
    for item in trashing.list_trash(drive.kelp, drive.caller)[:1]:
        trashing.restore(drive.kelp, drive.caller, item.entry.uuid, on_conflict=OnConflict.RENAME)


CHANGES: dict[str, Change] = {
    "put": lambda drive, number: drive.put("a", b"%d" % number),
    "put in the folder": lambda drive, number: drive.put("d/in", b"%d" % number),
    "save": lambda drive, number: (drive.put("t", b"%d" % number), drive.move("t", "a", OnConflict.OVERWRITE)),
    "new": lambda drive, number: drive.put(f"d/{number}", b""),
    "rename": lambda drive, number: drive.move("d/in", "d/out", OnConflict.OVERWRITE),
    "move out": lambda drive, number: drive.move("d/in", f"out {number}"),
    "move in": lambda drive, number: drive.move("a", f"d/{number}"),
    "copy": lambda drive, number: drive.copy("a", "d/in", OnConflict.OVERWRITE),
    "copy the folder": lambda drive, number: drive.copy("d", f"copy {number}"),
    "rename the folder": lambda drive, number: (drive.move("d", "other"), drive.mkdir("d")),
    "make a folder": lambda drive, number: drive.mkdir(f"d/folder {number}"),
    "trash": lambda drive, number: drive.trash("d/in"),
    "trash the folder": lambda drive, number: drive.trash("d"),
    "restore": _restore,
    "label the file": _label("a"),
    "label the member": _label("d/in"),
    "label the folder": _label("d"),
    "set a time": lambda drive, number: properties.patch(
        drive.kelp, drive.caller, drive.entry("d/in").id, [], mtime_ns=number * 10**9
    ),
    "lock": _lock,
    "unlock": _unlock,
    "let time pass": lambda drive, number: drive.pass_time(61),
    "mirror": lambda drive, number: drive.drain(),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=10, deadline=None)
def test_what_is_kept_is_what_a_fresh_look_finds(changes: list[tuple[str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = MirrorDrive(Path(folder))
        there = MirrorDrive(Path(folder), clock=here.clock)  # another process, as far as the database can tell
        here.mkdir("d")
        here.put("a", b"a")
        here.put("d/in", b"in")
        app = make_app(here.kelp)
        for number, (name, elsewhere) in zip(itertools.count(1), changes, strict=False):
            with contextlib.suppress(KelpError, AssertionError):  # what it needs is gone: nothing changes, a case too
                CHANGES[name](there if elsewhere else here, number)
            for question in QUESTIONS:
                fresh = ask(make_app(there.kelp), *question)
                assert ask(app, *question) == fresh, (name, question)
                assert ask(app, *question) == fresh, (name, question)
        there.close()
        here.close()


def test_kept_bodies_are_bounded(tmp_path: Path) -> None:
    drive = MirrorDrive(tmp_path)
    cache = ListingCache()
    version = drive.kelp.database.version()
    for number in range(40):
        cache.keep(number, version, None, bytes(1024 * 1024))
    kept = [number for number in range(40) if cache.find(drive.kelp, drive.caller, number, 1) is not None]
    assert kept == list(range(16, 40))
    cache.keep("too large", version, None, bytes(9 * 1024 * 1024))
    assert cache.find(drive.kelp, drive.caller, "too large", 1) is None
    drive.close()


def test_a_long_listing_is_kept_while_it_is_streamed(tmp_path: Path) -> None:
    drive = MirrorDrive(tmp_path)
    with drive.kelp.database.write() as tx:
        _fill(drive.kelp, tx, 4_000)
    app = make_app(drive.kelp)
    first = ask(app, "/dav/", "1", b"")
    assert len(first) > 1024 * 1024 and ask(app, "/dav/", "1", b"") == first
    drive.put("file 00001", b"another")
    assert ask(app, "/dav/", "1", b"") == ask(make_app(drive.kelp), "/dav/", "1", b"") != first
    drive.close()


def _fill(kelp: Kelp, tx: Any, count: int) -> None:
    now = kelp.clock.now_ns()
    tx.many(
        """INSERT INTO entries (uuid, parent_id, name, name_key, kind, state, mtime_ns, shown_mtime, created_ns,
                                registered_ns, nas_desired_name, nas_desired_key, nas_status)
           VALUES (:u, 1, :n, :n, 'folder', 'ACTIVE', :t, :t, :t, :t, :n, :n, 'SYNCING')""",
        [{"u": str(n), "n": f"a folder with a name of some length {n:05d}", "t": now} for n in range(count)],
    )
    tx.changed_folders.add(1)


def test_another_entry_takes_the_name(tmp_path: Path) -> None:
    """Its versions count from one again: saving by way of a temporary file showed the former ETag for ever."""
    drive = MirrorDrive(tmp_path)
    app = make_app(drive.kelp)
    for number in range(1, 4):
        drive.put("new", bytes(number))
        drive.move("new", "a", OnConflict.OVERWRITE)
        drive.mkdir("d")
        for question in QUESTIONS:
            assert ask(app, *question) == ask(make_app(drive.kelp), *question)
        drive.trash("d")
    drive.close()


def test_what_changed_after_it_was_found_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = MirrorDrive(tmp_path)
    app = make_app(drive.kelp)
    drive.put("a", b"old")
    look = reading.listing_version

    def change_first(kelp: Kelp, caller: Caller, entry_id: int) -> reading.ListingVersion | None:
        monkeypatch.setattr(reading, "listing_version", look)
        drive.put("a", b"newer")
        return look(kelp, caller, entry_id)

    monkeypatch.setattr(reading, "listing_version", change_first)
    assert b"<D:getcontentlength>3<" in ask(app, "/dav/a", "0", b"")
    assert b"<D:getcontentlength>5<" in ask(app, "/dav/a", "0", b"")
    drive.close()


def test_what_nobody_asks_for_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_cache, "_IDLE", -1.0)
    cache = ListingCache()
    for key in ("first", "second"):
        cache.keep(key, 1, None, b"body")
    assert cache._kept == {} and cache._bytes == 0
