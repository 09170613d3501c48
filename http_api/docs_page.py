"""A page to read and try the API at, `/api/docs`: Swagger UI, whose files the package `mkdocs-swagger-ui-tag` brings;
nothing else of it is used.

Everything is served by us, so it works without the internet and behind the same policies as the API. The address of
a file has its version in it, so browsers keep it for good. Nothing but these files may run in the page.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib import resources
from typing import Any

import falcon
import mkdocs_swagger_ui_tag

_ASSETS = {
    "swagger-ui.css": ("stylesheets/swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("javascripts/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "begin.js": ("", "text/javascript; charset=utf-8"),
}
_BEGIN = b"""window.addEventListener("load", () => {
  SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null, docExpansion: "none"});
});
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kelp API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/{version}/swagger-ui.css">
<script src="docs/{version}/swagger-ui-bundle.js"></script>
<script src="docs/{version}/begin.js"></script>
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="openapi.json">openapi.json</a>.</noscript>
</body>
</html>
"""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FOR_GOOD = "public, max-age=31536000, immutable"  # RFC 8246


def add_to(app: falcon.App[Any, Any], prefix: str) -> None:
    app.add_route(f"{prefix}/docs", _Page())
    app.add_route(f"{prefix}/docs/", _Moved(f"{prefix}/docs"))
    app.add_route(f"{prefix}/docs/{{version}}/{{name}}", _Asset())


class _Page:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.set_headers(_HEADERS)
        response.cache_control = ("no-cache",)
        response.content_type = "text/html; charset=utf-8"
        response.data = _PAGE.format(version=_version()).encode()

    on_head = on_get


class _Moved:
    """Its relative links would lead one folder too deep."""

    def __init__(self, to: str) -> None:
        self._to = to

    def on_get(self, _request: falcon.Request, _response: falcon.Response) -> None:
        raise falcon.HTTPPermanentRedirect(self._to)

    on_head = on_get


class _Asset:
    def on_get(self, request: falcon.Request, response: falcon.Response, version: str, name: str) -> None:
        if name not in _ASSETS or version != _version():
            raise falcon.HTTPNotFound
        response.set_headers(_HEADERS)
        response.content_type = _ASSETS[name][1]
        response.set_header("Cache-Control", _FOR_GOOD)
        response.set_header("Vary", "Accept-Encoding")
        response.data = _packed(name)
        if _takes_gzip(request.get_header("Accept-Encoding")):
            response.set_header("Content-Encoding", "gzip")
        else:
            response.data = gzip.decompress(response.data)

    on_head = on_get


def _takes_gzip(accepted: str | None) -> bool:
    """RFC 9110 §12.5.3; a refusal is `gzip;q=0`."""
    for word in (accepted or "").lower().split(","):
        name, _, quality = word.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return not quality or quality.strip("0.") != ""
    return False


def _plain(name: str) -> bytes:
    path = _ASSETS[name][0]
    if not path:
        return _BEGIN
    return resources.files(mkdocs_swagger_ui_tag).joinpath("swagger-ui", *path.split("/")).read_bytes()


@lru_cache(maxsize=len(_ASSETS))
def _packed(name: str) -> bytes:
    """A third of a megabyte for all of them, once somebody has asked."""
    return gzip.compress(_plain(name), mtime=0)


@lru_cache(maxsize=1)
def _version() -> str:
    total = hashlib.sha256()
    for name in _ASSETS:
        total.update(_plain(name))
    return total.hexdigest()[:16]
