"""Flows of the seeds as tables: what there is, what is asked, what must be answered, what must be so afterwards."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import pytest

from jobs import mirror
from tests.faces.api.conftest import Api
from tests.mirror_drive import StagedNas
from vfs.errors import NasFault
from vfs.operations import backlog

Ids: TypeAlias = dict[str, str]
ANY = ...  # in what is expected: it is there


@dataclass
class Flow:
    """A folder of its own on a drive whose mirror runs when `carry` says so; `api` sends no `Prefer`.

    `ids`: what was made, by the names that paths and bodies use: `{file}`.
    """

    api: Api
    path: str
    ids: Ids = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids.update(folder=self.api.make_folder(self.path), nobody=str(uuid.uuid4()))
        self.carry()

    # --- what there is ---

    def file(self, name: str = "test.txt", as_: str = "file", content: bytes = b"bytes") -> str:
        self.ids[as_] = self.api.make_file(f"{self.path}/{name}", content)
        return self.ids[as_]

    def make(self, name: str = "target", as_: str = "target") -> str:
        self.ids[as_] = self.api.make_folder(f"{self.path}/{name}")
        return self.ids[as_]

    def carry(self) -> None:
        """Until nothing is on its way any more."""
        kelp = self.api.drive.kelp
        for _ in range(300):
            mirror.drain(kelp, "worker")
            with kelp.database.read() as tx:
                counts = tx.events.counts()
            if not counts.get("PENDING") and not counts.get("PROCESSING"):
                return
            time.sleep(0.01)
        raise AssertionError(f"the mirror does not come to rest: {counts}")

    def carry_badly(self, *retries: float) -> None:
        """The NAS refuses what lies below this flow's folder; `retries` as the setting of that name."""
        kelp = self.api.drive.kelp
        nas = StagedNas(kelp.nas)

        def refuse(method: str, arguments: tuple[Any, ...]) -> None:
            if method in ("write", "move", "make_folder", "link") and self.path in str(arguments):
                raise NasFault("this name cannot be")

        nas.before = refuse
        assert self.api.put("/nas/settings", json={"retries": list(retries)})[0] == 200
        try:
            mirror.drain(replace(kelp, nas=nas), "worker")  # type: ignore[arg-type]
        finally:
            assert self.api.put("/nas/settings", json={"retries": None})[0] == 200

    def leave(self) -> None:
        """Nothing of it is on its way, or failed, for the flows that come after it on this drive."""
        backlog.retry_failed(self.api.drive.kelp)
        self.retry_now()
        self.carry()

    def retry_now(self) -> None:
        """As if the time until the next try had passed."""
        with self.api.drive.kelp.database.write() as tx:
            tx.events.schedule_now(0, self.api.drive.kelp.clock.now_ns())

    # --- what is asked, and seen ---

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        asked = self.api.ask(method, path.format(**self.ids), json_=_filled(body, self.ids), **headers)
        is_json = asked.headers.get("content-type", "").startswith("application/json")
        return asked.status, _json(asked.body) if is_json else asked.body

    def upload(self, name: str = "test.txt", folder: str = "{folder}", body: bytes = b"new", **query: str) -> Any:
        more = "".join(f"&{key}={value}" for key, value in query.items())
        path = f"/files/upload?folderId={folder}&fileName={name}{more}".format(**self.ids)
        asked = self.api.ask("POST", path, body=body)
        return asked.status, _json(asked.body)

    def put_part(self, number: int, data: bytes) -> Any:
        asked = self.api.ask("PUT", f"/files/multipart/{self.ids['session']}/parts/{number}", body=data)
        return asked.status, _json(asked.body)

    def nas_status(self, noun: str, id: str) -> str:
        _, body = self.ask("GET", f"/{noun}s/{id}")
        return str(body[noun]["storageStatus"]["nas"])

    def event(self, id: str) -> dict[str, Any]:
        """The newest change of a file or folder."""
        status, body = self.ask("GET", f"/sync-events?fileId={id}&limit=1")
        assert status == 200
        return dict(body["syncEvents"][0])

    def names(self, folder: str = "{folder}") -> list[str]:
        _, body = self.ask("GET", f"/folders/{folder}/children")
        return [each["name"] for each in (*body["folders"], *body["files"])]

    def on_nas(self) -> list[str]:
        """Names below this flow's folder on the NAS, with their stamps."""
        root = self.api.drive.nas / self.path
        return sorted(str(found.relative_to(root)) for found in root.rglob("*"))


class Branch(NamedTuple):
    """One way through a flow. `given` makes what there is. `says`: members that the answer has, `ANY`: some value.

    `then` looks at what is so afterwards; it gets the answer.
    """

    name: str
    given: Callable[[Flow], Any]
    ask: tuple[Any, ...]  # method, path and body of a request, or a function of the flow
    status: int
    says: Any = None
    then: Callable[[Flow, Any], Any] | None = None


def opened(api: Api) -> Iterator[Flow]:
    """For a fixture."""
    flow = Flow(replace(api, patient=False), uuid.uuid4().hex[:8])
    yield flow
    flow.leave()


def check(flow: Flow, branch: Branch) -> None:
    branch.given(flow)
    first, *rest = branch.ask
    status, answer = first(flow) if callable(first) else flow.ask(first, *rest)
    assert status == branch.status, answer
    if branch.says is not None:
        _compare(answer, _filled(branch.says, flow.ids), "answer")
    if branch.then is not None:
        branch.then(flow, answer)


def cases(section: str, *branches: Branch) -> list[Any]:
    """Parameters of a test, with the section of the seed in their ids."""
    return [pytest.param(branch, id=f"{section} {branch.name}") for branch in branches]


@contextmanager
def cache_away(flow: Flow) -> Iterator[None]:
    """The disk of the cache is gone."""
    cache = flow.api.drive.data / "cache"
    if not cache.exists():
        pytest.skip("the cache is elsewhere")
    cache.rename(cache.with_name("gone"))
    try:
        yield
    finally:
        cache.with_name("gone").rename(cache)


def _compare(found: Any, wanted: Any, where: str) -> None:
    if wanted is ANY:
        assert found is not None, where
    elif isinstance(wanted, dict):
        assert isinstance(found, dict), where
        for name, value in wanted.items():
            assert name in found, f"{where}: no {name} in {found}"
            _compare(found[name], value, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), f"{where}: {found}"
        for n, value in enumerate(wanted):
            _compare(found[n], value, f"{where}[{n}]")
    else:
        assert found == wanted, f"{where}: {found!r}, not {wanted!r}"


def _filled(value: Any, ids: Ids) -> Any:
    match value:
        case str():
            return value.format(**ids) if value.startswith("{") and value.endswith("}") else value
        case dict():
            return {name: _filled(inner, ids) for name, inner in value.items()}
        case list():
            return [_filled(inner, ids) for inner in value]
    return value


def _json(body: bytes) -> Any:
    return json.loads(body) if body else {}
