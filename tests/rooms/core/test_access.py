"""People: who they are, and that a password counts from the moment it is set."""

from __future__ import annotations

import pytest

from tests.rooms.core.drive import Drive
from vfs.errors import AlreadyExists, InvalidName, InvalidRequest, NotFound, Unauthenticated
from vfs.model import Role
from vfs.operations import access

PASSWORD = "a long password 한국"


def test_authenticate(drive: Drive) -> None:
    user = access.add_user(drive.kelp, "Zoë", PASSWORD, Role.EDITOR)
    for name in ("Zoë", "zoë", "ZOE\u0308"):  # case and normal form do not matter
        caller = access.authenticate(drive.kelp, name, PASSWORD, face="dav", trace_id="t")
        assert (caller.user_id, caller.name, caller.role, caller.face) == (user.id, "Zoë", Role.EDITOR, "dav")
    for name, password in (
        ("Zoë", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("Zoë", ""),
        ("\ud800", "\ud800"),
        ("Zoë", "\ud800"),
    ):
        with pytest.raises(Unauthenticated) as caught:
            access.authenticate(drive.kelp, name, password, face="dav")
        assert str(caught.value) == "unknown user or wrong password"


def test_a_remembered_credential_is_forgotten_with_the_password(drive: Drive) -> None:
    access.add_user(drive.kelp, "zoe", PASSWORD, Role.EDITOR)
    access.authenticate(drive.kelp, "zoe", PASSWORD, face="dav")
    access.authenticate(drive.kelp, "zoe", PASSWORD, face="dav")
    access.set_password(drive.kelp, "zoe", "another password")
    with pytest.raises(Unauthenticated):
        access.authenticate(drive.kelp, "zoe", PASSWORD, face="dav")
    access.authenticate(drive.kelp, "zoe", "another password", face="dav")
    access.remove_user(drive.kelp, "zoe")
    with pytest.raises(Unauthenticated):
        access.authenticate(drive.kelp, "zoe", "another password", face="dav")


def test_a_verified_credential_is_not_hashed_again_an_unknown_user_is(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher = type(drive.kelp.passwords._hasher)
    hashed: list[str] = []
    verify = hasher.verify
    monkeypatch.setattr(hasher, "verify", lambda self, h, p: hashed.append(p) or verify(self, h, p))
    access.add_user(drive.kelp, "zoe", PASSWORD, Role.EDITOR)
    for _ in range(3):
        access.authenticate(drive.kelp, "zoe", PASSWORD, face="dav")
    assert len(hashed) == 1
    for name in ("zoe", "nobody"):  # an unknown user takes as long as a wrong password, and as short the second time
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                access.authenticate(drive.kelp, name, "wrong", face="dav")
    assert len(hashed) == 3


def test_what_nobody_can_have_is_not_even_looked_at(drive: Drive) -> None:
    """Names and passwords come from strangers, in heads of up to 64 KiB."""
    for name, password in (("n" * 50_000, PASSWORD), ("zoe", "p" * 50_000)):
        with pytest.raises(Unauthenticated):
            access.authenticate(drive.kelp, name, password, face="dav")
    with pytest.raises(InvalidRequest):
        access.add_user(drive.kelp, "zoe", "p" * 1025, Role.EDITOR)


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "line\nbreak", ".", "x" * 256])
def test_names_that_no_user_can_have(drive: Drive, name: str) -> None:
    with pytest.raises(InvalidName):
        access.add_user(drive.kelp, name, PASSWORD, Role.EDITOR)


def test_refusals(drive: Drive) -> None:
    with pytest.raises(AlreadyExists):
        access.add_user(drive.kelp, "EDITOR", PASSWORD, Role.VIEWER)
    with pytest.raises(InvalidRequest):
        access.add_user(drive.kelp, "new", "short", Role.VIEWER)
    with pytest.raises(InvalidRequest):
        access.set_password(drive.kelp, "editor", "short")
    for action in (
        lambda: access.set_password(drive.kelp, "no", PASSWORD),
        lambda: access.remove_user(drive.kelp, "no"),
    ):
        with pytest.raises(NotFound):
            action()


def test_the_last_admin_stays(drive: Drive) -> None:
    admin = access.find_user(drive.kelp, "admin")
    for action in (
        lambda: access.remove_user(drive.kelp, "admin"),
        lambda: access.remove(drive.kelp, admin.uuid),
        lambda: access.set_role(drive.kelp, "admin", Role.EDITOR),
        lambda: access.change_user(drive.kelp, admin.uuid, role=Role.VIEWER),
    ):
        with pytest.raises(InvalidRequest):
            action()
    with drive.kelp.database.write() as tx:
        tx.accounts.insert("second", "second", "!", Role.ADMIN, 0)
    access.set_role(drive.kelp, "admin", Role.EDITOR)
    access.remove_user(drive.kelp, "admin")
    assert access.system_caller(drive.kelp).name == "second"


def test_files_outlive_their_user_and_his_locks_and_grants_go(drive: Drive) -> None:
    drive.put("a", b"kept", drive.other)
    drive.lock("a", drive.other)
    drive.folder("f")
    drive.grant("f", 0, drive.other)
    access.remove_user(drive.kelp, "other")
    assert drive.read("a") == b"kept"
    drive.put("a", b"changed")
    assert [user.name for user in access.list_users(drive.kelp)] == ["admin", "editor", "viewer"]
    assert drive.sql("SELECT 1 FROM grants") == [] and access.has_users(drive.kelp)
