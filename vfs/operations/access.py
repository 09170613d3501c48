"""People: who they are, and whether the password is right."""

from __future__ import annotations

import uuid

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, Forbidden, InvalidName, InvalidRequest, NotFound, Unauthenticated
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import Caller, Role, User
from vfs.operations import tokens

_MIN_PASSWORD = 8  # characters
_LONGEST_PASSWORD = 1024  # characters; longer ones only cost time
_LONGEST_NAME = 1024  # characters; no account has a longer one, in whatever form it is typed


def authenticate(kelp: Kelp, name: str, password: str, *, face: str, address: str = "", trace_id: str = "") -> Caller:
    """By the password of the account, or by an app password. Raises Unauthenticated, without saying whether name or
    password was wrong, and TooManyAttempts when so many were wrong before that it is not even looked at. `address` is
    where the caller comes from, "" for this machine."""
    if not (
        _is_text(name) and _is_text(password) and len(name) <= _LONGEST_NAME and len(password) <= _LONGEST_PASSWORD
    ):
        raise Unauthenticated("unknown user or wrong password")
    key = _key(name)
    device = tokens.by_app_password(kelp, key, password, face=face, trace_id=trace_id)
    if device is not None:
        return device
    user = _verified(kelp, key, password, address)
    return Caller(user.id, user.name, user.role, face, trace_id)


def _verified(kelp: Kelp, key: str, password: str, address: str) -> User:
    """The user of that name key, whose account has this very password. Raises Unauthenticated, TooManyAttempts."""
    known = kelp.database.recall(("user", key), lambda tx: tx.accounts.find(key))
    mark = kelp.passwords.mark(key, password, known[1] if known else None)
    right = kelp.passwords.recall(mark)
    if right is None:
        with kelp.attempts.admitted(address, key, mark):
            right, is_news = kelp.passwords.verify(mark, password, known[1] if known else None)
        if is_news:
            kelp.attempts.note(address, key, right)
    if known is None or not right:
        raise Unauthenticated("unknown user or wrong password")
    return known[0]


def system_caller(kelp: Kelp, face: str = "cli") -> Caller:
    """The command line acts as the first admin. Raises NotFound on a drive without one."""
    with kelp.database.read() as tx:
        admins = [user for user in tx.accounts.every() if user.role == Role.ADMIN]
    if not admins:
        raise NotFound("this drive has no admin yet: start it once with `kelp serve`")
    return Caller(admins[0].id, admins[0].name, Role.ADMIN, face)


def caller_named(kelp: Kelp, name: str, face: str) -> Caller:
    """Whoever can write the data folder may act as anybody. Raises NotFound."""
    user = find_user(kelp, name)
    return Caller(user.id, user.name, user.role, face)


def has_users(kelp: Kelp) -> bool:
    with kelp.database.read() as tx:
        return bool(tx.accounts.every())


def list_users(kelp: Kelp) -> list[User]:
    with kelp.database.read() as tx:
        return tx.accounts.every()


def find_user(kelp: Kelp, name: str) -> User:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        return _named(tx, name)


def get_user(kelp: Kelp, caller: Caller, user_uuid: str) -> User:
    """Anybody by an admin, else oneself. Raises NotFound."""
    with kelp.database.read() as tx:
        user = _of_id(tx, user_uuid)
    if user.id != caller.user_id and not caller.administers:
        raise NotFound("there is no such user")
    return user


def myself(kelp: Kelp, caller: Caller) -> User:
    """Raises NotFound: removed in this moment."""
    return find_user(kelp, caller.name)


@retried
def add_user(kelp: Kelp, name: str, password: str, role: Role) -> User:
    """Raises InvalidName (empty, control characters, a colon: Basic cannot carry it), AlreadyExists, InvalidRequest."""
    _check_name(name)
    hashed = _hash(kelp, password)
    with kelp.database.write() as tx:
        _require_free(tx, name)
        now, public_id = kelp.clock.now_ns(), str(uuid.uuid4())
        id = tx.accounts.insert(name, _key(name), hashed, role, now, public_id)
        return User(id, name, role, now, public_id)


@retried
def change_user(
    kelp: Kelp, user_uuid: str, *, name: str | None = None, role: Role | None = None, password: str | None = None
) -> User:
    """What is None stays. Raises NotFound, InvalidName, AlreadyExists, InvalidRequest (the last admin)."""
    if name is not None:
        _check_name(name)
    hashed = None if password is None else _hash(kelp, password)
    with kelp.database.write() as tx:
        _one_at_a_time(tx)
        user = _of_id(tx, user_uuid)
        if name is not None and name != user.name:
            _require_free(tx, name, but=user.id)
            tx.accounts.rename(user.id, name, _key(name))
        if role is not None and role != user.role:
            _keep_an_admin(tx, user)
            tx.accounts.set_role(user.id, role)
        if hashed is not None:
            tx.accounts.set_password(user.id, hashed)
        return _of_id(tx, user_uuid)


@retried
def set_password(kelp: Kelp, name: str, password: str) -> None:
    """Raises NotFound, InvalidRequest (too short or too long)."""
    hashed = _hash(kelp, password)
    with kelp.database.write() as tx:
        tx.accounts.set_password(_named(tx, name).id, hashed)


def change_own_password(kelp: Kelp, caller: Caller, current: str, new: str, address: str) -> None:
    """Only by who knows the account's password: an app password or a token does not do. Others who are logged in with
    it are out with their next request. Raises Forbidden, TooManyAttempts, InvalidRequest."""
    try:
        if not _is_text(current) or len(current) > _LONGEST_PASSWORD:
            raise Unauthenticated("no password is like that")
        _verified(kelp, _key(caller.name), current, address)
    except Unauthenticated as error:
        raise Forbidden("the current password is wrong") from error
    set_password(kelp, caller.name, new)


@retried
def remove_user(kelp: Kelp, name: str) -> None:
    """Their files stay. Raises NotFound, InvalidRequest (the last admin)."""
    with kelp.database.write() as tx:
        _one_at_a_time(tx)
        _remove(tx, _named(tx, name))


@retried
def remove(kelp: Kelp, user_uuid: str) -> None:
    """The same by public id."""
    with kelp.database.write() as tx:
        _one_at_a_time(tx)
        _remove(tx, _of_id(tx, user_uuid))


@retried
def set_role(kelp: Kelp, name: str, role: Role) -> None:
    """Raises NotFound, InvalidRequest (the last admin)."""
    with kelp.database.write() as tx:
        _one_at_a_time(tx)
        user = _named(tx, name)
        if role != user.role:
            _keep_an_admin(tx, user)
            tx.accounts.set_role(user.id, role)


def _remove(tx: Tx, user: User) -> None:
    _keep_an_admin(tx, user)
    tx.accounts.delete(user.id)


def _one_at_a_time(tx: Tx) -> None:
    """Of two admins who remove each other, the second finds himself the last."""
    tx.lock_tree(exclusive=True)


def _keep_an_admin(tx: Tx, user: User) -> None:
    """`user` is about to be one no more. Raises InvalidRequest."""
    if user.role == Role.ADMIN and tx.accounts.count_admins() == 1:
        raise InvalidRequest("the last admin stays one, and cannot be removed")


def _named(tx: Tx, name: str) -> User:
    known = tx.accounts.find(_key(name)) if _is_text(name) else None
    if known is None:
        raise NotFound(f"there is no user {name!r}")
    return known[0]


def _of_id(tx: Tx, user_uuid: str) -> User:
    known = tx.accounts.by_uuid(user_uuid)
    if known is None:
        raise NotFound("there is no such user")
    return known[0]


def _check_name(name: str) -> None:
    names.check_segment(name)
    if ":" in name:
        raise InvalidName("a user name cannot have a colon")


def _require_free(tx: Tx, name: str, but: int | None = None) -> None:
    known = tx.accounts.find(_key(name))
    if known is not None and known[0].id != but:
        raise AlreadyExists(f"there is a user {name!r} already")


def _hash(kelp: Kelp, password: str) -> str:
    if not _is_text(password):
        raise InvalidRequest("a password must be text")
    if len(password) < _MIN_PASSWORD:
        raise InvalidRequest(f"a password needs at least {_MIN_PASSWORD} characters")
    if len(password) > _LONGEST_PASSWORD:
        raise InvalidRequest(f"a password may have {_LONGEST_PASSWORD} characters")
    return kelp.passwords.hash(password)


def _is_text(words: str) -> bool:
    """False for halves of surrogate pairs and NULs, which JSON may bring and databases do not take."""
    return "\0" not in words and (words.isascii() or not any("\ud800" <= each <= "\udfff" for each in words))


def _key(name: str) -> str:
    return names.key(name, case_sensitive=False)
