"""The first start on an empty data folder: somebody must be able to log in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from vfs.core import Kelp
from vfs.model import Role
from vfs.operations import access

ADMIN = "admin"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # no i, l, o, 0, 1: people copy it by hand
_GROUPS, _GROUP_LENGTH = 4, 5  # 20 of 31 letters: 99 bits


def make_up_password() -> str:
    """A password that can be read out and typed, such as `k3vfa-…-…-…`."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)


@dataclass(frozen=True, slots=True)
class Login:
    """Who may log in, and what the banner says about the password. `password` only when it was just made up."""

    user: str
    password: str | None
    note: str


def ensure_admin(kelp: Kelp, environ: Mapping[str, str]) -> Login:
    """Add the first administrator when there is no user.

    KELP_ADMIN_PASSWORD is taken when set; it counts on the first start only. Raises InvalidRequest when too short.
    """
    if access.has_users(kelp):
        admins = [user.name for user in access.list_users(kelp) if user.role is Role.ADMIN]
        name = admins[0] if admins else ADMIN
        return Login(name, None, f"the one you set; `kelp user passwd {name}` changes it")
    given = environ.get("KELP_ADMIN_PASSWORD", "")
    password = given or make_up_password()
    access.add_user(kelp, ADMIN, password, Role.ADMIN)
    if given:
        return Login(ADMIN, None, "the one in KELP_ADMIN_PASSWORD")
    return Login(ADMIN, password, "made up, shown only this once: write it down")
