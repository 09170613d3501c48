"""Ways to do the same on one server, each in its turn: what they take, by the clock and of a CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.processes import cpu
from bench.servers import Server


@dataclass(frozen=True)
class Spent:
    """In seconds; `cpu` is the server's."""

    wall: float
    cpu: float


Way = Callable[[int], None]  # gets the number of the round


def in_turns(server: Server, ways: Mapping[str, Way], rounds: int, times: int = 1) -> dict[str, Spent]:
    """The medians of each way, which does so many `times` what they are told of."""
    found: dict[str, list[Spent]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first warms up
        for name in (list(ways), list(ways)[::-1])[number % 2]:
            spent = _measure(server, ways[name], number)
            if number:
                found[name].append(spent)
    return {
        name: Spent(
            statistics.median(each.wall for each in all_) / times, statistics.median(each.cpu for each in all_) / times
        )
        for name, all_ in found.items()
    }


def _measure(server: Server, work: Way, number: int) -> Spent:
    server.rest()
    pids = server.processes()
    begun, used = time.perf_counter(), cpu(pids)
    work(number)
    return Spent(time.perf_counter() - begun, cpu(pids) - used)
