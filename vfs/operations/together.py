"""Small contents go to the NAS together: what a disk must do for one of them, such as a commit of its journal, it does
for all of a batch.

Only what is as usual: whole in a cache whose objects are files of this machine. All else is left to the step that
writes it alone (`contents.write_to_nas`), and so is what failed here: that step meets the fault, and tells.

They come to their places together, and files that are to be removed and nothing else go together, folder by folder,
each of which is opened once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from blake3 import blake3

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import NasDown, ObjectMissing, StoreUnavailable
from vfs.model import Content
from vfs.nas_model import TEMPORARY, Job, Remove, Write
from vfs.operations.fences import Fences
from vfs.storage.nas_store import NasFile, SeenFile, SmallFile, together
from vfs.storage.object_store import Near, near
from vfs.storage.small_contents import SMALL

_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Temporary files that are there, durable, by their paths; and the one whose bytes could not be had since the cache
    is away, which was not asked for others then. `removed`: files that are not there any more; `placed`: those of
    `written`, by the paths of their places, that have come there."""

    written: dict[str, NasFile] = field(default_factory=dict)
    away: dict[str, StoreUnavailable] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    placed: frozenset[str] = frozenset()


def write(kelp: Kelp, jobs: Iterable[Job]) -> Prepared:
    """Bytes of what these jobs are about to write, in their temporary files.

    Raises NasDown; then some of the files may be there, as after a kill.
    """
    cache, nas = near(kelp.cache), together(kelp.nas)
    found = [(step, job.contents[step.content_id]) for job in jobs for step in _simple(job)]
    if cache is None or nas is None or len(found) < 2:
        return Prepared()
    files = list[SmallFile]()
    away = dict[str, StoreUnavailable]()
    for step, content in found:
        try:
            data = _at_hand(cache, content)
        except StoreUnavailable as error:
            away[step.temp] = error
            break
        if data is not None:
            files.append(SmallFile(step.temp.removeprefix(f"{TEMPORARY}/"), data, step.mtime_ns))
    written = nas.write_together(TEMPORARY, files) if files else {}
    return Prepared({f"{TEMPORARY}/{name}": seen for name, seen in written.items()}, away)


def place(kelp: Kelp, jobs: Iterable[Job], fences: Fences, written: Mapping[str, NasFile]) -> frozenset[str]:
    """Paths of new files whose bytes are `written` that have come there; of each the fence was seen right before.

    Raises NasDown; then some of the files may be there, as after a kill.
    """
    nas = together(kelp.nas)
    found: dict[str, list[tuple[tuple[str, str], Job]]] = {}
    for job in jobs if nas is not None and written else ():
        step = job.steps[0]
        if len(job.steps) == 1 and isinstance(step, Write) and _is_new(step) and step.temp in written:
            folder, _, name = job.path(step.spot).rpartition("/")
            found.setdefault(folder, []).append(((step.temp.removeprefix(f"{TEMPORARY}/"), name), job))
    placed = set[str]()
    for folder, names in found.items():
        if nas is None or len(names) < 2:
            continue
        try:
            placed |= _paths(folder, nas.place_together(TEMPORARY, folder, _held(names, fences)))
        except NasDown:
            raise
        except Exception as error:  # of the others, whatever it is, is met again alone by the entry whose it is
            log.warning("not all came to their places together: %s", error)
            paths = {path: temp for (temp, name), _ in names for path in _paths(folder, [name])}
            placed |= {path for path, temp in paths.items() if _came(kelp, written, temp, path)}
    return frozenset(placed)


def _came(kelp: Kelp, written: Mapping[str, NasFile], name: str, path: str) -> bool:
    """From where its bytes were written."""
    temp = f"{TEMPORARY}/{name}"
    if kelp.nas.stat(temp) is not None:
        return False
    info = kelp.nas.stat(path)
    return info is not None and info.kind == "file" and (info.size, info.mtime_ns) == written[temp][:2]


def _is_new(step: Write) -> bool:
    """… and in the tree: Kelp's own folders are made as they are needed."""
    return not step.replace and not step.spot.name.startswith(".")


def _paths(folder: str, names: Iterable[str]) -> set[str]:
    return {f"{folder}/{name}" if folder else name for name in names}


def remove(kelp: Kelp, jobs: Iterable[Job], fences: Fences) -> frozenset[str]:
    """Paths of files that these jobs are about to remove and that are not there any more; of each the fence was seen
    right before, and that it looked as it was recorded.

    Raises NasDown, and what `fences` does; then some of the files may be gone, as after a kill.
    """
    nas = together(kelp.nas)
    found: dict[str, list[tuple[SeenFile, Job]]] = {}
    for job in jobs if nas is not None else ():
        if (file := _to_remove(job)) is not None:
            found.setdefault(file[0], []).append((file[1], job))
    gone = set[str]()
    for folder, files in found.items():
        if nas is not None and len(files) > 1:
            gone |= _paths(folder, nas.remove_together(folder, _held(files, fences)))
    return frozenset(gone)


def _to_remove(job: Job) -> tuple[str, SeenFile] | None:
    """(folder, file); None: more is to be done than that, also in Kelp's own folders, which go with what is in them."""
    step, seen = job.steps[0], job.situation.recorded
    if len(job.steps) != 1 or not isinstance(step, Remove) or step.folder or step.spot.name.startswith("."):
        return None
    if step.spot != seen.spot or seen.size is None or seen.mtime_ns is None:
        return None
    folder, _, name = job.path(step.spot).rpartition("/")
    return folder, SeenFile(name, seen.size, seen.mtime_ns)


def _held(files: Iterable[tuple[T, Job]], fences: Fences) -> Iterator[T]:
    return (file for file, job in files if fences.hold(job))


def _simple(job: Job) -> list[Write]:
    return [
        step
        for step in job.steps
        if isinstance(step, Write)
        and job.situation.desired.manifest is None
        and (content := job.contents.get(step.content_id)) is not None
        and content.size <= SMALL
    ]


def _at_hand(cache: Near, content: Content) -> bytes | None:
    """All of it, verified; None: not here, or not good. Raises StoreUnavailable."""
    try:
        fd = cache.open(content.id)
    except ObjectMissing:
        return None
    try:
        data = os.read(fd, content.size + 1)
    except OSError:  # a bad place of the disk, perhaps
        return None
    finally:
        os.close(fd)
    if len(data) != content.size or blake3(data).hexdigest() != content.checksum:
        return None
    _FROM_CACHE.inc()
    _BYTES_OF_CACHE.inc(len(data))
    return data
