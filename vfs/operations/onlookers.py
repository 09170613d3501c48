"""Who may look at the numbers of a drive without a log-in: `telemetry.metrics_for`."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

from vfs.errors import ConfigurationError
from vfs.settings import Telemetry

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Onlookers:
    def __init__(self, settings: Telemetry) -> None:
        """Raises ConfigurationError for an address that is none."""
        try:
            self._networks: tuple[_Network, ...] = tuple(map(ipaddress.ip_network, settings.metrics_for))
        except ValueError as error:
            raise ConfigurationError(f"wrong value for telemetry.metrics_for: {error}") from error

    def include(self, address: str | None) -> bool:
        """None, or what is no address: nobody knows who it is."""
        try:
            ip = ipaddress.ip_address((address or "").partition("%")[0])
        except ValueError:
            return False
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._networks)
