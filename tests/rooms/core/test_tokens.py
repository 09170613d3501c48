"""Tokens and app passwords: whom they stand for, until when, and what wrong ones cost."""

from __future__ import annotations

import contextlib

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import Forbidden, InvalidRequest, NotFound, TooManyAttempts, Unauthenticated
from vfs.model import Caller, Level
from vfs.operations import access, folders, groups, reading, tokens, trashing
from vfs.people import SCOPES, TokenKind

ELSEWHERE = "203.0.113.7"
SECOND = 1_000_000_000


def issue(drive: Drive, caller: Caller | None = None, kind: TokenKind = TokenKind.BEARER, **wanted: object) -> str:
    scopes = ("read", "write")
    return tokens.issue(drive.kelp, caller or drive.editor, "x", kind, scopes, **wanted).secret  # type: ignore[arg-type]


def log_in(drive: Drive, secret: str, address: str = ELSEWHERE) -> Caller:
    return tokens.log_in(drive.kelp, secret, face="rest", address=address, trace_id="t")


def test_whom_it_stands_for(drive: Drive) -> None:
    caller = log_in(drive, issue(drive))
    assert (caller.user_id, caller.name, caller.most) == (drive.editor.user_id, "editor", Level.WRITE)
    assert (caller.face, caller.trace_id, caller.scopes) == ("rest", "t", ("read", "write"))
    device = issue(drive, kind=TokenKind.APP)
    assert access.authenticate(drive.kelp, "EDITOR", device, face="dav").rights == caller.rights
    for secret in (device, "", "kelp_", "\ud800", "\0", "x" * 5000):
        with pytest.raises(Unauthenticated):
            log_in(drive, secret, "")


def test_until_when(drive: Drive) -> None:
    secret = issue(drive, expires_ns=drive.clock.now + 60 * SECOND)
    log_in(drive, secret)
    drive.clock.advance(59)
    log_in(drive, secret)
    drive.clock.advance(1)
    with pytest.raises(Unauthenticated):
        log_in(drive, secret)


def test_wrong_ones_have_to_wait_and_right_ones_do_not(drive: Drive) -> None:
    secret = issue(drive)
    with pytest.raises(TooManyAttempts):
        for n in range(60):
            with contextlib.suppress(Unauthenticated):
                log_in(drive, f"kelp_guess{n}")
    for _ in range(50):  # a program that was not told of a revocation is no attack
        with pytest.raises(Unauthenticated):
            log_in(drive, "kelp_guess0")
    log_in(drive, secret)


def test_one_that_was_revoked_blocks_nobody(drive: Drive) -> None:
    secret = issue(drive)
    log_in(drive, secret)
    token = tokens.list_tokens(drive.kelp, drive.editor)[0].uuid
    with pytest.raises(NotFound):
        tokens.revoke(drive.kelp, drive.other, token)
    tokens.revoke(drive.kelp, drive.editor, token)
    with pytest.raises(NotFound):
        tokens.revoke(drive.kelp, drive.editor, token)
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            log_in(drive, secret)
    log_in(drive, issue(drive))


def test_when_it_was_used_is_noted_now_and_then(drive: Drive) -> None:
    secret = issue(drive)
    known = drive.kelp.database.version()

    def used() -> int | None:
        tokens.note_uses(drive.kelp)
        assert drive.kelp.background.wait(60)
        return tokens.list_tokens(drive.kelp, drive.editor)[0].last_used_ns

    assert used() is None
    log_in(drive, secret)
    first = drive.clock.now
    assert used() == first
    drive.clock.advance(200)
    log_in(drive, secret)
    assert used() == first
    drive.clock.advance(200)
    log_in(drive, secret)
    assert used() == drive.clock.now
    if drive.kelp.settings.database.url.startswith("sqlite"):  # on PostgreSQL every commit is one
        assert drive.kelp.database.version() == known


@pytest.mark.parametrize("scope", list(SCOPES))
def test_it_reaches_no_further_than_its_scope(drive: Drive, scope: str) -> None:
    drive.folder("f")
    most = SCOPES[scope]
    issued = tokens.issue(drive.kelp, drive.admin, "x", TokenKind.APP, (scope,))
    caller = access.authenticate(drive.kelp, "admin", issued.secret, face="dav")
    assert issued.token.scopes == tuple(SCOPES)[: list(SCOPES).index(scope) + 1]
    assert reading.level_on(drive.kelp, caller, drive.entry("f").id) == most
    assert caller.administers == (most == Level.MANAGE)
    if most < Level.MANAGE:
        with pytest.raises(Forbidden):
            tokens.issue(drive.kelp, caller, "more", TokenKind.APP, ("read",))
    if most < Level.WRITE:
        with pytest.raises(Forbidden):
            folders.make_folder(drive.kelp, caller, drive.place("f/g"))
    drive.put("mine")
    drive.clock.advance(100)
    drive.remove("mine")
    assert len(trashing.list_trash(drive.kelp, caller)) == (1 if caller.administers else 0)


def test_what_cannot_be_issued(drive: Drive) -> None:
    for name, scopes in (("", ("read",)), ("a\nb", ("read",)), ("x" * 256, ("read",)), ("x", ()), ("x", ("all",))):
        with pytest.raises(InvalidRequest):
            tokens.issue(drive.kelp, drive.editor, name, TokenKind.BEARER, scopes)
    for _ in range(200):
        issue(drive)
    with pytest.raises(InvalidRequest):
        issue(drive)
    issue(drive, drive.other)


def test_it_goes_with_its_user(drive: Drive) -> None:
    secret = issue(drive, drive.other)
    access.remove_user(drive.kelp, "other")
    with pytest.raises(Unauthenticated):
        log_in(drive, secret)


def test_a_group_of_that_name_in_whatever_form(drive: Drive) -> None:
    made = groups.add(drive.kelp, "Zoë")
    assert groups.find(drive.kelp, "ZOE\u0308").uuid == made.uuid
    assert groups.rename(drive.kelp, made.uuid, "zoë").name == "zoë"
