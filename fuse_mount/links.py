"""Symbolic links as the kernel is shown them: how long a link's target is belongs to its attributes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from vfs.core import Kelp
from vfs.operations import linking
from vfs.operations.posix import Node

_MOST = 8192  # targets in memory; each has at most 1 KiB


class Links:
    """Targets of links, by content: contents never change. Safe to use from many threads."""

    def __init__(self, kelp: Kelp) -> None:
        self._kelp = kelp
        self._targets: OrderedDict[str, bytes] = OrderedDict()  # b"": what only says that it is a link
        self._guard = threading.Lock()

    def unread(self, nodes: Iterable[Node]) -> list[str]:
        """Contents of those that are links of which nobody knows yet where they lead."""
        wanted = (node.content_id for node in nodes if node.is_link)
        return [id for id in wanted if id is not None and id not in self._targets]

    def read(self, content_ids: Iterable[str]) -> None:
        """Look where they lead. It blocks. Raises StoreUnavailable, ContentLost."""
        for content_id in content_ids:
            self.learned(content_id, linking.target_of(self._kelp, content_id) or b"")

    def learned(self, content_id: str, target: bytes) -> None:
        with self._guard:
            self._targets[content_id] = target
            if len(self._targets) > _MOST:
                self._targets.popitem(last=False)

    def target(self, node: Node) -> bytes | None:
        """It blocks. None: it is no link. Raises as `read`."""
        if not node.is_link or node.content_id is None:
            return None
        return self._targets.get(node.content_id) or linking.target_of(self._kelp, node.content_id)

    def length(self, node: Node) -> int | None:
        """Of a link's target, in bytes; 0 while nobody could read it; None: it is no link."""
        if not node.is_link or node.content_id is None:
            return None
        target = self._targets.get(node.content_id)
        return 0 if target is None else len(target) or None
