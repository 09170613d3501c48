"""What is wrong with a file or folder of the NAS, once it is certain: the mirror may be moving it just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vfs.core import Kelp
from vfs.metadata.verifying import Held
from vfs.nas_model import MANIFEST, VAULT_FILE
from vfs.operations import sealed_copies

MISSING = "missing on the NAS"
OTHER_KIND = "something else on the NAS"
OTHER_SIZE = "of another size on the NAS"
CORRUPT = "corrupt on the NAS"  # though nobody touched it
CHANGED = "changed on the NAS"  # by somebody else

_FILES = (MANIFEST, VAULT_FILE)
_LOOKS = 3  # at what moves meanwhile


class Wrong(NamedTuple):
    kind: str
    detail: str


UNDESCRIBED = "without its manifest on the NAS"

Verify = Callable[[Held, str], bool]  # reads the file at a path; False when its bytes are not the recorded ones


def wrong(kelp: Kelp, held: Held, path: str, verify: Verify | None) -> Wrong | None:
    """At first sight. `verify` None: do not read it."""
    if held.kind == "file" and held.content_id is None:
        return None  # given up: the mirror writes it anew
    info = kelp.nas.stat(path)
    if info is None:
        return Wrong(MISSING, held.kind)
    if info.kind != held.kind:
        return Wrong(OTHER_KIND, f"{info.kind} instead of {held.kind}")
    if held.kind != "file":
        return _wrong_folder(kelp, held, path)
    same_time = held.mtime_ns in (None, info.mtime_ns)
    if info.size != held.size:
        return Wrong(OTHER_SIZE, f"{info.size} instead of {held.size} bytes")
    if held.checksum == "" and not same_time:
        return Wrong(CHANGED, "since it was adopted")
    if verify is not None and held.checksum and not verify(held, path):
        return Wrong(CORRUPT if same_time else CHANGED, f"{held.size} bytes")
    return None


def _wrong_folder(kelp: Kelp, held: Held, path: str) -> Wrong | None:
    """Of a folder in a vault."""
    if held.manifest is None or held.manifest in (sealed_copies.manifest_digest(kelp, path, file) for file in _FILES):
        return None
    return Wrong(UNDESCRIBED, "or it was changed")


def certainly_wrong(kelp: Kelp, held: Held, verify: Verify | None) -> tuple[Held, str, Wrong] | None:
    """As it is recorded now, at which path, and what is wrong; None when nothing is, or the mirror has it under way.

    It is only what its row said before and after it was looked at.
    """
    for _ in range(_LOOKS):
        now, place = _recorded(kelp, held)
        if now is None or place is None or place[1]:
            return None
        found = wrong(kelp, now, place[0], verify)
        if found is None:
            return None
        if _recorded(kelp, held) == (now, place):
            return now, place[0], found
    return None


def _recorded(kelp: Kelp, held: Held) -> tuple[Held | None, tuple[str, bool] | None]:
    with kelp.database.read() as tx:
        now = tx.verifying.held(held.entry_id, held.version)
        return now, tx.verifying.place(held.entry_id, held.version) if now else None
