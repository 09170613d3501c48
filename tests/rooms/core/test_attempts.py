"""Failed log-ins: who guesses has to wait, and nobody else does. Time is an input."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from vfs.crypto.attempts import Attempts
from vfs.errors import TooManyAttempts

HOME, CAFE, ATTACKER = "192.0.2.1", "198.51.100.7", "203.0.113.9"


class LogIns:
    """People who try passwords, each attempt with one nobody tried before."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.attempts = Attempts(lambda: self.now)
        self._number = 0

    def wait(self, address: str, account: str) -> int:
        """Seconds until `account` may be tried from there."""
        try:
            with self.attempts.admitted(address, account, self._mark()):
                return 0
        except TooManyAttempts as refusal:
            return refusal.retry_after

    def attempt(self, address: str, account: str, right: bool = False) -> bool:
        """Whether it was looked at."""
        try:
            with self.attempts.admitted(address, account, self._mark()):
                self.attempts.note(address, account, right)
                return True
        except TooManyAttempts:
            return False

    def fail(self, address: str, account: str, times: int) -> int:
        return sum(self.attempt(address, account) for _ in range(times))

    def _mark(self) -> bytes:
        self._number += 1
        return b"%d" % self._number


@pytest.fixture
def people() -> LogIns:
    return LogIns()


def test_guesses_at_one_account_are_slowed_down_then_blocked(people: LogIns) -> None:
    assert people.fail(ATTACKER, "zoe", 100) == 5
    waits = []
    for _ in range(15):
        waits.append(people.wait(ATTACKER, "zoe"))
        people.now += waits[-1]
        assert people.fail(ATTACKER, "zoe", 2) == 1, "one attempt after each wait"
    assert waits[:5] == [1, 2, 4, 8, 16] and waits[-1] == 900


def test_others_are_undisturbed(people: LogIns) -> None:
    people.fail(ATTACKER, "zoe", 100)
    assert people.wait(HOME, "zoe") == 0, "the same account from elsewhere"
    assert people.wait(ATTACKER, "otto") == 0, "another account from the same place"


def test_guesses_at_many_accounts_block_the_address(people: LogIns) -> None:
    assert sum(people.attempt(ATTACKER, f"user {number}") for number in range(1000)) == 20
    assert people.wait(ATTACKER, "zoe") > 0
    assert people.wait(HOME, "zoe") == 0
    for _ in range(12):
        people.now += people.wait(ATTACKER, "zoe")
        people.attempt(ATTACKER, f"user {people.now}")
    assert people.wait(ATTACKER, "zoe") == 900


def test_who_logged_in_from_there_before_is_not_kept_out_by_others(people: LogIns) -> None:
    people.attempt(HOME, "zoe", right=True)
    for number in range(1000):
        people.attempt(HOME, f"user {number}")
    assert people.wait(HOME, "stranger") > 0
    assert people.wait(HOME, "zoe") == 0
    people.fail(HOME, "zoe", 5)
    for _ in range(20):
        wait = people.wait(HOME, "zoe")
        assert 0 < wait <= 60
        people.now += wait
        people.attempt(HOME, "zoe")


def test_no_attack_locks_an_account_for_everybody(people: LogIns) -> None:
    """From a thousand addresses: each gets fewer guesses, and the owner gets in from wherever he is."""
    people.attempt(HOME, "zoe", right=True)
    guesses = sum(people.fail(f"10.0.{n // 250}.{n % 250}", "zoe", 20) for n in range(1000))
    assert guesses < 1100
    assert people.wait("10.0.0.200", "zoe") >= 59
    assert people.wait(HOME, "zoe") == 0
    assert people.attempt(CAFE, "zoe", right=True), "the first try from an address that nobody knows"


def test_success_forgives_the_pair_and_an_hour_forgives_all(people: LogIns) -> None:
    people.fail(HOME, "zoe", 4)
    people.attempt(HOME, "zoe", right=True)
    assert people.fail(HOME, "zoe", 100) == 5
    for number in range(100):
        people.attempt(ATTACKER, f"user {number}")
    people.now += 3601
    assert people.fail(ATTACKER, "user 1", 100) == 5
    assert people.fail(HOME, "zoe", 100) == 5


def test_an_ipv6_customer_is_one_address(people: LogIns) -> None:
    assert sum(people.attempt(f"2001:db8::{number:x}", "zoe") for number in range(1, 100)) == 5
    assert people.wait("2001:db8:0:1::1", "zoe") == 0
    assert people.fail("::ffff:203.0.113.9", "zoe", 100) == 5
    assert people.wait("203.0.113.9", "zoe") > 0
    assert people.fail("fe80::1%eth0", "zoe", 100) == 5
    assert people.fail("what a proxy wrote", "zoe", 100) == 5


def test_this_machine_itself_is_not_slowed_down(people: LogIns) -> None:
    assert people.fail("", "zoe", 100) == 100


def test_the_table_is_bounded_whatever_names_are_sent(people: LogIns) -> None:
    for number in range(25_000):
        people.attempts.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "n" * 1000 + str(number), False)
    counts = (people.attempts._pairs, people.attempts._addresses, people.attempts._accounts)
    assert all(len(count) == 10_000 for count in counts)


def test_verifications_at_the_same_time(people: LogIns) -> None:
    """One for an address with failures, some for all strangers; a client's own connections count once."""
    admitted = people.attempts.admitted
    with ExitStack() as running:
        for number in range(6):
            running.enter_context(admitted(HOME, f"user {number}", b"%d" % number))
        people.attempt(ATTACKER, "zoe")
        running.enter_context(admitted(ATTACKER, "zoe", b"mark"))
        running.enter_context(admitted(ATTACKER, "zoe", b"mark"))
        assert people.wait(ATTACKER, "otto") == 1
        for number in range(4):
            running.enter_context(admitted(f"10.0.0.{number}", "zoe", b"mark"))
        assert people.wait(CAFE, "zoe") == 1
        people.attempts.note(CAFE, "zoe", True)
        assert people.wait(CAFE, "zoe") == 0, "who is known never waits for strangers"
    assert people.wait(ATTACKER, "otto") == 0
    assert not people.attempts._running and not people.attempts._marks
