"""Seed 001: what may be done while the NAS follows, files, folders, addresses and the NAS. Its sections are called here
"common", "files" (ㄱ), "folders" (ㄴ), "others" (ㄹ) and "nas" (ㅁ). Uploads in parts: `test_seeds_002_parts.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faces.api.conftest import Api
from tests.faces.api.flows import ANY, Branch, Flow, cache_away, cases, check, opened
from vfs.operations import nas_health, nas_state


@pytest.fixture
def flow(api: Api) -> Iterator[Flow]:
    yield from opened(api)


# --- common 3: who may change what, by what the NAS has of it ---


def in_state(kind: str, state: str) -> Callable[[Flow], None]:
    """`{it}` is a file or folder of which the NAS record is so."""

    def given(flow: Flow) -> None:
        flow.make()
        flow.carry()
        if kind == "file":
            flow.file("it", "it")
        else:
            flow.make("it", "it")
        if state == "AVAILABLE":
            flow.carry()
        elif state == "ERROR":
            flow.carry_badly()
        assert flow.nas_status(kind, flow.ids["it"]) == state

    return given


def _changes(kind: str) -> dict[str, tuple[Any, ...]]:
    to = "targetFolderId" if kind == "file" else "targetParentId"
    return {
        "rename": ("PUT", f"/{kind}s/{{it}}/rename", {"newName": "new"}),
        "move": ("POST", f"/{kind}s/{{it}}/move", {to: "{target}"}),
        "delete": ("DELETE", f"/{kind}s/{{it}}"),
    }


def it_is_carried(flow: Flow, _answer: Any) -> None:
    """Also after ERROR: the change replaces what failed."""
    flow.carry()
    assert flow.event(flow.ids["it"])["status"] == "DONE"


COMMON = [
    case
    for kind in ("file", "folder")
    for name, ask in _changes(kind).items()
    for case in cases(
        f"001-common-3 {kind} {name},",
        Branch("SYNCING", in_state(kind, "SYNCING"), ask, 409, {"error": f"{kind.upper()}_SYNCING"}),
        Branch("AVAILABLE", in_state(kind, "AVAILABLE"), ask, 200, None, it_is_carried),
        Branch("ERROR", in_state(kind, "ERROR"), ask, 200, None, it_is_carried),
    )
]


# --- files 1-A, 3, 5: answers ---


def nothing(flow: Flow) -> None:
    """The flow's folder alone."""


def carried(flow: Flow) -> None:
    flow.file()
    flow.make()
    flow.carry()


def two_files(flow: Flow) -> None:
    carried(flow)
    flow.file("other.txt", "other")
    flow.file("target/test.txt", "taken")
    flow.carry()


def upload_without_cache(flow: Flow) -> Any:
    with cache_away(flow):
        return flow.upload()


def no_file(flow: Flow, _answer: Any) -> None:
    assert flow.names() == []


def numbered(flow: Flow, _answer: Any) -> None:
    """(1), (2), (3) …"""
    for number in (2, 3):
        flow.file(as_="again")
        flow.carry()
        answer = flow.ask(*_rename("again", "other.txt", conflictStrategy="RENAME"))[1]
        assert answer["file"]["name"] == f"other ({number}).txt"


def _rename(what: str, to: str, **more: str) -> tuple[Any, ...]:
    return "PUT", f"/files/{{{what}}}/rename", {"newName": to, **more}


def _move(what: str = "file", to: str = "{target}", **more: str) -> tuple[Any, ...]:
    return "POST", f"/files/{{{what}}}/move", {"targetFolderId": to, **more}


_EXISTING = {"id": ANY, "name": ANY, "mimeType": "text/plain", "size": 5, "modifiedAt": ANY}

FILES = [
    *cases(
        "001-files-1-A",
        Branch("the cache fails: nothing changes", nothing, (upload_without_cache,), 503,
               {"error": "CACHE_UNAVAILABLE"}, no_file),
        Branch("no folder", nothing, (lambda flow: flow.upload(folder="{nobody}"),), 404,
               {"error": "FOLDER_NOT_FOUND"}),
        Branch("success", nothing, (lambda flow: flow.upload(),), 200, {"fileId": ANY, "syncEventId": ANY}),
    ),
    *cases(
        "001-files-3",
        Branch("success", carried, _rename("file", "new.txt"), 200,
               {"success": True, "file": {"id": "{file}", "name": "new.txt", "folderId": "{folder}"}}),
        Branch("the same name, ERROR", two_files, _rename("file", "other.txt"), 409,
               {"error": "DUPLICATE_FILE_EXISTS", "message": ANY, "existingFile": _EXISTING}),
        Branch("the same name, RENAME", two_files, _rename("file", "other.txt", conflictStrategy="RENAME"), 200,
               {"file": {"name": "other (1).txt"}}, numbered),
        Branch("its own name", carried, _rename("file", "test.txt"), 200, {"file": {"name": "test.txt"}}),
        Branch("no file", nothing, _rename("nobody", "a"), 404, {"error": "FILE_NOT_FOUND"}),
    ),
    *cases(
        "001-files-5",
        Branch("success", carried, _move(), 200, {"file": {"id": "{file}", "folderId": "{target}"}}),
        Branch("SKIP", two_files, _move(conflictStrategy="SKIP"), 200,
               {"success": True, "skipped": True, "reason": "DUPLICATE_FILE_EXISTS"}),
        Branch("no target", carried, _move(to="{nobody}"), 404, {"error": "TARGET_FOLDER_NOT_FOUND", "message": ANY}),
        Branch("ERROR", two_files, _move(), 409,
               {"error": "DUPLICATE_FILE_EXISTS", "existingFile": _EXISTING,
                "availableActions": ["OVERWRITE", "RENAME", "SKIP"]}),
        Branch("no file", carried, _move("nobody"), 404, {"error": "FILE_NOT_FOUND"}),
    ),
]  # fmt: skip


# --- folders ---


def a_folder(flow: Flow) -> None:
    flow.make("docs", "docs")
    flow.make()
    flow.carry()


def two_folders(flow: Flow) -> None:
    a_folder(flow)
    flow.make("taken", "taken")
    flow.make("target/docs", "inner")
    flow.file("docs/a.txt", "a")
    flow.file("target/docs/b.txt", "b")
    flow.carry()


def nested(flow: Flow) -> None:
    a_folder(flow)
    flow.make("docs/below", "below")
    flow.file("docs/a.txt", "a")
    flow.file("docs/below/b.txt", "b")
    flow.carry()


def child_on_its_way(flow: Flow) -> None:
    nested(flow)
    flow.file("docs/below/b.txt", "b", b"newer")


def in_the_trash(flow: Flow) -> None:
    a_folder(flow)
    assert flow.ask("DELETE", "/folders/{docs}")[0] == 200
    flow.carry()


def merged(flow: Flow, _answer: Any) -> None:
    assert flow.names("{target}") == ["docs"]
    assert flow.names("{inner}") == ["a.txt", "b.txt"]
    assert "docs" not in flow.names()
    flow.carry()
    found = {path.rpartition("__")[2] for path in flow.on_nas() if "__" in path}
    assert found == {"a.txt", "b.txt"}


def below_is_gone(flow: Flow, _answer: Any) -> None:
    assert flow.ask("GET", "/files/{b}")[1]["error"] == "FILE_IN_TRASH"
    flow.carry()
    assert flow.on_nas() == ["target"]
    status, answer = flow.ask("POST", "/trash/{docs}/restore", {})
    assert (status, answer["folder"]["id"]) == (200, flow.ids["docs"])
    assert flow.ask("GET", "/files/{b}/download")[1] == b"bytes"


def below_has_moved(flow: Flow, answer: Any) -> None:
    assert flow.ask("GET", "/files/{b}")[1]["file"]["path"] == f"{answer['folder']['path']}/below/b.txt"
    flow.carry()
    assert any(name.endswith("__b.txt") for name in flow.on_nas())


def _new(name: str, parent: str | None = "{folder}", **more: str) -> tuple[Any, ...]:
    return "POST", "/folders", {"name": name, "parentId": parent, **more}


def _rename_folder(to: str, what: str = "docs", **more: str) -> tuple[Any, ...]:
    return "PUT", f"/folders/{{{what}}}/rename", {"newName": to, **more}


def _move_folder(to: str = "{target}", what: str = "docs", **more: str) -> tuple[Any, ...]:
    return "POST", f"/folders/{{{what}}}/move", {"targetParentId": to, **more}


_EXISTING_FOLDER = {"id": ANY, "name": ANY, "path": ANY}
_DUPLICATE = {"error": "DUPLICATE_FOLDER_EXISTS", "message": ANY, "existingFolder": _EXISTING_FOLDER}

FOLDERS = [
    *cases(
        "001-folders-1",
        Branch("success", nothing, _new("docs"), 201,
               {"success": True, "folder": {"id": ANY, "name": "docs", "parentId": "{folder}", "path": ANY}}),
        Branch("no parent", nothing, _new("docs", "{nobody}"), 404, {"error": "PARENT_FOLDER_NOT_FOUND"}),
        Branch("duplicate, ERROR", a_folder, _new("docs"), 409, _DUPLICATE),
        Branch("duplicate, RENAME", a_folder, _new("docs", conflictStrategy="RENAME"), 201,
               {"folder": {"name": "docs (1)"}}),
    ),
    *cases(
        "001-folders-2",
        Branch("success", nested, _rename_folder("papers"), 200, {"folder": {"id": "{docs}", "name": "papers"}},
               below_has_moved),
        Branch("no folder", nothing, _rename_folder("papers", "nobody"), 404, {"error": "FOLDER_NOT_FOUND"}),
        Branch("duplicate, ERROR", two_folders, _rename_folder("taken"), 409, _DUPLICATE),
        Branch("duplicate, RENAME", two_folders, _rename_folder("taken", conflictStrategy="RENAME"), 200,
               {"folder": {"name": "taken (1)"}}),
    ),
    *cases(
        "001-folders-3",
        Branch("success", nested, _move_folder(), 200, {"folder": {"id": "{docs}", "parentId": "{target}"}},
               below_has_moved),
        Branch("SKIP", two_folders, _move_folder(conflictStrategy="SKIP"), 200,
               {"success": True, "skipped": True, "reason": "DUPLICATE_FOLDER_EXISTS"}),
        Branch("no folder", a_folder, _move_folder(what="nobody"), 404, {"error": "FOLDER_NOT_FOUND"}),
        Branch("no target", a_folder, _move_folder("{nobody}"), 404, {"error": "TARGET_FOLDER_NOT_FOUND"}),
        Branch("duplicate, ERROR", two_folders, _move_folder(), 409,
               {**_DUPLICATE, "availableActions": ["RENAME", "MERGE", "SKIP"]}),
        Branch("duplicate, RENAME", two_folders, _move_folder(conflictStrategy="RENAME"), 200,
               {"folder": {"name": "docs (1)", "parentId": "{target}"}}),
        Branch("duplicate, MERGE", two_folders, _move_folder(conflictStrategy="MERGE"), 200,
               {"folder": {"id": "{inner}"}}, merged),
        Branch("into itself", nested, _move_folder("{docs}"), 409, {"error": "CIRCULAR_MOVE"}),
        Branch("below itself", nested, _move_folder("{below}"), 409, {"error": "CIRCULAR_MOVE"}),
    ),
    *cases(
        "001-folders-4",
        Branch("success", nested, ("DELETE", "/folders/{docs}"), 200,
               {"success": True, "folder": {"id": "{docs}", "name": "docs", "deletedChildCount": 3}}, below_is_gone),
        Branch("no folder", nothing, ("DELETE", "/folders/{nobody}"), 404, {"error": "FOLDER_NOT_FOUND"}),
        Branch("deleted already", in_the_trash, ("DELETE", "/folders/{docs}"), 404, {"error": "FOLDER_NOT_FOUND"}),
        Branch("child files syncing", child_on_its_way, ("DELETE", "/folders/{docs}"), 409,
               {"error": "CHILD_FILES_SYNCING", "syncingFiles": [{"id": "{b}", "name": "b.txt"}]}),
    ),
    *cases(
        "001-folders-5",
        Branch("what is in it", child_on_its_way, ("GET", "/folders/{docs}/children"), 200,
               {"ancestors": [{"id": None}, {"id": "{folder}"}],
                "folders": [{"id": "{below}", "name": "below", "storageStatus": {"nas": "AVAILABLE"}}],
                "files": [{"id": "{a}", "name": "a.txt",
                           "storageStatus": {"cache": "AVAILABLE", "nas": "AVAILABLE"}}]}),
    ),
]  # fmt: skip


# --- others: addresses; nas: health and capacity ---


def with_policies(flow: Flow) -> None:
    """A white list with this machine in it, and a black list."""
    white = [{"cidr": "127.0.0.0/8"}, {"cidr": "192.0.2.0/24"}]
    black = [{"cidr": "192.0.2.128/25"}]
    for kind, rules in (("white", white), ("black", black)):
        body = {"name": f"{kind} {flow.path}", "kind": kind, "rules": rules}
        status, answer = flow.ask("POST", "/ip-policies", body)
        assert status == 201, answer
        flow.ids[kind], flow.ids[f"{kind}_rule"] = answer["policy"]["id"], answer["policy"]["rules"][0]["id"]


@pytest.fixture(autouse=True)
def _no_policies(api: Api) -> Iterator[None]:
    yield
    for policy in api.get("/ip-policies")[1]["policies"]:
        assert api.delete(f"/ip-policies/{policy['id']}?force=true")[0] == 200


def _may(address: str) -> tuple[Any, ...]:
    return "GET", f"/ip-policies/check?address={address}"


OTHERS = [
    *cases(
        "001-others-1",
        Branch("a white list lets in", with_policies, _may("192.0.2.1"), 200, {"allowed": True}),
        Branch("who is in none stays out", with_policies, _may("198.51.100.1"), 200, {"allowed": False}),
        Branch("a black list wins", with_policies, _may("192.0.2.200"), 200, {"allowed": False}),
    ),
    *cases(
        "001-others-2",
        Branch("a rule is made", with_policies,
               ("POST", "/ip-policies/{black}/rules", {"cidr": "192.0.2.1/32"}), 201, None,
               lambda flow, _: _compare_allowed(flow, "192.0.2.1", False)),
        Branch("a rule is changed", with_policies,
               ("PUT", "/ip-policies/{black}/rules/{black_rule}", {"cidr": "192.0.2.1"}), 200, None,
               lambda flow, _: _compare_allowed(flow, "192.0.2.200", True)),
        Branch("a rule is deleted", with_policies,
               ("DELETE", "/ip-policies/{black}/rules/{black_rule}"), 200, None,
               lambda flow, _: _compare_allowed(flow, "192.0.2.200", True)),
    ),
]  # fmt: skip


def _compare_allowed(flow: Flow, address: str, allowed: bool) -> None:
    assert flow.ask(*_may(address))[1]["allowed"] is allowed


def measured(flow: Flow) -> None:
    nas_health.check(flow.api.drive.kelp)
    nas_state.measure(flow.api.drive.kelp)


NAS = [
    *cases(
        "001-nas-1",
        Branch("a small file, timed", measured, ("GET", "/nas/health"), 200,
               {"health": {"state": "healthy", "since": ANY, "measurements": ANY}}),
    ),
    *cases(
        "001-nas-2",
        Branch("capacity", measured, ("GET", "/nas/capacity"), 200,
               {"capacity": {"total": ANY, "used": ANY, "free": ANY, "measuredAt": ANY}}),
    ),
    *cases("001-nas-3", Branch("settings", nothing, ("GET", "/nas/settings"), 200, {"settings": {"root": ANY}})),
]  # fmt: skip


@pytest.mark.parametrize("branch", [*COMMON, *FILES, *FOLDERS, *OTHERS, *NAS])
def test_flow(flow: Flow, branch: Branch) -> None:
    check(flow, branch)
