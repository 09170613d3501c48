"""The scrub: everything that is stored is read again within `scrub.days`, at `scrub.rate` at most, and set right.

It goes through the cache by key, then through the files of the NAS, then through those of older versions, then it
rests. Adopted files that nobody has read yet come first, always. A turn lasts some seconds; what it found is noted in
one quiet commit with the place where the next one goes on, so whoever dies has lost seconds, and two at once (clocks
of two machines may differ) read twice and do no harm. While the NAS is down only the cache is read.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from vfs import metrics
from vfs.core import Kelp
from vfs.errors import ContentCorrupt, NasDown, NasFault, ObjectMissing, StoreUnavailable
from vfs.metadata.retrying import retried
from vfs.metadata.verifying import Held
from vfs.model import Content, Done
from vfs.operations import alerts, learning, nas_outage, verifying
from vfs.operations.alerts import AlertKind
from vfs.operations.verifying import Pace, Verdict

log = logging.getLogger(__name__)

_NAME = "scrub"
_SECOND = 1_000_000_000
_DAY_NS = 86_400 * _SECOND
_TURN = 10.0  # seconds
_PAGE = 100  # things whose results share a commit
_FAILED_NS = 600 * _SECOND  # after which adopted files that could not be read are tried again
_STAGES = ("cache", "files", "versions", "rest")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the scrub is. Counts are of this round; `after` tells where in the stage it goes on, and `part` how much
    of the content `within`, of the file that comes next, was read."""

    round_ns: int = 0  # when it began
    stage: str = "rest"
    after: str = ""
    part: int = 0
    within: str = ""
    things: int = 0  # objects, and files on the NAS
    bytes: int = 0
    repaired: int = 0
    left: int = 0
    changed: int = 0
    ended_ns: int = 0  # when the last round ended
    learned_upto: str = ""
    learn_again_ns: int = 0  # not before: what is left cannot be read just now


@dataclass(slots=True)
class _Turn:
    kelp: Kelp
    pace: Pace
    until: float
    now: Callable[[], float]
    at: Progress
    keys: list[str] = field(default_factory=list)  # objects found right
    files: list[tuple[Held, str]] = field(default_factory=list)  # files found right, and their contents

    def is_over(self) -> bool:
        return self.now() >= self.until

    def count(self, verdict: Verdict) -> None:
        self.at = replace(
            self.at,
            repaired=self.at.repaired + (verdict is Verdict.REPAIRED),
            left=self.at.left + (verdict is Verdict.LEFT),
            changed=self.at.changed + (verdict is Verdict.CHANGED),
        )


def progress(kelp: Kelp) -> Progress:
    with kelp.database.read() as tx:
        value = tx.accounts.value(_NAME)
    return Progress(**json.loads(value)) if value else Progress()


def run(
    kelp: Kelp,
    seconds: float = _TURN,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Done:
    """One turn. Tells what was read when a round through everything has ended with it.

    Raises StoreUnavailable while the cache is away, NasDown when the NAS turns out to be.
    """
    rate = kelp.settings.scrub.rate
    if not rate:
        return Done()
    at = progress(kelp)
    turn = _Turn(kelp, Pace(rate, now, sleep), now() + seconds, now, at)
    nas_up = nas_outage.is_up(kelp)
    try:
        if nas_up:
            _learn(turn)
        while not turn.is_over():
            if turn.at.stage == "rest" and not _is_due(turn):
                break
            if turn.at.stage in ("files", "versions") and not nas_up:
                break
            _STAGE[turn.at.stage](turn)
    finally:
        _note(turn, at)
    return _ended(turn) if turn.at.ended_ns != at.ended_ns else Done(more=turn.is_over())


# --- adopted files --------------------------------------------------------------------------------


def _learn(turn: _Turn) -> None:
    """Read files that nobody has read yet, a hundred to a commit."""
    kelp = turn.kelp
    while not turn.is_over():
        if turn.at.learn_again_ns > kelp.clock.now_ns():
            return
        with kelp.database.read() as tx:
            page = tx.verifying.unlearned(turn.at.learned_upto, _PAGE)
        if not page:
            if turn.at.learned_upto:  # some are left that could not be read: not again at once
                turn.at = replace(turn.at, learned_upto="", learn_again_ns=kelp.clock.now_ns() + _FAILED_NS)
            return
        learned: list[learning.Learned] = []
        for content in page:
            if found := _learn_one(turn, content):
                learned.append(found)
            else:
                turn.at = replace(turn.at, learned_upto=content.id)
            if turn.is_over():
                break
        if learned:
            learning.record(kelp, learned)


def _learn_one(turn: _Turn, content: Content) -> learning.Learned | None:
    try:
        return learning.read_once(turn.kelp, content, _Counted(turn))
    except NasDown:
        turn.kelp.nas.probe()  # raises too, unless only this file cannot be read
        log.warning("an adopted file cannot be read: content %s", content.id)
    except learning.NasFileChanged as error:
        learning.tell_changed(turn.kelp, str(error))
        turn.count(Verdict.CHANGED)
    except (StoreUnavailable, ContentCorrupt, ObjectMissing, NasFault) as error:
        log.info("not learned yet: %s", error)
    return None


class _Counted:
    """The pace, for bytes that nobody else counts."""

    def __init__(self, turn: _Turn) -> None:
        self._turn = turn

    def __call__(self, size: int) -> None:
        metrics.SCRUBBED_BYTES.labels("nas").inc(size)
        self._turn.pace(size)


# --- a round --------------------------------------------------------------------------------------


def _is_due(turn: _Turn) -> bool:
    """Half of the days after the last round began: so nothing waits longer than these, when a round takes less."""
    age = turn.kelp.clock.now_ns() - turn.at.round_ns
    days = turn.kelp.settings.scrub.days
    return not 0 <= age < days * _DAY_NS // 2  # a time to come was noted by a clock that was wrong


def _begin(turn: _Turn) -> None:
    old = turn.at
    turn.at = Progress(
        turn.kelp.clock.now_ns(), "cache", ended_ns=old.ended_ns,
        learned_upto=old.learned_upto, learn_again_ns=old.learn_again_ns,
    )  # fmt: skip


def _cache(turn: _Turn) -> None:
    with turn.kelp.database.read() as tx:
        page = tx.verifying.cached_after(turn.at.after, _PAGE)
    for row in page:
        verdict = verifying.cached(turn.kelp, row, turn.pace)
        if verdict is Verdict.RIGHT:
            turn.keys.append(row.key)
        _done(turn, verdict, row.key)
        if turn.is_over():
            return
    if not page:
        _next_stage(turn)


def _files(turn: _Turn) -> None:
    with turn.kelp.database.read() as tx:
        page = tx.verifying.files_after(int(turn.at.after or 0), _PAGE)
    _go_through(turn, page, lambda held: str(held.entry_id))


def _versions(turn: _Turn) -> None:
    with turn.kelp.database.read() as tx:
        page = tx.verifying.versions_after(turn.at.after, _PAGE)
    _go_through(turn, page, lambda held: held.version or "")


def _go_through(turn: _Turn, page: list[Held], name: Callable[[Held], str]) -> None:
    for held in page:
        _file(turn, held, name(held))
        if turn.is_over():
            return
    if not page:
        _next_stage(turn)


def _file(turn: _Turn, held: Held, name: str) -> None:
    """Part by part, so that a turn may end in the middle of a large one. Once it is known not to be right as a whole,
    the rest of it does not matter."""
    with turn.kelp.database.read() as tx:
        content = tx.contents.get(held.content_id or "")
    if content is None:
        _done(turn, Verdict.UNDER_WAY, name)
        return
    if turn.at.within != content.id:
        turn.at = replace(turn.at, within=content.id, part=0)
    offset = content.offset_of(turn.at.part)
    for part in content.parts[turn.at.part :] or (None,):
        verdict = verifying.on_nas(turn.kelp, held, part, offset, turn.pace)
        if verdict is not Verdict.RIGHT:
            _done(turn, verdict, name)
            return
        offset += part.size if part else 0
        turn.at = replace(turn.at, part=turn.at.part + 1)
        if turn.is_over() and turn.at.part < len(content.parts):
            return
    turn.files.append((held, content.id))
    _done(turn, Verdict.RIGHT, name)


def _done(turn: _Turn, verdict: Verdict, name: str) -> None:
    turn.count(verdict)
    turn.at = replace(turn.at, after=name, part=0, within="", things=turn.at.things + 1)


def _next_stage(turn: _Turn) -> None:
    stage = _STAGES[_STAGES.index(turn.at.stage) + 1]
    turn.at = replace(turn.at, stage=stage, after="", part=0, within="")
    if stage == "rest":
        turn.at = replace(turn.at, ended_ns=turn.kelp.clock.now_ns())


_STAGE: dict[str, Callable[[_Turn], None]] = {"rest": _begin, "cache": _cache, "files": _files, "versions": _versions}


# --- what is noted --------------------------------------------------------------------------------


def _note(turn: _Turn, before: Progress) -> None:
    """One commit for a turn; none when there was nothing to do."""
    turn.at = replace(turn.at, bytes=turn.at.bytes + turn.pace.bytes)
    if turn.at != before:
        _write(turn)


@retried
def _write(turn: _Turn) -> None:
    with turn.kelp.database.write(quiet=True) as tx:
        now = turn.kelp.clock.now_ns()
        tx.lock_rows(sorted(held.entry_id for held, _ in turn.files))
        tx.verifying.seen_on_nas(turn.files, now)
        tx.verifying.seen_in_cache(turn.keys, now)
        tx.accounts.set_value(_NAME, json.dumps(asdict(turn.at)))


def _ended(turn: _Turn) -> Done:
    """Alerts that were about the state of things are over when a whole round found nothing of the kind."""
    kelp, at = turn.kelp, turn.at
    log.info("scrub: a round ended: repaired %d, left %d, changed by others %d", at.repaired, at.left, at.changed)
    with kelp.database.read() as tx:
        gone = tx.verifying.lost_and_gone()
        unlearned = tx.verifying.unlearned("", 1)
    if not at.changed and not unlearned:
        alerts.close(kelp, AlertKind.NAS_FILE_CHANGED, "everything on the NAS is as it was written")
    for content_id in gone:
        alerts.close(kelp, AlertKind.CONTENT_LOST, "the content is not needed any more", content_id)
    return Done(at.things, at.bytes)
