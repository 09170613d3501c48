"""Somebody at work on a small drive, by paths; the model is a dict. What the stores do meanwhile comes in `test_care`.

Contents are few and shared (copies, versions, the trash), and cut into tiny parts, so that what one file loses another
may need.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests import engines
from tests.mirror_drive import MirrorDrive
from tests.stateful.drive_model import Path
from vfs.errors import KelpError, StoreUnavailable
from vfs.model import OnConflict
from vfs.operations import reading, trashing, versioning

PART = 8  # bytes of a part; see `test_care`
NAMES = ("a", "b", "c")
FOLDERS = ("x", "y")
CONTENTS = st.sampled_from((b"", b"1", b"two", b"a whole part"[:PART], b"this one has three parts", b"and this, two"))
_DEEPEST = 3
Tree = dict[Path, bytes | None]  # None: a folder


@dataclass(frozen=True)
class Item:
    """In the trash; `tree` is relative to it."""

    original: Path
    tree: Mapping[Path, bytes | None]


class OneAtWork(RuleBasedStateMachine):
    template: ClassVar[FilePath]

    def __init__(self) -> None:
        super().__init__()
        self.folder = FilePath(tempfile.mkdtemp(prefix="kelp-stateful-"))
        engines.copy_drive(self.template, self.folder / "drive")
        self.tree: Tree = {}
        self.trash: dict[int, Item] = {}
        self.settings: dict[str, object] = {}

    @initialize(duplicates=st.sampled_from(("replace", "keep-dated")))
    def open(self, duplicates: str) -> None:
        # By the time of the cache: what was read when is known some seconds later, by another clock than this drive's.
        self.settings = {"drive_duplicates": duplicates, "cache_publish": 0.01, "cache_policy": "fifo"}
        self.drive = MirrorDrive(self.folder / "drive", **self.settings)
        self.kelp = self.drive.kelp

    # --- choosing

    def folders(self, room: int = 1) -> list[Path]:
        """Those in which something `room` levels deep still has its place."""
        return [(), *(p for p, content in self.tree.items() if content is None and len(p) + room <= _DEEPEST)]

    def files(self) -> list[Path]:
        return [path for path, content in self.tree.items() if content is not None]

    def below(self, path: Path) -> Tree:
        return {other[len(path) :]: content for other, content in self.tree.items() if other[: len(path)] == path}

    def take(self, path: Path) -> Tree:
        taken = self.below(path)
        for relative in taken:
            del self.tree[path + relative]
        return taken

    def hang(self, path: Path, tree: Mapping[Path, bytes | None]) -> None:
        self.tree.update({path + relative: content for relative, content in tree.items()})

    # --- what he does

    @rule(data=st.data(), name=st.sampled_from(NAMES), content=CONTENTS, seconds=st.sampled_from((0, 6, 70)))
    def put(self, data: st.DataObject, name: str, content: bytes, seconds: int) -> None:
        """Also over what is there, which becomes a version, unless that was seconds ago."""
        self.drive.clock.advance(seconds)
        path = (*data.draw(st.sampled_from(self.folders())), name)
        self.drive.put("/".join(path), content)
        self.tree[path] = content

    @rule(data=st.data(), name=st.sampled_from(FOLDERS))
    def make_folder(self, data: st.DataObject, name: str) -> None:
        path = (*data.draw(st.sampled_from(self.folders(2))), name)
        if path not in self.tree:
            self.drive.mkdir("/".join(path))
            self.tree[path] = None

    @precondition(lambda self: self.tree)
    @rule(data=st.data(), over=st.booleans())
    def move(self, data: st.DataObject, over: bool) -> None:
        """Rename or move, a folder with all in it; a file over a file."""
        source = data.draw(st.sampled_from(list(self.tree)))
        is_file, depth = self.tree[source] is not None, max(map(len, self.below(source)))
        name = data.draw(st.sampled_from(NAMES if is_file else FOLDERS))
        target = (*data.draw(st.sampled_from(self.folders(1 + depth))), name)
        if target[: len(source)] == source or (target in self.tree and not (over and is_file)):
            return
        self.drive.move("/".join(source), "/".join(target), OnConflict.OVERWRITE if over else OnConflict.ERROR)
        self.hang(target, self.take(source))

    @precondition(lambda self: self.tree)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        """Also over a file. What has the same content is what the mirror has to be careful with."""
        source = data.draw(st.sampled_from(list(self.tree)))
        is_file, depth = self.tree[source] is not None, max(map(len, self.below(source)))
        name = data.draw(st.sampled_from(NAMES if is_file else FOLDERS))
        target = (*data.draw(st.sampled_from(self.folders(1 + depth))), name)
        if target[: len(source)] == source or (target in self.tree and not is_file):
            return
        self.drive.copy("/".join(source), "/".join(target), OnConflict.OVERWRITE)
        self.hang(target, self.below(source))

    @precondition(lambda self: self.tree)
    @rule(data=st.data(), for_good=st.booleans())
    def remove(self, data: st.DataObject, for_good: bool) -> None:
        path = data.draw(st.sampled_from(list(self.tree)))
        entry = self.drive.entry("/".join(path))
        uuid = self.drive.trash("/".join(path))
        tree = self.take(path)
        if for_good:
            self.drive.purge(uuid)
        else:
            self.trash[entry.id] = Item(path, tree)

    @precondition(lambda self: self.trash)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        entry_id = data.draw(st.sampled_from(list(self.trash)))
        uuid = reading_uuid(self.drive, entry_id)
        trashing.restore(self.kelp, self.drive.caller, uuid, on_conflict=OnConflict.RENAME)
        there = reading.path_of(self.kelp, entry_id)
        for length in range(1, len(there)):
            self.tree.setdefault(there[:length], None)
        self.hang(there, self.trash.pop(entry_id).tree)

    @precondition(lambda self: self.trash)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        entry_id = data.draw(st.sampled_from(list(self.trash)))
        self.drive.purge(reading_uuid(self.drive, entry_id))
        del self.trash[entry_id]

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def restore_version(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(self.files()))
        kept = versioning.list_versions(self.kelp, self.drive.caller, self.drive.entry("/".join(path)).id)
        if kept:
            version = data.draw(st.sampled_from(kept))
            try:
                content = b"".join(versioning.open_version(self.kelp, self.drive.caller, version.uuid).chunks())
            except StoreUnavailable:
                return  # `test_care` looks whether that is right
            versioning.restore_version(self.kelp, self.drive.caller, version.uuid)
            self.tree[path] = content

    def read(self, path: Path) -> bytes | KelpError:
        """What the drive gives, or that it cannot just now."""
        try:
            return self.drive.read("/".join(path))
        except StoreUnavailable as error:
            return error


def reading_uuid(drive: MirrorDrive, entry_id: int) -> str:
    with drive.kelp.database.read() as tx:
        return str(tx.one("SELECT uuid FROM entries WHERE id = :id", id=entry_id)[0])
