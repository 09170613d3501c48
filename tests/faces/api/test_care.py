"""Sync events, alerts, the NAS, the trash: what people look after, and who may see what of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from http_api.paging import cursor_of
from tests.faces.api.conftest import Api
from tests.faces.conftest import ServedDrive
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Level
from vfs.operations import alerts, nas_settings, nas_state
from vfs.operations.alerts import AlertKind


def _events(api: Api, query: str = "", user: str | None = None) -> list[dict[str, Any]]:
    status, body = api.get(f"/sync-events{query}", user=user)
    assert status == 200, body
    return list(body["syncEvents"])


def _grant(kelp: Kelp, folder_uuid: str, user: str, level: Level) -> None:
    with kelp.database.write() as tx:
        folder, user_id = tx.entries.by_uuid(folder_uuid), tx.one("SELECT id FROM users WHERE name = :n", n=user)[0]
        assert folder is not None
        tx.run(
            """INSERT INTO grants (uuid, folder_id, user_id, level, created_ns)
               VALUES (:uuid, :folder, :user, :level, 0)""",
            uuid=f"grant-{folder_uuid}-{user}", folder=folder.id, user=user_id, level=int(level),
        )  # fmt: skip


def _fail(kelp: Kelp, entry_uuid: str) -> str:
    """As if the last retry had failed; the event's id."""
    with kelp.database.write() as tx:
        entry = tx.entries.by_uuid(entry_uuid)
        assert entry is not None
        newest = tx.events.newest(entry.id)
        assert newest is not None
        tx.events.fail(entry.id, newest, "no such device", kelp.clock.now_ns())
        return str(tx.one("SELECT uuid FROM sync_events WHERE id = :id", id=newest)[0])


# --- sync events ---


def test_an_event_is_told_with_its_file(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    (event,) = _events(api, f"?fileId={id}")
    assert (event["eventType"], event["status"], event["fileId"], event["folderId"]) == ("SYNC", "PENDING", id, None)
    assert (event["targetPath"], event["retryCount"], event["processedAt"]) == (f"/{folder}/a.txt", 0, None)
    assert api.get(f"/sync-events/{event['id']}") == (200, {"success": True, "syncEvent": event})
    (made,) = _events(api, f"?fileId={api.id_of(folder)}")
    assert (made["eventType"], made["fileId"], made["folderId"]) == ("MKDIR", None, api.id_of(folder))


def test_filters(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    api.drive.ask("MOVE", f"/dav/{folder}/a.txt", Destination=f"/dav/{folder}/b.txt")
    of_file = f"fileId={id}"
    types = [event["eventType"] for event in _events(api, f"?{of_file}")]
    assert types == ["RENAME", "SYNC"]
    assert [event["eventType"] for event in _events(api, f"?{of_file}&type=RENAME")] == ["RENAME"]
    assert _events(api, f"?{of_file}&status=DONE") == []
    since = _events(api, f"?{of_file}&type=RENAME")[0]["createdAt"]
    assert [event["eventType"] for event in _events(api, f"?{of_file}&since={since}")] == ["RENAME"]
    assert _events(api, "?fileId=nobody") == []


def test_pages_are_not_shifted_by_what_comes_meanwhile(api: Api, folder: str) -> None:
    ids = [api.make_file(f"{folder}/{n}.txt") for n in range(5)]
    status, first = api.get("/sync-events?limit=2&type=SYNC")
    api.make_file(f"{folder}/late.txt")
    _, second = api.get(f"/sync-events?limit=2&type=SYNC&cursor={first['nextCursor']}")
    shown = [event["fileId"] for event in first["syncEvents"] + second["syncEvents"]]
    assert (status, shown) == (200, ids[4:0:-1])


def test_the_last_page_says_so(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    assert api.get(f"/sync-events?fileId={id}&limit=500")[1]["nextCursor"] is None


@pytest.mark.parametrize(
    "query",
    (
        "limit=0", "limit=501", "limit=x", "cursor=%00", "cursor=AAAA", "status=OPEN", "type=sync", "since=yesterday",
        "since=2026-01-01T00:00:00", "since=9999-12-31T00:00:00Z", "since=0001-01-01T00:00:00Z", "colour=red",
        f"cursor={cursor_of((1 << 63,))}", f"cursor={cursor_of((1, 2))}", "limit=1&limit=2",
    ),
)  # fmt: skip
def test_wrong_queries(api: Api, query: str) -> None:
    status, body = api.get(f"/sync-events?{query}")
    assert (status, body["error"]) == (400, "INVALID_REQUEST")


def test_events_of_what_one_may_not_read_are_absent(api: Api, folder: str) -> None:
    secret = api.make_folder(f"{folder}/secret")
    id = api.make_file(f"{folder}/secret/a.txt")
    event = _events(api, f"?fileId={id}")[0]["id"]
    assert len(_events(api, f"?fileId={id}", user="viewer")) == 1
    _grant(api.drive.kelp, secret, "viewer", Level.NONE)
    assert _events(api, f"?fileId={id}", user="viewer") == []
    assert _events(api, f"?fileId={secret}", user="viewer") == []
    assert len(_events(api, f"?fileId={id}", user="other")) == 1
    status, body = api.get(f"/sync-events/{event}", user="viewer")
    assert (status, body["error"]) == (404, "SYNC_EVENT_NOT_FOUND")
    first = api.get("/sync-events?limit=1", user="viewer")[1]["syncEvents"]
    assert [each["id"] for each in first] != [event]  # the newest that he may see, not an empty page


def test_what_failed_is_tried_again(api: Api, folder: str) -> None:
    id = api.make_file(f"{folder}/a.txt")
    event = _fail(api.drive.kelp, id)
    assert api.get(f"/sync-events/{event}")[1]["syncEvent"]["errorMessage"] == "no such device"
    assert api.get(f"/files/{id}")[1]["file"]["storageStatus"]["nas"] == "ERROR"
    status, body = api.post(f"/sync-events/{event}/retry", user="other")
    assert (status, body["error"]) == (403, "FORBIDDEN")
    status, body = api.post(f"/sync-events/{event}/retry")
    assert (status, body["retried"], body["syncEvent"]["status"]) == (200, 1, "PENDING")
    assert api.get(f"/files/{id}")[1]["file"]["storageStatus"]["nas"] == "SYNCING"
    assert api.post(f"/sync-events/{event}/retry")[1]["retried"] == 0  # it does not fail just now
    assert api.post("/sync-events/nobody/retry")[1]["error"] == "SYNC_EVENT_NOT_FOUND"


# --- alerts ---


def test_alerts_are_listed_and_closed(api: Api, folder: str) -> None:
    kelp = api.drive.kelp
    alerts.open_(kelp, AlertKind.CLEANUP_FAILED, "it failed", subject=folder)
    listed = [each for each in api.get("/alerts")[1]["alerts"] if each["subject"] == folder]
    assert [(each["kind"], each["severity"], each["closedAt"]) for each in listed] == [
        ("CLEANUP_FAILED", "error", None)
    ]
    close = f"/alerts/{listed[0]['id']}/close"
    assert api.post(close, user="other")[0] == 403
    assert api.post(close) == (200, {"success": True})
    assert api.post(close)[1]["error"] == "NOT_FOUND"
    assert folder not in [each["subject"] for each in api.get("/alerts")[1]["alerts"]]
    assert folder in [each["subject"] for each in api.get("/alerts?all=true")[1]["alerts"]]


def test_others_see_alerts_about_their_own(api: Api, folder: str) -> None:
    kelp = api.drive.kelp
    api.drive.ask("PUT", f"/dav/{folder}/mine.txt", b"x", user="other")
    id = api.id_of(f"{folder}/mine.txt")
    alerts.open_(kelp, AlertKind.TARGET_FOLDER_DELETED, "it is back home", subject=id)
    alerts.open_(kelp, AlertKind.CACHE_AWAY, "away")
    assert [each["subject"] for each in api.get("/alerts", user="other")[1]["alerts"]] == [id]
    assert api.get("/alerts", user="viewer")[1]["alerts"] == []
    first = api.get("/alerts?limit=1")[1]
    second = api.get(f"/alerts?limit=1&cursor={first['nextCursor']}")[1]
    assert [first["alerts"][0]["kind"], second["alerts"][0]["subject"]] == ["CACHE_AWAY", id]
    alerts.close(kelp, AlertKind.CACHE_AWAY, "back")


# --- the NAS ---


def test_health_and_capacity(api: Api) -> None:
    kelp = api.drive.kelp
    status, body = api.get("/nas/health", user="viewer")
    assert (status, body["health"]["state"], body["health"]["measurements"]) == (200, "unknown", [])
    assert api.get("/nas/capacity")[1]["capacity"] is None
    from vfs.operations import nas_health

    nas_health.check(kelp)
    found = nas_state.measure(kelp)
    health = api.get("/nas/health", user="viewer")[1]["health"]
    assert health["state"] == "healthy"
    assert health["measurements"][0]["seconds"] >= 0
    capacity = api.get("/nas/capacity", user="viewer")[1]["capacity"]
    assert (capacity["total"], capacity["free"]) == (found.total, found.free)


def test_settings_count_at_once_or_from_the_next_start(api: Api) -> None:
    kelp = api.drive.kelp
    assert api.get("/nas/settings", user="other")[0] == 403
    before = api.get("/nas/settings")[1]
    assert before["settings"]["root"] == str(api.drive.nas)
    assert before["pending"] == {}
    status, body = api.put("/nas/settings", json={"reserve": 0, "retries": [1, 2.5], "health": 30})
    assert (status, body["settings"]["reserve"], body["settings"]["retries"]) == (200, 0, [1.0, 2.5])
    assert (body["settings"]["health"], body["pending"]) == (60.0, {"health": 30.0})
    assert nas_settings.read(kelp).retries == (1.0, 2.5)
    status, body = api.put("/nas/settings", json={"reserve": None, "retries": None, "health": None})
    assert (status, body) == (200, before)


def test_another_root_must_be_the_same_nas(served_drive: ServedDrive) -> None:
    api, kelp = Api(served_drive), served_drive.kelp
    elsewhere = served_drive.nas.parent / "elsewhere"
    for wrong in (str(elsewhere), str(served_drive.nas.parent), "nas", "/\0", "/etc/passwd"):
        status, body = api.put("/nas/settings", json={"root": wrong})
        assert (status, body["error"]) == (400, "INVALID_REQUEST"), wrong
    elsewhere.symlink_to(served_drive.nas)
    status, body = api.put("/nas/settings", json={"root": str(elsewhere), "slow": 3})
    assert (status, body["pending"], body["settings"]["slow"]) == (200, {"root": str(elsewhere)}, 3.0)
    settings = kelp.settings
    again = build(settings)
    try:
        assert again.settings.nas_root == elsewhere
        assert nas_settings.read(again).slow == 3.0
    finally:
        again.close()
    newer = nas_settings.replace(settings, nas=nas_settings.replace(settings.nas, root=elsewhere.parent / "newer"))
    with kelp.database.read() as tx:  # who wrote that into the configuration wants it since
        assert nas_settings.at_start(newer, tx).nas_root == elsewhere.parent / "newer"


@pytest.mark.parametrize(
    "body",
    (
        {"reserve": -1}, {"reserve": 1.5}, {"slow": 0}, {"retries": [-1]}, {"retries": [1e300]}, {"colour": "red"},
        {"root": ""}, {"health": "NaN"}, [],
    ),
)  # fmt: skip
def test_wrong_settings(api: Api, body: Any) -> None:
    status, answer = api.put("/nas/settings", json=body)
    assert (status, answer["error"]) == (400, "INVALID_REQUEST")


# --- the trash ---


def _trash(api: Api, user: str | None = None) -> dict[str, dict[str, Any]]:
    return {item["originalPath"]: item for item in api.get("/trash", user=user)[1]["items"]}


@pytest.fixture
def trashed(api: Api, folder: str) -> Callable[..., str]:
    """Make a file and put it in the trash; its id."""

    def made(name: str, user: str = "admin") -> str:
        api.drive.ask("PUT", f"/dav/{folder}/{name}", b"bytes")
        id = api.id_of(f"{folder}/{name}")
        with api.drive.kelp.database.write() as tx:  # what lives shortly would not go to the trash
            tx.run("UPDATE entries SET registered_ns = 1 WHERE uuid = :id", id=id)
        assert api.drive.ask("DELETE", f"/dav/{folder}/{name}", user=user).status == 204
        return id

    return made


def test_the_trash_is_ones_own(api: Api, folder: str, trashed: Callable[..., str]) -> None:
    id, path = trashed("a.txt", "other"), f"/{folder}/a.txt"
    item = _trash(api)[path]
    assert (item["id"], item["trashedBy"], item["kind"], item["size"]) == (id, "other", "file", 5)
    assert _trash(api, "other") == {path: item}
    assert _trash(api, "viewer") == {}
    assert api.delete(f"/trash/{id}", user="viewer")[0] == 403
    assert api.post(f"/trash/{id}/restore", json={}, user="viewer")[0] == 403


def test_restore(api: Api, folder: str, trashed: Callable[..., str]) -> None:
    id = trashed("a.txt")
    status, body = api.post(f"/trash/{id}/restore", json={})
    assert (status, body["file"]["id"], body["file"]["path"]) == (200, id, f"/{folder}/a.txt")
    assert api.post(f"/trash/{id}/restore", json={})[1]["error"] == "FILE_NOT_FOUND"


def test_restore_where_the_name_is_taken(api: Api, folder: str, trashed: Callable[..., str]) -> None:
    id = trashed("a.txt")
    taken = api.make_folder(f"{folder}/a.txt")
    status, body = api.post(f"/trash/{id}/restore", json={"conflictStrategy": "ERROR"})
    assert (status, body["error"], body["existingFolder"]["id"]) == (409, "DUPLICATE_FOLDER_EXISTS", taken)
    assert api.post(f"/trash/{id}/restore", json={"conflictStrategy": "OVERWRITE"})[0] == 400
    status, body = api.post(f"/trash/{id}/restore", json={"conflictStrategy": "RENAME"})
    assert (status, body["file"]["name"]) == (200, "a (1).txt")


def test_a_folder_comes_back_whole(api: Api, folder: str) -> None:
    id = api.make_folder(f"{folder}/sub")
    api.make_file(f"{folder}/sub/a.txt")
    with api.drive.kelp.database.write() as tx:
        tx.run("UPDATE entries SET registered_ns = 1")
    api.drive.ask("DELETE", f"/dav/{folder}/sub")
    status, body = api.post(f"/trash/{id}/restore", json={})
    assert (status, body["folder"]["id"], "file" in body) == (200, id, False)
    assert api.read(f"{folder}/sub/a.txt") == b"bytes"


def test_purge_one_and_all(api: Api, trashed: Callable[..., str]) -> None:
    api.delete("/trash")
    ids = [trashed(f"{n}.txt", "other" if n else "admin") for n in range(3)]
    assert api.delete(f"/trash/{ids[2]}") == (200, {"success": True, "purgedCount": 1})
    assert api.get(f"/files/{ids[2]}")[1]["error"] == "FILE_DELETED"
    assert api.delete("/trash", user="other")[1]["purgedCount"] == 1
    assert [item["id"] for item in _trash(api).values()] == [ids[0]]
    assert api.delete("/trash")[1]["purgedCount"] == 1


def test_pages_of_the_trash(api: Api, trashed: Callable[..., str]) -> None:
    api.delete("/trash")
    ids = [trashed(f"{n}.txt") for n in range(3)]
    first = api.get("/trash?limit=2")[1]
    trashed("late.txt")
    second = api.get(f"/trash?limit=2&cursor={first['nextCursor']}")[1]
    shown = [item["id"] for item in first["items"] + second["items"]]
    assert (shown, second["nextCursor"]) == (ids[::-1], None)
    assert json.dumps(first)  # plain JSON throughout
