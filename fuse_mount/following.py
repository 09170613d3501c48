"""Who goes through the files of a folder one after the other: how far to look ahead for him."""

from __future__ import annotations

_MOST = 200  # files; one statement for 100 of them takes the time of six for one
_NEAR = 1000  # ids; so far apart are those of files that were made one after another, beside others


class Following:
    """Of one kind of call. What was looked at ahead is forgotten with the next change by anybody, so it is always twice
    as much as was of use the last time: hardly anything for who changes each file that he has looked at."""

    def __init__(self) -> None:
        self._folder_id = self._entry_id = 0  # that were asked for last
        self._served = 0  # calls since something had to be looked up, for files that followed each other

    def ahead(self, folder_id: int) -> int:
        """Something in that folder has to be looked up: how many files beside it shall be."""
        wanted = min(_MOST, 2 * self._served) if folder_id == self._folder_id else 0
        self._served = 0
        return wanted

    def found(self, folder_id: int, entry_id: int) -> None:
        """What the call was about."""
        follows = folder_id == self._folder_id and 0 < entry_id - self._entry_id < _NEAR
        self._served = self._served + 1 if follows else 0
        self._folder_id, self._entry_id = folder_id, entry_id
