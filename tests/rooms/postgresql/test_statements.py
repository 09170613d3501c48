"""What long transactions leave with the server: cursors, and statements that it keeps."""

from __future__ import annotations

from tests.rooms.core.drive import Drive
from vfs.metadata.database import Tx
from vfs.model import ROOT_ID


def kept(tx: Tx, when: int) -> tuple[int, int]:
    """Open cursors and prepared statements. `when` makes it another question each time."""
    cursors, statements = tx.one(
        f"""SELECT (SELECT COUNT(*) FROM pg_cursors WHERE name LIKE 'rows%'),
                   (SELECT COUNT(*) FROM pg_prepared_statements), {when}"""
    )[:2]
    return cursors, statements


def test_listing_many_folders_leaves_nothing_with_the_server(drive: Drive) -> None:
    """A copy of a tree lists each of its folders in one transaction."""
    drive.put("a")
    with drive.kelp.database.scan() as tx:
        list(tx.entries.children(ROOT_ID))
        before = kept(tx, 1)
        for _ in range(50):
            assert [row.name for row in tx.entries.children(ROOT_ID)] == ["a"]
        assert kept(tx, 2)[0] == before[0] == 0
        assert kept(tx, 3)[1] < before[1] + 10


def test_listings_inside_each_other_and_left_half_way(drive: Drive) -> None:
    for name in ("a", "b", "c"):
        drive.put(name)
    with drive.kelp.database.scan() as tx:
        outer = tx.entries.children(ROOT_ID)
        assert next(outer).name == "a"
        inner = tx.each("SELECT name FROM entries WHERE parent_id = :id ORDER BY name", id=ROOT_ID)
        assert next(inner)[0] == "a"
        inner.close()  # type: ignore[attr-defined]  # a generator
        assert [row.name for row in tx.entries.children(ROOT_ID)] == ["a", "b", "c"]
        assert [row.name for row in outer] == ["b", "c"]


def test_statements_that_differ_in_how_many_values_they_have_are_not_kept(drive: Drive) -> None:
    with drive.kelp.database.write() as tx:
        tx.entries.several([1])
        before = kept(tx, 1)
        for count in range(1, 400):
            tx.entries.several(range(count))
        assert kept(tx, 2)[1] < before[1] + 50
