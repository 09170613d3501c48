"""`kelp group`, `kelp grant`, `kelp token`, `kelp user role` against a real drive."""

from __future__ import annotations

import pytest

from tests.rooms.test_cli import Run, drive, one_line, run, someone
from vfs.core import Kelp
from vfs.errors import Unauthenticated
from vfs.model import ROOT_ID, Caller, Level, Place, Role
from vfs.operations import access, folders, reading, tokens

__all__ = ["drive", "run", "someone"]  # fixtures


@pytest.fixture
def anna(drive: Kelp) -> Caller:
    user = access.add_user(drive, "anna", "correct horse", Role.EDITOR)
    return Caller(user.id, user.name, user.role, "dav")


def test_groups_and_grants(run: Run, drive: Kelp, someone: Caller, anna: Caller) -> None:
    folder = folders.make_folder(drive, someone, Place(ROOT_ID, "Docs"))
    assert run("group", "add", "staff", "ANNA").out == "added staff\n"
    assert [row[:2] for row in run("group", "list").rows] == [["staff", "1"]]
    assert run("group", "list", "staff").rows == [["anna", "editor"]]
    assert run("grant", "set", "/Docs", "none", "--group", "staff").out == "staff has none on /Docs\n"
    assert run("grant", "set", "/", "read", "--user", "anna").code == 0
    assert [row[:4] for row in run("grant", "list").rows] == [
        ["/", "user", "anna", "read"],
        ["/Docs", "group", "staff", "none"],
    ]
    assert [row[0] for row in run("grant", "list", "Docs").rows] == ["/Docs"]
    assert reading.level_on(drive, anna, folder.id) == Level.NONE
    assert run("group", "leave", "staff", "anna").code == 0
    assert reading.level_on(drive, anna, folder.id) == Level.READ
    assert run("group", "join", "staff", "anna").code == 0
    assert run("grant", "remove", "/Docs", "--group", "staff").code == 0
    assert reading.level_on(drive, anna, folder.id) == Level.READ
    assert run("group", "remove", "staff").out == "removed staff\n"
    assert run("group", "list").out == ""


def test_refusals(run: Run, drive: Kelp, someone: Caller, anna: Caller) -> None:
    refused = [
        (["grant", "set", "/Docs", "read", "--user", "nobody"], 1),
        (["grant", "set", "/nothing", "read", "--user", "anna"], 1),
        (["grant", "set", "/", "read"], 2),
        (["grant", "set", "/", "read", "--user", "anna", "--group", "x"], 2),
        (["grant", "remove", "/", "--user", "anna"], 1),
        (["group", "add", "a/b"], 1),
        (["group", "list", "nothing"], 1),
        (["token", "create", "nobody", "x"], 1),
        (["token", "revoke", "nothing"], 1),
        (["user", "role", "nobody", "viewer"], 1),
    ]
    for arguments, code in refused:
        answer = run(*arguments)
        assert answer.code == code, arguments
        assert code == 2 or one_line(answer.err), arguments


def test_tokens(run: Run, drive: Kelp, someone: Caller, anna: Caller) -> None:
    secret = run("token", "create", "anna", "backup", "--scope", "read", "--days", "30").out.strip()
    caller = tokens.log_in(drive, secret, face="rest", address="", trace_id="")
    assert (caller.name, caller.most) == ("anna", Level.READ)
    device = run("token", "create", "anna", "phone", "--app").out.strip()
    assert access.authenticate(drive, "anna", device, face="dav").most == Level.WRITE
    listed = run("token", "list", "anna").rows
    assert [row[:4] for row in listed] == [
        ["anna", "backup", "bearer", "read"],
        ["anna", "phone", "app", "read write"],
    ]
    assert run("token", "revoke", listed[1][-1]).code == 0
    with pytest.raises(Unauthenticated):
        access.authenticate(drive, "anna", device, face="dav")
    assert len(run("token", "list").rows) == 1


def test_a_role(run: Run, drive: Kelp, someone: Caller, anna: Caller) -> None:
    assert run("user", "role", "anna", "viewer").out == "anna is viewer now\n"
    assert access.find_user(drive, "anna").role == Role.VIEWER
