"""Brute force over a real server: who guesses waits, who is known does not, and no thread is held by it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faces.conftest import Reply
from vfs.operations import access

HOME, ATTACKER = "127.0.0.1", "127.0.0.2"  # the whole of 127/8 is this machine


def log_in(drive, name: str, password: str, address: str = HOME, encoding: str = "utf-8") -> Reply:
    basic = "Basic " + base64.b64encode(f"{name}:{password}".encode(encoding)).decode()
    connection = http.client.HTTPConnection("127.0.0.1", drive.port, timeout=60, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("OPTIONS", "/dav/", headers={"Authorization": basic})
        answer = connection.getresponse()
        return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())


def test_guessing_ends_at_429_for_the_guesser_alone(served_drive) -> None:
    right = served_drive.password
    statuses = [log_in(served_drive, "admin", f"guess {n}", ATTACKER).status for n in range(12)]
    assert statuses == [401] * 5 + [429] * 7
    refused = log_in(served_drive, "admin", right, ATTACKER)
    assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
    assert "www-authenticate" not in refused.headers, "a client would ask its user for another password"
    assert log_in(served_drive, "admin", right).status == 200, "the same account from elsewhere"
    assert log_in(served_drive, "other", right, ATTACKER).status == 200, "another account from there"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_with_accents_is_one_guess(served_drive, encoding: str) -> None:
    statuses = [log_in(served_drive, "admin", f"gu\u00e9ss {n}", ATTACKER, encoding).status for n in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    access.set_password(served_drive.kelp, "other", "gar\u00e7on d'\u00eele")
    assert log_in(served_drive, "other", "gar\u00e7on d'\u00eele", encoding=encoding).status == 200


def test_many_accounts_from_one_address(served_drive) -> None:
    assert log_in(served_drive, "admin", served_drive.password, ATTACKER).status == 200
    statuses = [log_in(served_drive, f"user {n}", "Summer2024!", ATTACKER).status for n in range(30)]
    assert statuses == [401] * 20 + [429] * 10
    assert log_in(served_drive, "viewer", served_drive.password, ATTACKER).status == 429, "nobody knows it from there"
    assert log_in(served_drive, "admin", served_drive.password, ATTACKER).status == 200
    assert log_in(served_drive, "viewer", served_drive.password).status == 200


def test_a_stale_password_blocks_nobody(served_drive) -> None:
    """A program that was not told of the new password tries the old one for ever."""
    assert {log_in(served_drive, "admin", "the old password").status for _ in range(100)} == {401}
    assert log_in(served_drive, "admin", served_drive.password).status == 200
    assert log_in(served_drive, "other", served_drive.password).status == 200


def test_guesses_are_not_worth_a_hash_once_they_wait(served_drive, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = type(served_drive.kelp.passwords._hasher)
    hashed: list[str] = []
    verify = hasher.verify
    monkeypatch.setattr(hasher, "verify", lambda self, h, p: hashed.append(p) or verify(self, h, p))
    with ThreadPoolExecutor(16) as pool:
        guesses = [pool.submit(log_in, served_drive, "admin", f"guess {n}", ATTACKER) for n in range(300)]
        assert log_in(served_drive, "other", served_drive.password).status == 200, "in the middle of it"
        assert {guess.result().status for guess in guesses} <= {401, 429}
    assert len(hashed) < 40, "some ran before the first was known to be wrong"


def test_a_clients_own_connections_log_in_together(served_drive) -> None:
    log_in(served_drive, "nobody", "wrong")  # an address with a failure has one verification at a time
    with ThreadPoolExecutor(12) as pool:
        replies = [pool.submit(log_in, served_drive, "admin", served_drive.password) for _ in range(12)]
        assert {reply.result().status for reply in replies} == {200}


def test_forwarded_addresses_count_for_nothing(served_drive) -> None:
    """Anybody can write them; there is no proxy that is trusted."""
    statuses = []
    for number in range(10):
        basic = "Basic " + base64.b64encode(f"admin:guess {number}".encode()).decode()
        forged = {
            "X_Forwarded_For": f"192.0.2.{number}",
            "Forwarded": f"for=192.0.2.{number}",
            "X_Real_IP": "192.0.2.1",
        }
        statuses.append(served_drive.ask("OPTIONS", "/dav/", Authorization=basic, **forged).status)
    assert statuses == [401] * 5 + [429] * 5


def test_after_the_wait_the_right_password_gets_in(served_drive) -> None:
    for number in range(6):
        log_in(served_drive, "admin", f"guess {number}", ATTACKER)
    refused = log_in(served_drive, "admin", served_drive.password, ATTACKER)
    assert refused.status == 429
    time.sleep(int(refused.headers["retry-after"]))
    assert log_in(served_drive, "admin", served_drive.password, ATTACKER).status == 200
