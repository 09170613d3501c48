"""Who may come at all: asked by every face that has a network address, before anybody logs in (spec §10)."""

from __future__ import annotations

import logging

from vfs import metrics
from vfs.addresses import Reason, Rules, Verdict
from vfs.core import Kelp
from vfs.errors import AddressDenied
from vfs.metadata.database import Tx
from vfs.model import Peer

_log = logging.getLogger(__name__)

_UNTRUSTED = (
    "Nobody can tell your network address: the request came through a proxy that this server does not trust, or that "
    "does not say for whom it speaks"
)


def are_needed(kelp: Kelp) -> bool:
    """Whether any address is kept out. Raises StoreUnavailable when that cannot be known."""
    return _rules(kelp).restrict


def let_in(kelp: Kelp, peer: Peer, face: str) -> None:
    """Costs no statement (`vfs/gate.py`).

    Where nobody can tell whose address it is, nobody comes in while any policy is enabled: he may be on a black list,
    and nobody knows that he is on a white one. That is so behind a proxy that is not trusted, since whatever it
    forwards anybody may have written; its own address must not stand for all of its clients.

    Raises AddressDenied; StoreUnavailable when the policies cannot be read.
    """
    verdict = _rules(kelp).judge(peer.address if peer.known else None)
    if not verdict.allowed:
        metrics.DENIED.labels(face, verdict.reason.value).inc()
        _tell(kelp, peer, face, verdict)
        raise AddressDenied(_in_words(peer, verdict), verdict.reason)


def _rules(kelp: Kelp) -> Rules:
    return kelp.gate.fresh() or kelp.gate.rules(lambda known: _read(kelp, known))


def _read(kelp: Kelp, known: Rules | None) -> Rules:
    """One small row as long as nothing changes; and, since every face comes by here, whether somebody made the drive's
    first vault: from then on the log tells less (`logged`)."""

    def look(tx: Tx) -> Rules:
        tx.seals.look_out()
        version = tx.policies.version()
        if known is not None and version == known.version:
            return known
        return Rules(tx.policies.every(), version)

    with kelp.database.read() as tx:
        return look(tx)


def _in_words(peer: Peer, verdict: Verdict) -> str:
    if verdict.reason is Reason.ADDRESS_UNKNOWN:
        return _UNTRUSTED
    return f"Nobody may come from your network address, {peer.address}"


def _tell(kelp: Kelp, peer: Peer, face: str, verdict: Verdict) -> None:
    """Not of every attempt: whoever is refused could fill the disk."""
    untold = kelp.gate.tells(peer.address)
    if untold is None:
        return
    more = f" ({untold} more attempts were refused since the last such line)" if untold else ""
    why = (
        f"{verdict.reason.value}: {verdict.match.policy.name!r} has {verdict.match.rule.cidr}" if verdict.match else ""
    )
    _log.warning("refused %s at %s: %s%s", peer.address, face, why or _HINTS.get(verdict.reason, verdict.reason), more)


_HINTS = {
    Reason.NOT_WHITE_LISTED: "NOT_WHITE_LISTED: no white list has it",
    Reason.ADDRESS_UNKNOWN: "ADDRESS_UNKNOWN: this proxy is not named in server.trusted_proxies, or does not forward "
    "the address of its client",
}
