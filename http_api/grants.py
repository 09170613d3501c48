"""What users and groups may do in a folder and below it; said by admins, and by who may manage the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Literal

from http_api.errors import ApiError
from http_api.models import Body, Done, Model, Name, time_of
from http_api.routing import Ask, Reply, Route
from vfs.errors import InvalidRequest, NotFound
from vfs.model import Level
from vfs.operations import access, grants, groups
from vfs.people import Grant


class LevelName(StrEnum):
    """Each with all before it. `none`: not even what is inherited."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    MANAGE = "manage"

    @property
    def level(self) -> Level:
        return Level[self.name]


class Subject(Model):
    id: str
    name: str
    kind: Literal["user", "group"]


class GrantShown(Model):
    id: str
    subject: Subject
    level: LevelName
    created_at: datetime


class GrantAnswer(Model):
    success: Literal[True] = True
    grant: GrantShown


class GrantsAnswer(Model):
    success: Literal[True] = True
    grants: list[GrantShown]


class GrantGiven(Body):
    """To one user or one group, by id or by name: exactly one of the four."""

    level: LevelName
    user_id: Name | None = None
    group_id: Name | None = None
    user: Name | None = None
    group: Name | None = None


def list_grants(ask: Ask) -> Reply:
    found = [_shown(grant) for grant in grants.list_on(ask.kelp, ask.caller, ask.ids["id"])]
    return Reply(GrantsAnswer(success=True, grants=found))


def give(ask: Ask) -> Reply:
    given = ask.body(GrantGiven)
    with _in_folder(ask):
        made = grants.give(ask.kelp, ask.caller, ask.ids["id"], _to(ask, given), given.level.level)
    return Reply(GrantAnswer(success=True, grant=_shown(made)), 201)


def take_back(ask: Ask) -> Reply:
    with _in_folder(ask):
        grants.take_back(ask.kelp, ask.caller, ask.ids["id"], ask.ids["grant"])
    return Reply(Done(success=True))


@contextmanager
def _in_folder(ask: Ask) -> Iterator[None]:
    """The folder is there, and the caller's to manage: what is not found then is somebody, or a grant. So nobody else
    learns who has an account."""
    grants.require_manage(ask.kelp, ask.caller, ask.ids["id"])
    try:
        yield
    except NotFound as error:
        raise ApiError("NOT_FOUND") from error


def _to(ask: Ask, given: GrantGiven) -> grants.To:
    named = [each for each in (given.user_id, given.group_id, given.user, given.group) if each is not None]
    if len(named) != 1:
        raise InvalidRequest("a grant is for exactly one of userId, groupId, user and group")
    if given.user is not None:
        return grants.To(access.find_user(ask.kelp, given.user).uuid, is_group=False)
    if given.group is not None:
        return grants.To(groups.find(ask.kelp, given.group).uuid, is_group=True)
    return grants.To(named[0], is_group=given.group_id is not None)


def _shown(grant: Grant) -> GrantShown:
    kind: Literal["user", "group"] = "group" if grant.is_group else "user"
    return GrantShown(
        id=grant.uuid,
        subject=Subject(id=grant.subject_uuid, name=grant.subject, kind=kind),
        level=LevelName[grant.level.name],
        created_at=time_of(grant.created_ns),
    )


_TAG = "grants"
_ON = "/folders/{id}/grants"
_CODES = ("FOLDER_NOT_FOUND", "FILE_DELETED", "FILE_IN_TRASH")

ROUTES = (
    Route(
        *("GET", _ON, list_grants, "What was granted on this very folder", _TAG),
        noun="folder", answer=GrantsAnswer, codes=_CODES,
    ),
    Route(
        *("POST", _ON, give, "Grant a level on a folder and all below it, or change what was granted", _TAG),
        noun="folder", body=GrantGiven, answer=GrantAnswer, status=201, codes=(*_CODES, "NOT_FOUND"), scope="admin",
    ),
    Route(
        *("DELETE", _ON + "/{grant}", take_back, "Take a grant back: what is inherited counts again", _TAG),
        noun="folder", answer=Done, codes=(*_CODES, "NOT_FOUND"), scope="admin",
    ),
)  # fmt: skip
