"""Values of the mirror: what the NAS shall have for an entry, what it is recorded to have, and the steps between.

A `Spot` is relative to a folder's recorded place, so it stays right when that folder moves on the NAS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from vfs import names
from vfs.model import Content, Kind

TRASH = ".trash"
PRIVATE = ".kelp"
TEMPORARY = f"{PRIVATE}/tmp"
GONE = f"{TEMPORARY}/gone-"  # … entry id and fence: folders on their way out
VERSIONS = f"{PRIVATE}/versions"
FOREIGN = f"{PRIVATE}/foreign"  # things found where Kelp must write: put aside, never overwritten
NAMES = f"{PRIVATE}/names"
MANIFEST, VAULT_FILE = "manifest", "vault.json"  # in a folder of a vault; in its root (docs/vault-format.md)


class Spot(NamedTuple):
    """`name` (may hold "/") below the place recorded for entry `parent_id`."""

    parent_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What the NAS shall have; `spot` None: nothing."""

    spot: Spot | None
    content_id: str | None
    mtime_ns: int
    note: str | None = None  # JSON with the full name, where the NAS name cannot tell it
    manifest: str | None = None  # in a vault: SHA-256 (hex) of its manifest


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the NAS is recorded to have; `spot` None: nothing."""

    spot: Spot | None = None
    content_id: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    inode: int | None = None
    note: str | None = None
    manifest: str | None = None


@dataclass(frozen=True, slots=True)
class NasVersion:
    """An older content of a file, written at `mtime_ns`: what the NAS has of it, and where it shall be (None: nowhere).

    It is `wanted` below .kelp, or beside the file where every registration stays one (keep-dated).
    """

    uuid: str
    content_id: str
    mtime_ns: int
    recorded: Recorded
    wanted: Spot | None
    manifest: str | None = None  # as `Desired.manifest`

    @property
    def spot(self) -> Spot | None:
        return self.recorded.spot


@dataclass(frozen=True, slots=True)
class Situation:
    """All that `plan` looks at, read in one transaction. `event_id` is the newest event it covers."""

    entry_id: int
    uuid: str
    kind: Kind
    name: str
    desired: Desired
    recorded: Recorded
    versions: tuple[NasVersion, ...]
    event_id: int


@dataclass(frozen=True, slots=True)
class MakeFolder:
    spot: Spot


@dataclass(frozen=True, slots=True)
class Move:
    source: Spot
    target: Spot


@dataclass(frozen=True, slots=True)
class Write:
    """A content to a spot; `replace`: over the file recorded there. Bytes go to `temp` first."""

    spot: Spot
    content_id: str
    mtime_ns: int
    temp: str
    replace: bool


@dataclass(frozen=True, slots=True)
class Touch:
    spot: Spot
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The entry's file at `spot` becomes the version at `target`: by a second name below .kelp, since the file is about
    to be replaced; in the tree it is the version's from now on, there or after a move."""

    version: str
    spot: Spot
    target: Spot


@dataclass(frozen=True, slots=True)
class MoveVersion:
    version: str
    source: Spot
    target: Spot


@dataclass(frozen=True, slots=True)
class WriteVersion:
    version: str
    content_id: str
    mtime_ns: int
    temp: str
    target: Spot


@dataclass(frozen=True, slots=True)
class DropVersion:
    version: str
    spot: Spot


@dataclass(frozen=True, slots=True)
class Remove:
    spot: Spot
    folder: bool


@dataclass(frozen=True, slots=True)
class Note:
    """The file `.kelp/names/{entry id}` says `text`; None: there is none."""

    entry_id: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Describe:
    """In the vault's folder, or sealed file, at `spot`, `file` gets the manifest of the entry, or of its `version`."""

    spot: Spot
    file: str
    digest: str
    mtime_ns: int
    temp: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Secure:
    """These contents are, or are brought, whole into the cache: the next steps destroy what the NAS has of them.

    `elsewhere`: contents of which another file on the NAS is as it was recorded, or else the same.
    """

    contents: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed entry: its plan, and the NAS paths recorded for the folders that the plan's spots name."""

    fence: int
    situation: Situation
    steps: tuple[Step, ...]
    places: Mapping[int, str]
    final: bool = True  # reaches the desired state; False when it only clears a name for another
    trace_id: str = ""  # of the request that asked for the newest change it carries
    contents: Mapping[str, Content] = field(default_factory=dict)  # those that it writes, as far as they are simple

    def path(self, spot: Spot) -> str:
        folder = self.places[spot.parent_id]
        return f"{folder}/{spot.name}" if folder else spot.name


@dataclass(frozen=True, slots=True)
class Result:
    """How far a job came: what the NAS has now, and which versions changed their place there."""

    job: Job
    recorded: Recorded
    versions: Mapping[str, Recorded]
    done: bool  # every step


VersionStep = Keep | MoveVersion | WriteVersion | DropVersion
Step = MakeFolder | Move | Write | Touch | Remove | Note | Describe | Secure | VersionStep
_STEPS = {
    step.__name__: step
    for step in (
        *(MakeFolder, Move, Write, Touch, Keep, MoveVersion, WriteVersion, DropVersion, Remove, Note, Describe, Secure),
    )
}
_ROOT_ID = 1
_SPOTS = ("spot", "source", "target")
_ONCE_PATHS = {"Keep": "target", "WriteVersion": "target", "DropVersion": "spot"}  # plans of earlier programs


def is_sealed(name: str) -> bool:
    """The name of an entry as it is stored tells whether its folder seals names: no plain name has a "/"."""
    return name.startswith("/")


def is_private(spot: Spot) -> bool:
    """Below .kelp, where nobody else is in the way."""
    return spot.parent_id == _ROOT_ID and spot.name.startswith(f"{PRIVATE}/")


def spots_of(steps: Iterable[Step]) -> set[Spot]:
    """Every spot that these steps name."""
    return {spot for step in steps for name in _SPOTS if (spot := getattr(step, name, None)) is not None}


def version_targets(steps: Iterable[Step]) -> set[Spot]:
    """Where these steps put versions into the tree."""
    placing = (step.target for step in steps if isinstance(step, Keep | MoveVersion | WriteVersion))
    return {spot for spot in placing if not is_private(spot)}


def note_of(name: str, nas_name: str, kept_from: str | None = None) -> str | None:
    """What must be noted of an entry, to find it again without the database; None where its NAS name tells all.

    Its full name: its NAS name is cut, escaped or prefixed; or adopted, and what looks like a stamp is none.
    `kept_from`: it has versions below .kelp, which are named after its number; and the folder, on the NAS, where the
    file is now (a hint, since folders move without their notes).
    """
    if is_sealed(name):  # its manifest says it
        return None
    last = nas_name.rpartition("/")[2]
    adopted = last == name and not names.looks_stamped(name)
    if kept_from is not None:
        return json.dumps({"name": name, "nas_name": last, "folder": kept_from}, ensure_ascii=False)
    if adopted or (last != name and last.endswith(f"__{name}")):
        return None
    return json.dumps({"name": name, "nas_name": last}, ensure_ascii=False)


def dump_steps(steps: Iterable[Step]) -> str:
    """The steps as JSON: the recorded plan that a successor settles after a crash (design §5)."""
    return json.dumps([{"step": type(step).__name__, **_values(step)} for step in steps])


def _values(step: Step) -> dict[str, object]:
    """`dataclasses.asdict` copies deeply: a tenth of a job's time (measured)."""
    return {field.name: getattr(step, field.name) for field in fields(step)}


def load_steps(text: str) -> list[Step]:
    steps: list[Step] = []
    for values in json.loads(text):
        name = values.pop("step")
        if "path" in values:
            values[_ONCE_PATHS[name]] = [_ROOT_ID, values.pop("path")]
        steps.append(_STEPS[name](**{key: _value(key, value) for key, value in values.items()}))
    return steps


def _value(key: str, value: Any) -> Any:
    if key in _SPOTS:
        return Spot(*value)
    return tuple(value) if key in ("contents", "elsewhere") else value
