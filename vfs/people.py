"""Values about people: groups, what they are granted, and what their programs log in with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vfs.model import Level, Role


@dataclass(frozen=True, slots=True)
class Group:
    id: int
    uuid: str
    name: str
    created_ns: int
    members: int = 0  # how many


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user or a group may do in a folder and all below it. `is_group` says which of them `subject` names."""

    uuid: str
    folder_id: int
    subject: str
    subject_uuid: str
    is_group: bool
    level: Level
    created_ns: int


class TokenKind(StrEnum):
    BEARER = "bearer"  # for programs, on REST
    APP = "app"  # a password of one device or program, in the place of the account's own: Basic, on every face


# What a token may be used for, each with all before it, as its owner's rights reach: look; change files; everything,
# such as people, grants and further tokens.
SCOPES: dict[str, Level] = {"read": Level.READ, "write": Level.WRITE, "admin": Level.MANAGE}


@dataclass(frozen=True, slots=True)
class Token:
    """`most`: its widest scope. The secret itself is known to nobody but who made it."""

    id: int
    uuid: str
    user_name: str
    kind: TokenKind
    name: str
    most: Level
    created_ns: int
    expires_ns: int | None
    last_used_ns: int | None
    revoked_ns: int | None

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(name for name, level in SCOPES.items() if level <= self.most)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a secret stands for, as a log-in needs it."""

    token_id: int
    kind: TokenKind
    most: Level
    expires_ns: int | None
    revoked: bool
    user_id: int
    user_key: str
    user_name: str
    role: Role
    last_used_ns: int | None
