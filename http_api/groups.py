"""Groups of users, for grants. Admins change them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from http_api.models import Body, Done, Model, Name, time_of
from http_api.routing import Ask, Reply, Route
from http_api.users import UserShown, shown
from vfs.operations import groups
from vfs.people import Group


class GroupShown(Model):
    id: str
    name: str
    created_at: datetime
    member_count: int


class GroupWithMembers(GroupShown):
    members: list[UserShown]


class GroupAnswer(Model):
    success: Literal[True] = True
    group: GroupWithMembers


class GroupsAnswer(Model):
    success: Literal[True] = True
    groups: list[GroupShown]


class GroupGiven(Body):
    name: Name


class MemberGiven(Body):
    user_id: Name


def _facts(group: Group) -> dict[str, object]:
    return {
        "id": group.uuid,
        "name": group.name,
        "created_at": time_of(group.created_ns),
        "member_count": group.members,
    }


def _answer(ask: Ask, group_uuid: str, status: int = 200) -> Reply:
    group, members = groups.get(ask.kelp, group_uuid)
    found = GroupWithMembers.model_validate({**_facts(group), "members": [shown(user) for user in members]})
    return Reply(GroupAnswer(success=True, group=found), status)


def list_groups(ask: Ask) -> Reply:
    found = [GroupShown.model_validate(_facts(group)) for group in groups.list_groups(ask.kelp)]
    return Reply(GroupsAnswer(success=True, groups=found))


def add(ask: Ask) -> Reply:
    return _answer(ask, groups.add(ask.kelp, ask.body(GroupGiven).name).uuid, 201)


def get(ask: Ask) -> Reply:
    return _answer(ask, ask.ids["id"])


def rename(ask: Ask) -> Reply:
    return _answer(ask, groups.rename(ask.kelp, ask.ids["id"], ask.body(GroupGiven).name).uuid)


def remove(ask: Ask) -> Reply:
    groups.remove(ask.kelp, ask.ids["id"])
    return Reply(Done(success=True))


def join(ask: Ask) -> Reply:
    groups.join(ask.kelp, ask.ids["id"], ask.body(MemberGiven).user_id)
    return _answer(ask, ask.ids["id"])


def leave(ask: Ask) -> Reply:
    groups.leave(ask.kelp, ask.ids["id"], ask.ids["user"])
    return Reply(Done(success=True))


_TAG = "groups"
_ALL, _ONE, _MEMBERS = "/groups", "/groups/{id}", "/groups/{id}/members"
_NONE = "NOT_FOUND"

ROUTES = (
    Route("GET", _ALL, list_groups, "All groups", _TAG, answer=GroupsAnswer, admin=True),
    Route(
        *("POST", _ALL, add, "A new group, without members", _TAG),
        body=GroupGiven, answer=GroupAnswer, status=201, codes=("CONFLICT", "INVALID_NAME"), admin=True,
    ),
    Route("GET", _ONE, get, "A group with its members", _TAG, answer=GroupAnswer, codes=(_NONE,), admin=True),
    Route(
        *("PUT", _ONE, rename, "Rename a group", _TAG),
        body=GroupGiven, answer=GroupAnswer, codes=(_NONE, "CONFLICT", "INVALID_NAME"), admin=True,
    ),
    Route(
        *("DELETE", _ONE, remove, "Remove a group, with all that was granted to it", _TAG),
        answer=Done, codes=(_NONE,), admin=True,
    ),
    Route(
        *("POST", _MEMBERS, join, "Put a user into the group", _TAG),
        body=MemberGiven, answer=GroupAnswer, codes=(_NONE,), admin=True,
    ),
    Route(
        *("DELETE", _MEMBERS + "/{user}", leave, "Take a user out of the group", _TAG),
        answer=Done, codes=(_NONE,), admin=True,
    ),
)  # fmt: skip
