"""Counts of several processes: added up, never less than before, not lost when a process dies."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from itertools import zip_longest
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vfs import metrics
from vfs.counts import Counting, shared
from vfs.metrics import Gauge

_FORK = multiprocessing.get_context("fork")
_PATIENCE = 60.0


def evicted(counting: Counting) -> float:
    return counting.totals()[0]["kelp_evicted_total", ()]


def taken_over(folder: Path) -> float:
    """What one who begins there knows of those before."""
    with shared(folder, "server") as counting:
        return evicted(counting) - metrics.counted()["kelp_evicted_total", ()]


def gauge(counting: Counting, name: str) -> dict[tuple[str, ...], float]:
    return next(dict(one.values) for one in counting.totals()[1] if one.name == name)


def _count(folder: Path, kind: str, many: int, counted: Event, end: Event) -> None:
    with shared(folder, kind) as counting:
        metrics.EVICTED.inc(many)
        metrics.BATCH_SECONDS.labels("orphans").observe(0.2)
        counting.write()
        counted.set()
        end.wait(_PATIENCE)


class Other:
    """A process that counts `many`, and lives until it is told to end, or killed."""

    def __init__(self, folder: Path, kind: str, many: int) -> None:
        counted, self._end = _FORK.Event(), _FORK.Event()
        self._process = _FORK.Process(target=_count, args=(folder, kind, many, counted, self._end))
        self._process.start()
        assert counted.wait(_PATIENCE)

    def end(self) -> None:
        self._end.set()
        self._process.join(_PATIENCE)
        assert self._process.exitcode == 0

    def kill(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(_PATIENCE)


@pytest.mark.parametrize("ending", [Other.end, Other.kill])
def test_what_a_process_counted_outlives_it(tmp_path: Path, ending: Callable[[Other], None]) -> None:
    with shared(tmp_path / "metrics", "server") as counting:
        begin = evicted(counting)
        others = [Other(tmp_path / "metrics", kind, 10) for kind in ("server", "worker")]
        assert gauge(counting, "processes") == {("server",): 2, ("worker",): 1}
        assert gauge(counting, "process_memory_bytes").keys() == {("server",), ("worker",)}
        metrics.EVICTED.inc(3)
        assert evicted(counting) == begin + 23 + 2 * begin  # a forked one begins with what its parent had
        for other in others:
            ending(other)
        assert evicted(counting) == begin + 23 + 2 * begin
        assert gauge(counting, "processes") == {("server",): 1}


def test_files_are_no_more_than_the_processes_at_once(tmp_path: Path) -> None:
    with shared(tmp_path / "metrics", "server") as counting:
        begin = evicted(counting)
        for many in range(1, 4):
            Other(tmp_path / "metrics", "server", 100).end()
            assert evicted(counting) == begin + many * (100 + begin)
        assert len(list((tmp_path / "metrics").iterdir())) == 2


def test_counts_go_on_after_a_restart(tmp_path: Path) -> None:
    with shared(tmp_path / "metrics", "server") as counting:
        before = evicted(counting)
    with shared(tmp_path / "metrics", "server") as counting:
        assert evicted(counting) >= before


@pytest.mark.parametrize("damage", [b"", b"0", b"00000000 00000002 {}", os.urandom(3000)])
def test_a_file_that_makes_no_sense_counts_nothing(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "metrics").mkdir()
    for number in range(2):  # one that is taken over, and one that is only looked at
        (tmp_path / "metrics" / f"{number}.counts").write_bytes(damage)
    with shared(tmp_path / "metrics", "server") as counting:
        alone = Counting()
        assert evicted(counting) == evicted(alone)


def test_a_write_that_was_cut_loses_nothing_from_before(tmp_path: Path) -> None:
    """By a SIGKILL, or for who looks at that moment: what was there, and any first part of what is written."""
    file, half = tmp_path / "metrics" / "0.counts", tmp_path / "half"
    counting = Counting()
    counting.share(file.parent)
    for _ in range(3):
        known, before = evicted(counting), file.read_bytes()
        metrics.EVICTED.inc()
        counting.write()
        after = file.read_bytes()
        written = [place for place, pair in enumerate(zip_longest(before, after)) if pair[0] != pair[1]]
        for end in written[:: 1 + len(written) // 40]:  # in between there is nothing to be cut
            half.mkdir()
            (half / file.name).write_bytes(after[:end] + before[end:])
            assert taken_over(half) == known, end
            shutil.rmtree(half)
        assert evicted(counting) == known + 1
    counting.close()


def test_without_its_folder_a_process_tells_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics").write_text("in the way")
    with shared(tmp_path / "metrics", "server") as counting:
        metrics.EVICTED.inc()
        assert evicted(counting) >= 1
        assert gauge(counting, "processes") == {("server",): 1}
    assert "other processes cannot see" in caplog.text


def test_the_text_is_what_prometheus_reads(tmp_path: Path) -> None:
    metrics.BATCH_SECONDS.labels("a test").observe(3)
    metrics.BATCH_SECONDS.labels("orphans").observe(0.2)
    quoted = Gauge.by("path", "told", 'about "quotes" \\ and\nlines', {'a"b\\c\n': 2.5})
    text = metrics.text(metrics.counted(), [quoted, Gauge.of("unknown", "not told", None)]).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.labels["path"] for sample in families["kelp_told"].samples] == ['a"b\\c\n']
    assert families["kelp_unknown"].samples == []
    of_scrub = [one for one in families["kelp_batch_seconds"].samples if one.labels.get("batch") == "a test"]
    buckets = [(float(one.labels["le"]), one.value) for one in of_scrub if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), 1)
    assert {one.name for one in of_scrub} == {f"kelp_batch_seconds_{part}" for part in ("bucket", "count", "sum")}
    assert "_created" not in text
