"""Calls of the C library that Python does not offer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


def find(name: str, *arguments: Any) -> Callable[..., int] | None:
    """The function, which answers an int and leaves its error to `ctypes.get_errno`; None: this library lacks it.

    `arguments`: their types, of ctypes.
    """
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = arguments, ctypes.c_int
    found: Callable[..., int] = function
    return found
