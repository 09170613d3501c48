"""`:name` in SQL becomes `$1`, `$2` …, as PostgreSQL's own protocol has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_TOKEN = re.compile(r"'[^']*'|::|:([a-z_][a-z0-9_]*)")


@lru_cache(maxsize=2048)
def _translated(sql: str) -> tuple[str, tuple[str, ...]]:
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1]
        return found[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return _TOKEN.sub(number, sql), tuple(names)


def numbered(sql: str, values: Mapping[str, object]) -> tuple[str, list[object]]:
    """The statement with numbered parameters, and their values in that order. Raises KeyError for one not given."""
    text, names = _translated(sql)
    return text, [values[name] for name in names]
