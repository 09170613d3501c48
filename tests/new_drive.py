"""A drive that was started once, copied for each test: faster than all migrations. And people who log in cheaply."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path

import argon2

from tests import engines
from vfs import names
from vfs.bootstrap import build
from vfs.core import Kelp
from vfs.model import Role

PASSWORD = "correct horse"
_DAY_NS = 24 * 3600 * 1_000_000_000


class _Yesterday:
    """Tests' clocks begin some hours ago, and what was there before them is older."""

    def now_ns(self) -> int:
        return time.time_ns() - _DAY_NS


def put_into(folder: Path, nas: str = "nas") -> None:
    """Make the folder's `data`, whose admin has the PASSWORD, and its `nas` (the setting's default is "data/nas").

    Nothing when one of them is there. All that come from here are one drive: each takes the NAS of another for its own.
    """
    if (folder / "data").exists() or (folder / nas).exists():
        return
    engines.copy_drive(_started_once(nas) / "data", folder / "data")
    if not (folder / nas).exists():
        shutil.copytree(_started_once(nas) / nas, folder / nas)


@functools.cache
def _started_once(nas: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kelp-new-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with closing(build(engines.load(folder / "data", nas_root=folder / nas), clock=_Yesterday())) as kelp:
        invite(kelp, "admin", Role.ADMIN)
    return folder


def invite(kelp: Kelp, name: str, role: Role, password: str = PASSWORD) -> None:
    """Their password is right but cheap: as it is stored for people, each log-in costs more than most tests."""
    key = names.key(name, case_sensitive=False)
    with kelp.database.write() as tx:
        tx.accounts.insert(name, key, _hashed(password), role, kelp.clock.now_ns())


@functools.cache
def _hashed(password: str) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)
