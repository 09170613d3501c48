"""What a small S3 call costs by several clients (`bench/s3_calls.py`), in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.s3_calls import Endpoint, Small, clients, measure_small
from bench.shapes import Endpoint as Address


def small_calls(address: Address, rounds: int, calls: int, say: Callable[[str], None]) -> dict[str, Small]:
    """Medians of the rounds, by the client's name."""
    chosen = list(clients(Endpoint(address.url, address.access_key, address.secret_key)))
    found: dict[str, list[Small]] = {name: [] for name, _ in chosen}
    for number in range(rounds):
        first = number % len(chosen)
        for name, client in (*chosen[first:], *chosen[:first]):
            found[name].append(measure_small(client, calls))
    medians = {name: _median(several) for name, several in found.items()}
    for name, small in medians.items():
        say(f"small S3 calls, {name}: {small.cpu['put'] * 1e6:.0f} µs of CPU a put, {small.puts:.0f} puts/s")
    return medians


def _median(several: list[Small]) -> Small:
    def middle(values: Callable[[Small], dict[str, float]]) -> dict[str, float]:
        return {verb: statistics.median(values(each)[verb] for each in several) for verb in values(several[0])}

    return Small(
        middle(lambda each: each.cpu),
        middle(lambda each: each.wall),
        statistics.median(each.puts for each in several),
        statistics.median(each.gets for each in several),
    )
