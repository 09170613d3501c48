"""Who goes through the files of a folder one after the other: how far to look ahead for him."""

from __future__ import annotations

_MOST = 200  # files; one statement for 100 of them takes the time of six for one
_NEAR = 1000  # ids; so far apart are those of files that were made one after another, beside others


class Following:
    """Of one kind of call. What was looked at ahead is forgotten with the next change by others, and in part with those
    of this process: it is twice as much each time that all of it was of use."""

    def __init__(self) -> None:
        self._folder_id = self._entry_id = 0  # that were asked for last
        self._is_astray = False  # … and not after the one before, in the same folder
        self._reach = 1
        self._asked = 0  # how many were looked at ahead, in this folder
        self._served = 0  # calls for files that followed each other, since then

    def ahead(self, folder_id: int) -> int:
        """Something in that folder has to be looked up: how many files beside it shall be."""
        if folder_id != self._folder_id or self._is_astray:
            return 0
        useful = self._reach if self._served >= self._asked else self._served
        self._reach = min(_MOST, 2 * max(useful, 1))
        self._asked, self._served = self._reach, 0
        return self._reach

    def found(self, folder_id: int, entry_id: int) -> None:
        """What the call was about."""
        if folder_id != self._folder_id:
            self._is_astray, self._asked, self._served = False, 0, 0
        elif 0 < entry_id - self._entry_id < _NEAR:
            self._is_astray, self._served = False, self._served + 1
        else:
            self._is_astray, self._reach = True, 1
        self._folder_id, self._entry_id = folder_id, entry_id
