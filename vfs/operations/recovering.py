"""A lost database is made anew from a NAS that Kelp wrote: names and stamps from the names there, what those cannot
tell from the notes in `.kelp/names`, the trash from `.trash`, older contents from `.kelp/versions`.

People, rights, history, locks and properties were in the database only. So was what had not come to the NAS yet; if the
cache still has it, nobody knows under which name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vfs import names
from vfs.core import Kelp
from vfs.errors import ConfigurationError
from vfs.metadata import taking as rows
from vfs.metadata.database import Database, Tx
from vfs.model import ROOT_ID, State
from vfs.nas_model import FOREIGN, TEMPORARY, TRASH, VERSIONS
from vfs.operations import changes, nas_walk, taking
from vfs.operations.adopting import mark, require_unused
from vfs.operations.nas_names import Notes, number_of, survey, time_of, unescaped, unprefixed, unstamp, usable
from vfs.operations.nas_walk import Report, Taken, Walk, below, no_report
from vfs.operations.taking import Found
from vfs.settings import Settings
from vfs.storage.nas_marker import Look
from vfs.storage.nas_store import NasInfo, NasSeen

RECOVER = "recover"
_DAY = 86_400 * changes.SECOND
_NOTE_SIZE = 4096  # bytes, at most


def begin(database: Database, settings: Settings, look: Look, now_ns: int) -> None:
    """Mark a drive without files as that of the NAS, or find that a recovery goes on. Raises ConfigurationError."""
    noted = require_unused(database, settings, RECOVER, now_ns)
    root = settings.nas_root
    if look.installation is None:
        raise ConfigurationError(
            f"{root} holds no .kelp/drive.json: Kelp has not written it, or it is not mounted; `kelp nas adopt` makes a"
            " drive of any tree"
        )
    with database.read() as tx:
        if noted is not None and tx.accounts.value("id") != look.installation:
            raise ConfigurationError(f"{root} is not the NAS of which a part is recovered already")
    if not look.installation:
        raise ConfigurationError(
            f"{root}/.kelp/drive.json cannot be understood: put back a copy, or remove it and adopt"
        )
    mark(database, noted or nas_walk.fresh_mark(RECOVER, str(root)), look.installation)


def recover(kelp: Kelp, report: Report = no_report) -> Taken:
    """Make rows of all that is on the NAS, from where an earlier run was interrupted; then the drive may be used.

    Raises NasDown, NoSpace, StoreUnavailable: run it again. ConfigurationError: another run took over.
    """
    walk = Recovery(kelp, report)
    walk.take_trash()
    walk.run()
    walk.take_versions()
    walk.put_aside_unfinished()
    walk.finish()
    return walk.taken


class Recovery(Walk):
    """A walk that undoes what the mirror does with names."""

    def __init__(self, kelp: Kelp, report: Report) -> None:
        super().__init__(kelp, report, self._judge_name, self._newest_first)
        self._notes = Notes(kelp)
        self._used: set[int] = set()  # notes whose entry was found
        self._refused = kelp.nas.properties.refused | frozenset(kelp.settings.nas.refused)
        with self.change() as tx:
            # Rows whose names are noted get their old ids; those of all others must not meet them.
            versions = (number_of(seen.name) or 0 for seen in survey(kelp, VERSIONS))
            last = rows.last_id(tx)
            rows.number_from(tx, max(self._notes.greatest, last, *versions, 1))
            self._used |= rows.ids_upto(tx, self._notes.greatest)

    def _judge_name(self, parent_id: int, path: str, seen: NasSeen) -> Found | str | None:
        if taking.is_own(seen.name, parent_id):
            return None
        return self._refusal(path, seen) or self._found(parent_id, path, seen)

    def _refusal(self, path: str, seen: NasSeen) -> str | None:
        inner = below(path, seen.name)
        return taking.refusal(seen.name, seen.info) or taking.vault_there(self.kelp.nas, inner, seen.info)

    def _found(self, parent_id: int, path: str, seen: NasSeen) -> Found:
        name, info = seen
        note = self._notes.find(path, name)
        if info.kind == "folder":
            plain = note.name if note else unprefixed(name, at_root=parent_id == ROOT_ID)
            return Found(parent_id, name, info, plain)
        id = None
        if note is not None and note.id not in self._used:
            self._used.add(note.id)
            id = note.id
        text = note.text if note is not None and id is not None else None
        stamped = unstamp(name)
        if stamped is None or (note is not None and note.name == name):
            return Found(parent_id, name, info, note.name if note else name, id=id, note=text)
        stamp, rest = stamped
        shown = note.name if note else usable(unescaped(rest, self._refused), rest)
        return Found(parent_id, name, info, shown, stamp, time_of(stamp), id=id, note=text)

    def _newest_first(self, found: Iterator[NasSeen]) -> Iterable[NasSeen]:
        """Where every registration stays a file (keep-dated), the newest one is the file, the others its versions."""
        return sorted(found, key=lambda seen: seen.name, reverse=True)

    def take_twin(self, tx: Tx, found: Found, other: str) -> None:
        """An older registration of the same name is a version of the file."""
        owner = tx.entries.get(rows.id_at(tx, found.parent_id, other))
        if found.stamp is None or owner is None or owner.is_folder or found.info.kind != "file":
            super().take_twin(tx, found, other)
        elif found.nas_name not in rows.version_paths(tx, owner.id):
            last = found.nas_name.rpartition("/")[2]
            key = names.nas_key(last, self.kelp.nas.properties.folds_case)
            own: dict[str, object] = {"stamp": found.stamp, "nas_desired_name": last, "nas_desired_key": key}
            self._add_version(tx, owner.id, found.stamp, Seen(found.parent_id, found.nas_name, found.info), own)

    # --- the trash ---

    def take_trash(self) -> None:
        """`.trash/{stamp}__{uuid}/{name}`: items whose original place nobody knows any more; they expire anew."""
        for seen in survey(self.kelp, TRASH):
            item = unstamp(seen.name)
            path = f"{TRASH}/{seen.name}"
            if item is None or seen.info.kind != "folder" or not _is_uuid(item[1]):
                self.taken.leave(path, "no item of the trash")
                continue
            self._take_item(path, item[1])
            if self.is_full:
                self._flush_trash()
        self._flush_trash()

    def _take_item(self, path: str, entry_uuid: str) -> None:
        """One file or folder; older registrations of the file may be beside it (keep-dated)."""
        first: Found | None = None
        for thing in self._newest_first(survey(self.kelp, path)):
            refused = self._refusal(path, thing)
            if refused:
                self.taken.leave(below(path, thing.name), refused)
                continue
            found = _trashed(self._found(ROOT_ID, path, thing), path, entry_uuid)
            if first is None:
                first = found
                self.add(found)
            elif found.name == first.name:
                self.twins.append((found, first.nas_name))
            else:
                self.taken.leave(found.nas_name, "a second thing in an item of the trash")

    def _flush_trash(self) -> None:
        with self.kelp.database.read() as tx:
            known = rows.known_uuids(tx, [str(found.uuid) for found in self.batch])
        self.batch = [found for found in self.batch if found.uuid not in known]
        self.flush()

    def inserted(self, tx: Tx, batch: list[Found]) -> None:
        expires = self.kelp.clock.now_ns() + self.kelp.settings.trash.keep_days * _DAY
        for found in batch:
            if found.state is State.TRASHED:
                id = rows.id_at(tx, ROOT_ID, found.nas_name)
                stamp = found.nas_name.removeprefix(f"{TRASH}/")[:14]
                rows.put_in_trash(tx, id, f"/{found.name}", time_of(stamp) or 0, expires)

    # --- versions ---

    def take_versions(self) -> None:
        """Those whose file is known, by its old id, which a note told; the others are left where they are."""
        for seen in survey(self.kelp, VERSIONS):
            path = f"{VERSIONS}/{seen.name}"
            files = sorted(survey(self.kelp, path)) if seen.info.kind == "folder" else [seen]
            id = number_of(seen.name)
            if id is None or not self._is_file(id):
                self.taken.leave(path, f"{len(files)} older contents of a file that nobody can tell")
                continue
            with self.change() as tx:
                there = rows.version_paths(tx, id)
                for name, info in files:
                    inner = f"{path}/{name}"
                    stamp = name.partition("~")[0]
                    if inner not in there and info.kind == "file" and time_of(stamp) is not None:
                        self._add_version(tx, id, stamp, Seen(ROOT_ID, inner, info), {})

    def _is_file(self, id: int) -> bool:
        """A file that a note told to be this one."""
        with self.kelp.database.read() as tx:
            entry = tx.entries.get(id) if id in self._used else None
        return entry is not None and not entry.is_folder

    def _add_version(self, tx: Tx, entry_id: int, stamp: str, seen: Seen, more: dict[str, object]) -> None:
        """Kept from now on as if it had been replaced now; of two the later one counts as replaced later."""
        now, written = self.kelp.clock.now_ns(), time_of(stamp) or 0
        id = str(uuid.uuid4())
        size = seen.info.size
        rows.insert_contents(tx, [taking.content_row(id, size, now)], taking.part_rows(id, size))
        rows.insert_version(
            tx,
            {
                "uuid": str(uuid.uuid4()), "entry_id": entry_id, "content_id": id, "size": size,
                "created_ns": written, "replaced_ns": now - max(0, now - written) // 1_000_000_000,
                "nas_parent_id": seen.parent_id, "nas_path": seen.path,
                "nas_key": names.nas_key(seen.path, self.kelp.nas.properties.folds_case),
                "nas_size": size, "nas_mtime_ns": seen.info.mtime_ns, "nas_inode": seen.info.inode, **more,
            },
        )  # fmt: skip

    # --- what was under way ---

    def put_aside_unfinished(self) -> None:
        """What the mirror had moved out of somebody's way when the database was lost is nobody's now, and kept."""
        for seen in list(survey(self.kelp, TEMPORARY)):
            if seen.name.startswith("held-"):
                aside = f"{FOREIGN}/recovered/{seen.name}"
                self.kelp.nas.move(f"{TEMPORARY}/{seen.name}", aside, parents=True)
                self.taken.leave(aside, "it was on its way from one place to another; its name is not known")


@dataclass(frozen=True, slots=True)
class Seen:
    parent_id: int
    path: str
    info: NasInfo


def _trashed(found: Found, path: str, entry_uuid: str) -> Found:
    return Found(
        ROOT_ID, below(path, found.nas_name), found.info, found.name, found.stamp, found.registered_ns,
        entry_uuid, State.TRASHED, found.id, found.note,
    )  # fmt: skip


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
