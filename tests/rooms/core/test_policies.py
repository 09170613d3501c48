"""Who may change the policies, what a change may not do to its author, and what the door then says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.rooms.core.drive import Drive
from vfs.addresses import AccessPolicy, PolicyKind, Reason
from vfs.errors import AddressDenied, AlreadyExists, Forbidden, InvalidRequest, LocksOut, NotFound
from vfs.model import Level, Peer
from vfs.operations import doorkeeping, policies
from vfs.operations.policies import Author, Change, NewRule

WHITE, BLACK = PolicyKind.WHITE, PolicyKind.BLACK
OFFICE = Peer("192.0.2.7", True, False)
SOMEBODY = Peer("203.0.113.9", True, False)
BEHIND_A_PROXY = Peer("198.51.100.1", True, False, known=False)


def author(drive: Drive, peer: Peer | None = OFFICE, *, force: bool = False) -> Author:
    return Author(drive.admin, peer, force)


def make(drive: Drive, kind: PolicyKind, *cidrs: str, name: str = "p", enabled: bool = True) -> AccessPolicy:
    """By the command line, that is never refused but for shutting everybody out."""
    rules = [NewRule(cidr) for cidr in cidrs]
    return policies.create(drive.kelp, author(drive, None, force=True), name, kind, rules, enabled=enabled)


def may_come(drive: Drive, peer: Peer) -> bool:
    try:
        doorkeeping.let_in(drive.kelp, peer, "rest")
    except AddressDenied:
        return False
    return True


def test_a_policy_counts_at_once_and_until_it_is_deleted(drive: Drive) -> None:
    assert may_come(drive, SOMEBODY)
    made = make(drive, BLACK, "203.0.113.0/24")
    assert not may_come(drive, SOMEBODY)
    assert may_come(drive, OFFICE)
    policies.update(drive.kelp, author(drive), made.uuid, Change(enabled=False))
    assert may_come(drive, SOMEBODY)
    policies.update(drive.kelp, author(drive), made.uuid, Change(name="other", enabled=True))
    assert not may_come(drive, SOMEBODY)
    policies.delete(drive.kelp, author(drive), made.uuid)
    assert may_come(drive, SOMEBODY)
    assert policies.every(drive.kelp, drive.admin) == []


def test_another_process_has_it_soon(drive: Drive) -> None:
    assert may_come(drive, SOMEBODY)
    with drive.kelp.database.write() as tx:  # as another process does: nobody tells this one's gate
        made = tx.policies.insert("p", BLACK, True, 0)
        tx.policies.insert_rule(made, "203.0.113.9/32", "", 0)
    done = threading.Event()
    for _ in range(300):
        if not may_come(drive, SOMEBODY):
            break
        done.wait(0.1)
    assert not may_come(drive, SOMEBODY)


def test_behind_an_untrusted_proxy_nobody_comes_while_a_policy_is_enabled(drive: Drive) -> None:
    assert may_come(drive, BEHIND_A_PROXY)
    make(drive, BLACK, "203.0.113.9")
    with pytest.raises(AddressDenied, match="does not trust") as caught:
        doorkeeping.let_in(drive.kelp, BEHIND_A_PROXY, "dav")
    assert caught.value.reason is Reason.ADDRESS_UNKNOWN


# Each would shut out who comes from OFFICE; what there is before, and the change.
Step = Callable[[Drive, Author], object]


def _with(kind: PolicyKind, *cidrs: str, enabled: bool = True) -> Callable[[Drive], AccessPolicy]:
    return lambda drive: make(drive, kind, *cidrs, enabled=enabled)


def _rule_id(policy: AccessPolicy, cidr: str) -> str:
    return next(rule.uuid for rule in policy.rules if rule.cidr == cidr)


LOCKOUTS: dict[str, tuple[Callable[[Drive], AccessPolicy], Callable[[Drive, Author, AccessPolicy], object]]] = {
    "a white list without him": (
        _with(WHITE, "192.0.2.0/24", enabled=False),
        lambda d, a, p: policies.create(d.kelp, a, "new", WHITE, [NewRule("203.0.113.0/24")]),
    ),
    "an empty white list": (
        _with(WHITE, enabled=False),
        lambda d, a, p: policies.create(d.kelp, a, "new", WHITE),
    ),
    "a black list with him": (
        _with(WHITE, "192.0.2.0/24"),
        lambda d, a, p: policies.create(d.kelp, a, "new", BLACK, [NewRule("192.0.2.0/28")]),
    ),
    "enabling": (
        _with(WHITE, "203.0.113.0/24", enabled=False),
        lambda d, a, p: policies.update(d.kelp, a, p.uuid, Change(enabled=True)),
    ),
    "turning round": (
        _with(BLACK, "203.0.113.0/24"),
        lambda d, a, p: policies.update(d.kelp, a, p.uuid, Change(kind=WHITE)),
    ),
    "turning a white list black": (
        _with(WHITE, "192.0.2.0/24"),
        lambda d, a, p: policies.update(d.kelp, a, p.uuid, Change(kind=BLACK)),
    ),
    "narrowing": (
        _with(WHITE, "192.0.2.0/24"),
        lambda d, a, p: policies.update_rule(d.kelp, a, p.uuid, p.rules[0].uuid, cidr="192.0.2.64/26"),
    ),
    "removing his rule": (
        _with(WHITE, "192.0.2.0/24", "203.0.113.0/24"),
        lambda d, a, p: policies.delete_rule(d.kelp, a, p.uuid, _rule_id(p, "192.0.2.0/24")),
    ),
    "removing the last rule": (
        _with(WHITE, "192.0.2.0/24"),
        lambda d, a, p: policies.delete_rule(d.kelp, a, p.uuid, p.rules[0].uuid),
    ),
    "a black rule": (
        _with(BLACK, "203.0.113.0/24"),
        lambda d, a, p: policies.add_rule(d.kelp, a, p.uuid, NewRule("::ffff:192.0.2.7")),
    ),
    "widening a black rule": (
        _with(BLACK, "192.0.2.0/32"),
        lambda d, a, p: policies.update_rule(d.kelp, a, p.uuid, p.rules[0].uuid, cidr="192.0.2.0/24"),
    ),
}


@pytest.mark.parametrize("what", LOCKOUTS)
def test_nobody_shuts_himself_out_without_force(drive: Drive, what: str) -> None:
    prepare, change = LOCKOUTS[what]
    policy = prepare(drive)
    before = policies.every(drive.kelp, drive.admin)
    with pytest.raises(LocksOut, match=r"192\.0\.2\.7"):
        change(drive, author(drive), policy)
    assert policies.every(drive.kelp, drive.admin) == before
    assert may_come(drive, OFFICE)
    change(drive, author(drive, force=True), policy)
    assert not may_come(drive, OFFICE)


def test_deleting_one_of_two_white_lists_may_shut_out_too(drive: Drive) -> None:
    mine = make(drive, WHITE, "192.0.2.0/24", name="mine")
    make(drive, WHITE, "203.0.113.0/24", name="others")
    with pytest.raises(LocksOut):
        policies.delete(drive.kelp, author(drive), mine.uuid)
    with pytest.raises(LocksOut):
        policies.update(drive.kelp, author(drive), mine.uuid, Change(enabled=False))
    policies.delete(drive.kelp, author(drive, SOMEBODY), mine.uuid)


def test_whose_address_nobody_can_tell_is_told_why_he_would_be_out(drive: Drive) -> None:
    with pytest.raises(LocksOut, match="trusted_proxies"):
        policies.create(drive.kelp, author(drive, BEHIND_A_PROXY), "p", BLACK, [NewRule("203.0.113.9")])


def test_who_is_out_by_force_may_still_change_what_he_can(drive: Drive) -> None:
    made = policies.create(drive.kelp, author(drive, force=True), "p", WHITE)
    assert not may_come(drive, OFFICE)
    policies.add_rule(drive.kelp, author(drive), made.uuid, NewRule("203.0.113.9"))
    policies.delete(drive.kelp, author(drive), made.uuid)
    assert may_come(drive, OFFICE)


def test_the_command_line_undoes_all_and_shuts_everybody_out_by_force_only(drive: Drive) -> None:
    with pytest.raises(LocksOut, match="--force"):
        policies.create(drive.kelp, author(drive, None), "p", WHITE)
    made = make(drive, WHITE)
    assert not may_come(drive, OFFICE)
    policies.add_rule(drive.kelp, author(drive, None), made.uuid, NewRule("192.0.2.7"))
    assert may_come(drive, OFFICE)


def test_two_who_each_take_away_one_half_at_once(drive: Drive) -> None:
    """Each alone leaves his own way in; together they would leave none to the first."""
    made = make(drive, WHITE, "192.0.2.0/24", "192.0.2.0/28")
    barrier, refused = threading.Barrier(2), []

    def remove(rule_id: str) -> None:
        barrier.wait()
        try:
            policies.delete_rule(drive.kelp, author(drive), made.uuid, rule_id)
        except LocksOut as error:
            refused.append(error)

    threads = [threading.Thread(target=remove, args=(rule.uuid,)) for rule in made.rules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert may_come(drive, OFFICE)


def test_only_admins_look_and_change(drive: Drive) -> None:
    made = make(drive, BLACK, "203.0.113.9")
    for caller in (drive.editor, drive.viewer, replace(drive.admin, most=Level.WRITE)):
        with pytest.raises(Forbidden):
            policies.delete(drive.kelp, Author(caller), made.uuid)
    with pytest.raises(Forbidden):
        policies.every(drive.kelp, drive.editor)


def test_names_and_rules_are_there_once(drive: Drive) -> None:
    made = make(drive, BLACK, "203.0.113.0/24", "203.0.113.0/24", "203.0.114.0/24", name="Büro")
    assert [rule.cidr for rule in made.rules] == ["203.0.113.0/24", "203.0.114.0/24"]
    with pytest.raises(AlreadyExists):
        make(drive, WHITE, name=" Bu\u0308ro ")
    with pytest.raises(AlreadyExists):
        policies.add_rule(drive.kelp, author(drive), made.uuid, NewRule("203.0.113.0/24"))
    with pytest.raises(AlreadyExists):
        policies.update_rule(drive.kelp, author(drive), made.uuid, made.rules[0].uuid, cidr="203.0.114.0/24")
    noted = policies.update_rule(drive.kelp, author(drive), made.uuid, made.rules[0].uuid, note="scanner")
    assert (noted.cidr, noted.note) == ("203.0.113.0/24", "scanner")


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\0", "\ud800"])
def test_names_that_no_policy_can_have(drive: Drive, name: str) -> None:
    with pytest.raises(InvalidRequest):
        make(drive, BLACK, name=name)


@pytest.mark.parametrize("policy_id", ["", "nobody", "\0", "é", "\ud800"])
def test_what_is_not_there(drive: Drive, policy_id: str) -> None:
    with pytest.raises(NotFound):
        policies.update(drive.kelp, author(drive), policy_id, Change(enabled=True))


def test_the_check(drive: Drive) -> None:
    make(drive, BLACK, "203.0.113.0/24", name="scanners")
    address, verdict = policies.check(drive.kelp, drive.admin, "::ffff:203.0.113.9", OFFICE)
    assert (address, verdict.reason) == ("203.0.113.9", Reason.BLACK_LISTED)
    assert verdict.match is not None
    assert verdict.match.policy.name == "scanners"
    address, verdict = policies.check(drive.kelp, drive.viewer, None, OFFICE)
    assert (address, verdict.allowed, verdict.match) == ("192.0.2.7", True, None)
    assert policies.check(drive.kelp, drive.viewer, "192.0.2.7", OFFICE)[1].allowed
    assert policies.check(drive.kelp, drive.viewer, None, BEHIND_A_PROXY)[1].reason is Reason.ADDRESS_UNKNOWN
    with pytest.raises(Forbidden):
        policies.check(drive.kelp, drive.viewer, "203.0.113.9", OFFICE)
    with pytest.raises(InvalidRequest):
        policies.check(drive.kelp, drive.admin, "nowhere", OFFICE)


def test_refusals_are_logged_with_the_rule_and_not_each_of_them(drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    make(drive, BLACK, "203.0.113.0/24", name="scanners")
    caplog.set_level(logging.WARNING)
    for _ in range(50):
        assert not may_come(drive, SOMEBODY)
    lines = [record.getMessage() for record in caplog.records if "203.0.113.9" in record.getMessage()]
    assert lines == ["refused 203.0.113.9 at rest: BLACK_LISTED: 'scanners' has 203.0.113.0/24"]
