"""What a recovery tells while it goes on, and what it has done at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """`where`: path on the NAS, below the folder that was given. `path`: below the target, of what it was or would have
    been; "": not known. `is_there`: something was restored at `path`. Not `is_fault`: nothing is wrong with the vault,
    but its owner should know."""

    where: str
    what: str
    path: str = ""
    is_there: bool = False
    is_fault: bool = True


@dataclass(slots=True)
class Tally:
    """`files`, `bytes`: written. `there`: files that the target had already, whole. `older`: versions left out."""

    folders: int = 0
    files: int = 0
    bytes: int = 0
    there: int = 0
    older: int = 0
    faults: int = 0


@dataclass
class Told:
    """Where findings go, one by one: there may be any number of them. `progress`: of files done, and bytes opened;
    called by several threads."""

    tell: Callable[[Finding], None]
    progress: Callable[[int, int], None] = lambda files, size: None
    tally: Tally = field(default_factory=Tally)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _moved: int = 0

    def fault(self, where: str, what: str, path: str = "", *, is_there: bool = False) -> None:
        self.tally.faults += 1
        self.tell(Finding(where, what, path, is_there))

    def note(self, where: str, what: str, path: str) -> None:
        self.tell(Finding(where, what, path, is_there=True, is_fault=False))

    def moved(self, size: int) -> None:
        with self._guard:
            self._moved += size
            self.progress(self.tally.files, self._moved)
