"""Policies about network addresses: white and black lists, their rules, and a question about an address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api.models import Body, Done, Model, Query, time_of
from http_api.routing import Ask, Reply, Route
from vfs.addresses import AccessPolicy, AccessRule, PolicyKind, Reason
from vfs.model import Peer
from vfs.operations import policies
from vfs.operations.policies import Author, Change, NewRule

_FORCE = Field(default=False, description="also when you shut yourself out by it")
_CIDR = Field(max_length=64, description="an address or a network, IPv4 or IPv6", examples=["192.0.2.0/24"])
_NAME = Field(min_length=1, max_length=100)
_NOTE = Field(max_length=500)


class RuleShown(Model):
    id: str
    cidr: str
    note: str
    created_at: datetime


class PolicyShown(Model):
    id: str
    name: str
    kind: PolicyKind
    enabled: bool
    created_at: datetime
    rules: list[RuleShown]


class PolicyAnswer(Model):
    success: Literal[True] = True
    policy: PolicyShown


class PoliciesAnswer(Model):
    success: Literal[True] = True
    policies: list[PolicyShown]


class RuleAnswer(Model):
    success: Literal[True] = True
    rule: RuleShown


class RulesAnswer(Model):
    success: Literal[True] = True
    rules: list[RuleShown]


class Decided(Model):
    """The rule that decided; told to admins."""

    policy_id: str
    policy_name: str
    rule_id: str
    cidr: str


class CheckAnswer(Model):
    success: Literal[True] = True
    address: str | None = Field(description="null: behind a proxy that is not trusted nobody can tell it")
    allowed: bool
    reason: Reason
    decided_by: Decided | None = None


class RuleGiven(Body):
    cidr: Annotated[str, _CIDR]
    note: Annotated[str, _NOTE] = ""


class PolicyGiven(Body):
    name: Annotated[str, _NAME]
    kind: PolicyKind
    enabled: bool = True
    rules: Annotated[list[RuleGiven], Field(max_length=10_000)] = Field(default_factory=list)
    force: Annotated[bool, _FORCE] = False


class PolicyChange(Body):
    """What is left out stays."""

    name: Annotated[str, _NAME] | None = None
    kind: PolicyKind | None = None
    enabled: bool | None = None
    force: Annotated[bool, _FORCE] = False


class RuleAdded(RuleGiven):
    force: Annotated[bool, _FORCE] = False


class RuleChange(Body):
    """What is left out stays."""

    cidr: Annotated[str, _CIDR] | None = None
    note: Annotated[str, _NOTE] | None = None
    force: Annotated[bool, _FORCE] = False


class Forced(Query):
    force: Annotated[bool, _FORCE] = False


class Asked(Query):
    address: Annotated[str, Field(max_length=64, description="your own when it is left out")] | None = None


def list_all(ask: Ask) -> Reply:
    found = policies.every(ask.kelp, ask.caller)
    return Reply(PoliciesAnswer(success=True, policies=[_policy(each) for each in found]))


def create(ask: Ask) -> Reply:
    given = ask.body(PolicyGiven)
    rules = [NewRule(rule.cidr, rule.note) for rule in given.rules]
    author = _author(ask, given.force)
    made = policies.create(ask.kelp, author, given.name, given.kind, rules, enabled=given.enabled)
    return Reply(PolicyAnswer(success=True, policy=_policy(made)), 201)


def show(ask: Ask) -> Reply:
    return Reply(PolicyAnswer(success=True, policy=_policy(policies.find(ask.kelp, ask.caller, ask.ids["id"]))))


def change(ask: Ask) -> Reply:
    given = ask.body(PolicyChange)
    wanted = Change(given.name, given.kind, given.enabled)
    found = policies.update(ask.kelp, _author(ask, given.force), ask.ids["id"], wanted)
    return Reply(PolicyAnswer(success=True, policy=_policy(found)))


def delete(ask: Ask) -> Reply:
    policies.delete(ask.kelp, _author(ask, ask.query(Forced).force), ask.ids["id"])
    return Reply(Done(success=True))


def list_rules(ask: Ask) -> Reply:
    found = policies.find(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(RulesAnswer(success=True, rules=[_rule(each) for each in found.rules]))


def add_rule(ask: Ask) -> Reply:
    given = ask.body(RuleAdded)
    author = _author(ask, given.force)
    made = policies.add_rule(ask.kelp, author, ask.ids["id"], NewRule(given.cidr, given.note))
    return Reply(RuleAnswer(success=True, rule=_rule(made)), 201)


def show_rule(ask: Ask) -> Reply:
    found = policies.find(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(RuleAnswer(success=True, rule=_rule(policies.rule_of(found, ask.ids["rule"]))))


def change_rule(ask: Ask) -> Reply:
    given = ask.body(RuleChange)
    author = _author(ask, given.force)
    found = policies.update_rule(ask.kelp, author, ask.ids["id"], ask.ids["rule"], given.cidr, given.note)
    return Reply(RuleAnswer(success=True, rule=_rule(found)))


def delete_rule(ask: Ask) -> Reply:
    policies.delete_rule(ask.kelp, _author(ask, ask.query(Forced).force), ask.ids["id"], ask.ids["rule"])
    return Reply(Done(success=True))


def check(ask: Ask) -> Reply:
    address, verdict = policies.check(ask.kelp, ask.caller, ask.query(Asked).address, _peer(ask))
    found = CheckAnswer(success=True, address=address, allowed=verdict.allowed, reason=verdict.reason)
    if verdict.match is not None:
        policy, rule = verdict.match
        by = Decided(policy_id=policy.uuid, policy_name=policy.name, rule_id=rule.uuid, cidr=rule.cidr)
        found = CheckAnswer(**found.model_dump(exclude_unset=True), decided_by=by)
    return Reply(found)


def _author(ask: Ask, force: bool) -> Author:
    return Author(ask.caller, _peer(ask), force)


def _peer(ask: Ask) -> Peer:
    peer: Peer = ask.request.env["kelp.peer"]
    return peer


def _policy(found: AccessPolicy) -> PolicyShown:
    return PolicyShown(
        id=found.uuid,
        name=found.name,
        kind=found.kind,
        enabled=found.enabled,
        created_at=time_of(found.created_ns),
        rules=[_rule(rule) for rule in found.rules],
    )


def _rule(found: AccessRule) -> RuleShown:
    return RuleShown(id=found.uuid, cidr=found.cidr, note=found.note, created_at=time_of(found.created_ns))


_TAG = "ip-policies"
_ALL, _ONE = "/ip-policies", "/ip-policies/{id}"
_RULES, _RULE = "/ip-policies/{id}/rules", "/ip-policies/{id}/rules/{rule}"
_NONE, _TAKEN, _OUT = "NOT_FOUND", "CONFLICT", "IP_LOCKOUT"

ROUTES = (
    Route("GET", _ALL, list_all, "All policies, with their rules", _TAG, answer=PoliciesAnswer, admin=True),
    Route(
        *("POST", _ALL, create, "A new white or black list, with its rules", _TAG),
        body=PolicyGiven, answer=PolicyAnswer, status=201, codes=(_TAKEN, _OUT), admin=True, scope="admin",
    ),
    Route("GET", "/ip-policies/check", check, "May this address come?", _TAG, query=Asked, answer=CheckAnswer),
    Route("GET", _ONE, show, "A policy", _TAG, answer=PolicyAnswer, codes=(_NONE,), admin=True),
    Route(
        *("PUT", _ONE, change, "Rename, enable, disable or turn round a policy", _TAG),
        body=PolicyChange, answer=PolicyAnswer, codes=(_NONE, _TAKEN, _OUT), admin=True, scope="admin",
    ),
    Route(
        *("DELETE", _ONE, delete, "Delete a policy with its rules", _TAG),
        query=Forced, answer=Done, codes=(_NONE, _OUT), admin=True, scope="admin",
    ),
    Route("GET", _RULES, list_rules, "The rules of a policy", _TAG, answer=RulesAnswer, codes=(_NONE,), admin=True),
    Route(
        *("POST", _RULES, add_rule, "Add a rule", _TAG),
        body=RuleAdded, answer=RuleAnswer, status=201, codes=(_NONE, _TAKEN, _OUT), admin=True, scope="admin",
    ),
    Route("GET", _RULE, show_rule, "A rule", _TAG, answer=RuleAnswer, codes=(_NONE,), admin=True),
    Route(
        *("PUT", _RULE, change_rule, "Change a rule", _TAG),
        body=RuleChange, answer=RuleAnswer, codes=(_NONE, _TAKEN, _OUT), admin=True, scope="admin",
    ),
    Route(
        *("DELETE", _RULE, delete_rule, "Remove a rule", _TAG),
        query=Forced, answer=Done, codes=(_NONE, _OUT), admin=True, scope="admin",
    ),
)  # fmt: skip
