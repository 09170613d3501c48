"""Uploads in parts over REST (spec §6; seeds 001 §1-B, 002 §1-2 to §1-6)."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from blake3 import blake3

from jobs import mirror
from tests import engines
from tests.faces.api.conftest import Answer, Api
from vfs.operations import checking, sessions

MIB = 1024 * 1024


class Session:
    """An upload of one test."""

    def __init__(self, api: Api, folder: str, name: str = "big.bin", **more: Any) -> None:
        self.api = api
        more = {"totalSize": None, **more}
        body = {"fileName": name, "folderId": api.id_of(folder), **more}
        status, self.begun = api.post("/files/multipart/initiate", json=body)
        assert status == 200, self.begun
        self.id = self.begun["sessionId"]

    def put(self, number: int, data: bytes, **headers: str) -> Answer:
        reply = self.api.ask("PUT", f"/files/multipart/{self.id}/parts/{number}", body=data, **headers)
        return reply.status, json.loads(reply.body)

    def status(self, user: str | None = None) -> Answer:
        return self.api.get(f"/files/multipart/{self.id}/status", user=user)

    def complete(self, **body: Any) -> Answer:
        return self.api.post(f"/files/multipart/{self.id}/complete", json=body)

    def abort(self) -> Answer:
        return self.api.delete(f"/files/multipart/{self.id}")

    @property
    def objects(self) -> set[str]:
        """In the cache, of this upload."""
        with self.api.drive.kelp.database.read() as tx:
            content_id = tx.one("SELECT content_id FROM upload_sessions WHERE uuid = :id", id=self.id)[0]
        return {info.key for info in self.api.drive.kelp.cache.list(content_id)}

    def change(self, sets: str) -> None:
        with self.api.drive.kelp.database.write() as tx:
            tx.run(f"UPDATE upload_sessions SET {sets} WHERE uuid = :id", id=self.id)


@pytest.fixture
def begin(api: Api, folder: str) -> Callable[..., Session]:
    return lambda *args, **more: Session(api, folder, *args, **more)


def pattern(size: int, seed: int = 0) -> bytes:
    block = blake3(str(seed).encode()).digest(length=64 * 1024)
    return (block * (size // len(block) + 1))[:size]


def test_parts_in_any_order_and_of_any_size(api: Api, folder: str, begin: Callable[..., Session]) -> None:
    """The last part has several objects, since it is larger than one may be."""
    pieces = [pattern(size, size) for size in (1, 100_000, 3 * MIB + 1, 20 * MIB + 5)]
    session = begin(totalSize=sum(map(len, pieces)), mimeType="video/mp4")
    assert session.begun["status"] == "INIT" and session.begun["uploadId"] == session.id
    etags = {}
    for number in (4, 2, 1, 3):
        status, answer = session.put(number, pieces[number - 1])
        assert (status, answer["partNumber"], answer["size"]) == (200, number, len(pieces[number - 1]))
        etags[number] = answer["etag"]
    assert etags[2] == blake3(pieces[1]).hexdigest() and etags[4].endswith("-3")
    _, told = session.status()
    assert [(each["partNumber"], each["etag"]) for each in told["uploadedParts"]] == sorted(etags.items())
    named = [{"partNumber": number, "etag": etag} for number, etag in etags.items()]
    status, answer = session.complete(parts=named)
    assert status == 200, answer
    file = answer["file"]
    assert (file["id"], file["size"], file["mimeType"]) == (answer["fileId"], len(b"".join(pieces)), "video/mp4")
    assert (file["storageStatus"], answer["path"]) == ({"cache": "AVAILABLE", "nas": "SYNCING"}, f"/{folder}/big.bin")
    assert api.read(f"{folder}/big.bin") == b"".join(pieces)
    some = api.drive.ask("GET", f"/dav/{folder}/big.bin", Range="bytes=99990-3245740").body
    assert some == b"".join(pieces)[99990:3245741]


def test_on_the_nas_it_is_known_as_a_whole(api: Api, folder: str, begin: Callable[..., Session]) -> None:
    kelp, data = api.drive.kelp, pattern(9 * MIB)
    session = begin("whole.bin")
    session.put(2, data[4 * MIB :])
    session.put(1, data[: 4 * MIB])
    id = session.complete()[1]["fileId"]
    mirror.drain(kelp, "test")
    with kelp.database.read() as tx:
        entry = tx.entries.by_uuid(id)
        assert entry is not None and entry.content_id is not None
        content = tx.contents.get(entry.content_id)
    assert content is not None and content.checksum == blake3(data).hexdigest() and len(content.parts) == 2
    [path] = api.drive.nas.glob(f"{folder}/*__whole.bin")
    assert path.read_bytes() == data
    assert not checking.check(kelp).problems


@pytest.mark.parametrize("size", [0, 1, 5 * MIB])
def test_a_small_one(api: Api, folder: str, begin: Callable[..., Session], size: int) -> None:
    """Of none or one object, the latter sent twice."""
    session = begin(f"small-{size}", totalSize=size)
    if size:
        session.put(1, b"x" * (size + 0))
        session.put(1, pattern(size))
        assert len(session.objects) == 1
    status, answer = session.complete()
    assert (status, answer["file"]["size"]) == (200, size)
    assert api.read(f"{folder}/small-{size}") == pattern(size)
    assert session.complete() == (status, answer)
    assert not session.objects


def test_status_tells_how_to_go_on(begin: Callable[..., Session]) -> None:
    session = begin(totalSize=30 * MIB, partSize=10 * MIB)
    _, told = session.status()
    assert (told["status"], told["nextPartNumber"], told["totalParts"]) == ("INIT", 1, 3)
    untouched = told["expiresAt"]
    session.put(1, pattern(10 * MIB))
    session.put(3, pattern(10 * MIB))
    _, told = session.status()
    assert (told["status"], told["nextPartNumber"], told["uploadedBytes"]) == ("UPLOADING", 2, 20 * MIB)
    assert told["remainingBytes"] == 10 * MIB and told["expiresAt"] > untouched
    assert [each["bytes"] for each in told["uploadedParts"]] == [10 * MIB] * 2
    assert session.complete()[1]["missingParts"] == [2]


def test_all_that_is_missing_is_told(begin: Callable[..., Session]) -> None:
    """While parts have the size that was agreed on; of others nobody knows how many there will be."""
    session = begin(totalSize=1050, partSize=100)
    assert session.complete()[1]["missingParts"] == list(range(1, 12))
    session.put(11, b"x" * 50)
    session.put(2, b"x" * 100)
    assert session.complete()[1]["missingParts"] == [1, *range(3, 11)]
    session.put(1, b"x" * 70)
    assert session.complete()[1]["missingParts"] == list(range(3, 11))


@pytest.mark.parametrize("announced", [True, False])
def test_status_of_a_complete_one(begin: Callable[..., Session], announced: bool) -> None:
    session = begin(**({"totalSize": 20} if announced else {}))
    session.put(1, b"x" * 20)
    id = session.complete()[1]["fileId"]
    told = session.status()[1]
    assert (told["status"], told["fileId"], told["uploadedBytes"], told["totalSize"]) == ("COMPLETED", id, 20, 20)
    assert (told["remainingBytes"], told["nextPartNumber"], told["uploadedParts"]) == (None, None, [])


def test_what_is_missing_or_wrong(begin: Callable[..., Session]) -> None:
    session = begin(totalSize=300)
    first = session.put(1, b"x" * 100)[1]["etag"]
    session.put(3, b"x" * 100)
    assert session.complete()[1]["missingParts"] == [2]
    second = session.put(2, b"y" * 99)[1]["etag"]
    status, answer = session.complete()
    assert (status, answer["error"], answer["missingParts"]) == (400, "PARTS_INCOMPLETE", [4])
    assert session.put(2, b"y" * 301)[1]["error"] == "INVALID_REQUEST"
    assert session.put(2, b"y" * 100)[1]["etag"] != second
    third = session.status()[1]["uploadedParts"][2]["etag"]
    named = [{"partNumber": n, "etag": etag} for n, etag in enumerate((first, second, third), 1)]
    assert session.complete(parts=named)[1]["missingParts"] == [2]
    assert session.complete(parts=named[:2])[1]["missingParts"] == [2, 3]
    assert session.complete(parts=[named[0], {"partNumber": 2}, named[2]])[0] == 200


def test_parts_that_the_cache_lost(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    session.put(1, b"a" * 10)
    session.put(2, b"b" * 10)
    second = min(key for key in session.objects if api.drive.kelp.cache.stat(key) and next_bytes(api, key) == b"b")
    api.drive.kelp.cache.delete(second)
    status, answer = session.complete()
    assert (status, answer["missingParts"]) == (400, [2])
    assert [each["partNumber"] for each in session.status()[1]["uploadedParts"]] == [1]
    session.put(2, b"c" * 10)
    assert session.complete()[0] == 200


def next_bytes(api: Api, key: str) -> bytes:
    return b"".join(api.drive.kelp.cache.get(key))[:1]


def test_a_part_may_be_refused(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    md5 = base64.b64encode(hashlib.md5(b"others").digest()).decode()
    assert session.put(1, b"mine", Content_MD5=md5)[1]["error"] == "UPLOAD_INCOMPLETE"
    for number in ("0", "10001", "x", "-1", "1.5"):
        path = f"/files/multipart/{session.id}/parts/{number}"
        assert json.loads(api.ask("PUT", path, body=b"x").body)["error"] == "INVALID_REQUEST", number
    assert not session.objects
    assert session.status()[1]["status"] == "INIT"
    good = base64.b64encode(hashlib.md5(b"mine").digest()).decode()
    assert session.put(1, b"mine", Content_MD5=good)[0] == 200


def test_a_part_that_is_cut(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    session.put(1, b"first")
    connection = api.drive.connect()
    connection.putrequest("PUT", f"/api/files/multipart/{session.id}/parts/1")
    connection.putheader("Authorization", api.drive.basic())
    connection.putheader("Content-Length", "100000")
    connection.endheaders(b"x" * 50_000)
    connection.sock.shutdown(1)
    assert connection.getresponse().status == 400
    connection.close()
    assert len(session.objects) == 1
    assert session.complete()[1]["file"]["size"] == 5


TOO_MUCH: tuple[dict[str, Any], int, str] = ({"fileName": "x", "totalSize": 1 << 42}, 507, "INSUFFICIENT_STORAGE")


def test_beginning_is_refused(api: Api, folder: str) -> None:
    id = api.id_of(folder)
    taken = api.make_file(f"{folder}/taken")
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"fileName": "x", "folderId": "nobody"}, 404, "FOLDER_NOT_FOUND"),
        ({"fileName": "taken"}, 409, "DUPLICATE_FILE_EXISTS"),
        ({"fileName": "a/b"}, 400, "INVALID_NAME"),
        ({"fileName": "x", "totalSize": -1}, 400, "INVALID_REQUEST"),
        ({"fileName": "x", "totalSize": 1 << 50}, 400, "INVALID_REQUEST"),
        *([] if engines.CHOSEN.cache == "s3" else [TOO_MUCH]),  # S3 does not tell how much it can hold
        ({"fileName": "x", "totalSize": 1 << 40, "partSize": 1000}, 400, "INVALID_REQUEST"),
        ({"fileName": "x", "partSize": 1 << 40}, 400, "INVALID_REQUEST"),
        ({"fileName": "x", "conflictStrategy": "SKIP"}, 400, "INVALID_REQUEST"),
        ({"fileName": "x", "colour": "red"}, 400, "INVALID_REQUEST"),
        ({}, 400, "INVALID_REQUEST"),
    ]
    for body, status, code in cases:
        got, answer = api.post("/files/multipart/initiate", json={"folderId": id, **body})
        assert (got, answer["error"]) == (status, code), body
        if code.startswith("DUPLICATE"):
            assert (answer["existingFile"]["id"], answer["availableActions"]) == (taken, ["OVERWRITE", "RENAME"])
    assert api.post("/files/multipart/initiate", json={"fileName": "x"}, user="viewer")[0] == 403


def test_strategies_are_looked_at_again(api: Api, folder: str, begin: Callable[..., Session]) -> None:
    """001: a 409 keeps session and parts, and it may be completed under another name, or with another strategy."""
    one, two, three = begin("same"), begin("same"), begin("same", conflictStrategy="RENAME")
    for n, session in enumerate((one, two, three)):
        session.put(1, b"%d" % n)
    id = one.complete()[1]["fileId"]
    status, answer = two.complete()
    assert (status, answer["error"], answer["existingFile"]["id"]) == (409, "DUPLICATE_FILE_EXISTS", id)
    assert answer["availableActions"] == ["OVERWRITE", "RENAME"]
    assert two.status()[1]["uploadedBytes"] == 1
    assert three.complete()[1]["name"] == "same (1)"
    assert two.complete(fileName="other")[1]["name"] == "other"
    four = begin("new name")
    four.put(1, b"4")
    answer = four.complete(fileName="same", conflictStrategy="OVERWRITE")[1]
    assert (answer["fileId"], api.read(f"{folder}/same")) == (id, b"4")


def test_a_folder_that_goes_meanwhile(api: Api, folder: str) -> None:
    api.make_folder(f"{folder}/inner")
    session = Session(api, f"{folder}/inner")
    session.put(1, b"x")
    api.drive.ask("DELETE", f"/dav/{folder}/inner")
    assert session.complete()[1]["error"] == "PARENT_FOLDER_NOT_FOUND"
    assert session.abort()[0] == 200


def test_an_upload_is_its_users_own(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    assert session.status(user="other")[1]["error"] == "UPLOAD_SESSION_NOT_FOUND"
    path = f"/files/multipart/{session.id}"
    assert api.ask("PUT", f"{path}/parts/1", body=b"x", user="other").status == 404
    assert api.delete(path, user="other")[0] == 404
    assert api.post(f"{path}/complete", user="other")[0] == 404


# --- the state table, seed 001 §1-B-5 ---

ABSENT, LATE, OVER = (
    (404, "UPLOAD_SESSION_NOT_FOUND"),
    (400, "UPLOAD_SESSION_EXPIRED"),
    (409, "UPLOAD_SESSION_COMPLETED"),
)
OK = (200, "")
# state, is its time over → (its status as shown, part, complete, abort)
STATES: list[tuple[str, bool, str, tuple[Any, ...]]] = [
    ("INIT", False, "INIT", (OK, (400, "PARTS_INCOMPLETE"), OK)),
    ("INIT", True, "EXPIRED", (LATE, LATE, OK)),
    ("UPLOADING", False, "UPLOADING", (OK, OK, OK)),
    ("UPLOADING", True, "EXPIRED", (LATE, LATE, OK)),
    ("COMPLETED", False, "COMPLETED", (OVER, OK, OVER)),
    ("COMPLETED", True, "COMPLETED", (OVER, OK, OVER)),
    ("ABORTED", False, "ABORTED", (ABSENT, ABSENT, OK)),
    ("EXPIRED", True, "EXPIRED", (LATE, LATE, OK)),
]


@pytest.mark.parametrize(
    ("state", "over", "shown", "outcomes"),
    STATES,
    ids=[f"1-B-5 {state}{' over' * over}" for state, over, _, _ in STATES],
)
def test_states(begin: Callable[..., Session], state: str, over: bool, shown: str, outcomes: tuple[Any, ...]) -> None:
    def in_state(name: str) -> Session:
        session = begin(name)
        if state != "INIT":
            session.put(1, b"bytes")
        if state == "COMPLETED":
            session.complete()
        elif state == "ABORTED":
            session.abort()
        if state == "EXPIRED":
            session.change("status = 'EXPIRED'")
        if over:
            session.change("expires_ns = 1")
        return session

    acts: list[Callable[[Session], Answer]] = [
        lambda session: session.put(2, b"more"),
        lambda session: session.complete(),
        lambda session: session.abort(),
    ]
    for n, (act, outcome) in enumerate(zip(acts, outcomes, strict=True)):
        session = in_state(f"file {n}")
        status, told = session.status()
        assert (status, told["status"]) == (200, shown)
        assert ("message" in told) == (shown in ("ABORTED", "EXPIRED")) and ("fileId" in told) == (shown == "COMPLETED")
        if state == "UPLOADING" and n == 1 and not over:
            session.put(1, b"bytes")
        got, answer = act(session)
        assert (got, answer.get("error", "")) == outcome, (state, n, answer)
        assert act(session)[0] == outcome[0], "the same again"


def test_nobody_has_it(api: Api) -> None:
    for method, rest in (("GET", "/status"), ("PUT", "/parts/1"), ("POST", "/complete"), ("DELETE", "")):
        reply = api.ask(method, f"/files/multipart/nobody{rest}", body=b"")
        assert (reply.status, json.loads(reply.body)["error"]) == ABSENT


def test_giving_up_takes_the_bytes_away(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    session.put(1, pattern(17 * MIB))
    session.put(2, b"x")
    assert len(session.objects) == 4
    assert session.abort()[1]["status"] == "ABORTED"
    assert not session.objects
    with api.drive.kelp.database.read() as tx:
        assert tx.one("SELECT COUNT(*) FROM upload_parts WHERE object_key LIKE '%.%'")[0] == len(of_others(api))


def of_others(api: Api) -> list[Any]:
    with api.drive.kelp.database.read() as tx:
        return tx.all(
            """SELECT p.object_key FROM upload_parts p JOIN upload_sessions s ON s.id = p.session_id
               WHERE s.status IN ('INIT', 'UPLOADING', 'EXPIRED')"""
        )


def test_trace_ids(api: Api, begin: Callable[..., Session]) -> None:
    session = begin()
    path = f"/files/multipart/{session.id}"
    kinds = []
    for method, rest in (("PUT", "/parts/1"), ("GET", "/status"), ("POST", "/complete"), ("DELETE", "")):
        kinds.append(api.ask(method, path + rest, body=b"x" * (method == "PUT")).headers["x-request-id"].split("-")[0])
    assert kinds == ["part", "resume", "complete", "abort"]
    with api.drive.kelp.database.read() as tx:
        init = tx.one("SELECT trace_id FROM upload_sessions WHERE uuid = :id", id=session.id)[0]
        event = tx.one("SELECT trace_id FROM sync_events ORDER BY id DESC LIMIT 1")[0]
    assert init.startswith("init-") and event.startswith("complete-")


# --- at the same time ---


def together(*acts: Callable[[], object]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_same_part_by_several_at_once(api: Api, folder: str, begin: Callable[..., Session]) -> None:
    session = begin()
    datas = [pattern(9 * MIB, n) for n in range(4)]
    together(*(partial(session.put, 1, data) for data in datas))
    assert len(session.objects) == 2
    assert session.complete()[0] == 200
    assert api.read(f"{folder}/big.bin") in datas


@pytest.mark.parametrize("other", ["part", "abort", "complete"])
def test_completing_beside_something_else(api: Api, folder: str, other: str) -> None:
    """No bytes are lost that somebody was told of, and none are left that nobody knows."""
    outcomes = set()
    for n in range(6):
        session = Session(api, folder, f"raced {other} {n}")
        session.put(1, b"first")
        session.put(2, b"second")
        answers: dict[str, Answer] = {}

        def does(what: str, session: Session = session, answers: dict[str, Answer] = answers) -> None:
            acts: dict[str, Callable[[], Answer]] = {
                "part": lambda: session.put(2, b"again!"),
                "abort": session.abort,
                "complete": session.complete,
            }
            answers[f"{what}{len(answers)}"] = acts[what]()

        together(lambda: does("complete"), lambda: does(other))
        statuses = {answer[0] for answer in answers.values()}
        assert statuses <= {200, 404, 409}, answers
        held = api.read(f"{folder}/raced {other} {n}")
        shown = session.status()[1]["status"]
        if other == "part":
            sent = next(answer[0] for key, answer in answers.items() if key.startswith("part"))
            assert held == (b"firstagain!" if sent == 200 else b"firstsecond")
        elif other == "abort":
            assert (held, shown) in ((None, "ABORTED"), (b"firstsecond", "COMPLETED"))
        else:
            assert held == b"firstsecond" and statuses == {200}
            assert len({answer[1]["fileId"] for answer in answers.values()}) == 1
        outcomes.add(shown)
        assert len(session.objects) == (0 if shown == "ABORTED" else 2)
    assert outcomes <= {"COMPLETED", "ABORTED"}


def test_two_uploads_of_one_name(api: Api, folder: str) -> None:
    for strategy, codes in (("ERROR", [200, 409]), ("RENAME", [200, 200]), ("OVERWRITE", [200, 200])):
        both = [Session(api, folder, strategy, conflictStrategy=strategy) for _ in range(2)]
        for session in both:
            session.put(1, b"x")
        answers: list[int] = []

        def end(session: Session, answers: list[int] = answers) -> None:
            answers.append(session.complete()[0])

        together(partial(end, both[0]), partial(end, both[1]))
        assert sorted(answers) == codes


def test_nothing_is_left(api: Api) -> None:
    """Last: what all tests of this module left is in order."""
    assert not checking.check(api.drive.kelp).problems
    assert sessions.MOST_PARTS == 10_000
