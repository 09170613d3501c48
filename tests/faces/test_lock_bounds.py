"""Locks are bounded, per user and per resource, and who reaches a bound is told so (design §11)."""

from __future__ import annotations

import uuid
from urllib.parse import quote

from tests.faces.bad_input import LOCKINFO
from vfs.model import DavLock, Scope
from vfs.operations import access, locking

SHARED = LOCKINFO.replace(b"D:exclusive", b"D:shared")


def held(drive, count: int, expires_ns: int) -> None:
    """The admin has `count` locks on one file, as they would be after as many requests."""
    with drive.kelp.database.write() as tx:
        user = next(user for user in tx.accounts.every() if user.name == "admin")
        entry = tx.one("SELECT id FROM entries WHERE name = 'held'")[0]
        for _ in range(count):
            token = f"urn:uuid:{uuid.uuid4()}"
            tx.locks.insert(DavLock(token, entry, False, Scope.SHARED, "", user.id, user.name, expires_ns, 3600))


def test_locks_of_a_user(served_drive) -> None:
    served_drive.ask("PUT", "/dav/held", b"x")
    soon = served_drive.kelp.clock.now_ns() + 3600 * 10**9
    held(served_drive, locking.MAX_LOCKS_PER_USER - 1, soon)
    last = served_drive.ask("LOCK", "/dav/a", LOCKINFO)
    assert last.status == 201
    refused = served_drive.ask("LOCK", "/dav/b", LOCKINFO)
    assert (refused.status, refused.text) == (403, "you hold too many locks\n")
    assert served_drive.ask("GET", "/dav/b").status == 404, "a refused LOCK makes no file"
    assert served_drive.ask("LOCK", "/dav/b", LOCKINFO, user="other").status == 201, "others are undisturbed"
    token = last.headers["lock-token"]
    assert served_drive.ask("LOCK", "/dav/a", If=f"({token})").status == 200, "a refresh is no new lock"
    assert served_drive.ask("UNLOCK", "/dav/a", Lock_Token=token).status == 204
    assert served_drive.ask("LOCK", "/dav/a", LOCKINFO).status == 200


def test_locks_that_have_ended_do_not_count(served_drive) -> None:
    served_drive.ask("PUT", "/dav/held", b"x")
    held(served_drive, locking.MAX_LOCKS_PER_USER, served_drive.kelp.clock.now_ns() - 1)
    assert served_drive.ask("LOCK", "/dav/a", LOCKINFO).status == 201
    assert len(locking.list_locks(served_drive.kelp, access.system_caller(served_drive.kelp))) == 1


def test_shared_locks_of_a_resource(served_drive) -> None:
    served_drive.ask("PUT", "/dav/file", b"x")
    for number in range(locking.MAX_LOCKS_PER_ENTRY):
        assert served_drive.ask("LOCK", "/dav/file", SHARED, user=("admin", "other")[number % 2]).status == 200
    refused = served_drive.ask("LOCK", "/dav/file", SHARED)
    assert (refused.status, refused.text) == (403, "there are too many shared locks on it\n")
    assert served_drive.ask("LOCK", "/dav/other", SHARED).status == 201


def test_the_owner_of_a_lock(served_drive) -> None:
    def lock(size: int) -> int:
        body = LOCKINFO.replace(b"</D:lockinfo>", b"<D:owner>%s</D:owner></D:lockinfo>" % (b"o" * size))
        return served_drive.ask("LOCK", f"/dav/{quote(str(size))}", body).status

    assert lock(locking.MAX_OWNER_BYTES) == 201
    assert lock(locking.MAX_OWNER_BYTES + 1) == 400
    assert served_drive.ask("GET", f"/dav/{locking.MAX_OWNER_BYTES + 1}").status == 404
