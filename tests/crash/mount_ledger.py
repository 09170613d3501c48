"""What must be on a mount after it died: what its writer's ledger says was acknowledged, and may be: the last step,
which was not."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.crash.ledger import Body, content

_RECOVERED = re.compile(r" \(recovered admin \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\)(?: \(\d+\))?")


class Expected:
    """Of the folder of one writer. `shown`: name → bytes; `drafts`: the same of what was written and not closed;
    `coming`: what was made and neither closed nor synced, so it may have had no row yet (docs/fuse.md)."""

    def __init__(self, shown: Mapping[str, bytes]) -> None:
        self.shown = dict(shown)
        self.drafts: dict[str, bytes] = {}
        self.coming: set[str] = set()
        self.last: dict[str, Any] | None = None
        self.acknowledged = 0

    @classmethod
    def read(cls, shown: Mapping[str, bytes], ledger: Path) -> Expected:
        """What was there before, and what the ledger tells; `last` is the step that was not acknowledged."""
        self = cls(shown)
        for line in ledger.read_text(encoding="utf-8").splitlines():
            step = json.loads(line)
            if step["what"] != "done":
                self.last = step
                continue
            assert self.last is not None
            self._take(self.last)
            self.last = None
            self.acknowledged += 1
        return self

    def _take(self, step: dict[str, Any]) -> None:
        name = step["name"]
        if step["what"] in ("commit", "truncate", "rename", "unlink"):
            self.coming.discard(name)
        match step["what"]:
            case "create":
                self.shown[name] = b""
                self.coming.add(name)
            case "write":
                draft = self._draft(name)
                self.drafts[name] = written(draft, step["at"], content(step["number"], step["size"]))
            case "cut":
                self.drafts[name] = resized(self._draft(name), step["size"])
            case "commit":
                self.shown[name] = self.drafts.pop(name, self.shown[name])
            case "truncate":
                self.shown[name] = resized(self.shown[name], step["size"])
            case "rename":
                self.shown[step["target"]] = self.shown.pop(name)
            case "unlink":
                del self.shown[name]

    def _draft(self, name: str) -> bytes:
        return self.drafts.get(name, self.shown[name])

    def judge(self, found: Mapping[str, bytes]) -> dict[str, bytes]:
        """What the drive shows from now on, without what was recovered. AssertionError: it may not be so."""
        shown = {name: data for name, data in found.items() if not _RECOVERED.search(name)}
        after = copy.deepcopy(self)
        if self.last is not None:
            after._take(self.last)
        gone = self.coming - shown.keys()
        either = [_bodies({name: each[name] for name in each.keys() - gone}) for each in (self.shown, after.shown)]
        assert _bodies(shown) in either, self._told(shown, after)
        self._judge_drafts(found, shown, after)
        return shown

    def _judge_drafts(self, found: Mapping[str, bytes], shown: Mapping[str, bytes], after: Expected) -> None:
        recovered: dict[str, list[bytes]] = {}
        for name, data in found.items():
            if name not in shown:
                recovered.setdefault(_RECOVERED.sub("", name), []).append(data)
        names = self.drafts.keys() & after.drafts.keys()
        for name in names:
            if self.drafts[name] == self.shown.get(name):
                continue  # nothing is lost: an empty file that is emptied has no draft
            assert name in recovered, f"what was written to {name} and not closed is gone; last: {self.last}"
        for name, copies in recovered.items():
            for data in copies:
                assert self._may_be_draft(name, data, after), (name, len(data), self.last, Body.of(data))

    def _may_be_draft(self, name: str, data: bytes, after: Expected) -> bool:
        before, then = self.drafts.get(name), after.drafts.get(name)
        last = self.last
        if data in (before, then):
            return True
        if last is None or last["name"] != name:
            return False
        if last["what"] in ("commit", "truncate"):
            return data == after.shown.get(name)  # it died between the commit and the end of the draft
        if last["what"] != "write":
            return False
        # A write of a program is several of the kernel.
        whole, base = content(last["number"], last["size"]), self._draft(name)
        at, common = last["at"], _common(data[last["at"] :], whole)
        return any(data == written(base, at, whole[:size]) for size in {0, common, common // 4096 * 4096})

    def _told(self, shown: Mapping[str, bytes], after: Expected) -> str:
        lines = [f"last, not acknowledged: {self.last}"]
        for name in sorted({*shown, *self.shown, *after.shown}):
            bodies = [Body.of(each[name]) if name in each else None for each in (self.shown, after.shown, shown)]
            if bodies[2] not in bodies[:2] or bodies[0] != bodies[1]:
                lines.append(f"  {name}: expected {bodies[0]} or {bodies[1]}, found {bodies[2]}")
        return "\n".join(lines)


def _bodies(files: Mapping[str, bytes]) -> dict[str, Body]:
    return {name: Body.of(data) for name, data in files.items()}


def written(base: bytes, at: int, data: bytes) -> bytes:
    """A hole is zeros."""
    if not data:
        return base
    return resized(base, max(len(base), at))[:at] + data + base[at + len(data) :]


def resized(base: bytes, size: int) -> bytes:
    return base[:size] + bytes(max(size - len(base), 0))


def _common(one: bytes, two: bytes) -> int:
    """How many bytes they have in common from the start."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == two[:middle] else (low, middle - 1)
    return low
