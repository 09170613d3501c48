"""A route of the API, as data: what the application answers by, and what the OpenAPI document is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from falcon import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from http_api.models import Model
from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.model import Caller

M = TypeVar("M", bound=BaseModel)
_MOST_JSON = 4 * 1024 * 1024  # bytes of a body in JSON: 10,000 parts of an upload with their sums have 1.3 MiB
_MOST_MEMBERS = 30_000  # of all its objects: those have 20,001
_SHORT_JSON = 64 * 1024  # bytes; there are not so many in it


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, for a handler. `ids` are what stands in the path for `{name}`."""

    kelp: Kelp
    caller: Caller
    request: Request
    ids: Mapping[str, str]

    def body(self, model: type[M]) -> M:
        """The JSON body; none counts as `{}`. Raises InvalidRequest, in one line, for what does not fit the model;
        UploadIncomplete."""
        return _valid(model, self._json() or b"{}")

    def query(self, model: type[M], fields: Mapping[str, str] = MappingProxyType({})) -> M:
        """The query string; `fields` of a form count as if they stood there. Raises InvalidRequest."""
        try:
            return model.model_validate({**self.request.params, **fields})
        except ValidationError as error:
            raise InvalidRequest(_in_one_line(error)) from error

    def header(self, name: str) -> str | None:
        """A header's value, one character per byte as WSGI gives it; None when it was not sent. Not for the two that
        WSGI knows under other names, Content-Type and Content-Length."""
        found: str | None = self.request.env.get("HTTP_" + name.upper().replace("-", "_"))
        return found

    @property
    def stream(self) -> Any:
        """The body as it comes: `read(size)`, which raises UploadIncomplete where it is cut."""
        return self.request.env["wsgi.input"]

    def _json(self) -> bytes:
        read, pieces, size = self.stream.read, [], 0
        while piece := read(64 * 1024):
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_JSON:
                raise InvalidRequest("the body is too long")
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Reply:
    """A model as JSON; or, with None, no body at all."""

    model: Model | None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Streamed:
    """Bytes, whole or in pieces. `length` where it is known; without it the answer is sent in chunks."""

    pieces: bytes | Iterable[bytes]
    headers: tuple[tuple[str, str], ...]
    status: int = 200
    length: int | None = None


Handler: TypeAlias = Callable[[Ask], "Reply | Streamed"]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is below `/api`, such as `/files/{id}/rename`.

    `noun` ("file", "folder", "") says what is not found, or is in the way, when the core only says so of an entry.
    `target`: a missing folder is the one that something goes to. `accepts` and `gives` are media types other than
    JSON. `codes`: the errors (http_api/errors.py) that it may answer with, beside those that every route has.
    `trace` is how its trace ids begin (spec §14). `admin`: for admins only. `actions`: strategies by which it would
    get by the entry that has the name; "MERGE:folder" only when that is a folder. `headers`: of the request, that it
    heeds beside those that every route does. `always`: headers of every answer, refusals too.
    """

    method: str
    path: str
    do: Handler
    summary: str
    tag: str
    noun: str = ""
    target: bool = False
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    accepts: tuple[str, ...] = ()
    answer: type[BaseModel] | None = None
    gives: tuple[str, ...] = ()
    status: int = 200
    also: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)  # other successes
    codes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    always: tuple[tuple[str, str], ...] = ()
    trace: str = "api"
    admin: bool = False
    scope: str = ""  # what a token needs: read, write, admin; "": read for GET and HEAD, else write


def _valid(model: type[M], text: bytes) -> M:
    try:
        if len(text) <= _SHORT_JSON:
            return model.model_validate_json(text)
        return model.model_validate(_counted(text))
    except ValidationError as error:
        raise InvalidRequest(_in_one_line(error)) from error


def _counted(text: bytes) -> Any:
    """What JSON says. Each member that a model does not know is a complaint of a kilobyte: 400,000 of them fit into
    4 MiB. Raises InvalidRequest."""
    try:
        found = from_json(text)
    except ValueError as error:
        raise InvalidRequest(f"body: Invalid JSON: {error}") from error
    count, waiting = 0, [found]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            count += len(each)
            if count > _MOST_MEMBERS:
                raise InvalidRequest("the body has too many members")
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return found


def _in_one_line(error: ValidationError) -> str:
    """Where it is wrong and why, without what the client sent: it may be long, or secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found[:5])
