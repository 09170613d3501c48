"""What a process remembers of names and texts that it opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from vfs.operations import sealing
from vfs.operations.sealing import _Opened


def test_what_was_opened_is_not_opened_again() -> None:
    asked: list[str] = []

    def open_it(stored: str) -> str:
        asked.append(stored)
        return stored.upper()

    known = _Opened(open_it, 5)
    assert [known[stored] for stored in ("one", "two", "one", "longer", "longer")] == [
        *("ONE", "TWO", "ONE", "LONGER", "LONGER")
    ]
    assert asked == ["one", "two", "longer", "longer"]


def test_it_is_not_too_much_and_always_right() -> None:
    known = _Opened(str.upper, 100)

    def look(begin: int) -> None:
        for number in range(begin, begin + 3 * sealing._REMEMBERED):
            assert known[f"a{number}"] == f"A{number}"
            assert len(known) <= sealing._REMEMBERED

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look, (0, 100, 20_000, 20_001)))
    assert f"a{20_001 + 3 * sealing._REMEMBERED - 1}" in known
