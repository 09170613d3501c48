"""What people see who read the NAS without Kelp: the drive's names and bytes, the stamps taken off; in a vault with its
key."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests import vaults
from tests.crash.ledger import Body, Node, Tree

_STAMP = re.compile(r"\d{14}__")
_OWN = {".kelp", ".trash"}


def nas_tree(root: Path) -> Tree:
    """Everything on the NAS but Kelp's own folders and the trash. Raises AssertionError for a file without a stamp."""
    nodes: dict[tuple[str, ...], Node] = {}
    for here, folders, files in os.walk(root):
        place = Path(here)
        if place == root:
            folders[:] = [name for name in folders if name not in _OWN]
        for name in folders:
            nodes[_drive_path(root, place / name)] = Node()
        for name in files:
            assert _STAMP.match(name), f"{place / name} has no stamp"
            nodes[_drive_path(root, place / name)] = Node(Body.of((place / name).read_bytes()))
    return Tree(nodes)


def vault_tree(root: Path) -> Tree:
    """Everything in the vault at the top, which is not itself in it."""
    found = vaults.on_nas(root).items()
    nodes = {(vaults.FOLDER, *path.split("/")): Node(None if data is None else Body.of(data)) for path, data in found}
    return Tree(nodes)


def _drive_path(root: Path, path: Path) -> tuple[str, ...]:
    names = list(path.relative_to(root).parts)
    folders = [name[1:] if name[:1] == "_" and _STAMP.match(name[1:]) else name for name in names[:-1]]
    last = names[-1]
    if path.is_dir():
        last = last[1:] if last[:1] == "_" and _STAMP.match(last[1:]) else last
    else:
        last = _STAMP.sub("", last, count=1)
    return (*folders, last)


def plain(tree: Tree) -> Tree:
    """Without what the NAS does not show: properties and locks."""
    return Tree({path: Node(node.body) for path, node in tree.nodes.items()})
