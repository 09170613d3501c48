"""Policies about network addresses: who may change them, and what they say (spec §10; the rules: `vfs/addresses.py`).

A change is one transaction under the tree lock, so that of two admins who each take away half of what lets them in, the
second one finds out. `peer` is where the change comes from: None is the command line, which no policy keeps out.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from vfs.addresses import AccessPolicy, AccessRule, PolicyKind, Rules, Verdict, canonical, parse_address
from vfs.core import Kelp
from vfs.errors import AlreadyExists, Forbidden, InvalidRequest, LocksOut, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Peer

_log = logging.getLogger(__name__)

T = TypeVar("T")
_LONGEST_NAME, _LONGEST_NOTE = 100, 500  # characters
_MOST_POLICIES, _MOST_RULES = 200, 10_000  # of all policies together: each process has them in memory


class NewRule(NamedTuple):
    cidr: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What of a policy becomes another; None stays."""

    name: str | None = None
    kind: PolicyKind | None = None
    enabled: bool | None = None


class Author(NamedTuple):
    """Who changes, from where; `force`: also when he shuts himself out by that."""

    caller: Caller
    peer: Peer | None = None
    force: bool = False


# --- look ---


def every(kelp: Kelp, caller: Caller) -> list[AccessPolicy]:
    """By name. Raises Forbidden."""
    _require_admin(caller)
    with kelp.database.read() as tx:
        return tx.policies.every()


def find(kelp: Kelp, caller: Caller, policy_id: str) -> AccessPolicy:
    """Raises NotFound, Forbidden."""
    _require_admin(caller)
    with kelp.database.read() as tx:
        return _known(tx, policy_id)


def named(kelp: Kelp, caller: Caller, name: str) -> AccessPolicy:
    """Raises NotFound, Forbidden."""
    _require_admin(caller)
    with kelp.database.read() as tx:
        found = tx.policies.named(name)
    if found is None:
        raise NotFound(f"there is no policy {name!r}")
    return found


def check(kelp: Kelp, caller: Caller, address: str | None, peer: Peer | None) -> tuple[str | None, Verdict]:
    """What the policies say, as they are now, of `address`, or of the caller's own: the address and the verdict.

    The address is None when nobody can tell the caller's. Of others only an admin may ask, and only he is told which
    rule decided. Raises Forbidden, InvalidRequest for what is no address.
    """
    own = _address_of(peer) if peer is not None else None
    asked = own if address is None else address
    ip = None if asked is None else parse_address(asked)
    if address is not None and ip is None:
        raise InvalidRequest("address is not a network address, such as 192.0.2.7 or 2001:db8::1")
    is_admin = caller.administers
    if address is not None and not is_admin and ip != parse_address(own or ""):
        raise Forbidden("only an admin may ask about other addresses")
    shown = None if ip is None else str(ip)
    with kelp.database.read() as tx:
        verdict = Rules(tx.policies.every()).judge(shown)
    return shown, verdict if is_admin else Verdict(verdict.allowed, verdict.reason)


# --- change ---


@retried
def create(
    kelp: Kelp, author: Author, name: str, kind: PolicyKind, rules: Sequence[NewRule] = (), *, enabled: bool = True
) -> AccessPolicy:
    """With its rules, so that a white list can be made that lets somebody in.

    Raises AlreadyExists, InvalidRequest, LocksOut, Forbidden.
    """
    name = _name(name)
    wanted = [NewRule(canonical(rule.cidr), _note(rule.note)) for rule in rules]

    def change(tx: Tx) -> AccessPolicy:
        _require_free(tx, name)
        _require_room(tx, policies=1, rules=len(wanted))
        made = tx.policies.insert(name, kind, enabled, kelp.clock.now_ns())
        for rule in {rule.cidr: rule for rule in wanted}.values():
            tx.policies.insert_rule(made, rule.cidr, rule.note, kelp.clock.now_ns())
        return _known(tx, made)

    made = _changed(kelp, author, change)
    _tell(author, f"made the policy {_described(made)}")
    return made


@retried
def update(kelp: Kelp, author: Author, policy_id: str, change: Change) -> AccessPolicy:
    """Raises NotFound, AlreadyExists, InvalidRequest, LocksOut, Forbidden."""
    name = None if change.name is None else _name(change.name)

    def apply(tx: Tx) -> AccessPolicy:
        old = _known(tx, policy_id)
        if name not in (None, old.name):
            _require_free(tx, name or "")
        enabled = old.enabled if change.enabled is None else change.enabled
        tx.policies.update(policy_id, name or old.name, change.kind or old.kind, enabled)
        return _known(tx, policy_id)

    new = _changed(kelp, author, apply)
    _tell(author, f"changed the policy {_described(new)}")
    return new


@retried
def delete(kelp: Kelp, author: Author, policy_id: str) -> None:
    """With its rules. Raises NotFound, LocksOut, Forbidden."""

    def change(tx: Tx) -> AccessPolicy:
        old = _known(tx, policy_id)
        tx.policies.delete(policy_id)
        return old

    _tell(author, f"deleted the policy {_changed(kelp, author, change).name!r}")


@retried
def add_rule(kelp: Kelp, author: Author, policy_id: str, rule: NewRule) -> AccessRule:
    """Raises NotFound, AlreadyExists, InvalidRequest, LocksOut, Forbidden."""
    rule = NewRule(canonical(rule.cidr), _note(rule.note))

    def change(tx: Tx) -> AccessPolicy:
        _require_new(_known(tx, policy_id), rule.cidr)
        _require_room(tx, rules=1)
        tx.policies.insert_rule(policy_id, rule.cidr, rule.note, kelp.clock.now_ns())
        return _known(tx, policy_id)

    policy = _changed(kelp, author, change)
    _tell(author, f"added {rule.cidr} to the policy {policy.name!r}")
    return next(each for each in policy.rules if each.cidr == rule.cidr)


@retried
def update_rule(
    kelp: Kelp, author: Author, policy_id: str, rule_id: str, cidr: str | None = None, note: str | None = None
) -> AccessRule:
    """None stays. Raises NotFound, AlreadyExists, InvalidRequest, LocksOut, Forbidden."""
    cidr = None if cidr is None else canonical(cidr)
    note = None if note is None else _note(note)

    def change(tx: Tx) -> tuple[AccessPolicy, AccessRule, AccessRule]:
        policy = _known(tx, policy_id)
        old = rule_of(policy, rule_id)
        if cidr not in (None, old.cidr):
            _require_new(policy, cidr or "")
        tx.policies.update_rule(rule_id, cidr or old.cidr, old.note if note is None else note)
        return policy, old, rule_of(_known(tx, policy_id), rule_id)

    policy, old, new = _changed(kelp, author, change)
    _tell(author, f"changed {old.cidr} to {new.cidr} in the policy {policy.name!r}")
    return new


@retried
def delete_rule(kelp: Kelp, author: Author, policy_id: str, rule_id: str) -> None:
    """Raises NotFound, LocksOut, Forbidden."""

    def change(tx: Tx) -> tuple[AccessPolicy, AccessRule]:
        policy = _known(tx, policy_id)
        old = rule_of(policy, rule_id)
        tx.policies.delete_rule(rule_id)
        return policy, old

    policy, old = _changed(kelp, author, change)
    _tell(author, f"removed {old.cidr} from the policy {policy.name!r}")


def rule_of(policy: AccessPolicy, rule_id: str) -> AccessRule:
    """Raises NotFound."""
    found = next((rule for rule in policy.rules if rule.uuid == rule_id), None)
    if found is None:
        raise NotFound("there is no such rule in this policy")
    return found


# --- what every change has in common ---


def _changed(kelp: Kelp, author: Author, change: Callable[[Tx], T]) -> T:
    if not author.caller.administers:
        raise Forbidden("only an admin may change policies")
    with kelp.database.write() as tx:
        tx.lock_tree(exclusive=True)
        before = Rules(tx.policies.every())
        found = change(tx)
        if not author.force:
            _refuse_lockout(author.peer, before, Rules(tx.policies.every()))
    kelp.gate.forget()
    return found


def _refuse_lockout(peer: Peer | None, before: Rules, after: Rules) -> None:
    """Who is out already, by a policy that was forced, may still change what he can."""
    if peer is None:
        if after.shut_out_everybody() and not before.shut_out_everybody():
            raise LocksOut("after this change nobody could come from any address; --force does it all the same")
        return
    address = _address_of(peer)
    verdict = after.judge(address)
    if verdict.allowed or not before.judge(address).allowed:
        return
    if address is None:
        raise LocksOut(
            "the request came through a proxy that is not named in server.trusted_proxies, so nobody can tell your own "
            "address: while any policy is enabled, such requests are refused"
        )
    raise LocksOut(f"after this change you could not come from your own address, {address}, any more")


def _address_of(peer: Peer) -> str | None:
    return peer.address if peer.known else None


def _tell(author: Author, what: str) -> None:
    came = author.peer.address if author.peer else "the command line"
    _log.info("%s, from %s, %s%s", author.caller.name, came, what, " by force" if author.force else "")


def _described(policy: AccessPolicy) -> str:
    state = "enabled" if policy.enabled else "disabled"
    return f"{policy.name!r}: a {policy.kind.value} list of {len(policy.rules)}, {state}"


def _require_admin(caller: Caller) -> None:
    if not caller.administers:
        raise Forbidden("only an admin may look at policies")


def _known(tx: Tx, policy_id: str) -> AccessPolicy:
    found = tx.policies.find(policy_id) if policy_id.isascii() and "\0" not in policy_id else None
    if found is None:
        raise NotFound("there is no such policy")
    return found


def _require_free(tx: Tx, name: str) -> None:
    if tx.policies.named(name) is not None:
        raise AlreadyExists(f"there is a policy {name!r} already")


def _require_new(policy: AccessPolicy, cidr: str) -> None:
    if any(rule.cidr == cidr for rule in policy.rules):
        raise AlreadyExists(f"{cidr} is in the policy {policy.name!r} already")


def _require_room(tx: Tx, *, policies: int = 0, rules: int = 0) -> None:
    has = tx.policies.count()
    if has[0] + policies > _MOST_POLICIES or has[1] + rules > _MOST_RULES:
        raise InvalidRequest(f"there may be {_MOST_POLICIES} policies, with {_MOST_RULES:,} rules in all")


def _name(text: str) -> str:
    text = unicodedata.normalize("NFC", text.strip())
    if not 0 < len(text) <= _LONGEST_NAME or not _in_one_line(text):
        raise InvalidRequest(f"a policy needs a name, of up to {_LONGEST_NAME} characters in one line")
    return text


def _note(text: str) -> str:
    if len(text) > _LONGEST_NOTE or not _in_one_line(text):
        raise InvalidRequest(f"a note has up to {_LONGEST_NOTE} characters, in one line")
    return text


def _in_one_line(text: str) -> bool:
    """Neither control characters nor halves of surrogate pairs, which no database takes."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
