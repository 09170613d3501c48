"""What names on the NAS say to who has no database: stamps, prefixes, escapes, and the notes in `.kelp/names`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from vfs import names
from vfs.core import Kelp
from vfs.errors import InvalidName, NasFault, ObjectMissing
from vfs.model import ROOT_ID
from vfs.nas_model import NAMES
from vfs.operations import changes
from vfs.storage.nas_store import NasSeen

_NOTE_SIZE = 4096  # bytes, at most


@dataclass(frozen=True, slots=True)
class Note:
    """Of `.kelp/names/{id}`: the full name of an entry. `folder`: where it was when that was noted; None: not told."""

    id: int
    name: str
    nas_name: str
    folder: str | None
    text: str


class Notes:
    """All of `.kelp/names`, by NAS name. Folders move without their notes, so where it was is only a hint."""

    def __init__(self, kelp: Kelp) -> None:
        self._by_name: dict[str, list[Note]] = {}
        self.greatest = 0
        for name, info in survey(kelp, NAMES):
            id = number_of(name)
            if id is not None and info.kind == "file" and info.size <= _NOTE_SIZE:
                note = _read_note(kelp, id)
                self.greatest = max(self.greatest, id)
                if note is not None:
                    self._by_name.setdefault(note.nas_name, []).append(note)

    def find(self, folder: str, nas_name: str) -> Note | None:
        found = self._by_name.get(nas_name, [])
        exact = [note for note in found if note.folder == folder]
        return exact[0] if len(exact) == 1 else found[0] if len(found) == 1 else None


def number_of(name: str) -> int | None:
    """The id of an entry, after which Kelp called something; None for what somebody else called so."""
    id = int(name) if re.fullmatch(r"[1-9][0-9]{0,15}", name) else 0
    return id if id > ROOT_ID else None


def _read_note(kelp: Kelp, id: int) -> Note | None:
    try:
        text = b"".join(kelp.nas.read(f"{NAMES}/{id}")).decode()
        told = json.loads(text)
        folder = told.get("folder")
        names.check_segment(told["name"])
        return Note(id, told["name"], str(told["nas_name"]), None if folder is None else str(folder), text)
    except (ObjectMissing, NasFault, InvalidName, ValueError, KeyError, TypeError, AttributeError):
        return None


def survey(kelp: Kelp, path: str) -> Iterator[NasSeen]:
    """What a folder of Kelp's own holds; nothing when it is not there."""
    try:
        yield from kelp.nas.survey(path)
    except (ObjectMissing, NasFault):
        return


def unstamp(nas_name: str) -> tuple[str, str] | None:
    """(stamp, what follows) of `YYYYMMDDHHMMSS__…`; None for any other name."""
    stamp, rest = nas_name[:14], nas_name[16:]
    return (stamp, rest) if names.looks_stamped(nas_name) and rest and time_of(stamp) is not None else None


def time_of(stamp: str) -> int | None:
    """Nanoseconds since 1970 of YYYYMMDDHHMMSS (UTC); None for what is no time."""
    try:
        return int(datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()) * changes.SECOND
    except ValueError:
        return None


def unprefixed(name: str, *, at_root: bool) -> str:
    plain = name.removeprefix("_")
    prefixed = plain != name and (names.looks_stamped(plain) or (at_root and names.is_reserved_at_root(plain)))
    return plain if prefixed else name


def usable(name: str, otherwise: str) -> str:
    try:
        return names.check_segment(name)
    except InvalidName:
        return otherwise


def _is_decodable(name: str) -> bool:
    try:
        unquote(name, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def unescaped(name: str, refused: frozenset[str]) -> str:
    """%XX is undone where it stands for a character that this NAS refuses."""
    if not refused or "%" not in name or not _is_decodable(name):
        return name
    plain = unquote(name, errors="strict")
    return plain if names.escape(plain, refused) == name else name
