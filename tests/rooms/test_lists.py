"""Lists of values in SQL: all of them are there, and the texts are few."""

from __future__ import annotations

from vfs.metadata.lists import MOST, listed, portions


def test_every_value_is_there_and_no_other() -> None:
    for count in range(1, MOST + 1):
        marks, values = listed(range(count))
        assert set(values.values()) == set(range(count))
        assert marks.split(", ") == [f":{name}" for name in values]


def test_the_texts_are_few_and_hardly_longer_than_they_must_be() -> None:
    lengths = [len(listed(range(count))[1]) for count in range(1, MOST + 1)]
    assert len(set(lengths)) == 18
    assert all(count <= length < count * 1.5 for count, length in enumerate(lengths, 1))


def test_no_value_is_like_none() -> None:
    assert listed([]) == ("NULL", {})


def test_portions() -> None:
    found = [set(values.values()) for _, values in portions(range(1234))]
    assert found == [set(range(500)), set(range(500, 1000)), set(range(1000, 1234))]
