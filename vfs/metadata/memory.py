"""What was read from the database, kept while it has not changed (design §8: keyed by a version, so never wrong)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from vfs.metadata.change_count import ChangeCount

T = TypeVar("T")

_UNKNOWN = object()
_MOST = 4096  # values kept; each is a few hundred bytes


class Memory:
    """Values read since the last change; forgotten, all together, with the next one."""

    def __init__(self, count: ChangeCount) -> None:
        self._count = count
        self._kept: tuple[int, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, look: Callable[[], T]) -> T:
        """The value under `key`, or what `look` finds in the database, which must depend on nothing else.

        What is kept under a number was read after that number was seen, and is given only while it is the current one.
        """
        now = self._count.value()
        if now is None:
            return look()
        number, values = self._kept
        if number != now:
            values = {}
            self._kept = (now, values)
        elif (known := values.get(key, _UNKNOWN)) is not _UNKNOWN:
            return known  # type: ignore[return-value]  # a key always stands for the same kind of value
        found = look()
        if len(values) >= _MOST:
            values.clear()
        values[key] = found
        return found
