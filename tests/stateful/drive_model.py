"""What a drive should do, as a dict: it predicts the tree after each operation, or which errors are right."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vfs import names
from vfs.errors import AlreadyExists, CircularMove, Forbidden, Locked, WrongKind
from vfs.model import OnConflict

Path = tuple[str, ...]  # name keys from below the root; () is the root
Errors = set[type[Exception]]


@dataclass(frozen=True)
class Node:
    name: str  # as shown
    content: bytes | None  # None: a folder

    @property
    def is_folder(self) -> bool:
        return self.content is None


@dataclass(frozen=True)
class Lock:
    token: str
    user: str
    infinite: bool


@dataclass(frozen=True)
class Who:
    """A caller: `tokens` are what he sends along."""

    name: str
    is_admin: bool
    tokens: frozenset[str] = frozenset()


@dataclass
class Trashed:
    """`original`: shown names of its path when it was trashed; `tree` below the item itself, which is ()."""

    original: Path
    user: str
    tree: dict[Path, Node]


@dataclass
class DriveModel:
    tree: dict[Path, Node] = field(default_factory=dict)
    locks: dict[Path, Lock] = field(default_factory=dict)
    trash: dict[int, Trashed] = field(default_factory=dict)

    def folders(self) -> list[Path]:
        return [(), *(path for path, node in self.tree.items() if node.is_folder)]

    def files(self) -> list[Path]:
        return [path for path, node in self.tree.items() if not node.is_folder]

    def shown(self) -> dict[str, bytes | None]:
        return {"/".join(self.display(path)): node.content for path, node in self.tree.items()}

    def display(self, path: Path) -> Path:
        return tuple(self.tree[path[: n + 1]].name for n in range(len(path)))

    def below(self, path: Path) -> list[Path]:
        return [other for other in self.tree if len(other) > len(path) and other[: len(path)] == path]

    # --- who may

    def covered(self, path: Path) -> Lock | None:
        for length in range(len(path), 0, -1):
            lock = self.locks.get(path[:length])
            if lock is not None and (lock.infinite or length == len(path)):
                return lock
        return None

    def _stops(self, who: Who, lock: Lock | None) -> bool:
        return lock is not None and not (lock.token in who.tokens and lock.user == who.name)

    def write_errors(self, who: Who, path: Path) -> Errors:
        """Of writing to a name: an existing entry, or a new member of its folder."""
        return {Locked} if self._stops(who, self.covered(path if path in self.tree else path[:-1])) else set()

    def removal_errors(self, who: Who, path: Path) -> Errors:
        locks = [self.covered(path[:-1]), self.covered(path), *(self.locks.get(other) for other in self.below(path))]
        return {Locked} if any(self._stops(who, lock) for lock in locks) else set()

    # --- changes: errors first, then what changes

    def put_errors(self, who: Who, path: Path) -> Errors:
        taken = path in self.tree and self.tree[path].is_folder
        return self.write_errors(who, path) | ({WrongKind} if taken else set())

    def make_errors(self, who: Who, path: Path) -> Errors:
        return self.write_errors(who, path) | ({AlreadyExists} if path in self.tree else set())

    def transfer_errors(self, who: Who, source: Path, target: Path, name: str, on: OnConflict, copies: bool) -> Errors:
        """Of move and copy. Empty also where MERGE may meet locks deeper down: see `may_meet_locks`."""
        errors: Errors = set() if copies else self.removal_errors(who, source)
        same, taken = source == target, self.tree.get(target)
        if copies and on == OnConflict.MERGE:
            errors |= {WrongKind}
        if target != source and target[: len(source)] == source:
            errors |= {CircularMove}
        if on in (OnConflict.OVERWRITE, OnConflict.MERGE) and taken and len(target) < len(source):
            errors |= {CircularMove} if source[: len(target)] == target else set()
        if same and not copies:
            return errors | ({CircularMove} if name == self.tree[source].name else self._new_name_errors(who, target))
        if taken is None:
            return errors | self.write_errors(who, target)
        if on == OnConflict.ERROR:
            return errors | {AlreadyExists}
        if on == OnConflict.RENAME:
            return errors | self._new_name_errors(who, target)
        if on == OnConflict.MERGE and not copies and not (taken.is_folder and self.tree[source].is_folder):
            return errors | {WrongKind}
        if on == OnConflict.OVERWRITE:
            if same:
                return errors | {CircularMove}
            keeps_row = copies and not taken.is_folder and not self.tree[source].is_folder
            errors |= self.write_errors(who, target) if keeps_row else self.removal_errors(who, target)
        return errors

    def _new_name_errors(self, who: Who, target: Path) -> Errors:
        return {Locked} if self._stops(who, self.covered(target[:-1])) else set()

    def lock_errors(self, path: Path, infinite: bool, who: Who) -> Errors:
        if self.covered(path):
            return {Locked}
        if path not in self.tree:
            return self.write_errors(who, path)
        deep = infinite and any(other in self.locks for other in self.below(path))
        return {Locked} if deep else set()

    def restore_errors(self, who: Who, item: Trashed, original: Path, on: OnConflict) -> Errors:
        if not who.is_admin and item.user != who.name:
            return {Forbidden}
        taken = self._restored_to(original) in self.tree
        return {AlreadyExists} if taken and on != OnConflict.RENAME else set()

    def put(self, path: Path, name: str, content: bytes | None) -> None:
        known = self.tree.get(path)
        self.tree[path] = Node(known.name if known else name, content)

    def take(self, path: Path) -> dict[Path, Node]:
        """Remove and return what is there, relative to it; its locks die."""
        taken = {other[len(path) :]: self.tree.pop(other) for other in [path, *self.below(path)]}
        for other in [other for other in self.locks if other[: len(path)] == path]:
            del self.locks[other]
        return taken

    def hang(self, path: Path, name: str, tree: dict[Path, Node]) -> None:
        for relative, node in tree.items():
            self.tree[path + relative] = replace(node, name=name) if relative == () else node

    def subtree(self, path: Path) -> dict[Path, Node]:
        return {other[len(path) :]: self.tree[other] for other in [path, *self.below(path)]}

    def free_name(self, path: Path, name: str, is_folder: bool) -> tuple[Path, str]:
        """The first numbered name that nothing has."""
        for candidate in names.numbered(name, is_folder):
            if (*path[:-1], names.key(candidate)) not in self.tree:
                return (*path[:-1], names.key(candidate)), candidate
        raise AssertionError

    def merge(self, source: Path, target: Path) -> None:
        """What is in folder `source` goes into folder `target`; emptied folders stay, to be trashed with it."""
        for child in [path for path in self.below(source) if len(path) == len(source) + 1]:
            node, goal = self.tree[child], (*target, child[-1])
            if goal not in self.tree:
                self.hang(goal, node.name, self.take(child))
            elif node.is_folder and self.tree[goal].is_folder:
                self.merge(child, goal)
            else:
                goal, name = self.free_name(goal, node.name, node.is_folder)
                self.hang(goal, name, self.take(child))

    def _restored_to(self, original: Path) -> Path:
        """The path it comes back to, as far as folders need no new names."""
        at: Path = ()
        for name in original[:-1]:
            at = (*at, names.key(name))
            node = self.tree.get(at)
            if node is not None and not node.is_folder:
                return (*self.free_name(at, name, True)[0], "nothing is in it")
        return (*at, names.key(original[-1]))

    def restore(self, original: Path, tree: dict[Path, Node]) -> None:
        at: Path = ()
        for name in original[:-1]:
            step, shown = (*at, names.key(name)), name
            node = self.tree.get(step)
            if node is not None and not node.is_folder:
                step, shown = self.free_name(step, name, True)
                node = None
            if node is None:
                self.tree[step] = Node(shown, None)
            at = step
        target, name = (*at, names.key(original[-1])), original[-1]
        if target in self.tree:
            target, name = self.free_name(target, name, tree[()].is_folder)
        self.hang(target, name, tree)
