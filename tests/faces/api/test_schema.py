"""What the OpenAPI document says, asked of a running server as each role: made by schemathesis from the document alone.

Whatever is sent, an answer has a status, a media type, a body and a code that the document declares for that very
operation; and no status from 500 on but with a code that spec §8 lists there. Ids in paths, queries and bodies are
mostly real ones, else nothing but "not found" would be seen.

    KELP_SCHEMA_SECONDS   of the processor, for each role; when unset 7, in `make test` 1.2
    KELP_SCHEMA_SEED      to ask in the same order again; in `make test` it is always the same
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from http_api import tables
from http_api.app import PREFIX
from http_api.openapi import document
from tests.faces.api.conftest import Api
from tests.faces.api.known_ids import KnownIds
from tests.faces.api.test_openapi import FAULTS
from tests.faces.conftest import ServedDrive
from tests.sampling import SHARE

_SHORT = SHARE > 1  # what is found by chance is found by who looks for it, not by who changes something else
SECONDS = float(os.environ.get("KELP_SCHEMA_SECONDS") or (1.2 if _SHORT else 7))
SEED = int(os.environ.get("KELP_SCHEMA_SEED") or (1 if _SHORT else random.randrange(1, 1_000_000)))
ROLES = {"admin": "admin", "editor": "other", "viewer": "viewer", "nobody": ""}
PATIENCE = 60  # seconds
_OF_THE_SERVER = (414, 431)  # what is too long does not come to the API

load_all_checks()
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
_CHECKS = CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"])
_MANNER = settings(
    max_examples=3,
    phases=(Phase.generate,),
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
_SCHEMA = schemathesis.openapi.from_dict(document(tables.ROUTES, PREFIX))


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_is_as_declared(shared_drive: ServedDrive, role: str) -> None:
    known = KnownIds(Api(shared_drive), ROLES[role])
    seen: set[int] = set()
    wrong: dict[str, str] = {}  # all that one run finds, not the first of it
    expected = {401} if role == "nobody" else {200, 400, 404}
    begun = time.process_time()  # so a machine under load asks as much; a slow one until it has seen enough
    with requests.Session() as session:
        session.trust_env = False
        asking = _Asking(shared_drive, session, ROLES[role], known)
        for operation, number in _in_turn():
            spent = time.process_time() - begun
            if spent > SECONDS and (expected <= seen or spent > 20 * SECONDS):
                break
            known.refresh(operation.path)
            for mode in schemathesis.GenerationMode:
                try:
                    seen |= _ask(operation, mode, number, asking)
                except (Exception, FailureGroup) as error:
                    wrong[f"{operation.label}, {mode.value}"] = _told(error)
    assert not wrong, "\n\n".join([f"seed {SEED}", *(f"{label}: {told}" for label, told in wrong.items())])
    assert expected <= seen, f"hardly anything was asked: {seen}"


def _in_turn() -> Iterator[tuple[Any, int]]:
    """The operations in random order, again and again; each time with another number."""
    chance = random.Random(SEED)
    operations = [found.ok() for found in _SCHEMA.get_all_operations()]
    while True:
        chance.shuffle(operations)
        for operation in operations:
            yield operation, chance.randrange(1 << 30)


_GOOD = {"Prefer": "respond-async", "Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Upload-Length": "9"}


def _headers(case: schemathesis.Case, data: st.DataObject) -> dict[str, Any]:
    """Those that the operation declares; often with what makes sense there.

    Others, and what is no HTTP, do not come to the API: other tests send that.
    """
    declared = {parameter.name for parameter in case.operation.headers}
    found = {name: value for name, value in (case.headers or {}).items() if name in declared}
    found = {name: value for name, value in found.items() if str(value).isascii() and str(value).isprintable()}
    good = {name: value for name, value in _GOOD.items() if name in declared and data.draw(st.integers(0, 3)) < 3}
    return {**found, **good}


def _told(error: BaseException) -> str:
    found = error.exceptions if isinstance(error, FailureGroup) else (error,)
    return "\n".join(f"{type(each).__name__}: {each}" for each in found)


class _Asking:
    def __init__(self, drive: ServedDrive, session: requests.Session, user: str, known: KnownIds) -> None:
        self._url, self._session, self._known = f"http://127.0.0.1:{drive.port}", session, known
        self._headers = {"Authorization": drive.basic(user)} if user else {}

    def ask(self, case: schemathesis.Case, data: st.DataObject) -> int:
        """The status. Raises what the checks find."""
        self._known.put_into(case, data)
        case.headers = _headers(case, data)
        response = case.call(self._url, self._session, self._headers, timeout=PATIENCE)
        if response.status_code not in _OF_THE_SERVER:
            case.validate_response(response, checks=_CHECKS)
        assert response.status_code < 500 or response.json()["error"] in FAULTS, response.text
        return int(response.status_code)


def _ask(operation: Any, mode: schemathesis.GenerationMode, number: int, asking: _Asking) -> set[int]:
    seen: set[int] = set()

    @seed(number)
    @_MANNER
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def one(case: schemathesis.Case, data: st.DataObject) -> None:
        seen.add(asking.ask(case, data))

    one()
    return seen
