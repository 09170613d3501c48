"""Rights by grants (spec §10): which one decides, and that the unreadable is absent on every way."""

from __future__ import annotations

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import Forbidden, NotFound, ParentNotFound
from vfs.model import Level, Place
from vfs.operations import folders, properties, reading, trashing, versioning

NONE, READ, WRITE, MANAGE = Level


def level(drive: Drive, who: str, path: str) -> Level:
    return reading.level_on(drive.kelp, getattr(drive, who), drive.entry(path).id if path else 1)


@pytest.fixture
def tree(drive: Drive) -> Drive:
    for path in ("f", "f/g", "f/g/h", "other"):
        drive.folder(path)
    drive.put("f/g/x", b"x")
    return drive


def test_without_grants_the_role_decides(tree: Drive) -> None:
    for who, expected in (("admin", MANAGE), ("editor", WRITE), ("viewer", READ)):
        assert level(tree, who, "f/g") == expected


# Grants as (folder, level, to): "u" the user, "1" and "2" groups of his.
@pytest.mark.parametrize(
    ("grants", "at_f", "at_h"),
    [
        ([("f", READ, "u")], READ, READ),
        ([("f", READ, "u"), ("f/g", MANAGE, "u")], READ, MANAGE),
        ([("f", MANAGE, "u"), ("f/g", NONE, "1")], MANAGE, NONE),
        ([("f", NONE, "u"), ("f", MANAGE, "1")], NONE, NONE),
        ([("f", NONE, "1"), ("f", READ, "2")], READ, READ),
        ([("f", WRITE, "1"), ("f/g", READ, "2")], WRITE, READ),
        ([("", NONE, "1"), ("f/g/h", WRITE, "1")], NONE, WRITE),
        ([("f", NONE, "stranger")], WRITE, WRITE),
    ],
)
def test_the_nearest_folder_decides(
    tree: Drive, grants: list[tuple[str, Level, str]], at_f: Level, at_h: Level
) -> None:
    groups = {"1": tree.group("1", tree.editor, tree.viewer), "2": tree.group("2", tree.editor, tree.viewer)}
    for path, granted, to in grants:
        if to == "u":
            tree.grant(path, granted, tree.editor)
            tree.grant(path, granted, tree.viewer)
        else:
            tree.grant(path, granted, group=groups[to]) if to in groups else tree.grant(path, granted, tree.other)
    assert (level(tree, "editor", "f"), level(tree, "editor", "f/g/h")) == (at_f, at_h)
    capped = [min(granted, READ) for granted in (at_f, at_h)]
    assert [level(tree, "viewer", "f"), level(tree, "viewer", "f/g/h")] == capped
    assert level(tree, "admin", "f/g/h") == MANAGE


def test_the_unreadable_is_absent(tree: Drive) -> None:
    hidden = {path: tree.entry(path) for path in ("f/g", "f/g/h", "f/g/x")}
    tree.grant("f/g", NONE, tree.editor)
    for path, entry in hidden.items():
        assert tree.find(path, tree.editor) is None
        for look in (
            lambda id=entry.id: reading.stat(tree.kelp, tree.editor, id),
            lambda id=entry.id: reading.properties_of(tree.kelp, tree.editor, id),
            lambda id=entry.id: versioning.list_versions(tree.kelp, tree.editor, id),
            lambda id=entry.id: properties.patch(tree.kelp, tree.editor, id, []),
        ):
            with pytest.raises(NotFound):
                look()
    assert tree.names("f", tree.editor) == [] and tree.names("f", tree.other) == ["g"]
    with pytest.raises(NotFound):
        tree.names("f/g", tree.editor)
    for change in (
        lambda: tree.put("f/g/new"),
        lambda: folders.make_folder(tree.kelp, tree.editor, Place(hidden["f/g"].id, "n")),
        lambda: tree.move("f/g/x", "x"),
        lambda: trashing.remove(tree.kelp, tree.editor, Place(hidden["f/g"].id, "x")),
    ):
        with pytest.raises(ParentNotFound):
            change()
    with pytest.raises(NotFound):
        tree.remove("f/g")
    found = reading.resolve(tree.kelp, tree.editor, ["f", "g", "new"])
    assert found.entry is None and found.folder is None


def test_readable_is_not_writable(tree: Drive) -> None:
    tree.grant("f", READ, tree.editor)
    assert tree.names("f/g", tree.editor) == ["h", "x"]
    for change in (
        lambda: tree.put("f/g/x"),
        lambda: tree.put("f/new"),
        lambda: tree.folder("f/new"),
        lambda: tree.remove("f/g"),
        lambda: tree.move("f/g/x", "x"),
        lambda: tree.move("f", "ff"),
        lambda: tree.lock("f/g/x"),
        lambda: tree.lock("f"),
    ):
        with pytest.raises(Forbidden):
            change()
    tree.copy("f/g/x", "x")


def test_a_path_through_a_file_leads_nowhere(tree: Drive) -> None:
    found = reading.resolve(tree.kelp, tree.editor, ["f", "g", "x", "y"])
    assert found.entry is None and found.folder is None and found.place is None
    assert found.chain == (1, tree.entry("f").id, tree.entry("f/g").id)


def test_a_deep_path_is_resolved(drive: Drive) -> None:
    path = []
    for depth in range(60):
        path.append(f"d{depth}")
        drive.folder("/".join(path))
    assert drive.entry("/".join(path)).name == "d59"
    assert drive.find("/".join([*path, "nothing"])) is None
    assert reading.path_of(drive.kelp, drive.entry("/".join(path)).id) == tuple(path)
