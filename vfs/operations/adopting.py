"""An existing tree becomes a drive where it is: rows are made of what is there, and nothing on the NAS changes but for
the marker that says whose it is."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from vfs import names
from vfs.core import Kelp
from vfs.errors import ConfigurationError, NasFault
from vfs.metadata import taking as rows
from vfs.metadata.database import Database
from vfs.model import ROOT_ID, Kind
from vfs.nas_model import PRIVATE
from vfs.operations import nas_walk, taking
from vfs.operations.nas_walk import Report, Taken, Walk, no_report
from vfs.operations.taking import Found
from vfs.settings import Settings
from vfs.storage.nas_folder import FolderNasStore
from vfs.storage.nas_marker import Look
from vfs.storage.nas_store import NasProperties, NasSeen, NasStore

ADOPT = "adopt"


def require_unused(database: Database, settings: Settings, how: str, now_ns: int) -> dict[str, Any] | None:
    """What an earlier run of the same noted; None: a drive without files. Raises ConfigurationError for any other."""
    with database.read() as tx:
        noted, has_entries, busy = rows.progress(tx), rows.has_entries(tx), rows.busy_until(tx)
    if noted is not None:
        if (noted["how"], noted["root"]) != (how, str(settings.nas_root)):
            raise ConfigurationError(
                f"`kelp nas {noted['how']}` of {noted['root']} has not come to its end in this drive: run it again"
            )
        return noted
    if has_entries:
        raise ConfigurationError(
            f"the drive in {settings.data} has files already: --data names another folder for a new drive; what was"
            " added on its own NAS is taken in by `kelp nas scan --take-in`"
        )
    if busy > now_ns:
        raise ConfigurationError("a server of this drive is running, or was killed a moment ago: stop it first")
    return None


def begin(database: Database, settings: Settings, look: Look, now_ns: int) -> None:
    """Mark a drive without files, or find that an adoption goes on. Raises ConfigurationError."""
    if look.installation is None and look.is_empty:
        _refuse_empty(database, settings)
    noted = require_unused(database, settings, ADOPT, now_ns)
    with database.read() as tx:
        installation = tx.accounts.value("id") or ""
    root = settings.nas_root
    if look.installation not in (None, installation):
        raise ConfigurationError(
            f"{root} belongs to another installation of Kelp, by its .kelp/drive.json: `kelp nas recover` rebuilds its"
            " drive when its database is lost"
        )
    if noted is None and look.installation == installation:
        raise ConfigurationError(f"{root} belongs to this drive already: `kelp serve` shows it")
    if look.installation is None and (look.is_empty or was_claimed(noted)):
        found = "is empty" if look.is_empty else "is not what this adoption began with"
        raise ConfigurationError(f"{root} {found}: is the NAS mounted? `kelp serve` makes a new drive of an empty one")
    mark(database, noted or nas_walk.fresh_mark(ADOPT, str(root)))


def was_claimed(noted: dict[str, Any] | None) -> bool:
    """An earlier run has made rows, and so has marked the root before: without its marker it is another."""
    return noted is not None and (noted["at"] > 0 or noted["taken"] != nas_walk.fresh_mark("", "")["taken"])


def _refuse_empty(database: Database, settings: Settings) -> None:
    """A mount point without its mount looks so, too."""
    with database.read() as tx:
        if rows.has_entries(tx) and rows.progress(tx) is None:
            raise ConfigurationError(
                f"{settings.nas_root} is empty: is the NAS mounted? When the old one is lost for good, `kelp nas adopt"
                " --new-root` has this drive written there anew, as far as the cache has it"
            )


def mark(database: Database, noted: dict[str, Any], installation: str = "") -> None:
    """From here on nobody else may use the drive; should another run be at work on it, its next commit fails. Its NAS
    is the one that was named for this, whatever was set before (`nas_settings`)."""
    with database.write() as tx:
        rows.begin(tx, {**noted, "run": str(uuid.uuid4())})
        tx.nas_settings.forget("root")
        if installation:
            rows.set_installation(tx, installation)


def adopt(kelp: Kelp, report: Report = no_report) -> Taken:
    """Make rows of all that is on the NAS, from where an earlier run was interrupted; then the drive may be used.

    Raises NasDown, NoSpace, StoreUnavailable: run it again. ConfigurationError: another run took over.
    """
    walk = Walk(kelp, report, partial(adopted, kelp.nas))
    walk.run()
    walk.finish()
    return walk.taken


def adopted(nas: NasStore, parent_id: int, path: str, seen: NasSeen) -> Found | str | None:
    """As it is, by the name it has."""
    if taking.is_own(seen.name, parent_id):
        taken = names.is_reserved_at_root(seen.name) and seen.name != PRIVATE
        return "directly in the root this name belongs to Kelp" if taken else None
    inner = nas_walk.below(path, seen.name)
    refused = taking.refusal(seen.name, seen.info) or taking.vault_there(nas, inner, seen.info)
    return refused or Found(parent_id, seen.name, seen.info, seen.name)


def look_through(settings: Settings, report: Report = no_report) -> Taken:
    """What `adopt` would do; nothing is made or changed. Raises NasDown, ConfigurationError."""
    store = FolderNasStore.unmarked(settings.nas_root, NasProperties())
    taken, folders = Taken(), [""]
    while folders:
        path = folders.pop()
        keys: dict[str, str] = {}
        try:
            for seen in store.survey(path):
                judged = adopted(store, 0 if path else ROOT_ID, path, seen)
                if judged is None:
                    continue
                inner = nas_walk.below(path, seen.name)
                key = seen.name if isinstance(judged, str) else names.key(seen.name, settings.drive.case_sensitive)
                if isinstance(judged, Found) and key in keys:
                    judged = f"for the drive it has the same name as {keys[key]!r} beside it"
                if isinstance(judged, str):
                    taken.leave(inner, judged)
                    continue
                keys[key] = seen.name
                taken.count(judged)
                if judged.kind is Kind.FOLDER:
                    folders.append(inner)
        except NasFault as error:
            if not path:
                raise
            taken.leave(path, f"it cannot be looked into ({error})")
        taken.walked += 1
        report(taken)
    return taken
