"""Small contents in memory: bounded, whatever their size, and the last used stay."""

from __future__ import annotations

from vfs.storage.small_contents import SMALL, SmallContents


def test_what_was_kept_is_there_and_nothing_large() -> None:
    contents = SmallContents()
    contents.keep("a", b"x" * SMALL)
    contents.keep("b", b"x" * (SMALL + 1))
    assert contents.get("a") == b"x" * SMALL and contents.get("b") is None


def test_what_was_not_read_for_the_longest_goes_first() -> None:
    contents = SmallContents()
    for number in range(250):
        contents.keep(str(number), bytes(SMALL))
        contents.get("0")
    for number in range(250, 300):
        contents.keep(str(number), bytes(SMALL))
    assert contents.get("0") is not None and contents.get("1") is None and contents.get("299") is not None


def test_empty_contents_are_bounded_too() -> None:
    contents = SmallContents()
    for number in range(100_000):
        contents.keep(str(number), b"")
    assert len(contents._kept) < 100_000
