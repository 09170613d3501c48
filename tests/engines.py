"""Which engines the drives of this run use, chosen by the environment; tests are the same for all.

    KELP_TEST_DATABASE = sqlite | postgresql
    KELP_TEST_CACHE    = folder | s3
    KELP_TEST_QUEUE    = in-process | redis      of servers that tests start; tests that drain by hand have a bell only
    KELP_TEST_ENGINES  = production              the latter of each

A drive is known by its data folder: `load(data)` gives the settings of the drive there, the same at every call and in
every process, and makes its database the first time. `copy_drive` copies a drive with what it has elsewhere, and
`drop_below` removes what drives had elsewhere. The servers start when the first drive needs them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vfs.settings import Settings

if TYPE_CHECKING:
    from tests.services.elsewhere import Elsewhere


class Engines(NamedTuple):
    database: str
    cache: str
    queue: str


EMBEDDED = Engines("sqlite", "folder", "in-process")
PRODUCTION = Engines("postgresql", "s3", "redis")


def _chosen() -> Engines:
    usual = {"": EMBEDDED, "embedded": EMBEDDED, "production": PRODUCTION}[os.environ.get("KELP_TEST_ENGINES", "")]
    chosen = Engines(*(os.environ.get(f"KELP_TEST_{name.upper()}", value) for name, value in usual._asdict().items()))
    for name, value, possible in zip(Engines._fields, chosen, zip(EMBEDDED, PRODUCTION, strict=True), strict=True):
        if value not in possible:
            raise ValueError(f"KELP_TEST_{name.upper()} is {' or '.join(possible)}, not {value}")
    return chosen


CHOSEN = _chosen()
_known: dict[Path, set[Elsewhere]] = {}  # data folders of this process's drives, and where else they have something


def missing() -> str | None:
    """Why no drive of this run can be opened here; None when all that its engines need is installed."""
    return next((reason for place in _elsewhere() if (reason := place.missing())), None)


def load(data: Path, **overrides: object) -> Settings:
    """Settings of the drive whose data folder is `data`; `overrides` as for `Settings.load`."""
    return Settings.load(None, {}, data=data, **{**settings_of(data, *overrides), **overrides})


def settings_of(data: Path, *given: str) -> dict[str, object]:
    """The part of its settings that the engines decide, but for what is `given` already."""
    settings: dict[str, object] = {}
    for place in _elsewhere():
        if place.setting not in given:
            known = _known.setdefault(data.absolute(), set())
            settings |= place.settings(_name(data), new=place not in known)
            known.add(place)
    return settings


def environ_of(data: Path, *given: str) -> dict[str, str]:
    """The same for a child process: `KELP_DATABASE_URL` and so on."""
    return {f"KELP_{name.upper()}": str(value) for name, value in settings_of(data, *given).items()}


def copy_drive(source: Path, target: Path) -> None:
    """Copy a folder, and what the drives in it, which nobody has open, have elsewhere."""
    shutil.copytree(source, target)
    for data in _known_below(source):
        copy = target.absolute() / data.relative_to(source.absolute())
        for place in _known[data]:
            place.copy(_name(data), _name(copy))
        _known[copy] = set(_known[data])


def drop_below(folder: Path) -> None:
    """Remove what the drives in `folder`, or with it as their data folder, have elsewhere."""
    for data in _known_below(folder):
        for place in _known.pop(data):
            place.drop(_name(data))


def _known_below(folder: Path) -> list[Path]:
    return [data for data in _known if data.is_relative_to(folder.absolute())]


def _name(data: Path) -> str:
    """Of a drive's database, of its part of the bucket, of its queue."""
    return "kelp_" + hashlib.sha256(str(data.absolute()).encode()).hexdigest()[:24]


@functools.cache
def _elsewhere() -> tuple[Elsewhere, ...]:
    """An embedded drive is all in its folder; then nothing of the others is even imported."""
    if CHOSEN == EMBEDDED:
        return ()
    from tests.services import elsewhere

    places = (elsewhere.Databases(), elsewhere.Objects(), elsewhere.Queues())
    return tuple(place for place, one, usual in zip(places, CHOSEN, EMBEDDED, strict=True) if one != usual)
