"""What a process remembers of the policies, with a clock that the test moves."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

import pytest

from tests.waiting import until
from vfs.addresses import Rules
from vfs.errors import StoreUnavailable
from vfs.gate import Gate


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Book:
    """Where the rules are read."""

    rules: Rules = field(default_factory=lambda: Rules([]))
    looks: int = 0
    away: bool = False

    def __call__(self, _known: Rules | None) -> Rules:
        self.looks += 1
        if self.away:
            raise StoreUnavailable("away")
        return self.rules


def test_it_looks_twice_a_second_however_many_ask() -> None:
    clock, book = Clock(), Book()
    gate = Gate(clock)
    for _ in range(1000):
        clock.now += 0.01
        gate.rules(book)
    assert book.looks <= 21


def test_a_change_counts_within_two_seconds_and_the_own_at_once() -> None:
    clock, book = Clock(), Book()
    gate = Gate(clock)
    gate.rules(book)
    book.rules = new = Rules([], "new")
    clock.now += 1.3
    assert gate.rules(book) is new
    book.rules = newest = Rules([], "newest")
    assert gate.rules(book) is new
    gate.forget()
    assert gate.rules(book) is newest


def test_a_look_that_began_before_the_own_change_is_not_kept() -> None:
    gate, old, new = Gate(), Rules([], "old"), Rules([], "new")

    def look(_known: Rules | None) -> Rules:
        gate.forget()  # another thread commits while this one reads
        return old

    assert gate.rules(look) is old
    assert gate.rules(lambda _known: new) is new


def test_nobody_waits_for_the_one_who_looks_while_what_is_known_is_fresh_enough() -> None:
    clock, old = Clock(), Rules([], "old")
    gate = Gate(clock)
    gate.rules(lambda _known: old)
    clock.now += 0.8
    looking, go_on = threading.Event(), threading.Event()

    def slow(_known: Rules | None) -> Rules:
        looking.set()
        assert go_on.wait(60)
        return Rules([], "new")

    thread = threading.Thread(target=gate.rules, args=(slow,))
    thread.start()
    assert looking.wait(60)
    assert gate.rules(lambda _known: pytest.fail("two look at once")) is old
    go_on.set()
    thread.join()
    assert gate.rules(slow).version == "new"


def test_without_the_database_nobody_is_let_in_on_old_rules() -> None:
    clock, book = Clock(), Book(away=True)
    gate = Gate(clock)
    with pytest.raises(StoreUnavailable):
        gate.rules(book)
    book.away = False
    known = gate.rules(book)
    book.away = True
    clock.now += 1.0
    assert gate.rules(book) is known  # a moment's trouble
    clock.now += 0.3
    with pytest.raises(StoreUnavailable):
        gate.rules(book)


def test_who_waited_for_a_look_in_vain_does_not_look_too() -> None:
    ticks, asked = itertools.count(), list[int]()

    def now() -> float:
        tick = next(ticks)
        asked.append(tick)
        return 0.001 * tick

    gate, looking, go_on = Gate(now), threading.Event(), threading.Event()
    looks, refused = [], []

    def hang(_known: Rules | None) -> Rules:
        looks.append(1)
        looking.set()
        assert go_on.wait(60)
        raise StoreUnavailable("away", retry_after=7)

    def ask() -> None:
        try:
            gate.rules(hang)
        except StoreUnavailable as error:
            refused.append(error.retry_after)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    threads[0].start()
    assert looking.wait(60)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(asked) == 2 + 7)  # all of them wait: who looks asks for the time once more
    go_on.set()
    for thread in threads:
        thread.join()
    assert refused == [7] * 8
    assert len(looks) == 1


def test_lines_about_refusals_are_few_and_say_how_many_there_were_not() -> None:
    clock = Clock()
    gate = Gate(clock)
    assert gate.tells("192.0.2.1") == 0
    assert gate.tells("192.0.2.1") is None
    assert gate.tells("192.0.2.2") == 1
    told = [gate.tells(f"2001:db8::{n:x}") for n in range(1000)]
    assert sum(each is not None for each in told) == 18
    clock.now += 61
    assert gate.tells("192.0.2.1") == 982
