"""Clients that ask at the same time: a process each, since threads of one Python would wait for each other."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

from bench.client import Connection, Failed

_fork = multiprocessing.get_context("fork")  # what a client does need not be picklable
_PATIENCE = 300.0  # seconds for all of what a client does


@dataclass(frozen=True)
class Tally:
    """What a client did: operations, the seconds they took, the seconds of CPU that the client itself used."""

    count: int
    seconds: float
    cpu: float = 0.0


@dataclass(frozen=True)
class Work:
    """What one client does. `run(connection, seconds)` ends after about so many; `check` is not measured.

    Both raise Failed.
    """

    run: Callable[[Connection, float], Tally]
    check: Callable[[Connection], None] = lambda connection: None


def asking(
    messages: Iterable[bytes], *wanted: int, check: Callable[[Connection], None] = lambda connection: None
) -> Work:
    """One message after the other, until they or the seconds end."""

    def run(connection: Connection, seconds: float) -> Tally:
        ask, clock, count = connection.ask, time.perf_counter, 0
        started = now = clock()
        until = started + seconds
        for message in messages:
            ask(message, *wanted)
            count += 1
            now = clock()
            if now >= until:
                break
        return Tally(count, now - started)

    return Work(run, check)


def run(
    ports: int | Sequence[int], works: Sequence[Work], seconds: float, around: Callable[[], None] = lambda: None
) -> Tally:
    """Let a client do each of `works` at the same time, spread over `ports`. Raises Failed when one of them did.

    `around` is called when all are connected, and when all are done. The seconds are the slowest client's.
    """
    pipes, processes = [], []
    doors = itertools.cycle([ports] if isinstance(ports, int) else ports)
    for work, port in zip(works, doors, strict=False):
        ours, theirs = _fork.Pipe()
        process = _fork.Process(target=_client, args=(port, work, seconds, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        _collect(pipes)
        around()
        for pipe in pipes:
            pipe.send(None)
        tallies = _collect(pipes)
        around()
        for pipe in pipes:
            pipe.send(None)
        _collect(pipes)
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process, pipe in zip(processes, pipes, strict=True):
            process.join()
            pipe.close()
    count, cpu = sum(tally.count for tally in tallies), sum(tally.cpu for tally in tallies)
    return Tally(count, max(tally.seconds for tally in tallies), cpu)


def _collect(pipes: Sequence[Pipe]) -> list[Tally]:
    found: list[Tally] = []
    for pipe in pipes:
        if not pipe.poll(_PATIENCE):
            raise Failed(f"a client was not done after {_PATIENCE:.0f} s")
        try:
            answer = pipe.recv()
        except EOFError as error:
            raise Failed("a client ended without a word") from error
        if isinstance(answer, str):
            raise Failed(answer)
        found.append(answer)
    return found


def _client(port: int, work: Work, seconds: float, pipe: Pipe) -> None:
    """Connected: say so, wait; done: give the tally, wait; checked: say so. A text instead is what went wrong."""
    gc.disable()  # nothing here makes circles, and a collection would look at all that was inherited
    nothing = Tally(0, 0.0)
    try:
        with closing(Connection(port)) as connection:
            pipe.send(nothing)
            pipe.recv()
            before = _cpu()
            tally = work.run(connection, seconds)
            pipe.send(Tally(tally.count, tally.seconds, _cpu() - before))
            pipe.recv()
            work.check(connection)
            pipe.send(nothing)
    except EOFError:  # another client failed
        return
    except (Failed, OSError) as error:
        pipe.send(str(error) or type(error).__name__)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
