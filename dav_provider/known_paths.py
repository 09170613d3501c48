"""What a recording knows of the drive: what has to be there before a step can be played back."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

_SIZE = re.compile(r"<D:getcontentlength>(\d+)<")
_MOST = 20_000  # paths; what comes after is taken as known
_FOUND = frozenset((200, 204, 206, 207, 304, 416))
_UNSEEN = 1000  # bytes of a file whose size was never told


class KnownPaths:
    """Paths are pseudonyms already, encoded, and compared without a final slash."""

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._sizes: dict[str, int | None] = {}  # of what listings showed; None is a folder

    def hear(self, listed: Iterable[tuple[str, str]]) -> None:
        """Learn from the entries of a PROPFIND answer: path, and the XML of its properties."""
        for path, properties in listed:
            if len(self._sizes) < _MOST:
                size = _SIZE.search(properties)
                self._sizes[_bare(path)] = None if path.endswith("/") else int(size[1]) if size else _UNSEEN

    def needed(
        self, method: str, code: int, path: str, destination: str | None, answer: Mapping[str, str]
    ) -> list[str]:
        """What was there before this exchange and no earlier one showed: `folder PATH` or `file PATH SIZE`."""
        found: list[str] = []
        arrives = method in ("MOVE", "COPY") and destination is not None
        if method == "MKCOL" and code == 405:
            found += self._given(path, folder=True)
        elif (code in _FOUND and method != "OPTIONS") or (arrives and code in (201, 412)):
            if method in ("GET", "HEAD") and code == 200:
                is_file = "ETag" in answer
                self._sizes.setdefault(_bare(path), int(answer.get("Content-Length", _UNSEEN)) if is_file else None)
            found += self._given(path)
        elif code == 201:
            found += self._given(_parent(path), folder=True)
        if arrives and destination is not None and code == 201:
            found += self._given(_parent(destination), folder=True)
        elif arrives and destination is not None and code in (204, 412):
            found += self._given(destination, folder=self._sizes.get(_bare(path), 0) is None)
        return found

    def after(self, method: str, code: int, path: str, destination: str | None) -> None:
        """What the exchange changed."""
        here, there = _bare(path), _bare(destination or "")
        if code in (200, 201, 204) and method in ("PUT", "MKCOL", "LOCK"):
            self._know(here)
            self._sizes.setdefault(here, None if method == "MKCOL" else _UNSEEN)
        elif method in ("MOVE", "COPY") and code in (201, 204) and there:
            self._forget(there)
            below = [known for known in self._there if _is_below(known, here)]
            for known in below:
                self._know(there + known[len(here) :])
                self._sizes[there + known[len(here) :]] = self._sizes.get(known, _UNSEEN)
            if method == "MOVE":
                self._forget(here)
        elif method == "DELETE" and code == 204:
            self._forget(here)

    def _given(self, path: str, folder: bool = False) -> list[str]:
        bare = _bare(path)
        if not bare.startswith("{drive}/") or bare in self._there or len(self._there) >= _MOST:
            return []
        size = self._sizes.get(bare, None if folder or path.endswith("/") else _UNSEEN)
        above = bare
        while above != "{drive}":
            self._know(above)
            above = above.rpartition("/")[0]
        return [f"folder {bare}" if size is None else f"file {bare} {size}"]

    def _know(self, bare: str) -> None:
        if len(self._there) < _MOST:
            self._there.add(bare)

    def _forget(self, bare: str) -> None:
        self._there = {known for known in self._there if not _is_below(known, bare)}
        self._sizes = {known: size for known, size in self._sizes.items() if not _is_below(known, bare)}


def _bare(path: str) -> str:
    if "/." not in path and "%2" not in path:
        return path.rstrip("/")
    return posixpath.normpath(re.sub("%2e", ".", path, flags=re.IGNORECASE))


def _parent(path: str) -> str:
    return _bare(path).rpartition("/")[0]


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")
