"""Where clients reach the drive: what to write for the address the server was told to listen on."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from vfs.crypto.certificates import CertificateFacts


@dataclass(frozen=True, slots=True)
class Address:
    """A host name or IP address as a client types it, with what the URL needs around it."""

    host: str
    port: int
    tls: bool

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The drive's root, with the final slash that some clients insist on."""
        return f"{self.scheme}://{self.authority}/dav/"

    @property
    def steps_url(self) -> str:
        """The page with the steps for each client."""
        return f"{self.scheme}://{self.authority}/connect"


def address_for(
    bound: str, port: int, certificate: CertificateFacts | None, *, plain_anywhere: bool = False
) -> Address:
    """What to tell clients of a server that listens on `bound`, which may be every address of this machine.

    With TLS a name that the certificate holds is preferred, since clients refuse any other. Without, and unless
    passwords are taken over plain http from anywhere (`plain_anywhere`), only a loopback address works.
    """
    if certificate is None:
        local_only = is_wildcard(bound) and not plain_anywhere
        return Address("127.0.0.1" if local_only else _names_of(bound)[0], port, tls=False)
    candidates = _names_of(bound)
    own = [name for name in certificate.names if is_wildcard(bound) and "*" not in name and not is_loopback(name)]
    fitting = [name for name in (*own, *candidates) if certificate.is_for(name)]
    return Address((fitting or candidates)[0], port, tls=True)


def _names_of(bound: str) -> Sequence[str]:
    if is_wildcard(bound):
        return [name for name in (own_address(), socket.gethostname(), "localhost", "127.0.0.1") if name]
    return [bound, "localhost"] if is_loopback(bound) else [bound]


def is_wildcard(host: str) -> bool:
    return host in ("", "0.0.0.0", "::", "*")


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of_this_machine() -> tuple[str, ...]:
    """What clients here and in the local network call this machine: its names, and its address as others see it."""
    names = (socket.gethostname(), socket.getfqdn(), own_address() or "", "localhost", "127.0.0.1", "::1")
    return tuple(dict.fromkeys(name.lower() for name in names if name and not name.endswith(".arpa")))


def own_address() -> str | None:
    """The address from which this machine reaches others, or None. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: an address that is nobody's
        except OSError:
            return None
        return str(probe.getsockname()[0])
