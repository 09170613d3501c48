"""All routes of the API, noun by noun."""

from __future__ import annotations

from http_api import (
    alerts,
    downloads,
    files,
    folders,
    grants,
    groups,
    locks,
    multipart,
    nas,
    policies,
    sync_events,
    tokens,
    trash,
    tus,
    uploads,
    users,
    vaults,
    versions,
)
from http_api.routing import Route

ROUTES: tuple[Route, ...] = (
    *files.ROUTES,
    *folders.ROUTES,
    *vaults.ROUTES,
    *versions.ROUTES,
    *locks.ROUTES,
    *downloads.ROUTES,
    *uploads.ROUTES,
    *multipart.ROUTES,
    *tus.ROUTES,
    *sync_events.ROUTES,
    *alerts.ROUTES,
    *nas.ROUTES,
    *trash.ROUTES,
    *policies.ROUTES,
    *users.ROUTES,
    *groups.ROUTES,
    *grants.ROUTES,
    *tokens.ROUTES,
)
