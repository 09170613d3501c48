"""Trees that were there before Kelp, and drives made of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests import engines
from tests.mirror_drive import Killed, MirrorDrive, StagedNas
from vfs import bootstrap
from vfs.operations import adopting
from vfs.operations.nas_walk import Report, Taken, no_report
from vfs.settings import Settings

TIME = 1_600_000_000  # 2020-09-13T12:26:40Z
STAMP = "20200913122640"


def make(root: Path, tree: dict[str, bytes | None]) -> None:
    """Files and (None) folders, all as old as `TIME`."""
    for path, content in tree.items():
        at = root / path
        (at if content is None else at.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            at.write_bytes(content)
            os.utime(at, (TIME, TIME))


def look(root: Path) -> dict[str, tuple[int, int, int, bytes | None]]:
    """All below `root` but Kelp's own: inode, time, mode, and bytes of files."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.split("/")[0] != ".kelp":
            info = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            found[name] = (info.st_ino, info.st_mtime_ns, info.st_mode, content)
    return found


def settings_of(folder: Path, **overrides: object) -> Settings:
    return engines.load(folder / "data", **{"nas_root": folder / "nas", **overrides})


def adopt(folder: Path, report: Report = no_report, **overrides: object) -> Taken:
    """As `kelp nas adopt` does."""
    settings = settings_of(folder, **overrides)
    settings.data.mkdir(parents=True, exist_ok=True)
    with bootstrap.opened_for_taking(settings, adopting.begin) as kelp:
        return adopting.adopt(kelp, report)


def opened(folder: Path, tree: dict[str, bytes | None], **overrides: object) -> MirrorDrive:
    """The drive of a tree that was adopted."""
    (folder / "nas").mkdir(parents=True, exist_ok=True)
    make(folder / "nas", tree)
    adopt(folder, **overrides)
    return MirrorDrive(folder, **overrides)


def die_in_survey(folder: Path, number: int, run: Callable[[Any], object] = adopting.adopt) -> bool:
    """Adopt, and die before looking into a folder for the so-maniest time; False when it never came to that."""
    settings = settings_of(folder)
    settings.data.mkdir(parents=True, exist_ok=True)
    seen = 0

    def die(method: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        seen += method == "survey"
        if seen == number:
            raise Killed

    with suppress(Killed), bootstrap.opened_for_taking(settings, adopting.begin) as kelp:
        nas = StagedNas(kelp.nas)
        nas.before = die
        run(replace(kelp, nas=nas))  # type: ignore[arg-type]
        return False
    return True
