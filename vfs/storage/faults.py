"""The block that every call on a store made of files goes through: its errors become those of the core.

A class: a small put goes through four of them, a batch of the mirror through a dozen for each file, and generators took
a tenth of that time.
"""

from __future__ import annotations

from collections.abc import Callable

from vfs.errors import KelpError


class Faults:
    """Turns an OSError of the block into an error of the core, and calls nothing missing while what all is in is not
    there itself. No foreign code (chunks) may run inside."""

    __slots__ = ("_gone", "_subject", "_told")

    def __init__(
        self, subject: str, told: Callable[[str, OSError], KelpError], gone: Callable[[], OSError | None]
    ) -> None:
        """`told`: what an error of the subject means. `gone`: asked when something is missing; what is wrong with the
        root then, None: it is in its place."""
        self._subject, self._told, self._gone = subject, told, gone

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if isinstance(error, FileNotFoundError) and (gone := self._gone()) is not None:
            gone.__cause__ = error
            error = gone
        raise self._told(self._subject, error) from error
