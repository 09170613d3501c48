"""People: admins see and change them; everybody sees himself and changes his password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from http_api.models import Body, Done, Model, Name, time_of
from http_api.routing import Ask, Reply, Route
from vfs.errors import InvalidRequest
from vfs.model import Peer, Role, User
from vfs.operations import access, groups

Password = Annotated[str, Field(min_length=1, max_length=1024, description="8 characters at least")]


class UserShown(Model):
    id: str
    name: str
    role: Role
    created_at: datetime


class GroupRef(Model):
    id: str
    name: str


class UserAnswer(Model):
    success: Literal[True] = True
    user: UserShown


class MeAnswer(UserAnswer):
    """`scopes`: what may be done with the token, or the password, of this request."""

    groups: list[GroupRef]
    scopes: list[Literal["read", "write", "admin"]]


class UsersAnswer(Model):
    success: Literal[True] = True
    users: list[UserShown]


class UserGiven(Body):
    name: Name
    password: Password
    role: Role = Role.EDITOR


class UserChange(Body):
    """What is left out stays."""

    name: Name | None = None
    password: Password | None = None
    role: Role | None = None


class PasswordChange(Body):
    current_password: Annotated[str, Field(max_length=1024)]
    new_password: Password


def shown(user: User) -> UserShown:
    return UserShown(id=user.uuid, name=user.name, role=user.role, created_at=time_of(user.created_ns))


def _answer(user: User, status: int = 200) -> Reply:
    return Reply(UserAnswer(success=True, user=shown(user)), status)


def list_users(ask: Ask) -> Reply:
    return Reply(UsersAnswer(success=True, users=[shown(user) for user in access.list_users(ask.kelp)]))


def add(ask: Ask) -> Reply:
    given = ask.body(UserGiven)
    return _answer(access.add_user(ask.kelp, given.name, given.password, given.role), 201)


def get(ask: Ask) -> Reply:
    return _answer(access.get_user(ask.kelp, ask.caller, ask.ids["id"]))


def change(ask: Ask) -> Reply:
    given = ask.body(UserChange)
    if given == UserChange():
        raise InvalidRequest("nothing is to be changed")
    changed = access.change_user(
        ask.kelp, ask.ids["id"], name=given.name, role=given.role, password=given.password
    )  # fmt: skip
    return _answer(changed)


def remove(ask: Ask) -> Reply:
    access.remove(ask.kelp, ask.ids["id"])
    return Reply(Done(success=True))


def me(ask: Ask) -> Reply:
    user = access.myself(ask.kelp, ask.caller)
    within = [GroupRef(id=group.uuid, name=group.name) for group in groups.list_groups(ask.kelp, user)]
    facts = {"success": True, "user": shown(user), "groups": within, "scopes": ask.caller.scopes}
    return Reply(MeAnswer.model_validate(facts))


def change_own_password(ask: Ask) -> Reply:
    given = ask.body(PasswordChange)
    peer: Peer = ask.request.env["kelp.peer"]
    access.change_own_password(ask.kelp, ask.caller, given.current_password, given.new_password, peer.address)
    return Reply(Done(success=True))


_TAG = "users"
_ALL, _ONE, _ME = "/users", "/users/{id}", "/users/me"

ROUTES = (
    Route("GET", _ALL, list_users, "Everybody who may use the drive", _TAG, answer=UsersAnswer, admin=True),
    Route(
        *("POST", _ALL, add, "A new user", _TAG),
        body=UserGiven, answer=UserAnswer, status=201, codes=("CONFLICT", "INVALID_NAME"), admin=True,
    ),
    Route("GET", _ME, me, "Who you are, and what you may do", _TAG, answer=MeAnswer),
    Route("PUT", f"{_ME}/password", change_own_password, "A new password for yourself", _TAG,
          body=PasswordChange, answer=Done),
    Route(
        *("GET", _ONE, get, "A user; for others than admins only oneself", _TAG),
        answer=UserAnswer, codes=("NOT_FOUND",),
    ),
    Route(
        *("PUT", _ONE, change, "Rename a user, or set role or password; the last admin stays one", _TAG),
        body=UserChange, answer=UserAnswer, codes=("NOT_FOUND", "CONFLICT", "INVALID_NAME"), admin=True,
    ),
    Route(
        *("DELETE", _ONE, remove, "Remove a user, whose files stay; not the last admin", _TAG),
        answer=Done, codes=("NOT_FOUND", "INVALID_REQUEST"), admin=True,
    ),
)  # fmt: skip
