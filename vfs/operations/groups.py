"""Groups: several people who are granted something together. Only admins change them."""

from __future__ import annotations

from vfs import names
from vfs.core import Kelp
from vfs.errors import AlreadyExists, NotFound
from vfs.metadata.database import Tx
from vfs.metadata.retrying import retried
from vfs.model import User
from vfs.people import Group


def list_groups(kelp: Kelp, of_user: User | None = None) -> list[Group]:
    """All, or those that somebody is in."""
    with kelp.database.read() as tx:
        return tx.groups.every() if of_user is None else tx.groups.of_user(of_user.id)


def find(kelp: Kelp, name: str) -> Group:
    """Raises NotFound."""
    with kelp.database.read() as tx:
        found = tx.groups.find(_key(name)) if _is_possible(name) else None
    if found is None:
        raise NotFound(f"there is no group {name!r}")
    return found


def get(kelp: Kelp, group_uuid: str) -> tuple[Group, list[User]]:
    """With its members. Raises NotFound."""
    with kelp.database.read() as tx:
        group = _of_id(tx, group_uuid)
        return group, tx.groups.members(group.id)


@retried
def add(kelp: Kelp, name: str) -> Group:
    """Raises InvalidName, AlreadyExists."""
    names.check_segment(name)
    with kelp.database.write() as tx:
        _require_free(tx, name)
        return tx.groups.insert(name, _key(name), kelp.clock.now_ns())


@retried
def rename(kelp: Kelp, group_uuid: str, name: str) -> Group:
    """Raises NotFound, InvalidName, AlreadyExists."""
    names.check_segment(name)
    with kelp.database.write() as tx:
        group = _of_id(tx, group_uuid)
        _require_free(tx, name, but=group.id)
        tx.groups.rename(group.id, name, _key(name))
        return _of_id(tx, group_uuid)


@retried
def remove(kelp: Kelp, group_uuid: str) -> None:
    """With all that was granted to it. Raises NotFound."""
    with kelp.database.write() as tx:
        tx.groups.delete(_of_id(tx, group_uuid).id)


@retried
def join(kelp: Kelp, group_uuid: str, user_uuid: str) -> None:
    """Once is enough. Raises NotFound: no such group, or no such user."""
    with kelp.database.write() as tx:
        group, user = _of_id(tx, group_uuid), tx.accounts.by_uuid(user_uuid)
        if user is None:
            raise NotFound("there is no such user")
        tx.groups.add(group.id, user[0].id)


@retried
def leave(kelp: Kelp, group_uuid: str, user_uuid: str) -> None:
    """Raises NotFound, also for who is not in it."""
    with kelp.database.write() as tx:
        group, user = _of_id(tx, group_uuid), tx.accounts.by_uuid(user_uuid)
        if user is None or not tx.groups.remove(group.id, user[0].id):
            raise NotFound("the group has no such member")


def _of_id(tx: Tx, group_uuid: str) -> Group:
    found = tx.groups.by_uuid(group_uuid)
    if found is None:
        raise NotFound("there is no such group")
    return found


def _require_free(tx: Tx, name: str, but: int | None = None) -> None:
    taken = tx.groups.find(_key(name))
    if taken is not None and taken.id != but:
        raise AlreadyExists(f"there is a group {name!r} already")


def _is_possible(text: str) -> bool:
    """Databases take neither NUL nor halves of surrogate pairs, and nothing here has one."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _key(name: str) -> str:
    return names.key(name, case_sensitive=False)
