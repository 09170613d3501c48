"""All routes of the API, noun by noun."""

from __future__ import annotations

from http_api import alerts, nas, nodes, policies, sync_events, trash, uploads
from http_api.routing import Route

ROUTES: tuple[Route, ...] = (
    *nodes.ROUTES,
    *uploads.ROUTES,
    *sync_events.ROUTES,
    *alerts.ROUTES,
    *nas.ROUTES,
    *trash.ROUTES,
    *policies.ROUTES,
)
