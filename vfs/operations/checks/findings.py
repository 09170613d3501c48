"""What a check has found so far, and what was done about it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from vfs.core import Kelp
from vfs.errors import KelpError

log = logging.getLogger(__name__)

_LISTED = 1000  # problems of one kind that are told singly

Progress = Callable[[str, int], None]  # what is looked at ("rows", "cache", "NAS"), and how much of it was so far
Repair = Callable[[], bool]  # True when it is sound again, or will be by itself soon


@dataclass(frozen=True, slots=True)
class Problem:
    kind: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` are those that are left; `repaired` those that were."""

    problems: list[Problem]
    entries: int
    objects: int
    nas_files: int
    repaired: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


class Look:
    """One check under way. `mirrored`, `deep`, `repairs`: as `checking.check` was asked."""

    def __init__(self, kelp: Kelp, *, mirrored: bool, deep: bool, repairs: bool, progress: Progress) -> None:
        self.kelp = kelp
        self.mirrored, self.deep, self.repairs = mirrored, deep, repairs
        self.progress = progress
        self._left: list[Problem] = []
        self._repaired: list[Problem] = []
        self._counts: Counter[tuple[str, bool]] = Counter()

    def found(self, kind: str, subject: object, detail: object, repair: Repair | None = None) -> bool:
        """Note a problem; when repairs are wanted and there is one, try it: True when it is no problem any more."""
        problem = Problem(kind, str(subject), str(detail))
        done = self.repairs and repair is not None and self._try(problem, repair)
        self._counts[kind, done] += 1
        if self._counts[kind, done] <= _LISTED:
            (self._repaired if done else self._left).append(problem)
        return done

    def _try(self, problem: Problem, repair: Repair) -> bool:
        try:
            return repair()
        except KelpError as error:
            log.warning("%s, %s: %s", problem.kind, problem.subject, error)
            return False

    def report(self, entries: int, objects: int, nas_files: int) -> Report:
        for (kind, done), count in self._counts.items():
            if count > _LISTED:
                more = Problem(kind, "", f"and {count - _LISTED} more")
                (self._repaired if done else self._left).append(more)
        return Report(self._left, entries, objects, nas_files, self._repaired)
