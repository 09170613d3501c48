"""What was read from the database, kept while it has not changed (design §8: keyed by a version, so never wrong)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")

_UNKNOWN = object()
_MOST = 4096  # values kept; each is a few hundred bytes


class Memory:
    """Values read since the last change; forgotten, all together, with the next one."""

    def __init__(
        self, version: Callable[[], Hashable | None], is_worth_it: Callable[[object], bool] = lambda _found: True
    ) -> None:
        """`version`: another after each change of the database; None when that cannot be told."""
        self._is_worth_it = is_worth_it
        self._version = version
        self._kept: tuple[Hashable, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, look: Callable[[], T]) -> T:
        """The value under `key`, or what `look` finds in the database, which must depend on nothing else.

        What is kept under a version was read after that version was seen, and is given while that is the current one.
        """
        now = self._version()
        if now is None:
            return look()
        version, values = self._kept
        if version != now:
            values = {}
            self._kept = (now, values)
        elif (known := values.get(key, _UNKNOWN)) is not _UNKNOWN:
            return known  # type: ignore[return-value]  # a key always stands for the same kind of value
        found = look()
        if len(values) >= _MOST:
            values.clear()
        if self._is_worth_it(found):
            values[key] = found
        return found
