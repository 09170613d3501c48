"""What is counted, for Prometheus: the one list of Kelp's counters and histograms, and how their numbers become text.

Counters live in the memory of each process; `counts.py` adds up those of all processes that share a data folder.
What the database knows (backlog, alerts, leases …) is not counted but asked when somebody wants to know:
`operations/measuring.py`. Labels only have values from a short list; never a name, a path, an id or a user.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeAlias

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_REGISTRY = CollectorRegistry(auto_describe=True)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WORK_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800)


def _counter(name: str, text: str, *labels: str) -> prometheus_client.Counter:
    return prometheus_client.Counter(f"kelp_{name}", text, labels, registry=_REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"kelp_{name}_seconds", text, labels, registry=_REGISTRY, buckets=buckets)


class Requests(Collector):
    """How long requests take, by method, and what they are answered. A request that only reads takes 50 µs, and the
    library's own classes would take 3 of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # By method and status: how many took up to each bound but longer than the one before, and last their seconds.
        self._rows: dict[tuple[str, int], list[float]] = {}

    def note(self, method: str, status: int, seconds: float) -> None:
        """`method` is one of a short list."""
        place = bisect_left(_REQUEST_BUCKETS, seconds)
        with self._guard:
            row = self._rows.get((method, status))
            if row is None:
                row = self._rows[method, status] = [0.0] * (len(_REQUEST_BUCKETS) + 2)
            row[place] += 1
            row[-1] += seconds

    def collect(self) -> Iterable[Metric]:
        with self._guard:
            rows = {key: list(row) for key, row in self._rows.items()}
        times: dict[str, list[float]] = {}
        answered: Counter[tuple[str, str]] = Counter()
        for (method, status), row in rows.items():
            times[method] = [sum(pair) for pair in zip(times.get(method, [0.0] * len(row)), row, strict=True)]
            answered[method, f"{status // 100}xx"] += int(sum(row[:-1]))
        seconds = HistogramMetricFamily(
            "kelp_request_seconds", "From the head of a request to the end of its answer", labels=("method",)
        )
        bounds = [*map(floatToGoString, _REQUEST_BUCKETS), "+Inf"]
        for method, row in sorted(times.items()):
            seconds.add_metric((method,), list(zip(bounds, accumulate(row[:-1]), strict=True)), row[-1])
        yield seconds
        words = "Answers, by the first digit of their status: 2xx, 3xx, 4xx, 5xx"
        answers = CounterMetricFamily("kelp_responses", words, labels=("method", "status"))
        for labels, count in sorted(answered.items()):
            answers.add_metric(labels, count)
        yield answers


REQUESTS = Requests()
_REGISTRY.register(REQUESTS)

CACHE_READS = _counter("cache_reads", "Objects that were read, by where they were: memory, cache or nas", "source")
CACHE_READ_BYTES = _counter("cache_read_bytes", "Bytes that were read, by where they were", "source")
RESTORES = _counter("restores", "Objects brought back from the NAS to the cache: restored, failed, given_up", "outcome")
RESTORED_BYTES = _counter("restored_bytes", "Bytes brought back from the NAS to the cache")
EVICTED = _counter("evicted", "Objects that left the cache because the NAS has them")
EVICTED_BYTES = _counter("evicted_bytes", "Bytes that left the cache because the NAS has them")
FREED = _counter("freed", "Objects deleted because nothing can reach them any more")
FREED_BYTES = _counter("freed_bytes", "Bytes deleted because nothing can reach them any more")
CORRUPT = _counter("corrupt", "Times that stored bytes were not what had been stored: cache or nas", "store")
SCRUBBED_BYTES = _counter("scrubbed_bytes", "Bytes read again to verify them: cache or nas", "store")

MIRRORED = _counter("mirrored", "Changes carried to the NAS: done, put_off, retried or failed", "outcome")
MIRRORED_BYTES = _counter("mirrored_bytes", "Bytes of files written to the NAS")
MIRROR_RETRIES = _counter("mirror_retries", "Further tries of a change because of a fault of one entry")
NAS_PROBE_SECONDS = _histogram("nas_probe", "How long the NAS took for a small file", buckets=_WORK_BUCKETS)

BATCH_SECONDS = _histogram("batch", "How long one round of a batch took", "batch", buckets=_WORK_BUCKETS)
BATCH_FAILURES = _counter("batch_failures", "Rounds of a batch that ended with an error", "batch")
DENIED = _counter("denied", "Requests refused because of where they came from, by face and reason", "face", "reason")
ALERTS = _counter("alerts", "Alerts that were opened", "kind")
SPANS_DROPPED = _counter("spans_dropped", "Spans that were not exported since the collector is slow or away")

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]  # a sample: its name, its labels in order
Counts: TypeAlias = dict[Key, float]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number as it is now. `values`: by the labels' values, in the order of `labels`; () where there are none."""

    name: str  # after kelp_
    text: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, name: str, text: str, value: float | None) -> Gauge:
        """One without labels; without a sample when `value` is None: it is not known, or there is none."""
        return cls(name, text, {} if value is None else {(): value})

    @classmethod
    def by(cls, label: str, name: str, text: str, values: Mapping[str, float]) -> Gauge:
        """One with a single label."""
        return cls(name, text, {(word,): value for word, value in values.items()}, (label,))


def counted() -> Counts:
    """What this process counted since it began."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in _REGISTRY.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def layout() -> str:
    """Differs when the counts of another version of Kelp cannot be added to those of this one."""
    buckets = (*_REQUEST_BUCKETS, 0.0, *_WORK_BUCKETS)
    names = sorted(f"{family.name}:{family.type}" for family in _REGISTRY.collect())
    return " ".join((*names, *map(str, buckets)))


def text(counts: Counts, gauges: Iterable[Gauge]) -> bytes:
    """All of it in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(counts, gauges))
    return generate_latest(registry)


class _Given(Collector):
    """The families of the registry with other numbers, and gauges beside them."""

    def __init__(self, counts: Counts, gauges: Iterable[Gauge]) -> None:
        self._counts, self._gauges = counts, gauges

    def collect(self) -> Iterable[Metric]:
        by_name: dict[str, list[tuple[Key, float]]] = {}
        for key, value in self._counts.items():
            by_name.setdefault(key[0], []).append((key, value))
        for family in _REGISTRY.collect():
            yield _with_numbers(family, by_name)
        for gauge in self._gauges:
            shown = GaugeMetricFamily(f"kelp_{gauge.name}", gauge.text, labels=gauge.labels)
            for labels, value in sorted(gauge.values.items()):
                shown.add_metric(labels, value)
            yield shown


_SUFFIXES: Mapping[str, tuple[str, ...]] = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


def _with_numbers(family: Metric, by_name: Mapping[str, list[tuple[Key, float]]]) -> Metric:
    shown = Metric(family.name, family.documentation, family.type)
    for suffix in _SUFFIXES[family.type]:
        name = family.name + suffix
        for (_, labels), value in sorted(by_name.get(name, ()), key=_in_order):
            shown.add_sample(name, dict(labels), value)
    return shown


def _in_order(sample: tuple[Key, float]) -> tuple[tuple[tuple[str, str], ...], float]:
    """Buckets of one histogram from the smallest bound up, as Prometheus wants them."""
    labels = sample[0][1]
    bound = next((value for name, value in labels if name == "le"), "0")
    return tuple(pair for pair in labels if pair[0] != "le"), float(bound)
