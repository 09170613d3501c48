"""The NAS: is it ours, and does it do what the mirror relies on."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from vfs.errors import KelpError, NasDown, NasFault
from vfs.nas_model import TEMPORARY
from vfs.operations import nas_state
from vfs.operations.diagnosis import disks, words
from vfs.operations.diagnosis.findings import Area, Finding, Readings
from vfs.settings import Settings
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_store import NasProperties, NasStore

_AREA = Area("NAS")
_SIZES = (4096, 8 * 1024 * 1024)  # bytes
_ODD_NS = 123_456_789  # of a second: shows how fine the times are
_GRAINS = ((1, "1 ns"), (100, "100 ns"), (1_000, "1 µs"), (1_000_000, "1 ms"), (1_000_000_000, "1 s"))
_SCARCE = 0.05  # of the disk
WHEN_SILENT = "the mount hangs: see whether the NAS is on, and mount it anew; the drive goes on without it"


def check(settings: Settings, readings: Readings) -> Iterator[Finding]:
    root = settings.nas_root
    installation = readings.installation
    if installation is None:
        installation = _from_marker(root)
    store = FolderNasStore(root, installation, NasProperties(frozenset(settings.nas.refused)))
    try:
        store.verify()
    except NasDown as error:
        yield _AREA.error("root", str(error), _advice(error, root, readings))
        return
    theirs = "" if readings.installation else ", whose it is nobody can tell without the database"
    yield _AREA.ok("root", f"{root}, marker found{theirs}")
    yield from _disk(root)
    yield _space(store)
    yield from _files(store)


def _from_marker(root: Path) -> str:
    """Without the database nobody knows whose NAS it shall be: it is taken for ours when it has a marker at all."""
    try:
        return str(json.loads((root / ".kelp" / "drive.json").read_bytes())["installation"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _advice(error: NasDown, root: Path, readings: Readings) -> str:
    if error.reason == "ENOENT":
        return f"make {root}, or correct nas.root"
    if error.reason == "marker" and readings.installation is None:
        return "mount the NAS, or correct nas.root; the first `kelp serve` claims an empty one"
    if error.reason == "marker":
        return "mount the NAS there, or correct nas.root; until then changes wait and nothing is lost"
    if error.reason in ("EACCES", "EPERM"):
        return "let the user who runs Kelp read and write there"
    return "see whether the NAS is on, and mount it anew; changes wait and nothing is lost"


def _disk(root: Path) -> Iterator[Finding]:
    mount = disks.mount_of(root)
    if mount is None:
        return
    fact = f"{mount.kind} at {mount.place}"
    if mount.is_soft:
        advice = "mount it `hard`: a soft mount loses writes that the server is slow to take (nfs(5))"
        yield _AREA.warning("disk", f"{fact}, mounted soft", advice)
    elif mount.is_volatile:
        yield _AREA.error("disk", f"{fact}, in memory", "a power cut loses the mirror: use a disk")
    elif mount.is_layer:
        yield _AREA.warning("disk", f"{fact}, which goes with its container", "mount the NAS into the container")
    else:
        yield _AREA.ok("disk", fact)


def _space(store: NasStore) -> Finding:
    usage = store.usage()
    fact = f"{words.size(usage.free)} of {words.size(usage.total)} free"
    if usage.free <= nas_state.RESERVE:
        return _AREA.error("space", fact, "changes wait until there is room")
    if usage.free < usage.total * _SCARCE:
        return _AREA.warning("space", fact, "it is full soon: make room")
    return _AREA.ok("space", fact)


def _files(store: NasStore) -> Iterator[Finding]:
    """As the mirror works, below `.kelp/tmp`, which it sweeps at its start."""
    was_there = store.stat(TEMPORARY) is not None
    base = f"{TEMPORARY}/doctor-{secrets.token_hex(8)}"
    try:
        yield from _use(store, base)
    except KelpError as error:
        if isinstance(error, NasDown) and error.reason in ("ENOSPC", "EDQUOT"):
            advice = "make room"
        elif isinstance(error, NasFault | NasDown):
            advice = "let the user who runs Kelp write there; see the log of the NAS"
        else:
            advice = "the NAS gave back other bytes than it took: check its disks"
        yield _AREA.error("write", str(error), advice)
    finally:
        with suppress(KelpError):
            for end in ("", "-moved", "-linked"):
                store.remove(base + end)
            if not was_there:
                store.remove_folder(TEMPORARY)


def _use(store: NasStore, base: str) -> Iterator[Finding]:
    took = []
    for size in _SIZES:
        pieces = [os.urandom(min(size, 1024 * 1024)) for _ in range(0, size, 1024 * 1024)]
        digest = blake3()
        for piece in pieces:
            digest.update(piece)
        checksum, shown_ns = digest.hexdigest(), time.time_ns() // 10**9 * 10**9 + _ODD_NS
        begun = time.perf_counter()
        written = store.write(base, pieces, size, checksum, mtime_ns=shown_ns, parents=True)
        store.sync([TEMPORARY])
        took.append(time.perf_counter() - begun)
        store.move(base, f"{base}-moved")
        if store.checksum(f"{base}-moved") != checksum or store.stat(base) is not None:
            yield _AREA.error("write", "what was written and renamed is not the same", "check the disks of the NAS")
            return
        if size == _SIZES[0]:
            linked = store.link(f"{base}-moved", f"{base}-linked")
            store.remove(f"{base}-linked")
        store.remove(f"{base}-moved")
    fact = f"write, fsync, rename, read, delete; {words.size(_SIZES[0])} in {words.seconds(took[0])}"
    yield _AREA.ok("write", f"{fact}, {words.size(_SIZES[1])} at {words.rate(_SIZES[1], took[1])}")
    case = "folds case" if store.properties.folds_case else "tells case apart"
    links = "hard links" if linked else "no hard links"
    yield _AREA.ok("features", f"{case}, {links}, times to {_grain(abs(written.mtime_ns - shown_ns))}")


def _grain(off: int) -> str:
    return next((text for limit, text in _GRAINS if off < limit), "2 s")
