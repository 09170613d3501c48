"""Pages of a folder, an entry each: whatever a name is, the page after it is found by the cursor that was given out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from http_api import children
from tests.rooms.core.drive import Drive
from tests.vaults import make_vault
from vfs.operations import browsing

# Longer when they are folded or composed than a name may be; not printable, as macOS names its pictures of the screen;
# joined by what nobody sees; escaped.
_NAMES = ["\u0390" * 127, "\U0001d160" * 63, "\u6f22" * 85, "1\u202fPM.png", "a\u200db", '"\\' * 127, "z"]


@pytest.mark.parametrize("sensitive", [True, False])
@pytest.mark.parametrize("folder", ["vault", "plain"])
def test_every_name_is_passed(drive_with: Callable[..., Drive], folder: str, sensitive: bool) -> None:
    drive = drive_with(drive_case_sensitive=sensitive)
    uuid = (make_vault(drive.kelp, "vault") if folder == "vault" else drive.folder("plain")).uuid
    for name in _NAMES:
        drive.put(f"{folder}/{name}", b"x")
    for sort in browsing.SORTS:
        for order in ("asc", "desc"):
            assert sorted(_walked(drive, uuid, sort, order)) == sorted(_NAMES), (sort, order)


def _walked(drive: Drive, uuid: str, sort: str, order: str) -> list[str]:
    shown: list[str] = []
    query = children.ChildrenQuery.model_validate({"sort": sort, "order": order})
    while True:
        after = None if query.cursor is None else children._position(query.cursor, sort)
        descending = order == "desc"
        page = browsing.children(drive.kelp, drive.admin, uuid, sort=sort, descending=descending, after=after, limit=1)
        shown += [entry.name for entry, _ in page.entries]
        if page.after is None:
            return shown
        given = {"sort": sort, "order": order, "cursor": children._cursor(page.after)}
        query = children.ChildrenQuery.model_validate(given)
