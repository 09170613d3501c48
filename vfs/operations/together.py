"""Small contents go to the NAS together: what a disk must do for one of them, such as a commit of its journal, it does
for all of a batch.

Only what is as usual: whole in a cache whose objects are files of this machine. All else is left to the step that
writes it alone (`contents.write_to_nas`), and so is what failed here: that step meets the fault, and tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from blake3 import blake3

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import ObjectMissing, StoreUnavailable
from vfs.model import Content
from vfs.nas_model import TEMPORARY, Job, Write
from vfs.storage.nas_store import NasFile, SmallFile, together
from vfs.storage.object_store import Near, near
from vfs.storage.small_contents import SMALL

_FROM_CACHE, _BYTES_OF_CACHE = metrics.CACHE_READS.labels("cache"), metrics.CACHE_READ_BYTES.labels("cache")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Temporary files that are there, durable, by their paths; and the one whose bytes could not be had since the cache
    is away, which was not asked for others then."""

    written: dict[str, NasFile] = field(default_factory=dict)
    away: dict[str, StoreUnavailable] = field(default_factory=dict)


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
