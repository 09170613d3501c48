"""What a soak found: one screen of text for people, JSON for programs."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.watching import Sample, Slope

if TYPE_CHECKING:
    from tests.soak.running import Plan

MIB = 1 << 20
_SHOWN = 10  # complaints on the screen; all are in the JSON


@dataclass
class Report:
    plan: Plan
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, dict[str, float]] = field(default_factory=dict)
    sizes: list[dict[str, int]] = field(default_factory=list)
    memory: dict[str, tuple[Sequence[Sample], Slope]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.wrong

    def as_json(self) -> str:
        memory = {
            name: {"slope": asdict(rise), "samples": [list(asdict(sample).values()) for sample in samples]}
            for name, (samples, rise) in self.memory.items()
        }
        said: dict[str, Any] = {
            "ok": self.ok,
            "plan": asdict(self.plan),
            "seconds": round(self.seconds, 1),
            "wrong": self.wrong,
            "did": dict(self.did.most_common()),
            "milliseconds": self.latencies,
            "sizes": self.sizes,
            "memory (at, rss, uss, files, threads)": memory,
        }
        return json.dumps(said, indent=1)

    def as_text(self) -> str:
        """At most one screen."""
        requests = sum(int(each["count"]) for each in self.latencies.values())
        lines = [
            f"{self.seconds:.0f} s, {self.plan.people} people, {self.did.total()} things done, {requests} requests"
            f" ({requests / max(self.seconds, 1):.0f} a second), seed {self.plan.seed}",
            "",
            f"{'ms':>10} {'count':>8} {'median':>8} {'p95':>8} {'p99':>8} {'most':>8}",
        ]
        for method, each in sorted(self.latencies.items(), key=lambda item: -item[1]["count"]):
            numbers = " ".join(f"{each[name]:8.1f}" for name in ("median", "p95", "p99", "most"))
            lines.append(f"{method:>10} {each['count']:8.0f} {numbers}")
        lines += [
            "",
            f"{'':>24} {'MiB first':>10} {'last':>8} {'most':>8} {'MiB/hour':>18} {'files':>9} {'threads':>9}",
        ]
        lines += [_memory_line(name, samples, rise) for name, (samples, rise) in self.memory.items() if samples]
        if self.sizes:
            last = self.sizes[-1]
            stores = ", ".join(f"{name} {last[name] / MIB:.0f} MiB" for name in ("database", "cache", "NAS"))
            lines += ["", stores + "; " + ", ".join(f"{n} {c}" for n, c in last.items() if n.startswith("rows"))]
        lines += ["", "everything was as it should be" if self.ok else f"{len(self.wrong)} things were wrong:"]
        lines += [f"- {complaint[:1500]}" for complaint in self.wrong[:_SHOWN]]
        return "\n".join(lines)


def _memory_line(name: str, samples: Sequence[Sample], rise: Slope) -> str:
    uss = [sample.uss / MIB for sample in samples]
    grows = "too short" if rise.mib_per_hour is None else f"{rise.mib_per_hour:+.1f} ± {rise.confidence:.1f}"
    files, threads = (f"{getattr(samples[0], n)}→{getattr(samples[-1], n)}" for n in ("files", "threads"))
    return f"{name:>24} {uss[0]:10.1f} {uss[-1]:8.1f} {max(uss):8.1f} {grows:>18} {files:>9} {threads:>9}"


def latencies(people: Sequence[Mapping[str, array[float]]]) -> dict[str, dict[str, float]]:
    """Milliseconds of each method."""
    found = {}
    for method in sorted({method for seconds in people for method in seconds}):
        every = sorted(1000 * each for seconds in people for each in seconds.get(method, ()))
        shares = {"median": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
        found[method] = {
            "count": len(every),
            **{name: round(every[min(int(share * len(every)), len(every) - 1)], 2) for name, share in shares.items()},
        }
    return found
