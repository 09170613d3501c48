"""The rows of the last table of docs/fuse.md, by which tests know where a mount may differ from a local disk."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).parents[3] / "docs/fuse.md"
_HEADING = "## Where it is not like a local disk"
_SUITE = "### A public suite"
_ROW = re.compile(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", re.MULTILINE)


def named() -> frozenset[str]:
    """The names of the rows. What has no row has to be as on a local disk."""
    section = _PAGE.read_text().partition(_HEADING)[2].partition("\n#")[0]
    return frozenset(match[1] for match in _ROW.finditer(section))


def of_suite() -> dict[str, list[str]]:
    """For each row's name the test files of the public suite that it makes fail, as patterns: "link/*"."""
    section = _PAGE.read_text().partition(_SUITE)[2].partition("\n#")[0]
    return {match[1]: match[2].replace("`", "").split(", ") for match in _ROW.finditer(section)}
