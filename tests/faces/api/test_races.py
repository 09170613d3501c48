"""Two callers at the same instant, by every strategy: one of them is first, and what both are told is what is there.

And an operation by id changes what has the id, never what has taken its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.faces.api.conftest import Api, race
from tests.faces.conftest import ServedDrive


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


Ask = Callable[[], tuple[int, dict[str, Any]]]
_ROUNDS = 4


def _names(api: Api, id: str) -> list[str]:
    _, body = api.get(f"/folders/{id}/children")
    return [each["name"] for each in body["folders"] + body["files"]]


@pytest.mark.parametrize(
    ("strategy", "answers", "names"),
    [
        ("ERROR", [200, 409], ["x"]),
        ("SKIP", [200, 200], ["x"]),
        ("RENAME", [200, 200], ["x", "x (1)"]),
        ("OVERWRITE", [200, 200], ["x"]),
    ],
)
@pytest.mark.parametrize("what", ["move", "copy"])
def test_two_files_to_one_name(
    api: Api, folder: str, what: str, strategy: str, answers: list[int], names: list[str]
) -> None:
    for number in range(_ROUNDS):
        sources = []
        for side in "ab":
            api.make_folder(f"{folder}/{number}{side}")
            sources.append(api.make_file(f"{folder}/{number}{side}/x", side.encode()))
        target = api.make_folder(f"{folder}/{number}to")
        body = {"targetFolderId": target, "conflictStrategy": strategy}
        told = race(*(partial(api.post, f"/files/{id}/{what}", json=body) for id in sources))
        assert sorted(200 if status == 201 else status for status, _ in told) == answers, told
        assert _names(api, target) == names
        skipped = [answer for _, answer in told if answer.get("skipped")]
        assert len(skipped) == (strategy == "SKIP")
        if strategy == "RENAME":
            assert sorted(answer["file"]["name"] for _, answer in told) == names
        if strategy == "OVERWRITE" and what == "move":
            assert Counter(api.get(f"/files/{id}")[0] for id in sources) == {200: 1, 400: 1}


@pytest.mark.parametrize(
    ("strategy", "answers", "names"),
    [
        ("ERROR", [200, 409], ["x"]),
        ("SKIP", [200, 200], ["x"]),
        ("RENAME", [200, 200], ["x", "x (1)"]),
        ("MERGE", [200, 200], ["x"]),
    ],
)
def test_two_folders_to_one_name(api: Api, folder: str, strategy: str, answers: list[int], names: list[str]) -> None:
    for number in range(_ROUNDS):
        sources = []
        for side in "ab":
            api.make_folder(f"{folder}/{number}{side}")
            sources.append(api.make_folder(f"{folder}/{number}{side}/x"))
            api.make_file(f"{folder}/{number}{side}/x/{side}")
        target = api.make_folder(f"{folder}/{number}to")
        body = {"targetParentId": target, "conflictStrategy": strategy}
        told = race(*(partial(api.post, f"/folders/{id}/move", json=body) for id in sources))
        assert sorted(status for status, _ in told) == answers, told
        assert _names(api, target) == names
        if strategy == "MERGE":
            assert _names(api, api.id_of(f"{folder}/{number}to/x")) == ["a", "b"]


@pytest.mark.parametrize(("strategy", "answers"), [("ERROR", [201, 409]), ("RENAME", [201, 201])])
def test_two_make_one_folder(api: Api, folder: str, strategy: str, answers: list[int]) -> None:
    parent = api.id_of(folder)
    for number in range(_ROUNDS):
        body = {"name": f"{number}", "parentId": parent, "conflictStrategy": strategy}
        told = race(*(partial(api.post, "/folders", json=body) for _ in range(2)))
        assert sorted(status for status, _ in told) == answers
        made = [answer["folder"]["id"] for status, answer in told if status == 201]
        assert len(set(made)) == len(made)


@pytest.mark.parametrize(("strategy", "answers"), [("ERROR", [200, 409]), ("RENAME", [200, 200])])
@pytest.mark.parametrize("kind", ["files", "folders"])
def test_two_get_one_name(api: Api, folder: str, kind: str, strategy: str, answers: list[int]) -> None:
    make = api.make_file if kind == "files" else api.make_folder
    for number in range(_ROUNDS):
        ids = [make(f"{folder}/{number}{side}") for side in "ab"]
        body = {"newName": f"{number}", "conflictStrategy": strategy}
        told = race(*(partial(api.put, f"/{kind}/{id}/rename", json=body) for id in ids))
        assert sorted(status for status, _ in told) == answers


def test_two_rename_and_two_delete_one(api: Api, folder: str) -> None:
    """Who comes second works on what the first has left."""
    for number in range(_ROUNDS):
        id = api.make_file(f"{folder}/{number}")
        told = race(*(partial(api.put, f"/files/{id}/rename", json={"newName": f"{number}{side}"}) for side in "ab"))
        assert [status for status, _ in told] == [200, 200]
        now = api.get(f"/files/{id}")[1]["file"]["name"]
        assert now in (f"{number}a", f"{number}b")
        told = race(*(partial(api.delete, f"/files/{id}") for _ in range(2)))
        assert sorted((status, answer.get("error", "")) for status, answer in told) == [
            (200, ""),
            (400, "FILE_ALREADY_TRASHED"),
        ]


@pytest.mark.parametrize("kind", ["files", "folders"])
@pytest.mark.parametrize("what", ["rename", "move", "delete"])
def test_what_took_its_place_is_left_alone(api: Api, folder: str, kind: str, what: str) -> None:
    """While one asks for it by its id, another moves it away and puts something else there."""
    make = api.make_file if kind == "files" else api.make_folder
    for number in range(_ROUNDS):
        api.make_folder(f"{folder}/{number}")
        target = api.make_folder(f"{folder}/{number}to")
        id, other = make(f"{folder}/{number}/x"), make(f"{folder}/{number}/other")

        def swap(id: str = id, other: str = other) -> None:
            api.put(f"/{kind}/{id}/rename", json={"newName": "away"})
            api.put(f"/{kind}/{other}/rename", json={"newName": "x"})

        asked: dict[str, Ask] = {
            "rename": partial(api.put, f"/{kind}/{id}/rename", json={"newName": "mine"}),
            "move": partial(
                api.post,
                f"/{kind}/{id}/move",
                json={"targetFolderId" if kind == "files" else "targetParentId": target},
            ),
            "delete": partial(api.delete, f"/{kind}/{id}"),
        }
        (status, _), _ = race(asked[what], swap)
        assert status == 200
        left = api.get(f"/{kind}/{other}")
        assert left[0] == 200, left
        shown = left[1]["file" if kind == "files" else "folder"]
        assert shown["path"] in (f"/{folder}/{number}/x", f"/{folder}/{number}/other")


def test_a_target_that_goes_away(api: Api, folder: str) -> None:
    """The file is either still where it was, or in the trash with the folder: never lost."""
    for number in range(_ROUNDS):
        id, target = api.make_file(f"{folder}/{number}"), api.make_folder(f"{folder}/{number}to")
        (status, answer), (gone, _) = race(
            partial(api.post, f"/files/{id}/move", json={"targetFolderId": target}),
            partial(api.delete, f"/folders/{target}"),
        )
        assert gone == 200
        if status == 200:
            assert api.get(f"/files/{id}")[1]["error"] == "FILE_IN_TRASH"
        else:
            assert answer["error"] == "TARGET_FOLDER_NOT_FOUND" and api.exists(f"{folder}/{number}")


def test_circles_are_made_by_nobody(api: Api, folder: str) -> None:
    for number in range(_ROUNDS):
        a, b = api.make_folder(f"{folder}/{number}a"), api.make_folder(f"{folder}/{number}b")
        told = race(
            partial(api.post, f"/folders/{a}/move", json={"targetParentId": b}),
            partial(api.post, f"/folders/{b}/move", json={"targetParentId": a}),
        )
        assert sorted((status, answer.get("error", "")) for status, answer in told) == [
            (200, ""),
            (409, "CIRCULAR_MOVE"),
        ]
