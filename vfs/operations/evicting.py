"""Make room in the cache: objects go whose every reachable content is on the NAS, looked at again there.

In two phases, since a reader may be at work that nobody knows of yet (design §6). EVICTING is committed under the lock
of the mirror, which from then on protects the file on the NAS; readers publish what they hold within `cache.publish`;
after twice that time leases are looked at again, then the file on the NAS; then the object is deleted, and MISSING.
Whatever dies in between leaves EVICTING behind, and whoever evicts next goes on with it some minutes later. Two who
evict at once never have the same object: each change of a status is a compare-and-set on the time of the one before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import NasDown, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.evicting import Candidate, Copy
from vfs.metadata.retrying import retried
from vfs.model import Done, StoreStatus
from vfs.operations import alerts, cache_limits, freeing, nas_outage, sealed_copies
from vfs.operations.alerts import AlertKind, Severity
from vfs.operations.cache_limits import Holdings

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
_BEGIN, _END = 0.95, 0.85  # of the limit
_PAGE = 10_000  # objects that are found in one pass over all
_AT_ONCE = 300  # objects marked in one transaction
_TOGETHER = 10  # such transactions that wait for readers at the same time
_SLACK = 0.05  # seconds beyond those in which all readers have published
_ABANDONED_NS = 300 * _SECOND  # who has not ended by then has died
_MINE = 120.0  # seconds after which nothing of what was marked is touched any more: another may have taken it over
_ABSURD_NS = 3600 * _SECOND
_ROUNDS = 20  # of one run: more may come in than goes, for a while
_LONGEST_SEARCH = 2.0  # seconds; a vain search is repeated after so many times as long as what adds up
_THREADS = 4  # that look at files of the NAS


@dataclass(frozen=True, slots=True)
class _Marked:
    """Objects that are EVICTING since `since_ns`, by this process, which must end it by `until` (monotonic)."""

    sizes: Mapping[str, int]
    since_ns: int
    until: float


def run(kelp: Kelp) -> Done:
    """A batch: bring what the cache holds from 95 % of its limit down to 85 %. Nothing goes while the NAS is down."""
    if not nas_outage.is_up(kelp):
        return Done()
    done = _go_on(kelp)
    for _ in range(_ROUNDS):
        noted, version = cache_limits.known(kelp), kelp.database.version()
        if version is not None and version == kelp.within_limits.version:
            break
        if not cache_limits.is_due(kelp, noted):
            break
        found = cache_limits.measure(kelp)
        cache_limits.note(kelp, found, noted)
        if found.limit is None or found.clean + found.pending <= found.limit * _BEGIN:
            kelp.within_limits.version = version
            break
        evicted = _evict_beyond(kelp, found)
        done = Done(done.count + evicted.count, done.bytes + evicted.bytes)
    return done


def _evict_beyond(kelp: Kelp, found: Holdings) -> Done:
    """What `found` says is too much."""
    began = time.monotonic()
    wanted = _to_go(found, freeing.delete_pending(kelp))
    evicted = evict(kelp, wanted)
    after = cache_limits.measure(kelp)
    if evicted.bytes < wanted:  # no more may go: not looked for again so soon
        after = replace(after, took=after.took + min(time.monotonic() - began, _LONGEST_SEARCH))
    cache_limits.note(kelp, after, None)
    return evicted


def _to_go(found: Holdings, pending: Done) -> int:
    assert found.limit is not None
    if found.clean + found.pending - pending.bytes <= found.limit * _BEGIN:
        return 0
    return found.clean - int(found.limit * _END)


def evict(kelp: Kelp, size: int) -> Done:
    """Let go of objects of `size` bytes in all, those first that the policy wants least; fewer when no more may.

    Raises StoreUnavailable when the cache does not delete.
    """
    count = gone = 0
    candidates = _candidates(kelp)
    while gone < size:
        marked: list[_Marked] = []
        chosen = gone
        while chosen < size and len(marked) < _TOGETHER and (keys := _as_many(candidates, size - chosen)):
            one = _mark(kelp, keys)
            if one is not None:
                marked.append(one)
                chosen += sum(one.sizes.values())
        if not marked:
            break
        done = _finish(kelp, marked)
        count, gone = count + done.count, gone + done.bytes
        if not done.count and not nas_outage.is_up(kelp):
            break
    return Done(count, gone)


def _candidates(kelp: Kelp) -> Iterator[Candidate]:
    """Objects that may go, by policy; each page is another pass."""
    last: Candidate | None = None
    while True:
        with kelp.database.scan() as tx:
            now = kelp.clock.now_ns()
            page = tx.evicting.candidates(kelp.settings.cache.policy, last, now, _PAGE)
        yield from (one for one in page if one.may_go)
        if len(page) < _PAGE:
            return
        last = page[-1]


def _as_many(candidates: Iterator[Candidate], size: int) -> list[str]:
    """The next keys, of `size` bytes in all, or as many as are marked at once."""
    keys: list[str] = []
    while size > 0 and len(keys) < _AT_ONCE and (one := next(candidates, None)) is not None:
        keys.append(one.key)
        size -= one.size
    return keys


# --- first phase ---


@retried
def _mark(kelp: Kelp, keys: Sequence[str]) -> _Marked | None:
    """EVICTING, what still may go. The mirror takes on nothing meanwhile, and from then on counts them as gone."""
    until = time.monotonic() + _MINE
    with kelp.database.write(quiet=True) as tx:
        tx.lock_mirror()
        now = kelp.clock.now_ns()
        sizes = tx.evicting.still_may_go(keys, now)
        holders = tx.evicting.holders(list(sizes))
        there = tx.evicting.copies(id for ids in holders.values() for id in ids)
        # Whoever had it may have been purged since the statement before: then it is freed, which is not ours to do.
        may_go = [key for key in sizes if key in holders and all(there.get(id) for id in holders[key])]
        marked = tx.evicting.mark(may_go, now)
    if not marked:
        return None
    return _Marked({key: sizes[key] for key in marked}, now, until)


# --- second phase ---


def _finish(kelp: Kelp, marked: Sequence[_Marked]) -> Done:
    """Wait until no reader can hold them unseen, and let them go, or keep them."""
    time.sleep(2 * kelp.settings.cache.publish + _SLACK)
    count = gone = 0
    for number, one in enumerate(marked):
        try:
            done = _let_go(kelp, one)
        except StoreUnavailable:
            for untouched in marked[number + 1 :]:
                _end(kelp, untouched, untouched.sizes, StoreStatus.AVAILABLE)
            raise
        count, gone = count + done.count, gone + done.bytes
    return Done(count, gone)


def _let_go(kelp: Kelp, marked: _Marked) -> Done:
    """What could not be deleted stays EVICTING: nobody knows whether it is there. Raises StoreUnavailable."""
    with kelp.database.read() as tx:
        holders = tx.evicting.holders(list(marked.sizes))  # on PostgreSQL a draft may have come to share one since
        ids = sorted({id for ids in holders.values() for id in ids})
        leased = tx.reading.leased_among(ids, kelp.clock.now_ns())
        copies = tx.evicting.copies(ids)
    proved = _proved(kelp, {id: copies.get(id, []) for id in ids if id not in leased})
    going = sorted(key for key, held_by in holders.items() if held_by and proved.issuperset(held_by))
    _end(kelp, marked, marked.sizes.keys() - set(going), StoreStatus.AVAILABLE)
    deleted, away = freeing.delete_each(kelp, going, lambda: time.monotonic() < marked.until)
    _end(kelp, marked, deleted, StoreStatus.MISSING)
    size = sum(marked.sizes[key] for key in deleted)
    metrics.EVICTED.inc(len(deleted))
    metrics.EVICTED_BYTES.inc(size)
    if away is not None:
        raise away
    return Done(len(deleted), size)


@retried
def _end(kelp: Kelp, marked: _Marked, keys: Iterable[str], status: StoreStatus) -> None:
    keys = list(keys)
    if keys:
        with kelp.database.write(quiet=True) as tx:
            tx.evicting.end(keys, marked.since_ns, status, kelp.clock.now_ns())


def _proved(kelp: Kelp, copies: Mapping[str, Sequence[Copy]]) -> set[str]:
    """Those contents of which a file on the NAS is as it was recorded."""
    try:
        kelp.nas.verify()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="evict") as threads:
            seen = list(threads.map(lambda id: _is_proved(kelp, id, copies[id]), copies))
    except NasDown as error:
        log.warning("nothing is evicted: %s", error)
        return set()
    changed = [copies[id][0].path for id, proved in zip(copies, seen, strict=True) if proved is False]
    if changed:
        _tell(kelp, changed)
    return {id for id, proved in zip(copies, seen, strict=True) if proved}


def _is_proved(kelp: Kelp, content_id: str, copies: Sequence[Copy]) -> bool | None:
    """None: not just now, since the mirror is about to move it, or a folder above it. Raises NasDown."""
    if any(_is_as_recorded(kelp, copy) for copy in copies):
        return True
    with kelp.database.read() as tx:
        now = tx.evicting.copies([content_id]).get(content_id, [])
    if any(_is_as_recorded(kelp, copy) for copy in now):
        return True
    return False if any(copy in copies for copy in now) else None


def _is_as_recorded(kelp: Kelp, copy: Copy) -> bool:
    try:
        info = kelp.nas.stat(copy.path)
        if info is None or (info.kind, info.size, info.mtime_ns) != ("file", copy.size, copy.mtime_ns):
            return False
        if info.inode == copy.inode:
            return True
        return _is_numbered_anew(kelp, copy, info.inode)
    except (NasFault, ObjectMissing) as error:
        log.warning("%s", error)
        return False


def _is_numbered_anew(kelp: Kelp, copy: Copy, inode: int) -> bool:
    """Another file of the same size and time; or the same, where the NAS numbers its files anew at each mount."""
    with kelp.database.read() as tx:
        content = tx.contents.get(copy.content_id)
    if content is None or not sealed_copies.is_whole(kelp, copy.path, content):
        return False
    with kelp.database.write() as tx:
        tx.evicting.note_inode(copy, inode)
    return True


def _tell(kelp: Kelp, paths: Sequence[str]) -> None:
    """One alert for all: somebody may have changed thousands."""
    others = f" and {len(paths) - 1} others" if len(paths) > 1 else ""
    message = f"{paths[0]}{others} on the NAS: not as Kelp left it; `kelp nas scan` tells and settles what was changed"
    alerts.open_(kelp, AlertKind.NAS_FILE_CHANGED, message, severity=Severity.WARNING)


# --- what others left ---


def _go_on(kelp: Kelp) -> Done:
    """With what was EVICTING when its process died, or the cache was away."""
    now = kelp.clock.now_ns()
    bounds = (now - _ABANDONED_NS, now + _ABSURD_NS)
    count = gone = 0
    while True:
        with kelp.database.read() as tx:
            keys = tx.evicting.abandoned(*bounds, _AT_ONCE)
        if not keys:
            return Done(count, gone)
        done = _let_go(kelp, _take_over(kelp, keys, bounds))
        count, gone = count + done.count, gone + done.bytes


@retried
def _take_over(kelp: Kelp, keys: Sequence[str], bounds: tuple[int, int]) -> _Marked:
    until = time.monotonic() + _MINE
    with kelp.database.write(quiet=True) as tx:
        now = kelp.clock.now_ns()
        sizes = tx.evicting.take_over(keys, *bounds, now)
    return _Marked(sizes, now, until)
