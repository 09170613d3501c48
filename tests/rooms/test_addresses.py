"""White and black lists against a plain model of them: every rule looked at for every address."""

from __future__ import annotations

import ipaddress
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs.addresses import AccessPolicy, AccessRule, Network, PolicyKind, Reason, Rules, canonical, parse_address
from vfs.errors import InvalidRequest

# Few bits vary, so that rules meet addresses and each other.
_BITS = st.integers(0, 15)
FOUR = _BITS.map(lambda n: ipaddress.IPv4Address(0xC0000200 + n))
SIX = _BITS.map(lambda n: ipaddress.IPv6Address((0x20010DB8 << 96) + n))
MAPPED = FOUR.map(lambda ip: ipaddress.IPv6Address(f"::ffff:{ip}"))
ADDRESSES = st.one_of(FOUR, SIX, MAPPED)
NUMBERS = count()


@st.composite
def networks(draw: st.DrawFn) -> str:
    ip = draw(ADDRESSES)
    mapped = ip.version == 6 and ip.ipv4_mapped is not None
    kept = draw(st.integers(0, 5))
    length = draw(st.sampled_from((ip.max_prefixlen - kept, *(() if mapped else (0, 1, ip.max_prefixlen // 2)))))
    return str(ipaddress.ip_network((ip, length), strict=False))


@st.composite
def policies(draw: st.DrawFn) -> list[AccessPolicy]:
    found = []
    for _ in range(draw(st.integers(0, 4))):
        cidrs = draw(st.lists(networks(), max_size=4))
        rules = tuple(AccessRule(f"r{next(NUMBERS)}", canonical(cidr), "", 0) for cidr in cidrs)
        kind = draw(st.sampled_from(PolicyKind))
        found.append(AccessPolicy(f"p{next(NUMBERS)}", "a policy", kind, draw(st.booleans()), 0, rules))
    return found


def may_come(given_policies: list[AccessPolicy], text: str) -> bool:
    """Spec §10, word by word."""
    ip = ipaddress.ip_address(text)
    plain = ip.ipv4_mapped if ip.version == 6 and ip.ipv4_mapped else ip
    enabled = [policy for policy in given_policies if policy.enabled]
    white = [policy for policy in enabled if policy.kind is PolicyKind.WHITE]

    def is_in(policy: AccessPolicy) -> bool:
        return any(plain in ipaddress.ip_network(rule.cidr) for rule in policy.rules)

    if any(is_in(policy) for policy in enabled if policy.kind is PolicyKind.BLACK):
        return False
    return not white or any(map(is_in, white))


@settings(max_examples=40)
@given(policies(), st.lists(ADDRESSES.map(str), min_size=1, max_size=8))
def test_the_verdict_is_that_of_the_model(found: list[AccessPolicy], addresses: list[str]) -> None:
    rules = Rules(found)
    for address in addresses * 2:  # the second time from memory
        verdict = rules.judge(address)
        assert verdict.allowed == may_come(found, address), (address, verdict)
        if verdict.match is not None:
            assert parse_address(address) in ipaddress.ip_network(verdict.match.rule.cidr)
            assert verdict.match.policy in found
            assert verdict.match.policy.enabled


@settings(max_examples=30)
@given(policies())
def test_whom_nobody_can_tell_comes_only_while_nothing_is_restricted(found: list[AccessPolicy]) -> None:
    rules = Rules(found)
    assert rules.judge(None).allowed is not rules.restrict
    assert rules.judge("unknown") == rules.judge(None)
    assert rules.restrict or all(may_come(found, address) for address in ("192.0.2.1", "2001:db8::1"))


@settings(max_examples=50)
@given(st.lists(networks(), max_size=6), st.lists(networks(), max_size=6))
def test_everybody_is_out_when_the_black_lists_cover_the_white_ones(white: list[str], black: list[str]) -> None:
    found = [
        AccessPolicy(
            kind.value, kind.value, kind, True, 0, tuple(AccessRule(cidr, canonical(cidr), "", 0) for cidr in cidrs)
        )
        for kind, cidrs in ((PolicyKind.WHITE, white), (PolicyKind.BLACK, black))
    ]
    assert Rules(found).shut_out_everybody() is not any(may_come(found, str(ip)) for ip in _edges([*white, *black]))


def _edges(cidrs: list[str]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Addresses at which an answer can change: in whatever is let in, one of them lies."""
    nets: list[Network] = [ipaddress.ip_network(canonical(cidr)) for cidr in cidrs]
    found = []
    for net in nets:
        last = int(net.broadcast_address)
        for number in (int(net.network_address), last, last + 1):
            if number < 1 << net.max_prefixlen:
                found.append(type(net.network_address)(number))
    return found


def test_without_a_white_list_everybody_is_out_only_by_both_halves() -> None:
    def black(*cidrs: str) -> Rules:
        rules = tuple(AccessRule(cidr, cidr, "", 0) for cidr in cidrs)
        return Rules([AccessPolicy("b", "b", PolicyKind.BLACK, True, 0, rules)])

    assert not black("0.0.0.0/0").shut_out_everybody()
    assert not black("0.0.0.0/1", "::/0").shut_out_everybody()
    assert black("0.0.0.0/1", "128.0.0.0/1", "::/0").shut_out_everybody()


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("2001:DB8:0::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_form(given_text: str, kept: str) -> None:
    assert canonical(given_text) == kept
    assert canonical(kept) == kept


WRONG = """|x|192.0.2|192.0.2.0/33|192.0.2.7/24|192.0.2.0/255.255.255.0|192.0.2.0/0.0.0.255|010.0.0.1|fe80::1%eth0
192.0.2.0/|1|2001:db8::/129|2001:db8::1/32|192.0.2.0/24/8|192.0.2.0/-1|１92.0.2.1|localhost|:::""".replace("\n", "|")


@pytest.mark.parametrize("text", WRONG.split("|"))
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        canonical(text)


def test_the_narrowest_rule_is_named() -> None:
    rules = tuple(AccessRule(cidr, cidr, "", 0) for cidr in ("192.0.2.0/24", "192.0.2.7/32", "192.0.2.0/28"))
    verdict = Rules([AccessPolicy("w", "office", PolicyKind.WHITE, True, 0, rules)]).judge("192.0.2.7")
    assert verdict.reason is Reason.WHITE_LISTED
    assert verdict.match is not None
    assert verdict.match.rule.cidr == "192.0.2.7/32"
