"""What single clients are answered differently, each row of the table over a real server (R9)."""

from __future__ import annotations

import pytest

from dav_provider import quirks
from tests.faces.rules.requests import values

QUOTA = b'<D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>'
NAMES = {"{DAV:}quota-available-bytes", "{DAV:}quota-used-bytes"}
FINDER = "WebDAVFS/3.0.0 (03008000) Darwin/{} (arm64)"


def told_the_space(drive, agent, path="/dav/"):
    """Whether a client is told the quota; the alternative is a 404 for both (R9)."""
    reply = drive.ask("PROPFIND", path, QUOTA, Depth="0", User_Agent=agent)
    assert reply.status == 207
    present, missing = set(values(reply)), set(values(reply, "404"))
    assert (present, missing) in [(NAMES, set()), (set(), NAMES)]
    return bool(present)


@pytest.mark.parametrize("path", ["/", "/dav/", "/dav"])
@pytest.mark.parametrize(
    ("version", "told"), [("21.1.0", True), ("24.3.0", True), ("24.4.0", False), ("24.10.0", False), ("25.0.0", False)]
)
def test_macos_since_15_4_is_not_told_the_quota(drive, path, version, told) -> None:
    assert told_the_space(drive, FINDER.format(version), path) is told


@pytest.mark.parametrize("agent", ["", "davfs2/1.6.1", "Cyberduck/9 (Mac OS X/15.4)", "x Darwin/25.0", "\xff"])
def test_others_are_told(drive, agent) -> None:
    assert told_the_space(drive, agent)


def test_the_quota_is_not_named_to_them_either(drive) -> None:
    body = b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'
    for version, named in (("24.3.0", True), ("24.4.0", False)):
        reply = drive.ask("PROPFIND", "/dav/", body, Depth="0", User_Agent=FINDER.format(version))
        assert (set(values(reply)) >= NAMES) is named


def test_by_settings(served_with) -> None:
    served = served_with(dav_quirks=False, dav_no_quota_for="Other/1, Another")
    assert told_the_space(served, FINDER.format("24.4.0"))
    assert not told_the_space(served, "Mozilla Other/1.2") and not told_the_space(served, "Another")
    assert told_the_space(served, "Other/2")


def test_each_row_says_why_and_who_saw_it() -> None:
    for quirk in quirks.QUIRKS:
        assert quirk.reason and "#" in quirk.source and quirk.agents.groups == 2
