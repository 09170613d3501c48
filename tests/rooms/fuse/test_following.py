"""How far a mount looks ahead for who goes through a folder."""

from __future__ import annotations

from fuse_mount.following import Following


def _lookups(entries: list[tuple[int, int]], *, forgets: bool = False) -> list[int]:
    """How many files are looked at each time that something has to be looked up. `forgets`: that is always so."""
    following, known, counts = Following(), set[tuple[int, int]](), list[int]()
    for folder_id, entry_id in entries:
        if forgets or (folder_id, entry_id) not in known:
            counts.append(following.ahead(folder_id))
            known |= {(folder_id, entry_id + n) for n in range(counts[-1] + 1)}
        following.found(folder_id, entry_id)
    return counts


def test_it_looks_ahead_ever_farther_but_not_without_end() -> None:
    counts = _lookups([(7, entry_id) for entry_id in range(10, 2010)])
    assert counts[:3] == [0, 2, 4]
    assert counts == sorted(counts)
    assert max(counts) == 200
    assert len(counts) < 20


def test_the_next_folder_begins_where_the_last_one_ended() -> None:
    counts = _lookups([(folder_id, folder_id * 100 + n) for folder_id in range(10) for n in range(50)])
    assert len(counts) < 2 * 10 + 5


def test_where_everything_is_forgotten_in_between_it_hardly_looks_ahead() -> None:
    assert max(_lookups([(7, entry_id) for entry_id in range(10, 110)], forgets=True)) == 2


def test_who_goes_here_and_there_is_not_followed() -> None:
    assert set(_lookups([(folder_id, folder_id * 5000 + n) for n in range(20) for folder_id in (1, 2)])) == {0}
    assert sum(_lookups([(1, 100_000 - n) for n in range(20)])) == 2
    assert sum(_lookups([(1, 5000 * n) for n in range(20)])) == 2
