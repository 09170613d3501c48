"""The OpenAPI 3.1 document, made from the routes; served at `/api/openapi.json` without a log-in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import falcon
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from http_api.errors import STATUS
from http_api.models import ErrorBody
from http_api.routing import Route

_REF = "#/components/schemas/{model}"
_EVERYWHERE = ("UNAUTHENTICATED", "FORBIDDEN", "IP_DENIED", "TOO_MANY_ATTEMPTS", "CACHE_UNAVAILABLE")
_JSON = "application/json"
_Schema: TypeAlias = tuple[type[BaseModel], Literal["validation", "serialization"]]


def add_to(app: falcon.App[Any, Any], prefix: str, routes: Sequence[Route]) -> None:
    text = json.dumps(document(routes, prefix)).encode()

    class Document:
        def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
            response.content_type, response.data = _JSON, text

    app.add_route(f"{prefix}/openapi.json", Document())


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """The whole document."""
    taken: set[_Schema] = {(route.body, "validation") for route in routes if route.body}
    given: set[_Schema] = {
        (model, "serialization")
        for route in routes
        for model in (route.answer, *route.also.values(), ErrorBody)
        if model
    }
    names, schemas = models_json_schema(
        sorted(taken | given, key=lambda each: (each[0].__name__, each[1])), by_alias=True, ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kelp", "version": "1", "description": "A network drive, for programs."},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"basic": []}, {"bearer": []}],
    }


def _operation(route: Route, names: Mapping[Any, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', route.path)}",
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": parameters + _query(route.query),
        "responses": _responses(route, names),
    }
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in route.accepts}
    if route.body:
        content[_JSON] = {"schema": names[(route.body, "validation")]}
    if content:
        found["requestBody"] = {"required": True, "content": content}
    return found


def _query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": inner}
        for name, inner in schema["properties"].items()
    ]


def _responses(route: Route, names: Mapping[Any, Any]) -> dict[str, Any]:
    def of(model: type[BaseModel] | None, kinds: Iterable[str] = ()) -> dict[str, Any]:
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
        if model is not None:
            content[_JSON] = {"schema": names[(model, "serialization")]}
        return {"content": content} if content else {}

    found: dict[str, Any] = {str(route.status): {"description": "done", **of(route.answer, route.gives)}}
    for status, model in route.also.items():
        found[str(status)] = {"description": "done", **of(model, route.gives if model is None else ())}
    codes = {*route.codes, *_EVERYWHERE}
    if route.body or route.query or route.accepts:
        codes.add("INVALID_REQUEST")
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, of_status in sorted(by_status.items()):
        found[str(status)] = {"description": ", ".join(of_status), **of(ErrorBody)}
    return found
