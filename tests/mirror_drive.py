"""A drive for tests of the mirror: real database, cache and NAS folder, a clock that is an input, drains by hand."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs import mirror
from jobs.queue import InProcessQueue
from tests import engines, new_drive
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Caller, Entry, OnConflict, Outcome, Place, Role
from vfs.operations import (
    access,
    backlog,
    checking,
    copying,
    folders,
    mirroring,
    moving,
    reading,
    restoring,
    trashing,
    versioning,
    writing,
)

SECOND = 1_000_000_000
STAMP = re.compile(r"^\d{14}__")
CHANGING = (
    *("write", "write_together", "move", "place_together", "link", "remove", "remove_together", "remove_folder"),
    *("make_folder", "touch", "sync"),
)
Tree = dict[str, bytes | None]  # path → content, None for a folder


class TestClock:
    """Stands still but for a microsecond at each look, so that no two changes have one time."""

    __test__ = False

    def __init__(self, start: int = 1_800_000_000) -> None:
        self._now = start * SECOND
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        with self._lock:
            self._now += 1_000
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += int(seconds * SECOND)


class Killed(BaseException):
    """The process dies here: nothing in Kelp may catch it."""


class StagedNas:
    """A NasStore around another: `before` and `after` see each call (method, arguments), and may wait or raise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.before: Callable[[str, tuple[Any, ...]], None] = lambda method, arguments: None
        self.after: Callable[[str, tuple[Any, ...]], None] = lambda method, arguments: None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value) or name.startswith("on_"):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self.before(name, arguments)
            result = value(*arguments, **options)
            self.after(name, arguments)
            return result

        return call

    def calm(self) -> None:
        """No more surprises."""
        self.before = self.after = lambda method, arguments: None


class Pause:
    """Stops a thread inside the first NAS call that `wanted` picks, until `resume`."""

    def __init__(self, wanted: Callable[[str, tuple[Any, ...]], bool]) -> None:
        self._wanted = wanted
        self._reached, self._resumed = threading.Event(), threading.Event()

    def __call__(self, method: str, arguments: tuple[Any, ...]) -> None:
        if not self._reached.is_set() and self._wanted(method, arguments):
            self._reached.set()
            assert self._resumed.wait(30), "the test forgot to resume"

    def wait(self) -> None:
        assert self._reached.wait(30), "the awaited NAS call never came"

    def resume(self) -> None:
        self._resumed.set()


class MirrorDrive:
    """`kelp` with `clock`, and the drive by paths ("a/b") for one caller; `nas` stands between Kelp and the folder."""

    def __init__(self, folder: Path, *, clock: TestClock | None = None, face: str = "dav", **overrides: object) -> None:
        if not {"database_url", "nas_root"} & overrides.keys():
            new_drive.put_into(folder)
        self.settings = engines.load(folder / "data", **{"nas_root": folder / "nas", **overrides})
        self.root = self.settings.nas_root
        self.clock = clock or TestClock()
        kelp = build(self.settings, queue=InProcessQueue(), clock=self.clock)
        self.nas = StagedNas(kelp.nas)
        self.kelp: Kelp = replace(kelp, nas=self.nas)  # type: ignore[arg-type]
        if not access.has_users(self.kelp):
            new_drive.invite(self.kelp, "admin", Role.ADMIN)
        self.caller: Caller = access.system_caller(self.kelp, face)

    def close(self) -> None:
        self.kelp.close()

    # --- the drive ---

    def place(self, path: str) -> Place:
        *above, name = path.split("/")
        folder = reading.resolve(self.kelp, self.caller, above).entry
        assert folder is not None, f"no folder for {path}"
        return Place(folder.id, name)

    def entry(self, path: str) -> Entry:
        found = reading.resolve(self.kelp, self.caller, path.split("/") if path else []).entry
        assert found is not None, f"no {path}"
        return found

    def put(self, path: str, content: bytes = b"content", **options: Any) -> Entry:
        return writing.put_file(self.kelp, self.caller, self.place(path), [content], **options).entry

    def mkdir(self, path: str) -> Entry:
        return folders.make_folder(self.kelp, self.caller, self.place(path))

    def move(self, source: str, target: str, on_conflict: OnConflict = OnConflict.ERROR) -> Outcome:
        return moving.move(self.kelp, self.caller, self.place(source), self.place(target), on_conflict=on_conflict)

    def copy(self, source: str, target: str, on_conflict: OnConflict = OnConflict.ERROR) -> Outcome:
        return copying.copy(self.kelp, self.caller, self.place(source), self.place(target), on_conflict=on_conflict)

    def remove(self, path: str) -> None:
        trashing.remove(self.kelp, self.caller, self.place(path))

    def trash(self, path: str) -> str:
        """Remove something that goes to the trash whatever its age; its UUID."""
        uuid = self.entry(path).uuid
        trashing.remove(self.kelp, replace(self.caller, face="rest"), self.place(path))
        return uuid

    def restore(self, uuid: str) -> Entry:
        return trashing.restore(self.kelp, self.caller, uuid)

    def purge(self, uuid: str) -> None:
        trashing.purge(self.kelp, self.caller, uuid)

    def read(self, path: str) -> bytes:
        return b"".join(reading.open_content(self.kelp, self.caller, self.entry(path)).chunks())

    def versions(self, path: str) -> list[bytes]:
        """Older contents, newest first."""
        kept = versioning.list_versions(self.kelp, self.caller, self.entry(path).id)
        return [b"".join(versioning.open_version(self.kelp, self.caller, one.uuid).chunks()) for one in kept]

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- the mirror ---

    def drain(self, owner: str = "worker") -> int:
        return mirror.drain(self.kelp, owner)

    def settle_down(self, owner: str = "worker", rounds: int = 60) -> None:
        """Drain until nothing waits but litter that is not due and retries that are; time passes in small steps."""
        for _ in range(rounds):
            mirroring.sweep(self.kelp)
            self.drain(owner)
            with self.kelp.database.read() as tx:
                # What was put off for a moment, because something was in its way, is not what waits.
                waiting, _ = tx.events.open_upto(tx.events.last_id(), self.clock.now_ns() + SECOND)
            if not waiting:
                return
            self.clock.advance(0.3)
        raise AssertionError(f"the mirror does not come to rest: {self.events('PENDING') + self.events('PROCESSING')}")

    def die(self) -> None:
        """What a new process does first after the old one died."""
        self.nas.calm()
        mirroring.expire_all(self.kelp)

    def events(self, status: str | None = None) -> list[tuple[str, str, int]]:
        """(type, status, retries), newest first."""
        return [(e.event_type, e.status, e.retry_count) for e in backlog.events(self.kelp, 1000, status)]

    def statuses(self, entry_id: int) -> list[str]:
        """Of the events of one entry, oldest first."""
        with self.kelp.database.read() as tx:
            sql = "SELECT status FROM sync_events WHERE aggregate_id = :id ORDER BY id"
            return [row[0] for row in tx.all(sql, id=entry_id)]

    # --- the NAS, as people see it ---

    def on_nas(self, below: str = "", *, private: bool = False) -> Tree:
        """What is in the NAS folder, by full names as anybody can find them there without the database.

        Stamps are cut off, and a name that the NAS cannot show stands in `.kelp/names`. Kelp's own folder and the
        trash only if `private`.
        """
        full = self._noted_names()
        found = self.raw_nas(below, private=private)
        return {"/".join(full.get(n) or STAMP.sub("", n) for n in path.split("/")): found[path] for path in found}

    def _noted_names(self) -> dict[str, str]:
        folder = self.root / ".kelp" / "names"
        notes = [json.loads(note.read_text()) for note in folder.iterdir()] if folder.is_dir() else []
        return {note["nas_name"]: note["name"] for note in notes}

    def raw_nas(self, below: str = "", *, private: bool = False) -> Tree:
        top = self.root / below if below else self.root
        hidden = () if private or below else (".kelp", ".trash")
        return dict(_tree(top, top, hidden))

    def nas_path(self, path: str) -> Path:
        """The file or folder on the NAS that is the drive's `path`."""
        matches = [raw for raw in self.raw_nas() if "/".join(STAMP.sub("", n) for n in raw.split("/")) == path]
        assert len(matches) == 1, f"{path}: {matches}"
        return self.root / matches[0]

    def shown(self) -> Tree:
        """What the drive shows, as `on_nas` gives it."""
        return dict(self._below("", self.entry("").id))

    def _below(self, prefix: str, folder_id: int) -> Iterable[tuple[str, bytes | None]]:
        for row in reading.list_folder(self.kelp, self.caller, folder_id):
            path = prefix + row.name
            if row.kind == "folder":
                yield path, None
                yield from self._below(path + "/", row.id)
            else:
                entry = reading.stat(self.kelp, self.caller, row.id)
                yield path, b"".join(reading.open_content(self.kelp, self.caller, entry).chunks())

    # --- the end of a test ---

    def check(self, mirrored: bool = True) -> None:
        restoring.give_up_stale(self.kelp)  # its batch runs every minute; here time leaps
        report = checking.check(self.kelp, mirrored=mirrored)
        assert report.ok, report.problems

    def check_mirrored(self) -> None:
        """Nothing is left to do, all is sound, and the NAS shows what the drive shows."""
        self.settle_down()
        self.check()
        assert self.on_nas() == self.shown()


def _tree(top: Path, folder: Path, hidden: tuple[str, ...] = ()) -> Iterable[tuple[str, bytes | None]]:
    for name in sorted(os.listdir(folder)):
        if name in hidden:
            continue
        path = folder / name
        relative = str(path.relative_to(top))
        if path.is_dir():
            yield relative, None
            yield from _tree(top, path)
        else:
            yield relative, path.read_bytes()
