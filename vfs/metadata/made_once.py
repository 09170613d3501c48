"""A property that is made when it is asked for the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class made_once(Generic[T]):  # noqa: N801  # read as a decorator
    """As `functools.cached_property`, without its lock: a transaction is one thread's, lasts 200 µs, and asks for eight
    of them."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__

    def __get__(self, owner: Any, kind: type | None = None) -> T:
        made = owner.__dict__[self._name] = self._make(owner)  # from now on found there, before this is
        return made
