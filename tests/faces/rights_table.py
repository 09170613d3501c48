"""What grants allow, as a table that every face is held against: each level, by each way to get it, and each operation.

A `Ground` is a small tree with grants in it; a `Door` does the operations through one face. What must come out is
computed here from three levels that the table states, not from the core.

    {ground}/top/f/a …    the folder that it is about, and the one above it
    {ground}/open/…       a folder without grants, to move and copy to and from
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from vfs.core import Kelp
from vfs.model import ROOT_ID, Caller, Entry, Level, Place, Role
from vfs.operations import access, folders, grants, groups, reading, trashing, writing

NONE, READ, WRITE, MANAGE = Level
_numbers = itertools.count()


class Got(StrEnum):
    DONE = "done"
    REFUSED = "refused"  # 403, EACCES
    ABSENT = "absent"  # 404 (409 where WebDAV says so of a missing folder), ENOENT


class Door(Protocol):
    """Paths are from the root, without a leading slash. None: the face has no such thing."""

    def read(self, path: str) -> Got: ...
    def names(self, path: str) -> list[str] | Got: ...
    def write(self, path: str) -> Got: ...  # over what is there
    def create(self, path: str) -> Got: ...
    def make_folder(self, path: str) -> Got: ...
    def delete(self, path: str) -> Got: ...
    def move(self, source: str, target: str) -> Got: ...
    def copy(self, source: str, target: str) -> Got | None: ...
    def touch(self, path: str) -> Got | None: ...  # set the time of a file
    def lock(self, path: str) -> Got | None: ...


# --- the ground ---


@dataclass(frozen=True)
class Situation:
    """`given`: (folder, level, to whom), "u" the user himself, "1" and "2" groups that he is in. An editor then has the
    level `above` on top, and `at` on f."""

    name: str
    given: tuple[tuple[str, Level, str], ...]
    above: Level
    at: Level


SITUATIONS = (
    Situation("the role", (), WRITE, WRITE),
    Situation("user none", (("f", NONE, "u"),), WRITE, NONE),
    Situation("user read", (("f", READ, "u"),), WRITE, READ),
    Situation("user write below read", (("top", READ, "u"), ("f", WRITE, "u")), READ, WRITE),
    Situation("user manage", (("f", MANAGE, "u"),), WRITE, MANAGE),
    Situation("group none", (("f", NONE, "1"),), WRITE, NONE),
    Situation("group read below manage", (("top", MANAGE, "1"), ("f", READ, "1")), MANAGE, READ),
    Situation("group write below none", (("top", NONE, "1"), ("f", WRITE, "1")), NONE, WRITE),
    Situation("inherited none", (("top", NONE, "u"),), NONE, NONE),
    Situation("inherited read", (("top", READ, "1"),), READ, READ),
    Situation("inherited manage", (("top", MANAGE, "2"),), MANAGE, MANAGE),
    Situation("user before group", (("f", READ, "u"), ("f", MANAGE, "1")), WRITE, READ),
    Situation("the highest of groups", (("f", NONE, "1"), ("f", WRITE, "2")), WRITE, WRITE),
    Situation("a near group before a far user", (("top", MANAGE, "u"), ("f", NONE, "1")), MANAGE, NONE),
)
_OF_VIEWERS = ("the role", "user none", "user manage", "group write below none")
_OF_ADMINS = ("user none", "inherited read", "group write below none")


class Case(NamedTuple):
    """The situation of somebody who has that role."""

    role: Role
    situation: Situation

    def __str__(self) -> str:
        return f"{self.role}, {self.situation.name}"


CASES = (
    *(Case(Role.EDITOR, situation) for situation in SITUATIONS),
    *(Case(Role.VIEWER, situation) for situation in SITUATIONS if situation.name in _OF_VIEWERS),
    *(Case(Role.ADMIN, situation) for situation in SITUATIONS if situation.name in _OF_ADMINS),
)
# What grants can give at most, and what there is without any.
_OF_ROLE = {Role.EDITOR: (MANAGE, WRITE), Role.VIEWER: (READ, READ)}


class Ground:
    """Made in the core by an admin, and given to `user`; in the folder of that path, where one is told."""

    def __init__(self, kelp: Kelp, user: str, case: Case, above: str = "") -> None:
        self._above = above
        self.kelp, self.user, (self.role, self.situation) = kelp, user, case
        self.admin = access.system_caller(kelp)
        self._groups = [groups.add(kelp, f"{name}-{next(_numbers)}").uuid for name in ("1", "2")]
        subject = access.find_user(kelp, user).uuid
        for group in self._groups:
            groups.join(kelp, group, subject)
        self._to = {"u": grants.To(subject, False)}
        self._to |= {name: grants.To(group, True) for name, group in zip("12", self._groups, strict=True)}
        self.build()

    def build(self) -> None:
        """Anew, as it was at first."""
        self.name = f"{self._above}/ground-{next(_numbers)}".lstrip("/")
        for path in ("", "top", "top/f", "open"):
            folders.make_folder(self.kelp, self.admin, self._place(path))
        for path in (*(f"top/f/{name}" for name in ("a", "goes", "moves", "renamed")), "open/moves", "open/copied"):
            writing.put_file(self.kelp, self.admin, self._place(path), [path.encode()])
        for path, level, to in self.situation.given:
            folder = self.entry(self.path({"f": "top/f"}.get(path, path)))
            grants.give(self.kelp, self.admin, folder.uuid, self._to[to], level)

    def clear(self) -> None:
        """What was granted does not stay: it would cost those who come later."""
        for group in self._groups:
            groups.remove(self.kelp, group)
        for grant, path in grants.list_all(self.kelp, self.admin):
            folder = reading.resolve(self.kelp, self.admin, path.split("/")[1:]).entry
            if folder is not None and not folder.is_root:
                grants.take_back(self.kelp, self.admin, folder.uuid, grant.uuid)

    def path(self, inner: str) -> str:
        return f"{self.name}/{inner}" if inner else self.name

    def entry(self, path: str) -> Entry:
        found = reading.resolve(self.kelp, self.admin, path.split("/")).entry
        assert found is not None, path
        return found

    def seen(self) -> list[object]:
        """All of it, to see whether something has changed."""
        root = self.entry(self.name)
        with self.kelp.database.read() as tx:
            below = [(e.id, e.parent_id, e.name, e.content_id, e.mtime_ns) for e, _ in tx.entries.below(root.id)]
        return [root.id, *below]

    def _place(self, inner: str) -> Place:
        above, _, name = self.path(inner).rpartition("/")
        return Place(self.entry(above).id if above else ROOT_ID, name)


# --- the operations ---


def _need(has: Level, needs: int) -> Got:
    return Got.ABSENT if has < READ else Got.REFUSED if has < needs else Got.DONE


def _all(*each: Got) -> Got:
    return next((got for got in (Got.ABSENT, Got.REFUSED) if got in each), Got.DONE)


@dataclass(frozen=True)
class Levels:
    above: Level
    at: Level
    open: Level

    @property
    def leaving(self) -> Got:
        """f leaves top: it must be his, and so must be what it leaves. Who may not see that one sees f all the same."""
        return _all(_need(self.at, WRITE), Got.DONE if self.above >= WRITE else Got.REFUSED)


Do = Callable[[Door, Ground], Got | None]


@dataclass(frozen=True)
class Operation:
    """`spoils`: what comes after needs a new ground when it was done. `names_above`: it says by name where in top
    something goes, on faces that know paths; there, who may not see top is told that it is absent."""

    name: str
    do: Do
    expect: Callable[[Levels], Got]
    spoils: bool = False
    names_above: bool = False


def _sees(folder: str, name: str) -> Do:
    def look(door: Door, ground: Ground) -> Got:
        found = door.names(ground.path(folder))
        return found if isinstance(found, Got) else Got.DONE if name in found else Got.ABSENT

    return look


def _copy_top(door: Door, ground: Ground) -> Got | None:
    """Without what may not be read: f is among it, or not."""
    got = door.copy(ground.path("top"), ground.path("open/top"))
    if got is Got.DONE:
        found = reading.resolve(ground.kelp, ground.admin, ground.path("open/top/f/a").split("/")).entry
        caller = _as(ground)
        readable = reading.resolve(ground.kelp, caller, ground.path("top/f/a").split("/")).entry is not None
        assert (found is not None) == readable
        trashing.remove(ground.kelp, ground.admin, ground.entry(ground.path("open/top")).place)
    return got


def _as(ground: Ground) -> Caller:
    user = access.find_user(ground.kelp, ground.user)
    return Caller(user.id, user.name, user.role, "test")


OPERATIONS = (
    Operation("read", lambda d, g: d.read(g.path("top/f/a")), lambda has: _need(has.at, READ)),
    Operation("list", _sees("top/f", "a"), lambda has: _need(has.at, READ)),
    Operation("is listed above", _sees("top", "f"), lambda has: _all(_need(has.above, READ), _need(has.at, READ))),
    Operation("write", lambda d, g: d.write(g.path("top/f/a")), lambda has: _need(has.at, WRITE)),
    Operation("create", lambda d, g: d.create(g.path("top/f/new")), lambda has: _need(has.at, WRITE)),
    Operation("make folder", lambda d, g: d.make_folder(g.path("top/f/in")), lambda has: _need(has.at, WRITE)),
    Operation("touch", lambda d, g: d.touch(g.path("top/f/a")), lambda has: _need(has.at, WRITE)),
    Operation("lock", lambda d, g: d.lock(g.path("top/f/a")), lambda has: _need(has.at, WRITE)),
    Operation("delete", lambda d, g: d.delete(g.path("top/f/goes")), lambda has: _need(has.at, WRITE)),
    Operation(
        *("rename", lambda d, g: d.move(g.path("top/f/renamed"), g.path("top/f/r"))),
        lambda has: _need(has.at, WRITE),
    ),
    Operation(
        *("move out", lambda d, g: d.move(g.path("top/f/moves"), g.path("open/out"))),
        lambda has: _all(_need(has.at, WRITE), _need(has.open, WRITE)),
    ),
    Operation(
        *("move in", lambda d, g: d.move(g.path("open/moves"), g.path("top/f/come"))),
        lambda has: _all(_need(has.open, WRITE), _need(has.at, WRITE)),
    ),
    Operation(
        *("copy out", lambda d, g: d.copy(g.path("top/f/a"), g.path("open/copy"))),
        lambda has: _all(_need(has.at, READ), _need(has.open, WRITE)),
    ),
    Operation(
        *("copy in", lambda d, g: d.copy(g.path("open/copied"), g.path("top/f/copy"))),
        lambda has: _all(_need(has.open, READ), _need(has.at, WRITE)),
    ),
    Operation(
        *("copy the folder", lambda d, g: d.copy(g.path("top/f"), g.path("open/f-copy"))),
        lambda has: _all(_need(has.at, READ), _need(has.open, WRITE)),
    ),
    Operation("copy what holds it", _copy_top, lambda has: _all(_need(has.above, READ), _need(has.open, WRITE))),
    Operation(
        *("rename the folder", lambda d, g: d.move(g.path("top/f"), g.path("top/ff"))),
        lambda has: has.leaving, True, True,
    ),
    Operation(
        *("move the folder", lambda d, g: d.move(g.path("top/f"), g.path("open/f"))),
        lambda has: _all(has.leaving, _need(has.open, WRITE)), True,
    ),
    Operation("delete the folder", lambda d, g: d.delete(g.path("top/f")), lambda has: has.leaving, True),
    Operation(
        *("move what holds it", lambda d, g: d.move(g.path("top"), g.path("open/top2"))),
        lambda has: _all(_holding(has), _need(has.open, WRITE)), True,
    ),
    Operation("delete what holds it", lambda d, g: d.delete(g.path("top")), lambda has: _holding(has), True),
)  # fmt: skip

# Of a name that the caller sees free and is not.
TAKEN = (
    Operation("make it again", lambda d, g: d.make_folder(g.path("top/f")), lambda has: _need(has.above, MANAGE + 1)),
    Operation("put a file there", lambda d, g: d.create(g.path("top/f")), lambda has: _need(has.above, MANAGE + 1)),
    Operation(
        *("move over it", lambda d, g: d.move(g.path("open/moves"), g.path("top/f"))),
        lambda has: _all(_need(has.open, WRITE), _need(has.above, MANAGE + 1)),
    ),
)  # fmt: skip


def _holding(has: Levels) -> Got:
    """All that is in it must be his."""
    return _all(_need(has.above, WRITE), Got.DONE if has.at >= WRITE else Got.REFUSED)


def _levels(role: Role, situation: Situation) -> Levels:
    if role == Role.ADMIN:
        return Levels(MANAGE, MANAGE, MANAGE)  # whatever was granted
    most, default = _OF_ROLE[role]
    above = situation.above if any(folder == "top" for folder, _, _ in situation.given) else default
    at = situation.at if situation.given else default
    return Levels(min(above, most), min(at, most), default)


def hold_against(door: Door, ground: Ground) -> None:
    """Every operation, and that nothing has changed where it was not done."""
    has = _levels(ground.role, ground.situation)
    wrong = []
    for operation in (*OPERATIONS, *(TAKEN if has.at < READ else ())):
        before = ground.seen()
        got, expected = operation.do(door, ground), operation.expect(has)
        if got is None:
            continue
        absent = operation.names_above and has.above < READ and got is Got.ABSENT
        if got is not expected and not absent:
            wrong.append(f"{operation.name}: {got}, not {expected}")
        if got is not Got.DONE and ground.seen() != before:
            wrong.append(f"{operation.name}: {got}, and yet something has changed")
        if got is Got.DONE and operation.spoils:
            ground.build()
    assert wrong == [], f"{ground.role}, {ground.situation.name} ({has}): {wrong}"
