"""What an admin may set for the NAS while the drive runs, and when it counts (spec §11).

At once in all processes: `reserve`, `slow`, `delay`, `retries`. From the next start on: `root`, `health`. What is set
here wins over the configuration; but a root that the configuration has changed since then is the newer wish, so
whoever writes the file or the command line can always have it his way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vfs.core import Kelp
from vfs.errors import ConfigurationError, Forbidden, InvalidRequest
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller
from vfs.settings import Settings
from vfs.storage import nas_marker

AT_START = frozenset(("root", "health"))  # a root of a running drive is not swapped under its readers
_INSTEAD = "instead"  # roots that were used when another was set; the configuration's is one of them


@dataclass(frozen=True, slots=True)
class NasSettings:
    """`reserve`: bytes that stay free; `health`: seconds between two timed writes of a small file; `slow`: seconds that
    one may take; `delay`: seconds that temporary names live before they are carried; `retries`: seconds before each
    further try.
    """

    root: Path
    reserve: int
    health: float
    slow: float
    delay: float
    retries: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """`pending`: what counts from the next start on, by name; None: as the configuration says."""

    settings: NasSettings
    pending: Mapping[str, object]


def read(kelp: Kelp) -> NasSettings:
    """What counts now."""
    return kelp.database.recall("nas_settings", lambda tx: read_in(kelp.settings, tx))


def read_in(settings: Settings, tx: Tx) -> NasSettings:
    stored = _stored(tx)
    now = {name: value for name, value in stored.items() if name not in AT_START}
    return replace(configured(settings), **now)


def configured(settings: Settings) -> NasSettings:
    nas, mirror = settings.nas, settings.mirror
    return NasSettings(nas.root, nas.reserve, nas.health, nas.slow, mirror.delay, mirror.retries)


def at_start(settings: Settings, tx: Tx) -> Settings:
    """The configuration with what counts from a start on."""
    stored = _stored(tx)
    root, health = settings.nas.root, stored.get("health", settings.nas.health)
    if "root" in stored and str(root) in stored["root"][_INSTEAD]:
        root = Path(stored["root"]["root"])
    return replace(settings, nas=replace(settings.nas, root=root, health=health))


def shown(kelp: Kelp, caller: Caller) -> Shown:
    """Raises Forbidden: admins only."""
    _require_admin(caller)
    with kelp.database.read() as tx:
        return _shown(kelp, tx)


def _shown(kelp: Kelp, tx: Tx) -> Shown:
    stored, now = _stored(tx), configured(kelp.settings)
    wanted = {"health": stored.get("health"), "root": stored["root"]["root"] if "root" in stored else None}
    in_use = {"health": now.health, "root": str(now.root)}
    pending = {name: value for name, value in wanted.items() if value is not None and value != in_use[name]}
    return Shown(read_in(kelp.settings, tx), pending)


@retried
def change(kelp: Kelp, caller: Caller, wanted: Mapping[str, Any]) -> Shown:
    """Set these, by the names of `NasSettings`; None: as the configuration says.

    Raises Forbidden; InvalidRequest for an unknown name, or a root that is not the NAS of this drive.
    """
    _require_admin(caller)
    if unknown := wanted.keys() - asdict(configured(kelp.settings)).keys():
        raise InvalidRequest(f"{min(unknown)}: no such setting")
    if wanted.get("root") is not None:
        _check_root(kelp, str(wanted["root"]))
    with kelp.database.write() as tx:
        now = kelp.clock.now_ns()
        for name, value in _rows(kelp, tx, wanted).items():
            if value is None:
                tx.nas_settings.forget(name)
            else:
                tx.nas_settings.set(name, json.dumps(value), now)
        return _shown(kelp, tx)


def _rows(kelp: Kelp, tx: Tx, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if wanted.get("root") is None:
        return dict(wanted)
    before = _stored(tx).get("root", {_INSTEAD: []})[_INSTEAD]
    instead = sorted({*before, str(kelp.settings.nas.root)})
    return {**wanted, "root": {"root": str(wanted["root"]), _INSTEAD: instead}}


def _check_root(kelp: Kelp, path: str) -> None:
    """It must hold this drive's marker: the same NAS, mounted elsewhere. A new one is for `kelp nas adopt`."""
    if "\0" in path or not path.startswith("/"):
        raise InvalidRequest("root: it must be an absolute path")
    try:
        look = nas_marker.look_at(Path(path))
    except ConfigurationError as error:
        raise InvalidRequest("root: it cannot be opened") from error
    with kelp.database.read() as tx:
        ours = tx.accounts.value("id")
    if look.installation != ours:
        raise InvalidRequest("root: it is not the NAS of this drive")


def _stored(tx: Tx) -> dict[str, Any]:
    found = {name: json.loads(value) for name, value in tx.nas_settings.every().items()}
    if "retries" in found:
        found["retries"] = tuple(found["retries"])
    return found


def _require_admin(caller: Caller) -> None:
    if not caller.administers:
        raise Forbidden("only an admin may do this")
