"""`/metrics`: for Prometheus at an address that the settings name, without a log-in, and for administrators.

The address is the client's own. Behind a proxy nobody is at the proxy's address, also when it is not a trusted one:
else a proxy on this machine would show the page to the world.
"""

from __future__ import annotations

from dav_provider.caller import admit
from dav_provider.request import Answer, Request, text_answer
from vfs import metrics
from vfs.core import Kelp
from vfs.counts import Counting
from vfs.operations.measuring import Page
from vfs.operations.onlookers import Onlookers

METRICS = "/metrics"


class MetricsPage:
    def __init__(self, kelp: Kelp, counting: Counting) -> None:
        """Raises ConfigurationError for an address in the settings that is none."""
        self._kelp = kelp
        self._page = Page(kelp, counting)
        self._onlookers = Onlookers(kelp.settings.telemetry)

    def answer(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return text_answer(405, f"{request.method} is not supported here", ("Allow", "GET, HEAD"))
        return self._refusal(request) or Answer(
            200, [("Content-Type", metrics.CONTENT_TYPE), ("Cache-Control", "no-store")], self._page.text()
        )

    def _refusal(self, request: Request) -> Answer | None:
        if self._onlookers.include(request.client_address):
            return None
        refused = admit(self._kelp, request)
        if refused is None and not request.caller.administers:
            return text_answer(403, "Only administrators may see this.")
        return refused
