"""What was read from the database, kept while it has not changed (design §8: keyed by a version, so never wrong)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")

_UNKNOWN = object()
_MOST = 4096  # values kept; each is a few hundred bytes, unless they are weighed


class Memory:
    """Values read since the last change; forgotten, all together, with the next one."""

    def __init__(
        self,
        version: Callable[[], Hashable | None],
        weigh: Callable[[object], int | None] = lambda _found: 0,
        most: int = 0,
    ) -> None:
        """`version`: another after each change of the database; None when that cannot be told.

        `weigh`: bytes that a value takes, of which all together may take `most`; None: it is not kept.
        """
        self._weigh, self._most = weigh, most
        self._weight = 0
        self._version = version
        self._kept: tuple[Hashable, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, look: Callable[[], T], more: Iterable[tuple[Hashable, T]] = ()) -> T:
        """The value under `key`, or what `look` finds in the database, which must depend on nothing else.

        What is kept under a version was read after that version was seen, and is given while that is the current one.
        `more`: (key, value) that `look` found too, since they will be asked for next; it fills it.
        """
        now = self._version()
        if now is None:
            return look()
        version, values = self._kept
        if version != now:
            values = {}
            self._kept, self._weight = (now, values), 0
        elif (known := values.get(key, _UNKNOWN)) is not _UNKNOWN:
            return known  # type: ignore[return-value]  # a key always stands for the same kind of value
        found = look()
        weight = self._weigh(found)
        if weight is not None:
            self._weight += weight
            if len(values) >= _MOST or self._weight > self._most:
                values.clear()
                self._weight = weight
            values[key] = found
            values.update(more)
        return found
