"""What a client of the drive knows: the tree as acknowledged, and the one request whose outcome it does not know.

A `Tree` is a value; each change makes a new one. The client works in one folder of its own, so its tree is exact.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Path = tuple[str, ...]

_POOL = random.Random(7).randbytes(1 << 20)


@dataclass(frozen=True)
class Body:
    """What a file holds, known by its size and checksum, so that a ledger need not keep the bytes."""

    size: int
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(len(data), hashlib.blake2b(data, digest_size=16).hexdigest())


def content(number: int, size: int) -> bytes:
    """`size` bytes that no other number gives, from 20 bytes on."""
    head = b"%020d" % number
    return (head + _POOL * (size // len(_POOL) + 1))[:size]


@dataclass(frozen=True)
class Node:
    """A folder (`body` None) or a file. `label` is its dead property, `token` the lock on it."""

    body: Body | None = None
    label: str = ""
    token: str = ""


UNKNOWN_TOKEN = "?"  # of a lock whose answer never came


@dataclass(frozen=True)
class Tree:
    nodes: Mapping[Path, Node] = field(default_factory=dict)

    def below(self, path: Path) -> dict[Path, Node]:
        """The entry itself and all in it."""
        return {inner: node for inner, node in self.nodes.items() if inner[: len(path)] == path}

    def put(self, path: Path, node: Node) -> Tree:
        return Tree({**self.nodes, path: node})

    def without(self, path: Path) -> Tree:
        gone = self.below(path)
        return Tree({inner: node for inner, node in self.nodes.items() if inner not in gone})

    def moved(self, source: Path, target: Path) -> Tree:
        """Locks die with a move; that of a file moved over by a file stays with the name. Properties travel."""
        moving = {target + inner[len(source) :]: replace(node, token="") for inner, node in self.below(source).items()}
        old = self.nodes.get(target)
        if old is not None and old.body is not None and moving[target].body is not None:
            moving[target] = replace(moving[target], token=old.token)
        return Tree({**self.without(source).without(target).nodes, **moving})

    def copied(self, source: Path, target: Path) -> Tree:
        """A copy over a file keeps the row that is there, with its lock; properties are the source's."""
        kept = self.nodes[target].token if target in self.nodes else ""
        copies = {target + inner[len(source) :]: replace(node, token="") for inner, node in self.below(source).items()}
        copies[target] = replace(copies[target], token=kept)
        return Tree({**self.without(target).nodes, **copies})

    def tokens(self, *paths: Path) -> dict[Path, str]:
        """Locks on these entries and on all in them."""
        return {inner: node.token for path in paths for inner, node in self.below(path).items() if node.token}


@dataclass(frozen=True)
class Request:
    """One request, and the tree it leads to. `locked`: the locks it must name, path → token."""

    method: str
    path: Path
    after: Tree
    expected: int  # status
    target: Path | None = None
    data: bytes = b""
    label: str = ""
    locked: Mapping[Path, str] = field(default_factory=dict)
    chunked: bool = False

    def __str__(self) -> str:
        where = "/".join(self.path) + (f" → {'/'.join(self.target)}" if self.target else "")
        return f"{self.method} {where}" + (f" ({len(self.data)} bytes)" if self.method == "PUT" else "")


def outcome(tree: Tree, request: Request | None, actual: Tree) -> Tree:
    """What is there after a crash: the tree before the request, or after it. AssertionError: anything else."""
    if actual == tree:
        return actual
    if request is None:
        raise AssertionError("an acknowledged change is lost:\n" + difference(tree, actual))
    after = request.after
    for path, node in after.nodes.items():
        if node.token == UNKNOWN_TOKEN and actual.nodes.get(path, Node()).token:
            after = after.put(path, replace(node, token=actual.nodes[path].token))
    if actual == after:
        return actual
    raise AssertionError(
        f"{request} is done in part. Against the tree before it:\n{difference(tree, actual)}"
        f"\nAgainst the tree after it:\n{difference(after, actual)}"
    )


def difference(expected: Tree, actual: Tree) -> str:
    lines = []
    for path in sorted({*expected.nodes, *actual.nodes}):
        one, two = expected.nodes.get(path), actual.nodes.get(path)
        if one != two:
            lines.append(f"  /{'/'.join(path)}: expected {one}, found {two}")
    return "\n".join(lines)
