"""Random requests that a tree allows, as people and programs make them: any of them must succeed."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.crash.ledger import UNKNOWN_TOKEN, Body, Node, Path, Request, Tree, content

_MIB = 1 << 20
_PART = 8 * _MIB
_SMALL = (0, 1, 4096, 4096, 4096, 50_000, 50_000)
_SIZES = (*_SMALL, _MIB, _MIB + 1, _PART, _PART + 1, 20 * _MIB)
_MOST_BYTES = 80 * _MIB  # of one client's tree; then only small files are written
_MOST_ENTRIES = 40
_NAMES = ("a", "b c", "보고서.hwp", "e+f&g.txt", "Ünïcode", "20200101000000__stamp.txt", "x%41", "#tag", "n.bin", "z")


class Chooser:
    """Chooses for one client, whose paths all begin with `home`."""

    def __init__(self, seed: int, home: Path) -> None:
        self._random = random.Random(seed)
        self._home = home
        self._seed = seed
        self._written = 0

    def next(self, tree: Tree) -> Request:
        ways = {
            self._write: 8,
            self._overwrite: 5,
            self._move: 6,
            self._move_over: 2,
            self._copy: 2,
            self._copy_over: 1,
            self._delete: 4 if len(tree.nodes) < _MOST_ENTRIES else 20,
            self._make_folder: 2,
            self._lock: 2,
            self._unlock: 2,
            self._label: 2,
        }
        while True:
            way = self._random.choices(list(ways), weights=list(ways.values()))[0]
            request = way(tree)
            if request is not None:
                return request

    # --- what there is to choose from ---

    def _files(self, tree: Tree) -> list[Path]:
        return [path for path, node in tree.nodes.items() if node.body is not None]

    def _folders(self, tree: Tree) -> list[Path]:
        return [path for path, node in tree.nodes.items() if node.body is None]

    def _any_file(self, tree: Tree) -> Path | None:
        files = self._files(tree)
        return self._random.choice(files) if files else None

    def _any(self, tree: Tree) -> Path | None:
        """Any entry but the client's own folder."""
        entries = [path for path in tree.nodes if path != self._home]
        return self._random.choice(entries) if entries else None

    def _free(self, tree: Tree, outside: Path | None = None) -> Path | None:
        """A free name in any folder that is not in `outside`."""
        folders = [path for path in self._folders(tree) if outside is None or path[: len(outside)] != outside]
        place = (*self._random.choice(folders), self._random.choice(_NAMES))
        return None if place in tree.nodes or len(place) > 8 else place

    def _data(self, tree: Tree) -> bytes:
        self._written += 1
        used = sum(node.body.size for node in tree.nodes.values() if node.body)
        size = self._random.choice(_SIZES if used < _MOST_BYTES else _SMALL)
        return content(self._seed % 1000 * 1_000_000 + self._written, size)

    # --- the requests ---

    def _write(self, tree: Tree) -> Request | None:
        place = self._free(tree)
        return self._put(tree, place, Node(), 201) if place else None

    def _overwrite(self, tree: Tree) -> Request | None:
        path = self._any_file(tree)
        return self._put(tree, path, tree.nodes[path], 204) if path else None

    def _put(self, tree: Tree, path: Path, node: Node, expected: int) -> Request:
        data = self._data(tree)
        after = tree.put(path, replace(node, body=Body.of(data)))
        chunked = self._random.random() < 0.3
        locked = tree.tokens(path)
        return Request("PUT", path, after, expected, data=data, chunked=chunked, locked=locked)

    def _move(self, tree: Tree) -> Request | None:
        source = self._any(tree)
        target = self._free(tree, outside=source) if source else None
        if source is None or target is None:
            return None
        return Request("MOVE", source, tree.moved(source, target), 201, target, locked=tree.tokens(source))

    def _move_over(self, tree: Tree) -> Request | None:
        source, target = self._any_file(tree), self._any_file(tree)
        if source is None or target is None or source == target:
            return None
        return Request("MOVE", source, tree.moved(source, target), 204, target, locked=tree.tokens(source, target))

    def _copy(self, tree: Tree) -> Request | None:
        source = self._any(tree)
        target = self._free(tree, outside=source) if source else None
        if source is None or target is None or len(tree.nodes) > _MOST_ENTRIES:
            return None
        return Request("COPY", source, tree.copied(source, target), 201, target)

    def _copy_over(self, tree: Tree) -> Request | None:
        source, target = self._any_file(tree), self._any_file(tree)
        if source is None or target is None or source == target:
            return None
        return Request("COPY", source, tree.copied(source, target), 204, target, locked=tree.tokens(target))

    def _delete(self, tree: Tree) -> Request | None:
        path = self._any(tree)
        return Request("DELETE", path, tree.without(path), 204, locked=tree.tokens(path)) if path else None

    def _make_folder(self, tree: Tree) -> Request | None:
        place = self._free(tree)
        return Request("MKCOL", place, tree.put(place, Node()), 201) if place else None

    def _lock(self, tree: Tree) -> Request | None:
        """A file, or a free name: then an empty file comes with the lock."""
        new = self._random.random() < 0.3
        path = self._free(tree) if new else self._any_file(tree)
        if path is None or tree.tokens(path):
            return None
        node = Node(Body.of(b"")) if new else tree.nodes[path]
        return Request("LOCK", path, tree.put(path, replace(node, token=UNKNOWN_TOKEN)), 201 if new else 200)

    def _unlock(self, tree: Tree) -> Request | None:
        locked = tree.tokens(())
        if not locked:
            return None
        path = self._random.choice(sorted(locked))
        after = tree.put(path, replace(tree.nodes[path], token=""))
        return Request("UNLOCK", path, after, 204, locked={path: locked[path]})

    def _label(self, tree: Tree) -> Request | None:
        path = self._any(tree)
        if path is None:
            return None
        label = f"label {self._random.randrange(1000)}"
        after = tree.put(path, replace(tree.nodes[path], label=label))
        return Request("PROPPATCH", path, after, 207, label=label, locked=tree.tokens(path))
