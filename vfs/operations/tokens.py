"""Tokens: what programs and devices log in with, each revocable by itself (spec §10).

A bearer token goes with each request to REST. An app password stands for the account's own in Basic, on every face.
Both reach as far as their owner does, and no further than their scopes. They outlive a change of the password.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.crypto import secrets
from vfs.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from vfs.metadata.retrying import retried
from vfs.model import Caller, Done, Level
from vfs.operations import guard
from vfs.people import SCOPES, Bearer, Token, TokenKind

_MOST_OF_USER = 200
_LONGEST_NAME = 255  # characters
_LONGEST_SECRET = 1024
_REMEMBERED_NS = 30 * 86_400 * 1_000_000_000  # after its end, so that its owner still sees why it is refused
_AT_ONCE = 500  # rows of one transaction
_ACCOUNT = "\0token"  # under which wrong tokens are counted: nobody has this name


@dataclass(frozen=True, slots=True)
class Issued:
    """The only moment in which the secret is known here."""

    token: Token
    secret: str


@retried
def issue(
    kelp: Kelp,
    caller: Caller,
    name: str,
    kind: TokenKind,
    scopes: tuple[str, ...],
    *,
    user_uuid: str | None = None,
    expires_ns: int | None = None,
) -> Issued:
    """A token for the caller, or, by an admin, for another user.

    Raises InvalidRequest (no name, no or unknown scopes, an expiry that is over, too many), Forbidden, NotFound.
    """
    most = _most(scopes)
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest("a token needs a name of printable characters")
    if caller.most < Level.MANAGE:
        raise Forbidden("a token for less than everything cannot make further ones")
    guard.check_time(expires_ns)
    now = kelp.clock.now_ns()
    if expires_ns is not None and expires_ns <= now:
        raise InvalidRequest("the token would have expired already")
    secret = secrets.new_bearer() if kind is TokenKind.BEARER else secrets.new_app_password()
    with kelp.database.write() as tx:
        user_id, owner = caller.user_id, caller.name
        if user_uuid is not None:
            known = tx.accounts.by_uuid(user_uuid)
            if known is None or not (caller.administers or known[0].id == caller.user_id):
                raise NotFound("there is no such user")
            user_id, owner = known[0].id, known[0].name
        if tx.tokens.count(user_id, now) >= _MOST_OF_USER:
            raise InvalidRequest(f"an account may have {_MOST_OF_USER} tokens: revoke some of them first")
        token = Token(0, str(uuid.uuid4()), owner, kind, name, most, now, expires_ns, None, None)
        tx.tokens.insert(user_id, token, secrets.digest(secret))
    return Issued(token, secret)


def _most(scopes: tuple[str, ...]) -> Level:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InvalidRequest(f"scopes are {', '.join(SCOPES)}")
    return max(SCOPES[scope] for scope in scopes)


def list_tokens(kelp: Kelp, caller: Caller, *, everybodys: bool = False) -> list[Token]:
    """The caller's, but for revoked ones; `everybodys`: an admin sees all. Raises Forbidden."""
    if everybodys and not caller.administers:
        raise Forbidden("only an admin may see everybody's tokens")
    with kelp.database.read() as tx:
        return tx.tokens.every(None if everybodys else caller.user_id)


@retried
def revoke(kelp: Kelp, caller: Caller, token_uuid: str) -> None:
    """From the next request on, in all processes. Raises NotFound, also for another's unless by an admin."""
    with kelp.database.write() as tx:
        found = tx.tokens.by_uuid(token_uuid)
        if found is None or found[0].revoked_ns is not None:
            raise NotFound("there is no such token")
        if found[1] != caller.user_id and not caller.administers:
            raise NotFound("there is no such token")
        tx.tokens.revoke(token_uuid, kelp.clock.now_ns())


def log_in(kelp: Kelp, secret: str, *, face: str, address: str, trace_id: str) -> Caller:
    """By a bearer token. A right one is never kept waiting; wrong ones count as wrong passwords do.

    Raises Unauthenticated, TooManyAttempts.
    """
    if len(secret) <= _LONGEST_SECRET:
        bearer = _look_up(kelp, secret, TokenKind.BEARER)
        if bearer is not None:
            return _caller(kelp, bearer, face, trace_id)
        mark = kelp.passwords.mark("", secret, None)
        if kelp.passwords.recall(mark) is not False:
            with kelp.attempts.admitted(address, _ACCOUNT, mark):
                if kelp.passwords.refuse(mark):
                    kelp.attempts.note(address, _ACCOUNT, right=False)
    raise Unauthenticated("the token is unknown, revoked or expired")


def by_app_password(kelp: Kelp, user_key: str, secret: str, *, face: str, trace_id: str) -> Caller | None:
    """None: it is no app password of that user."""
    if not secrets.may_be_app_password(secret):
        return None
    bearer = _look_up(kelp, secret, TokenKind.APP)
    return _caller(kelp, bearer, face, trace_id) if bearer is not None and bearer.user_key == user_key else None


def _look_up(kelp: Kelp, secret: str, kind: TokenKind) -> Bearer | None:
    digest = secrets.digest(secret)
    bearer = kelp.database.recall(("token", digest), lambda tx: tx.tokens.stands_for(digest))
    if bearer is None or bearer.kind is not kind or bearer.revoked:
        return None
    return bearer if bearer.expires_ns is None or kelp.clock.now_ns() < bearer.expires_ns else None


def _caller(kelp: Kelp, bearer: Bearer, face: str, trace_id: str) -> Caller:
    if kelp.token_uses.note(bearer.token_id, bearer.last_used_ns, kelp.clock.now_ns()):
        kelp.background.submit("token uses", lambda: note_uses(kelp))
    return Caller(bearer.user_id, bearer.user_name, bearer.role, face, trace_id, most=bearer.most)


def note_uses(kelp: Kelp) -> None:
    """Write down what was used of late: nobody has to forget anything for it."""
    while uses := kelp.token_uses.take():
        with kelp.database.write(quiet=True) as tx:
            tx.tokens.used(uses)


def forget(kelp: Kelp) -> Done:
    """Rows of tokens that were revoked, or ran out, 30 days ago: programs make new ones all the time."""
    with kelp.database.read() as tx:
        due = tx.tokens.ended_before(kelp.clock.now_ns() - _REMEMBERED_NS, _AT_ONCE)
    if due:
        _forget(kelp, due)
    return Done(len(due), more=len(due) == _AT_ONCE)


@retried
def _forget(kelp: Kelp, ids: list[int]) -> None:
    with kelp.database.write(quiet=True) as tx:
        tx.tokens.forget(ids)
