"""Tokens and app passwords: everybody's own; an admin sees, makes and revokes those of others too."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from http_api.models import Body, Done, Model, Name, Query, ns_of, time_of
from http_api.routing import Ask, Reply, Route
from vfs.operations import tokens
from vfs.people import Token, TokenKind

Scope = Literal["read", "write", "admin"]


class TokenShown(Model):
    """`lastUsedAt` is known to some minutes."""

    id: str
    user: str
    kind: TokenKind
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TokensAnswer(Model):
    success: Literal[True] = True
    tokens: list[TokenShown]


class IssuedAnswer(Model):
    success: Literal[True] = True
    token: TokenShown
    secret: str = Field(description="shown this once: it is not kept")


class TokenGiven(Body):
    """`kind` "bearer": for `Authorization: Bearer` here. "app": a password for Basic, here and on the drive."""

    name: Name
    kind: TokenKind = TokenKind.BEARER
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = Field(default=["read", "write"])
    expires_at: AwareDatetime | None = None
    user_id: Annotated[Name | None, Field(description="whose, when an admin makes it for somebody")] = None


class Whose(Query):
    everybodys: Annotated[bool, Field(description="for admins: those of all users")] = False


def list_tokens(ask: Ask) -> Reply:
    found = tokens.list_tokens(ask.kelp, ask.caller, everybodys=ask.query(Whose).everybodys)
    return Reply(TokensAnswer(success=True, tokens=[_shown(token) for token in found]))


def issue(ask: Ask) -> Reply:
    given = ask.body(TokenGiven)
    expires_ns = None if given.expires_at is None else ns_of(given.expires_at)
    issued = tokens.issue(
        ask.kelp, ask.caller, given.name, given.kind, tuple(given.scopes),
        user_uuid=given.user_id, expires_ns=expires_ns,
    )  # fmt: skip
    answer = IssuedAnswer(success=True, token=_shown(issued.token), secret=issued.secret)
    return Reply(answer, 201, (("Cache-Control", "no-store"),))


def revoke(ask: Ask) -> Reply:
    tokens.revoke(ask.kelp, ask.caller, ask.ids["id"])
    return Reply(Done(success=True))


def _shown(token: Token) -> TokenShown:
    return TokenShown.model_validate(
        {
            "id": token.uuid,
            "user": token.user_name,
            "kind": token.kind,
            "name": token.name,
            "scopes": list(token.scopes),
            "created_at": time_of(token.created_ns),
            "expires_at": None if token.expires_ns is None else time_of(token.expires_ns),
            "last_used_at": None if token.last_used_ns is None else time_of(token.last_used_ns),
        }
    )


_TAG = "tokens"

ROUTES = (
    Route("GET", "/tokens", list_tokens, "Your tokens and app passwords", _TAG, query=Whose, answer=TokensAnswer),
    Route(
        *("POST", "/tokens", issue, "A new token or app password; its secret is in the answer, and nowhere else", _TAG),
        body=TokenGiven, answer=IssuedAnswer, status=201, codes=("NOT_FOUND",), scope="admin",
    ),
    Route(
        *("DELETE", "/tokens/{id}", revoke, "Revoke a token: it is worth nothing from now on", _TAG),
        answer=Done, codes=("NOT_FOUND",), scope="admin",
    ),
)  # fmt: skip
