"""What single clients are answered differently, by their User-Agent: one table, each row with its reason and source.

A row is for a client that fails when it is answered as the standards say, and for nothing else. `dav.quirks = false`
switches the table off; `dav.no_quota_for` adds clients to its first kind without a new version of Kelp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from vfs.settings import Dav


class Change(Enum):
    """What is different for a client."""

    NO_QUOTA = "quota-used-bytes and quota-available-bytes are missing, as if there were no such properties"


@dataclass(frozen=True, slots=True)
class Quirk:
    """`agents` finds the client in a User-Agent; `since` is the first version that needs it, of its two groups."""

    agents: re.Pattern[str]
    since: tuple[int, int]
    change: Change
    reason: str
    source: str


QUIRKS = (
    Quirk(
        # `WebDAVFS/3.0.0 (03008000) Darwin/24.4.0 (arm64)`: Darwin 24.4 is macOS 15.4, 25.x is macOS 26.
        agents=re.compile(r"^WebDAVFS/\S+ .*\bDarwin/(\d+)\.(\d+)"),
        since=(24, 4),
        change=Change.NO_QUOTA,
        reason="macOS 15.4 and newer wait 90 seconds before they mount, when told a quota; still so in macOS 26",
        source="cryptomator/webdav-nio-adapter#107, cryptomator/webdav-nio-adapter-servlet#79, 9001/copyparty#1242",
    ),
)


def quota_left_out(settings: Dav, user_agent: str | None) -> bool:
    """Whether this client must not be told how much space there is."""
    if not user_agent:
        return False
    if any(part in user_agent for part in settings.no_quota_for):
        return True
    return settings.quirks and _applies(Change.NO_QUOTA, user_agent)


def _applies(change: Change, user_agent: str) -> bool:
    for quirk in QUIRKS:
        found = quirk.agents.search(user_agent) if quirk.change is change else None
        if found and (int(found[1]), int(found[2])) >= quirk.since:
            return True
    return False
