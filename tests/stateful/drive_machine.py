"""Two users at random work, each operation predicted by the model; the mirror comes in `test_drive`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests import engines
from tests.mirror_drive import MirrorDrive
from tests.stateful.drive_model import DriveModel, Lock, Path, Trashed, Who
from vfs import names
from vfs.errors import KelpError, Locked
from vfs.model import Caller, OnConflict, Place, Role, Scope
from vfs.operations import (
    copying,
    folders,
    locking,
    moving,
    properties,
    reading,
    sealing,
    trashing,
    versioning,
    writing,
)

LONG = "é" * 127
NAMES = (
    "a",
    "b",
    "c.txt",
    "A",
    "caf\u00e9",
    "cafe\u0301",
    LONG,
    "20260101000000__a",
    ".trash",
    ".kelp",
    "d.tmp",
    "it's",
)
CONTENTS = st.binary(max_size=8)
STRATEGIES = st.sampled_from(OnConflict)


class PeopleAtWork(RuleBasedStateMachine):
    template: ClassVar[FilePath]
    settings_of_drive: ClassVar[dict[str, object]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = FilePath(tempfile.mkdtemp(prefix="kelp-stateful-"))
        engines.copy_drive(self.template, self.folder / "drive")
        self.drive = MirrorDrive(self.folder / "drive", **self.settings_of_drive)
        self.kelp = self.drive.kelp
        self.model = DriveModel()
        with self.kelp.database.read() as tx:
            users = {user.name: user for user in tx.accounts.every()}
        self.users = [
            Caller(users["admin"].id, "admin", Role.ADMIN, "rest"),
            Caller(users["editor"].id, "editor", Role.EDITOR, "dav"),
        ]

    # --- choosing

    def who(self, number: int, with_tokens: bool) -> tuple[Caller, Who]:
        user = self.users[number]
        own = {lock.token for lock in self.model.locks.values() if lock.user == user.name}
        tokens = frozenset(own) if with_tokens else frozenset()
        return replace(user, tokens=tokens), Who(user.name, user.role == Role.ADMIN, tokens)

    def place(self, path: Path, name: str | None = None) -> Place:
        folder = self.entry_id(path[:-1])
        return Place(folder, name if name is not None else path[-1])

    def entry_id(self, path: Path) -> int:
        found = reading.resolve(self.kelp, self.users[0], path).entry
        assert found is not None, path
        return found.id

    def attempt(self, errors: set[type[Exception]], work: Any, also: set[type[Exception]] | None = None) -> Any:
        """Do it; it must fail with one of `errors` exactly when there are some, and may with `also`."""
        try:
            result = work()
        except KelpError as error:
            assert type(error) in errors | (also or set()), f"{error!r}, expected {errors or 'success'}"
            note(f"refused: {error!r}")
            return None
        assert not errors, f"it worked, expected {errors}"
        return result

    def gone(self, entry_id: int, path: Path, user: str) -> None:
        """After something left the drive: whether it is in the trash, the litter rule decides."""
        original = self.model.display(path)
        tree = self.model.take(path)
        in_trash = {item.entry.id for item in trashing.list_trash(self.kelp, self.users[0])}
        if entry_id in in_trash:
            self.model.trash[entry_id] = Trashed(original, user, tree)

    # --- what people do

    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), name=st.sampled_from(NAMES), content=CONTENTS)
    def put(self, data: st.DataObject, n: int, t: bool, name: str, content: bytes) -> None:
        path = (*data.draw(st.sampled_from(self.model.folders())), names.key(name))
        caller, who = self.who(n, t)
        place = self.place(path, name)
        if self.attempt(
            self.model.put_errors(who, path), lambda: writing.put_file(self.kelp, caller, place, [content])
        ):
            self.model.put(path, name, content)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), content=CONTENTS, seconds=st.sampled_from((0, 6)))
    def overwrite(self, data: st.DataObject, n: int, t: bool, content: bytes, seconds: int) -> None:
        path = data.draw(st.sampled_from(self.model.files()))
        self.drive.clock.advance(seconds)  # soon after it was written there is no version
        caller, who = self.who(n, t)
        place, errors = self.place(path), self.model.put_errors(who, path)
        if self.attempt(errors, lambda: writing.put_file(self.kelp, caller, place, [content])):
            self.model.put(path, "", content)

    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), name=st.sampled_from(NAMES))
    def make_folder(self, data: st.DataObject, n: int, t: bool, name: str) -> None:
        path = (*data.draw(st.sampled_from(self.model.folders())), names.key(name))
        if len(path) > 5:
            return
        caller, who = self.who(n, t)
        place = self.place(path, name)
        if self.attempt(self.model.make_errors(who, path), lambda: folders.make_folder(self.kelp, caller, place)):
            self.model.put(path, name, None)

    @precondition(lambda self: self.model.tree)
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), name=st.sampled_from(NAMES), on=STRATEGIES)
    def move(self, data: st.DataObject, n: int, t: bool, name: str, on: OnConflict) -> None:
        source = data.draw(st.sampled_from(list(self.model.tree)))
        target = (*data.draw(st.sampled_from(self.model.folders())), names.key(name))
        caller, who = self.who(n, t)
        here, there = self.place(source), self.place(target, name)
        errors = self.model.transfer_errors(who, source, target, name, on, copies=False)
        merges = on == OnConflict.MERGE and source != target and target in self.model.tree
        ids = {path: self.entry_id(path) for path in (source, target) if path in self.model.tree}
        also: set[type[Exception]] = {Locked} if merges and self.model.locks else set()
        done = self.attempt(errors, lambda: moving.move(self.kelp, caller, here, there, on_conflict=on), also)
        if done is None or done.skipped:
            assert done is None or (on == OnConflict.SKIP and target in self.model.tree)
        elif merges:
            self.model.merge(source, target)
            self.gone(ids[source], source, who.name)
        else:
            lock = None
            if target in self.model.tree and target != source:
                if on == OnConflict.RENAME:
                    target, name = self.model.free_name(target, name, self.model.tree[source].is_folder)
                else:
                    files = not (self.model.tree[source].is_folder or self.model.tree[target].is_folder)
                    lock = self.model.locks.get(target) if files else None  # it stays with the name
                    self.gone(ids[target], target, who.name)
            self.model.hang(target, name, self.model.take(source))
            if lock is not None:
                self.model.locks[target] = lock

    @precondition(lambda self: self.model.tree and len(self.model.tree) < 60)
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), name=st.sampled_from(NAMES), on=STRATEGIES)
    def copy(self, data: st.DataObject, n: int, t: bool, name: str, on: OnConflict) -> None:
        source = data.draw(st.sampled_from(list(self.model.tree)))
        target = (*data.draw(st.sampled_from(self.model.folders())), names.key(name))
        caller, who = self.who(n, t)
        here, there = self.place(source), self.place(target, name)
        errors = self.model.transfer_errors(who, source, target, name, on, copies=True)
        taken_id = self.entry_id(target) if target in self.model.tree else 0
        done = self.attempt(errors, lambda: copying.copy(self.kelp, caller, here, there, on_conflict=on))
        if done is None or done.skipped:
            return
        copied, taken = self.model.subtree(source), self.model.tree.get(target)
        if taken is not None and on == OnConflict.RENAME:
            target, name = self.model.free_name(target, name, self.model.tree[source].is_folder)
        elif taken is not None and not taken.is_folder and not self.model.tree[source].is_folder:
            self.model.put(target, name, self.model.tree[source].content)
            return
        elif taken is not None:
            self.gone(taken_id, target, who.name)
        self.model.hang(target, name, copied)

    @precondition(lambda self: self.model.tree)
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans())
    def remove(self, data: st.DataObject, n: int, t: bool) -> None:
        path = data.draw(st.sampled_from(list(self.model.tree)))
        caller, who = self.who(n, t)
        place, entry_id = self.place(path), self.entry_id(path)
        errors = self.model.removal_errors(who, path)
        self.attempt(errors, lambda: trashing.remove(self.kelp, caller, place))
        if not errors:
            self.gone(entry_id, path, who.name)

    # --- trash, versions, locks, times

    def uuid_of(self, entry_id: int) -> str:
        with self.kelp.database.read() as tx:
            return str(tx.one("SELECT uuid FROM entries WHERE id = :id", id=entry_id)[0])

    @precondition(lambda self: self.model.trash)
    @rule(data=st.data(), n=st.integers(0, 1), on=st.sampled_from((OnConflict.ERROR, OnConflict.RENAME)))
    def restore(self, data: st.DataObject, n: int, on: OnConflict) -> None:
        entry_id = data.draw(st.sampled_from(list(self.model.trash)))
        caller, who = self.who(n, True)
        item, uuid = self.model.trash[entry_id], self.uuid_of(entry_id)
        errors = self.model.restore_errors(who, item, item.original, on)
        locked: set[type[Exception]] = {Locked} if self.model.locks else set()
        if self.attempt(errors, lambda: trashing.restore(self.kelp, caller, uuid, on_conflict=on), locked):
            del self.model.trash[entry_id]
            self.model.restore(item.original, item.tree)

    @precondition(lambda self: any(len(item.tree) > 1 for item in self.model.trash.values()))
    @rule(data=st.data(), on=st.sampled_from((OnConflict.ERROR, OnConflict.RENAME)))
    def restore_from_below(self, data: st.DataObject, on: OnConflict) -> None:
        """Something inside a trashed folder comes back alone."""
        item_id, item = data.draw(
            st.sampled_from([(i, item) for i, item in self.model.trash.items() if len(item.tree) > 1])
        )
        relative = data.draw(st.sampled_from([path for path in item.tree if path]))
        caller, who = self.who(0, True)
        with self.kelp.database.read() as tx:
            at = item_id
            for key in relative:
                child = tx.entries.child(at, sealing.key_in(self.kelp, tx, at, key))
                assert child is not None
                at = child.id
        shown = tuple(item.tree[relative[: n + 1]].name for n in range(len(relative)))
        original, uuid = (*item.original, *shown), self.uuid_of(at)
        errors = self.model.restore_errors(who, item, original, on)
        locked: set[type[Exception]] = {Locked} if self.model.locks else set()
        if self.attempt(errors, lambda: trashing.restore(self.kelp, caller, uuid, on_conflict=on), locked):
            inside = [path for path in item.tree if path[: len(relative)] == relative]
            self.model.restore(original, {path[len(relative) :]: item.tree.pop(path) for path in inside})

    @precondition(lambda self: self.model.trash)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        entry_id = data.draw(st.sampled_from(list(self.model.trash)))
        trashing.purge(self.kelp, self.users[0], self.uuid_of(entry_id))
        del self.model.trash[entry_id]

    @rule(data=st.data(), n=st.integers(0, 1), infinite=st.booleans(), name=st.sampled_from(NAMES))
    def lock(self, data: st.DataObject, n: int, infinite: bool, name: str) -> None:
        known = data.draw(st.sampled_from([(), *self.model.tree]))
        path = known if known and data.draw(st.booleans()) else (*self._folder_of(known), names.key(name))
        caller, who = self.who(n, True)
        errors = self.model.lock_errors(path, infinite, who)
        place = self.place(path, name if path not in self.model.tree else None)
        done = self.attempt(
            errors,
            lambda: locking.lock(
                self.kelp, caller, place, scope=Scope.EXCLUSIVE, infinite=infinite, owner="", timeout=86_400
            ),
        )
        if done is not None:
            if path not in self.model.tree:
                self.model.put(path, name, b"")
            deep = infinite and self.model.tree[path].is_folder
            self.model.locks[path] = Lock(done.lock.token, who.name, deep)

    def _folder_of(self, path: Path) -> Path:
        return path if path == () or self.model.tree[path].is_folder else path[:-1]

    @precondition(lambda self: self.model.locks)
    @rule(data=st.data())
    def unlock(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(list(self.model.locks)))
        lock = self.model.locks.pop(path)
        owner = next(user for user in self.users if user.name == lock.user)
        locking.unlock(self.kelp, owner, self.entry_id(path), lock.token)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans(), seconds=st.integers(0, 4_000_000_000))
    def patch_time(self, data: st.DataObject, n: int, t: bool, seconds: int) -> None:
        path = data.draw(st.sampled_from(self.model.files()))
        caller, who = self.who(n, t)
        entry_id = self.entry_id(path)
        errors = self.model.write_errors(who, path)
        self.attempt(
            errors, lambda: properties.patch(self.kelp, caller, entry_id, [], mtime_ns=seconds * 1_000_000_000)
        )

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), n=st.integers(0, 1), t=st.booleans())
    def restore_version(self, data: st.DataObject, n: int, t: bool) -> None:
        path = data.draw(st.sampled_from(self.model.files()))
        kept = versioning.list_versions(self.kelp, self.users[0], self.entry_id(path))
        if kept:
            version = data.draw(st.sampled_from(kept))
            content = b"".join(versioning.open_version(self.kelp, self.users[0], version.uuid).chunks())
            caller, who = self.who(n, t)
            errors = self.model.write_errors(who, path)
            if self.attempt(errors, lambda: versioning.restore_version(self.kelp, caller, version.uuid)):
                self.model.put(path, "", content)
