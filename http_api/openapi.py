"""The OpenAPI 3.1 document, made from the routes; served at `/api/openapi.json` without a log-in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import falcon
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from http_api import docs_page
from http_api.errors import STATUS
from http_api.models import ErrorBody
from http_api.routing import Route

EVERYWHERE = (
    *("UNAUTHENTICATED", "FORBIDDEN", "IP_DENIED", "TOO_MANY_ATTEMPTS", "CACHE_UNAVAILABLE"),
    "VAULT_KEY_MISSING",  # whatever looks at what lies in a vault
)
OF_BODIES = ("INVALID_REQUEST", "UPLOAD_INCOMPLETE")  # one that is malformed; one that is cut

_REF = "#/components/schemas/{model}"
_JSON, _FORM = "application/json", "multipart/form-data"
_BYTES = {"type": "string", "format": "binary"}
_SAFE = frozenset(("GET", "HEAD"))
_BODILESS = frozenset((204, 304))
_ABOUT = """A network drive, for programs.

Log in with Basic (a user and his password, or an app password) or with a Bearer token. A change is refused while the
file or folder is on its way to the NAS (409 FILE_SYNCING, FOLDER_SYNCING); with `Prefer: respond-async` it is accepted,
and the NAS follows. What a WebDAV client has locked needs its token in `Lock-Token`. Messages are in English or Korean,
by `Accept-Language`; the code in `error` and the id in `traceId` are for programs and for the log."""
_PARAMETERS = {
    "Prefer": "`respond-async`: accept the change though the NAS has not followed the last one (RFC 7240)",
    "Lock-Token": "the token of a WebDAV lock that covers what is changed (RFC 4918 §10.5)",
}
_Schema: TypeAlias = tuple[type[BaseModel], Literal["validation", "serialization"]]
_Names: TypeAlias = Mapping[Any, Any]


def add_to(app: falcon.App[Any, Any], prefix: str, routes: Sequence[Route]) -> None:
    @lru_cache(maxsize=1)
    def text() -> bytes:  # when somebody asks: it takes longer to make than all else at a start
        return json.dumps(document(routes, prefix), ensure_ascii=False).encode()

    class Document:
        def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
            response.content_type, response.data = _JSON, text()

        on_head = on_get

    app.add_route(f"{prefix}/openapi.json", Document())
    docs_page.add_to(app, prefix)


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """The whole document."""
    names, schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, names, schemas)
    for query in {route.query.__name__ for route in routes if route.query}:  # they stand at their parameters
        schemas.pop(query, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kelp", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted({route.tag for route in routes})],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {name: _header(name, about) for name, about in _PARAMETERS.items()},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"basic": []}, {"bearer": []}],
    }


def _schemas(routes: Sequence[Route]) -> tuple[_Names, dict[str, Any]]:
    """References by model and mode, and the schemas they lead to."""
    taken: set[_Schema] = {(model, "validation") for route in routes for model in (route.body, route.query) if model}
    given: set[_Schema] = {
        (model, "serialization")
        for route in routes
        for model in (route.answer, *route.also.values(), ErrorBody)
        if model
    }
    wanted = sorted(taken | given, key=lambda each: (each[0].__name__, each[0].__module__, each[1]))
    names, schemas = models_json_schema(wanted, by_alias=True, ref_template=_REF)
    return names, dict(schemas.get("$defs", {}))


def _operation(route: Route, names: _Names, schemas: Mapping[str, Any]) -> dict[str, Any]:
    query = _properties(route.query, names, schemas)
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": _ID} for name in re.findall(r"{(\w+)}", route.path)),
        *({"name": name, "in": "query", "required": must, "schema": inner} for name, inner, must in query),
        *(_header(name) for name in route.headers),
        *({"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS if route.method not in _SAFE),
    ]
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', route.path)}".rstrip("_"),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": parameters,
        "responses": _responses(route, names),
    }
    content = {kind: {"schema": _form(query) if kind == _FORM else _BYTES} for kind in route.accepts}
    if route.body:
        content[_JSON] = {"schema": names[(route.body, "validation")]}
    if content:
        must = route.body is None or any(field.is_required() for field in route.body.model_fields.values())
        found["requestBody"] = {"required": must, "content": content}
    return found


_ID = {"type": "string", "minLength": 1}
_Property: TypeAlias = tuple[str, dict[str, Any], bool]  # name, schema, whether it must be there


def _properties(model: type[BaseModel] | None, names: _Names, schemas: Mapping[str, Any]) -> list[_Property]:
    if model is None:
        return []
    schema = schemas[names[(model, "validation")]["$ref"].rpartition("/")[2]]
    must = schema.get("required", ())
    return [(name, _without_null(inner), name in must) for name, inner in schema.get("properties", {}).items()]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """No query string and no form has a null; what may be missing is just left out."""
    found = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    arms = [arm for arm in schema.get("anyOf", ()) if arm != {"type": "null"}]
    if found.get("default", ...) is None:
        del found["default"]
    if len(arms) == 1:
        return {**arms[0], **found}
    return {**found, "anyOf": arms} if arms else found


def _form(fields: Sequence[_Property]) -> dict[str, Any]:
    """The query's names as fields, and the file."""
    properties = {**{name: inner for name, inner, _ in fields}, "file": _BYTES}
    return {"type": "object", "properties": properties, "required": ["file"]}


def _header(name: str, about: str = "") -> dict[str, Any]:
    told = {"description": about} if about else {}
    return {"name": name, "in": "header", "required": False, **told, "schema": {"type": "string"}}


def codes_of(route: Route) -> frozenset[str]:
    """Every code that the route may answer with."""
    codes = {*route.codes, *EVERYWHERE}
    if route.body or route.accepts:
        codes.update(OF_BODIES)
    if route.query:
        codes.add("INVALID_REQUEST")
    return frozenset(codes)


def _responses(route: Route, names: _Names) -> dict[str, Any]:
    def done(status: int, model: type[BaseModel] | None, kinds: Iterable[str]) -> dict[str, Any]:
        content: dict[str, Any] = {} if status in _BODILESS else {kind: {"schema": _BYTES} for kind in kinds}
        if model is not None:
            content[_JSON] = {"schema": names[(model, "serialization")]}
        return {"description": _DONE.get(status, "done"), **({"content": content} if content else {})}

    found = {str(route.status): done(route.status, route.answer, route.gives)}
    for status, model in route.also.items():
        found[str(status)] = done(status, model, route.gives if model is None else ())
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes_of(route)):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        found[str(status)] = _refusal(codes, names)
    return found


_DONE = {201: "made", 204: "done, there is nothing to tell", 206: "the range of it", 304: "you have it already"}


def _refusal(codes: Sequence[str], names: _Names) -> dict[str, Any]:
    one_of = {"type": "object", "properties": {"error": {"enum": list(codes)}}}
    schema = {"allOf": [names[(ErrorBody, "serialization")], one_of]}
    return {"description": ", ".join(codes), "content": {_JSON: {"schema": schema}}}
