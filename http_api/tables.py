"""All routes of the API, noun by noun."""

from __future__ import annotations

from http_api import nodes
from http_api.routing import Route

ROUTES: tuple[Route, ...] = (*nodes.ROUTES,)
