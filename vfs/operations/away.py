"""Cache and queue: an admin hears of it when one is away for longer than a minute, and when it is back."""

from __future__ import annotations

from vfs.core import Kelp
from vfs.errors import KelpError
from vfs.metadata.retrying import retried
from vfs.model import Done
from vfs.operations import alerts, backlog, readiness
from vfs.operations.alerts import AlertKind
from vfs.operations.limited import Call

_SECOND = 1_000_000_000
_LONG_NS = 60 * _SECOND
_CALL = 10.0  # seconds: an S3 endpoint that is silent is told after six
_CACHE = "cache_away_ns"  # row of `installation`: since when; 0 or none: it was reached
_asked: dict[str, Call[None]] = {}  # by the cache's URL: of a cache that hangs, nothing more is asked


def look_at_cache(kelp: Kelp) -> Done:
    """A batch. The row is written when that changes, and is what other rounds and processes know."""
    reason = _ask_cache(kelp)
    with kelp.database.read() as tx:
        since_ns = int(tx.accounts.value(_CACHE) or 0)
    if bool(reason) != bool(since_ns):
        since_ns = kelp.clock.now_ns() if reason else 0
        _note_cache(kelp, since_ns)
    message = f"the cache is away: {reason}; what is not in memory cannot be read, and nothing can be written"
    _tell(kelp, AlertKind.CACHE_AWAY, message, since_ns, "the cache")
    return Done()


def look_at_queue(kelp: Kelp) -> Done:
    """A batch: what workers noted. Nothing is lost meanwhile: they look at the database every few seconds."""
    message = "the queue is away: changes are carried to the NAS some seconds later than usual"
    _tell(kelp, AlertKind.QUEUE_AWAY, message, backlog.queue_away_since_ns(kelp), "the queue")
    return Done()


def _ask_cache(kelp: Kelp) -> str:
    """Why it is away, "" when it is not."""
    url = kelp.settings.cache.url
    call = _asked.get(url)
    if call is None or not call.hangs:
        call = _asked[url] = Call(lambda: readiness.ask_cache(kelp))
    try:
        call.result(_CALL)
    except (KelpError, OSError) as error:
        return str(error)
    return ""


@retried
def _note_cache(kelp: Kelp, since_ns: int) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.accounts.set_value(_CACHE, str(since_ns))


def _tell(kelp: Kelp, kind: AlertKind, message: str, since_ns: int, what: str) -> None:
    if not since_ns:
        alerts.close(kelp, kind, f"{what} is back")
    elif kelp.clock.now_ns() - since_ns >= _LONG_NS:
        with kelp.database.read() as tx:
            if tx.alerts.is_open(kind, ""):
                return
        alerts.open_(kelp, kind, message)
