"""What was changed on the NAS behind Kelp's back: what is recorded against what is there, by size, time and inode.

A look takes no lock: the drive goes on, and so does the mirror. So everything that seems changed is looked at again a
few seconds later, in the database and on the NAS. What a job has in its hands, what is still to be carried, and what
somebody is copying just now, is left for another time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from vfs import names
from vfs.core import Kelp
from vfs.errors import NasFault, NotFound, ObjectMissing
from vfs.metadata import scanning as rows
from vfs.metadata.database import Tx
from vfs.metadata.scanning import Known
from vfs.model import State
from vfs.nas_model import Spot
from vfs.operations import sealing, taking
from vfs.operations.nas_walk import below
from vfs.storage.nas_store import NasInfo, NasKind, NasSeen

_SETTLED = 3.0  # seconds between the two looks: a file that is being copied grows meanwhile


class Difference(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    MISSING = "missing"
    MOVED = "moved"
    OTHER_KIND = "of another kind"
    LEFT_ALONE = "left alone"  # no drive can show it: a symlink, a name that is no text …
    RENUMBERED = "renumbered"  # same size, same time, another inode: put back from a backup, or another mount


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `path`: on the NAS, where it is (or should be); `id`: the entry, 0 for what is new. `why`: what
    keeps it from being taken in, "" for nothing."""

    what: Difference
    path: str
    folder_id: int  # recorded for the folder; 0: that folder is new itself
    nas_name: str
    id: int = 0
    info: NasInfo | None = None
    was: str = ""  # MOVED: the path before
    is_folder: bool = False
    why: str = ""
    sealed: bool = False  # in a vault, which is no root of one


@dataclass(slots=True)
class Scan:
    """What was found. `looked`: names on the NAS that were compared."""

    findings: list[Finding] = field(default_factory=list)
    looked: int = 0


Report = Callable[[Scan], None]


def scan(kelp: Kelp, path: Sequence[str] = (), report: Report = lambda found: None, settled: float = _SETTLED) -> Scan:
    """Compare everything below a folder of the drive (all of it) with the NAS. `settled`: seconds between two looks.

    Raises NotFound (no such folder), NasDown.
    """
    with kelp.database.read() as tx:
        entry = sealing.find(kelp, tx, path)
        if entry is None or not entry.is_folder:
            raise NotFound(f"there is no folder /{'/'.join(path)}")
    looking = _Look(kelp, report)
    looking.run(entry.id)
    found = looking.found
    if found.findings and settled:
        time.sleep(settled)
    found.findings = _moved(kelp, [each for each in found.findings if still_so(kelp, each)])
    return found


class _Look:
    def __init__(self, kelp: Kelp, report: Report) -> None:
        self._kelp, self._report = kelp, report
        self.found = Scan()

    def run(self, folder_id: int) -> None:
        folders = [folder_id]
        while folders:
            folders += self._folder(folders.pop())
            self._report(self.found)

    def _folder(self, id: int) -> list[int]:
        """Compare what is directly in a recorded folder; the recorded folders in it that are there."""
        with self._kelp.database.read() as tx:
            chain = tx.mirror.nas_chain(id)
            if chain is None or rows.moves_above(tx, id):
                return []
            known = {each.nas_name: each for each in rows.in_folder(tx, id)}
            manifest = tx.verifying.manifest_file(id)
            others = rows.others_in(tx, id)
        path, inner = chain[1], []
        try:
            for name, info in self._kelp.nas.survey(path):
                self.found.looked += not taking.is_own(name, id)
                there = known.pop(name, None)
                if there is None:
                    if name != manifest:
                        self._unknown(id, path, NasSeen(name, info), others, sealed=manifest is not None)
                elif self._same_kind(id, path, there, info) and there.kind == "folder" and there.state == State.ACTIVE:
                    inner.append(there.id)
        except (ObjectMissing, NasFault):
            return []  # it went while we looked, which the next look sees from its parent
        for there in known.values():
            if not there.busy and (path or "/" not in there.nas_name or self._kelp.nas.stat(there.nas_name) is None):
                self._missing(id, path, there)
        return inner

    def _unknown(self, folder_id: int, path: str, seen: NasSeen, others: set[str], *, sealed: bool = False) -> None:
        key = names.nas_key(seen.name, self._kelp.nas.properties.folds_case)
        if taking.is_own(seen.name, folder_id) or not others.isdisjoint((seen.name, key)):
            return
        inner = below(path, seen.name)
        why = taking.refusal(seen.name, seen.info) or taking.vault_there(self._kelp.nas, inner, seen.info) or ""
        if sealed:
            why = "in a vault, and not put there by Kelp"
        is_folder = seen.info.kind == "folder"
        what = Difference.LEFT_ALONE if why else Difference.NEW
        self._add(Finding(what, inner, folder_id, seen.name, info=seen.info, is_folder=is_folder, why=why))
        if is_folder and not why:
            for each in _survey(self._kelp, inner):
                self._unknown(0, inner, each, set())

    def _same_kind(self, folder_id: int, path: str, there: Known, info: NasInfo) -> bool:
        if there.busy:
            return there.kind == info.kind
        finding = Finding(
            Difference.CHANGED, below(path, there.nas_name), folder_id, there.nas_name, there.id, info,
            is_folder=there.kind == "folder", sealed=there.sealed,
        )  # fmt: skip
        if there.kind != info.kind:
            self._add(replace(finding, what=Difference.OTHER_KIND, why=f"it was a {there.kind}, and is {info.kind}"))
            return False
        if there.kind == "file" and (there.size, there.mtime_ns) != (info.size, info.mtime_ns):
            self._add(finding)
        elif there.inode is not None and there.inode != info.inode:
            self._add(replace(finding, what=Difference.RENUMBERED))
        return True

    def _missing(self, folder_id: int, path: str, there: Known) -> None:
        inner = below(path, there.nas_name)
        recorded = _as_recorded(there)
        is_folder = there.kind == "folder"
        self._add(
            Finding(
                Difference.MISSING, inner, folder_id, there.nas_name, there.id, recorded, is_folder=is_folder,
                sealed=there.sealed,
            )
        )  # fmt: skip
        if there.kind == "folder":
            with self._kelp.database.read() as tx:
                known = rows.in_folder(tx, there.id)
            for each in known:
                if not each.busy:
                    self._missing(there.id, inner, each)

    def _add(self, finding: Finding) -> None:
        """What was changed in a vault nobody takes in from there; what is missing may be written again."""
        if finding.sealed and finding.what is Difference.CHANGED and not finding.why:
            finding = replace(finding, why="it is sealed: what the drive has is right")
        self.found.findings.append(finding)


def _survey(kelp: Kelp, path: str) -> Iterator[NasSeen]:
    try:
        yield from kelp.nas.survey(path)
    except (ObjectMissing, NasFault):
        return


def _as_recorded(there: Known) -> NasInfo:
    kind: NasKind = "folder" if there.kind == "folder" else "file"
    return NasInfo(kind, there.size or 0, there.mtime_ns or 0, there.inode or 0)


def still_so(kelp: Kelp, finding: Finding) -> bool:
    """The difference is there as it was, on the NAS and in the database, and nobody is at work on it."""
    info = kelp.nas.stat(finding.path)
    if (info is not None) if finding.what is Difference.MISSING else info != finding.info:
        return False
    with kelp.database.read() as tx:
        return is_free_to_take(kelp, tx, finding)


def is_free_to_take(kelp: Kelp, tx: Tx, finding: Finding) -> bool:
    """What the finding says of the database is still true, and no job is at work there."""
    if finding.folder_id and rows.moves_above(tx, finding.folder_id):
        return False
    if finding.what in (Difference.NEW, Difference.MOVED) and finding.folder_id and not finding.why:
        key = names.nas_key(finding.nas_name, kelp.nas.properties.folds_case)
        if not rows.is_free(tx, Spot(finding.folder_id, finding.nas_name), key, finding.id):
            return False
    if finding.what in (Difference.NEW, Difference.LEFT_ALONE):
        return True
    there = rows.entry(tx, finding.id)
    if there is None or there.busy:
        return False
    chain = tx.mirror.nas_chain(finding.id)
    return chain is not None and chain[1] == (finding.was or finding.path)


def _moved(kelp: Kelp, findings: list[Finding]) -> list[Finding]:
    """A missing entry and a new name of the same inode (and size and time) are one thing that was moved."""
    new = {
        (each.info.inode, *_told(each.info)): each
        for each in findings
        if each.what is Difference.NEW and each.info is not None and not each.why
    }
    taken: dict[int, Finding] = {}
    pairs: dict[str, Finding] = {}
    for each in findings:
        if each.what is not Difference.MISSING or each.info is None or not each.info.inode:
            continue
        there = new.get((each.info.inode, *_told(each.info)))
        if there is not None and there.path not in pairs:
            pairs[there.path] = taken[each.id] = replace(
                there, what=Difference.MOVED, id=each.id, was=each.path, is_folder=each.is_folder, sealed=each.sealed
            )
    kept = [each for each in findings if each.path not in pairs or each.what is not Difference.NEW]
    kept = [taken.get(each.id, each) if each.what is Difference.MISSING else each for each in kept]
    return _without_what_came_along(kept)


def _told(info: NasInfo) -> tuple[object, ...]:
    """A folder has another time whenever something in it changes."""
    return (info.kind,) if info.kind == "folder" else (info.kind, info.size, info.mtime_ns)


def _without_what_came_along(findings: list[Finding]) -> list[Finding]:
    """What was below a folder when that was moved is at its place in it: neither missing nor new."""
    moved = {each.was: each.path for each in findings if each.what is Difference.MOVED and each.is_folder}
    if not moved:
        return findings

    def came_along(finding: Finding) -> bool:
        if finding.what is not Difference.MOVED:
            return False
        for was, now in moved.items():
            if finding.was.startswith(f"{was}/"):
                return finding.path == now + finding.was[len(was) :]
        return False

    return [each for each in findings if not came_along(each)]
