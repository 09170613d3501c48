"""Tells the kernel what it must not believe any longer.

In a thread of its own: such a call waits until what the kernel has under way for that inode has ended, and a handler
that waited for it would wait for itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

import pyfuse3

_log = logging.getLogger(__name__)


class Notices:
    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Only once the kernel has let go of the mount: until then a call may wait for a handler."""
        self._queue.put(None)

    def content(self, inode: int) -> None:
        """Size, times and bytes of a file are others now."""
        self._queue.put(partial(pyfuse3.invalidate_inode, inode))

    def _run(self) -> None:
        while (tell := self._queue.get()) is not None:
            try:
                tell()
            except FileNotFoundError:
                pass  # the kernel did not have it
            except Exception as error:
                _log.warning("the kernel could not be told: %s", error)
