"""`/metrics`: for Prometheus at an address that the settings name, without a log-in, and for administrators.

The address is the client's own. Behind a proxy nobody is at the proxy's address, also when it is not a trusted one:
else a proxy on this machine would show the page to the world.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

from dav_provider.caller import admit
from dav_provider.forwarding import parse_address
from dav_provider.request import Answer, Request, text_answer
from vfs import metrics
from vfs.core import Kelp
from vfs.counts import Counting
from vfs.errors import ConfigurationError
from vfs.model import Role
from vfs.operations.measuring import Page

METRICS = "/metrics"
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class MetricsPage:
    def __init__(self, kelp: Kelp, counting: Counting) -> None:
        """Raises ConfigurationError for an address in the settings that is none."""
        self._kelp = kelp
        self._page = Page(kelp, counting)
        self._allowed = allowed(kelp.settings.telemetry.metrics_for)

    def answer(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return text_answer(405, f"{request.method} is not supported here", ("Allow", "GET, HEAD"))
        return self._refusal(request) or Answer(
            200, [("Content-Type", metrics.CONTENT_TYPE), ("Cache-Control", "no-store")], self._page.text()
        )

    def _refusal(self, request: Request) -> Answer | None:
        if is_among(request.client_address, self._allowed):
            return None
        refused = admit(self._kelp, request)
        if refused is None and request.caller.role != Role.ADMIN:
            return text_answer(403, "Only administrators may see this.")
        return refused


def allowed(entries: tuple[str, ...]) -> tuple[_Network, ...]:
    """Raises ConfigurationError."""
    try:
        return tuple(ipaddress.ip_network(entry) for entry in entries)
    except ValueError as error:
        raise ConfigurationError(f"wrong value for telemetry.metrics_for: {error}") from error


def is_among(address: str | None, networks: tuple[_Network, ...]) -> bool:
    ip = parse_address(address) if address else None
    return ip is not None and any(ip in network for network in networks)
