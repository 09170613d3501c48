"""Network addresses, and policies about them: who may come, before anybody logs in (spec §10). Pure.

A white list lets in; while one is enabled, an address must be in one. A black list keeps out, and always wins. IPv4
that was mapped into IPv6 is IPv4 everywhere, in addresses and in rules; `::/0` holds no IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from vfs.errors import InvalidRequest

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_CIDR = re.compile(r"[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?")  # no masks: 0.0.0.255 could be meant either way
_MOST_KEPT = 4096  # verdicts kept; each is some 200 bytes
_LONGEST = 60  # characters of an address that is worth keeping


class PolicyKind(StrEnum):
    WHITE = "white"
    BLACK = "black"


class Reason(StrEnum):
    """Why an address may come or not."""

    NO_POLICY = "NO_POLICY"
    WHITE_LISTED = "WHITE_LISTED"
    NOT_BLACK_LISTED = "NOT_BLACK_LISTED"
    BLACK_LISTED = "BLACK_LISTED"
    NOT_WHITE_LISTED = "NOT_WHITE_LISTED"
    ADDRESS_UNKNOWN = "ADDRESS_UNKNOWN"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """A network of a policy, as `canonical` writes it."""

    uuid: str
    cidr: str
    note: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    uuid: str
    name: str
    kind: PolicyKind
    enabled: bool
    created_ns: int
    rules: tuple[AccessRule, ...]


class Match(NamedTuple):
    """What decided."""

    policy: AccessPolicy
    rule: AccessRule


@dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    reason: Reason
    match: Match | None = None


_NO_POLICY = Verdict(True, Reason.NO_POLICY)
_UNKNOWN = Verdict(False, Reason.ADDRESS_UNKNOWN)


def parse_address(text: str) -> Ip | None:
    """None for what is no address. The zone of a link-local address is dropped."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def plain(network: Network) -> Network:
    """The IPv4 network that an IPv6 one stands for; any other as it is."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
    return network


def canonical(cidr: str) -> str:
    """The one form of a network, such as 192.0.2.0/24; an address is a network of one.

    Raises InvalidRequest for what is none, and where bits are set behind the prefix: it may be a slip.
    """
    cidr = cidr.strip()
    if not _CIDR.fullmatch(cidr):
        raise InvalidRequest("a rule is an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
    try:
        return str(plain(ipaddress.ip_network(cidr)))
    except ValueError as error:
        try:
            meant = plain(ipaddress.ip_network(cidr, strict=False))
        except ValueError:
            raise InvalidRequest(f"not a network address: {cidr}") from error
        raise InvalidRequest(f"{cidr} is an address inside a network; the network is {meant}") from error


class Rules:
    """All enabled policies, made ready to judge many addresses. Safe to use from many threads.

    `version` is that of the policies it was made from.
    """

    def __init__(self, policies: Iterable[AccessPolicy], version: str | None = None) -> None:
        enabled = [policy for policy in policies if policy.enabled]
        self.version = version
        self._white = _Lists(policy for policy in enabled if policy.kind is PolicyKind.WHITE)
        self._black = _Lists(policy for policy in enabled if policy.kind is PolicyKind.BLACK)
        self._needs_white = any(policy.kind is PolicyKind.WHITE for policy in enabled)
        self.restrict = self._needs_white or bool(self._black.networks)  # at least one address
        self._kept: dict[str | None, Verdict] = {}

    def judge(self, address: str | None) -> Verdict:
        """`address` as text; None when nobody can tell whose it is: then he is in no white list, and perhaps in a
        black one."""
        verdict = self._kept.get(address)
        if verdict is None:
            verdict = self._judge(address)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            if address is None or len(address) <= _LONGEST:
                self._kept[address] = verdict
        return verdict

    def _judge(self, address: str | None) -> Verdict:
        if not self.restrict:
            return _NO_POLICY
        ip = None if address is None else parse_address(address)
        if ip is None:
            return _UNKNOWN
        match = self._black.find(ip)
        if match is not None:
            return Verdict(False, Reason.BLACK_LISTED, match)
        if not self._needs_white:
            return Verdict(True, Reason.NOT_BLACK_LISTED)
        match = self._white.find(ip)
        return Verdict(match is not None, Reason.WHITE_LISTED if match else Reason.NOT_WHITE_LISTED, match)

    def shut_out_everybody(self) -> bool:
        """Whether no address at all may come."""
        may = (
            self._white.networks if self._needs_white else [ipaddress.ip_network(all) for all in ("0.0.0.0/0", "::/0")]
        )
        black = _merged(self._black.networks)
        return all(any(_covers(wide, network) for wide in black) for network in may)


class _Lists:
    """The networks of policies, by the length of their prefix: a look asks once for each length that occurs."""

    def __init__(self, policies: Iterable[AccessPolicy]) -> None:
        self.networks: list[Network] = []
        by_length: dict[tuple[int, int], dict[int, Match]] = {}
        for policy in policies:
            for rule in policy.rules:
                network = ipaddress.ip_network(rule.cidr)
                self.networks.append(network)
                shift = network.max_prefixlen - network.prefixlen
                of_length = by_length.setdefault((network.version, shift), {})
                of_length.setdefault(int(network.network_address) >> shift, Match(policy, rule))
        self._by_length = sorted(by_length.items(), key=lambda each: each[0][1])  # the narrowest first

    def find(self, ip: Ip) -> Match | None:
        """The narrowest network that holds it."""
        number, version = int(ip), ip.version
        for (of_version, shift), networks in self._by_length:
            if of_version == version and (match := networks.get(number >> shift)) is not None:
                return match
        return None


def _merged(networks: Sequence[Network]) -> list[Network]:
    """The fewest networks that hold the same: what several of them cover together, one of these covers."""
    four = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv6Network))
    return [*four, *six]


def _covers(wide: Network, narrow: Network) -> bool:
    if isinstance(wide, ipaddress.IPv4Network):
        return isinstance(narrow, ipaddress.IPv4Network) and narrow.subnet_of(wide)
    return isinstance(narrow, ipaddress.IPv6Network) and narrow.subnet_of(wide)
