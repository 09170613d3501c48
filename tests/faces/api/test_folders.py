"""Folders by their ids: every strategy at every obstacle, what is listed and in which order, what goes along."""

from __future__ import annotations

import pytest

from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive


@pytest.fixture(scope="module")
def api(common_drive: ServedDrive) -> Api:
    return Api(common_drive)


@pytest.mark.parametrize(
    ("strategy", "obstacle", "status", "said", "names"),
    [
        ("ERROR", None, 200, None, ["d", "d/mine"]),
        ("ERROR", "folder", 409, "DUPLICATE_FOLDER_EXISTS", ["d", "d/theirs"]),
        ("ERROR", "file", 409, "DUPLICATE_FILE_EXISTS", ["d"]),
        ("RENAME", "folder", 200, None, ["d", "d (1)", "d (1)/mine", "d/theirs"]),
        ("SKIP", "folder", 200, "DUPLICATE_FOLDER_EXISTS", ["d", "d/theirs"]),
        ("SKIP", "file", 200, "DUPLICATE_FILE_EXISTS", ["d"]),
        ("MERGE", None, 200, None, ["d", "d/mine"]),
        ("MERGE", "folder", 200, None, ["d", "d/mine", "d/theirs"]),
        ("MERGE", "file", 409, "CONFLICT", ["d"]),
        ("OVERWRITE", "folder", 400, "INVALID_REQUEST", ["d", "d/theirs"]),
    ],
)
def test_to_another_folder(
    api: Api, folder: str, strategy: str, obstacle: str | None, status: int, said: str | None, names: list[str]
) -> None:
    id, target = api.make_folder(f"{folder}/d"), api.make_folder(f"{folder}/to")
    api.make_file(f"{folder}/d/mine")
    if obstacle:
        taken = {"file": api.make_file, "folder": api.make_folder}[obstacle](f"{folder}/to/d")
    if obstacle == "folder":
        api.make_file(f"{folder}/to/d/theirs")
    got, body = api.post(f"/folders/{id}/move", json={"targetParentId": target, "conflictStrategy": strategy})
    assert got == status, body
    if status == 409 and strategy == "ERROR":
        merge = ["MERGE"] if obstacle == "folder" else []
        assert body["error"] == said and body["availableActions"] == ["RENAME", *merge, "SKIP"]
        found = body["existingFolder" if obstacle == "folder" else "existingFile"]
        assert (found["id"], found["path"]) == (taken, f"/{folder}/to/d")
    elif status != 200:
        assert body["error"] == said
    elif said:
        assert body == {"success": True, "skipped": True, "reason": said}
    else:
        assert body["folder"]["id"] == (taken if obstacle and strategy == "MERGE" else id)
        assert body["folder"]["parentId"] == target
    assert _tree(api, target) == names
    if not said:
        assert not api.exists(f"{folder}/d")


def _tree(api: Api, id: str, above: str = "") -> list[str]:
    """Paths below a folder, sorted."""
    _, body = api.get(f"/folders/{id}/children")
    found = [above + each["name"] for each in body["files"]]
    for inner in body["folders"]:
        found += [above + inner["name"], *_tree(api, inner["id"], f"{above}{inner['name']}/")]
    return sorted(found)


def test_into_itself(api: Api, folder: str) -> None:
    outer, inner = api.make_folder(f"{folder}/a"), api.make_folder(f"{folder}/a/b")
    for target in (outer, inner):
        for strategy in ("ERROR", "RENAME", "MERGE", "SKIP"):
            status, body = api.post(
                f"/folders/{outer}/move", json={"targetParentId": target, "conflictStrategy": strategy}
            )
            assert (status, body["error"]) == (409, "CIRCULAR_MOVE")


@pytest.mark.parametrize(
    ("name", "strategy", "status", "code", "made"),
    [
        ("new", "ERROR", 201, None, "new"),
        ("taken", "ERROR", 409, "DUPLICATE_FOLDER_EXISTS", None),
        ("taken", "RENAME", 201, None, "taken (1)"),
        ("file", "ERROR", 409, "DUPLICATE_FILE_EXISTS", None),
        ("a/b", "ERROR", 400, "INVALID_NAME", None),
        ("new", "MERGE", 400, "INVALID_REQUEST", None),
    ],
)
def test_made(api: Api, folder: str, name: str, strategy: str, status: int, code: str | None, made: str | None) -> None:
    parent = api.id_of(folder)
    api.make_folder(f"{folder}/taken")
    api.make_file(f"{folder}/file")
    got, body = api.post("/folders", json={"name": name, "parentId": parent, "conflictStrategy": strategy})
    assert (got, body.get("error")) == (status, code), body
    if made:
        assert body["folder"]["name"] == made and body["folder"]["path"] == f"/{folder}/{made}"
        assert body["folder"]["parentId"] == parent and api.exists(f"{folder}/{made}")


def test_made_in_the_drive_itself_and_nowhere(api: Api, folder: str) -> None:
    status, body = api.post("/folders", json={"name": f"{folder}-top"})
    assert (status, body["folder"]["parentId"], body["folder"]["path"]) == (201, None, f"/{folder}-top")
    for parent in ("nobody", api.make_file(f"{folder}/x")):
        assert api.post("/folders", json={"name": "x", "parentId": parent})[1]["error"] == "PARENT_FOLDER_NOT_FOUND"
    assert api.post("/folders", json={"name": "x", "parentId": api.id_of(folder)}, user="viewer")[0] == 403


@pytest.mark.parametrize(
    ("new", "strategy", "status", "code", "after"),
    [
        ("b", "ERROR", 200, None, "b"),
        ("a", "ERROR", 200, None, "a"),
        ("taken", "ERROR", 409, "DUPLICATE_FOLDER_EXISTS", "a"),
        ("taken", "RENAME", 200, None, "taken (1)"),
        ("taken", "MERGE", 400, "INVALID_REQUEST", "a"),
        (".", "ERROR", 400, "INVALID_NAME", "a"),
    ],
)
def test_rename(api: Api, folder: str, new: str, strategy: str, status: int, code: str | None, after: str) -> None:
    id = api.make_folder(f"{folder}/a")
    api.make_file(f"{folder}/a/x", b"inside")
    api.make_folder(f"{folder}/taken")
    got, body = api.put(f"/folders/{id}/rename", json={"newName": new, "conflictStrategy": strategy})
    assert (got, body.get("error")) == (status, code), body
    assert api.read(f"{folder}/{after}/x") == b"inside"
    assert api.put("/folders/nobody/rename", json={"newName": "x"})[1]["error"] == "FOLDER_NOT_FOUND"


def test_to_the_trash(api: Api, folder: str) -> None:
    id = api.make_folder(f"{folder}/a")
    inner = api.make_folder(f"{folder}/a/b")
    file = api.make_file(f"{folder}/a/b/x")
    status, body = api.delete(f"/folders/{id}")
    assert status == 200 and body["folder"].pop("syncEventId")
    assert body["folder"] == {"id": id, "name": "a", "state": "TRASHED", "deletedChildCount": 2}
    assert api.delete(f"/folders/{id}")[1]["error"] == "FOLDER_NOT_FOUND"
    assert api.get(f"/folders/{inner}/children")[1]["error"] == "FILE_IN_TRASH"
    assert api.get(f"/files/{file}")[1]["error"] == "FILE_IN_TRASH"
    assert api.delete("/folders/root")[0] == 403
    assert api.delete(f"/trash/{id}")[0] == 200
    assert api.get(f"/folders/{id}")[1]["error"] == "FOLDER_NOT_FOUND"


def test_copied_with_all_that_is_in_it(api: Api, folder: str) -> None:
    id, target = api.make_folder(f"{folder}/a"), api.make_folder(f"{folder}/to")
    api.make_file(f"{folder}/a/x", b"inside")
    status, body = api.post(f"/folders/{id}/copy", json={"targetFolderId": target, "newName": "copy"})
    assert status == 201 and body["folder"]["id"] != id
    assert (api.read(f"{folder}/to/copy/x"), api.read(f"{folder}/a/x")) == (b"inside", b"inside")


# --- what is in it ---


@pytest.mark.parametrize(
    ("sort", "order", "expected"),
    [
        ("name", "asc", ["Z", "y", "a.txt", "b.pdf", "c.txt"]),
        ("name", "desc", ["y", "Z", "c.txt", "b.pdf", "a.txt"]),
        ("size", "asc", ["Z", "y", "c.txt", "a.txt", "b.pdf"]),
        ("size", "desc", ["Z", "y", "b.pdf", "a.txt", "c.txt"]),
        ("type", "asc", ["Z", "y", "b.pdf", "a.txt", "c.txt"]),
        ("createdAt", "asc", ["Z", "y", "b.pdf", "a.txt", "c.txt"]),
        ("updatedAt", "desc", ["y", "Z", "b.pdf", "c.txt", "a.txt"]),
    ],
)
@pytest.mark.parametrize("limit", [2, 100])
def test_pages_in_every_order(listed: tuple[Api, str], sort: str, order: str, expected: list[str], limit: int) -> None:
    api, id = listed
    found: list[str] = []
    cursor = ""
    while True:
        status, body = api.get(f"/folders/{id}/children?sort={sort}&order={order}&limit={limit}{cursor}")
        assert status == 200 and body["total"] == 5
        found += [each["name"] for each in body["folders"] + body["files"]]
        if body["nextCursor"] is None:
            break
        cursor = f"&cursor={body['nextCursor']}"
    assert found == expected


@pytest.fixture(scope="module")
def listed(api: Api) -> tuple[Api, str]:
    """Two folders and three files, each of another size and age."""
    id = api.make_folder("listed")
    api.make_folder("listed/Z")
    api.make_folder("listed/y")
    for name, size in (("b.pdf", 3), ("a.txt", 2), ("c.txt", 1)):
        api.make_file(f"listed/{name}", b"x" * size)
    api.make_file("listed/b.pdf", b"y" * 3)
    return api, id


def test_what_each_entry_says(api: Api, folder: str) -> None:
    top = api.id_of(folder)
    id = api.make_folder(f"{folder}/a")
    inner, file = api.make_folder(f"{folder}/a/b"), api.make_file(f"{folder}/a/x")
    status, body = api.get(f"/folders/{id}/children")
    assert status == 200 and body["folder"]["id"] == id
    assert body["ancestors"] == [{"id": None, "name": ""}, {"id": top, "name": folder}]
    assert body["folders"] == [api.get(f"/folders/{inner}")[1]["folder"]] or body["folders"][0]["id"] == inner
    shown, alone = body["files"][0], api.get(f"/files/{file}")[1]["file"]
    for each in (shown, alone):  # the mirror goes on meanwhile
        assert each.pop("storageStatus")["cache"] == "AVAILABLE"
        for name in ("nasSyncMessage", "syncEventId", "version"):
            each.pop(name, None)
    assert shown == alone
    status, body = api.get("/folders/root/children?limit=1")
    assert status == 200 and body["ancestors"] == [] and body["folder"]["id"] is None


def test_cursors_that_nobody_gave_out(listed: tuple[Api, str]) -> None:
    api, id = listed
    _, body = api.get(f"/folders/{id}/children?sort=size&limit=3")
    for query in (
        "cursor=x",
        "cursor=" + "W1tbW1tbW1tbW1tbW1tb",
        "cursor=WzEsICJcdTAwMDAiLCAiYSJd",
        f"cursor={body['nextCursor']}",
        f"cursor={body['nextCursor']}&sort=type",
        "limit=0",
        "limit=9999",
        "sort=owner",
        "order=up",
        "page=2",
    ):
        status, body_ = api.get(f"/folders/{id}/children?{query}")
        assert (status, body_["error"]) == (400, "INVALID_REQUEST"), query


def test_nothing_is_left_out_when_what_was_shown_goes(api: Api, folder: str) -> None:
    ids = [api.make_file(f"{folder}/{name}") for name in "abcd"]
    _, first = api.get(f"/folders/{api.id_of(folder)}/children?limit=2")
    assert api.delete(f"/files/{ids[0]}")[0] == 200 and api.delete(f"/files/{ids[1]}")[0] == 200
    _, rest = api.get(f"/folders/{api.id_of(folder)}/children?limit=2&cursor={first['nextCursor']}")
    assert [each["name"] for each in rest["files"]] == ["c", "d"] and rest["nextCursor"] is None


def test_history(api: Api, folder: str) -> None:
    id = api.make_folder(f"{folder}/a")
    assert api.put(f"/folders/{id}/rename", json={"newName": "b"})[0] == 200
    _, body = api.get(f"/folders/{id}/history")
    assert [(line["event"], line["detail"]) for line in body["history"]] == [
        ("rename", f"/{folder}/b"),
        ("create", f"/{folder}/a"),
    ]


def test_what_one_may_not_read_is_not_there(api: Api, folder: str) -> None:
    """Neither on a page nor in the total; a target that one may not see is none."""
    top, id = api.id_of(folder), api.make_file(f"{folder}/x")
    secret = api.make_folder(f"{folder}/secret")
    inner = api.make_folder(f"{folder}/secret/inner")
    api.make_folder(f"{folder}/z")
    status, body = api.post(f"/folders/{secret}/grants", json={"level": "none", "user": "other"})
    assert status == 201, body
    try:
        _, body = api.get(f"/folders/{top}/children?limit=1", user="other")
        assert ([each["name"] for each in body["folders"]], body["total"]) == (["z"], 2)
        assert api.get(f"/folders/{top}/children")[1]["total"] == 3
        for hidden in (secret, inner):
            for path in ("", "/children", "/history"):
                assert api.get(f"/folders/{hidden}{path}", user="other")[1]["error"] == "FOLDER_NOT_FOUND"
            assert api.delete(f"/folders/{hidden}", user="other")[1]["error"] == "FOLDER_NOT_FOUND"
            status, body = api.post(f"/files/{id}/move", json={"targetFolderId": hidden}, user="other")
            assert body["error"] == "TARGET_FOLDER_NOT_FOUND"
        assert api.delete(f"/folders/{top}", user="other")[0] == 403  # it would take along what is not his
        body = {"targetParentId": None, "newName": f"{folder}-2"}
        assert api.post(f"/folders/{top}/move", json=body, user="other")[0] == 403
    finally:
        api.delete(f"/folders/{secret}/grants/{api.get(f'/folders/{secret}/grants')[1]['grants'][0]['id']}")
