"""People: who they are, and whether the password is right."""

from __future__ import annotations

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, InvalidName, InvalidRequest, NotFound, Unauthenticated
from vfs.metadata.retrying import retried
from vfs.model import Caller, Role, User

_MIN_PASSWORD = 8  # characters
_LONGEST_PASSWORD = 1024  # characters; longer ones only cost time
_LONGEST_NAME = 1024  # characters; no account has a longer one, in whatever form it is typed


def authenticate(kelp: Kelp, name: str, password: str, *, face: str, address: str = "", trace_id: str = "") -> Caller:
    """Raises Unauthenticated, without saying whether name or password was wrong, and TooManyAttempts when so many
    were wrong before that it is not even looked at. `address` is where the caller comes from, "" for this machine."""
    if not (
        _is_text(name) and _is_text(password) and len(name) <= _LONGEST_NAME and len(password) <= _LONGEST_PASSWORD
    ):
        raise Unauthenticated("unknown user or wrong password")
    key = _key(name)
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
    return Caller(known[0].id, known[0].name, known[0].role, face, trace_id)


def system_caller(kelp: Kelp, face: str = "cli") -> Caller:
    """The command line acts as the first admin. Raises NotFound on a drive without one."""
    with kelp.database.read() as tx:
        admins = [user for user in tx.accounts.every() if user.role == Role.ADMIN]
    if not admins:
        raise NotFound("this drive has no admin yet: start it once with `kelp serve`")
    return Caller(admins[0].id, admins[0].name, Role.ADMIN, face)


def has_users(kelp: Kelp) -> bool:
    with kelp.database.read() as tx:
        return bool(tx.accounts.every())


@retried
def add_user(kelp: Kelp, name: str, password: str, role: Role) -> User:
    """Raises InvalidName (empty, control characters, a colon: Basic cannot carry it), AlreadyExists, InvalidRequest."""
    names.check_segment(name)
    if ":" in name:
        raise InvalidName("a user name cannot have a colon")
    hashed = _hash(kelp, password)
    with kelp.database.write() as tx:
        if tx.accounts.find(_key(name)) is not None:
            raise AlreadyExists(f"there is a user {name!r} already")
        now = kelp.clock.now_ns()
        return User(tx.accounts.insert(name, _key(name), hashed, role, now), name, role, now)


def list_users(kelp: Kelp) -> list[User]:
    with kelp.database.read() as tx:
        return tx.accounts.every()


@retried
def set_password(kelp: Kelp, name: str, password: str) -> None:
    """Raises NotFound, InvalidRequest (too short or too long)."""
    hashed = _hash(kelp, password)
    with kelp.database.write() as tx:
        known = tx.accounts.find(_key(name))
        if known is None:
            raise NotFound(f"there is no user {name!r}")
        tx.accounts.set_password(known[0].id, hashed)


@retried
def remove_user(kelp: Kelp, name: str) -> None:
    """Their files stay. Raises NotFound, InvalidRequest (the last admin)."""
    with kelp.database.write() as tx:
        tx.lock_tree(exclusive=True)  # of two admins who remove each other, the second finds himself the last
        known = tx.accounts.find(_key(name))
        if known is None:
            raise NotFound(f"there is no user {name!r}")
        if known[0].role == Role.ADMIN and tx.accounts.count_admins() == 1:
            raise InvalidRequest("the last admin cannot be removed")
        tx.accounts.delete(known[0].id)


def _hash(kelp: Kelp, password: str) -> str:
    if not _is_text(password):
        raise InvalidRequest("a password must be text")
    if len(password) < _MIN_PASSWORD:
        raise InvalidRequest(f"a password needs at least {_MIN_PASSWORD} characters")
    if len(password) > _LONGEST_PASSWORD:
        raise InvalidRequest(f"a password may have {_LONGEST_PASSWORD} characters")
    return kelp.passwords.hash(password)


def _is_text(words: str) -> bool:
    """False for halves of surrogate pairs, which JSON may bring and neither database nor hash can take."""
    return words.isascii() or not any("\ud800" <= character <= "\udfff" for character in words)


def _key(name: str) -> str:
    return names.key(name, case_sensitive=False)
