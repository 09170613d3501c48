"""Who waits for the answer to a call, and whether he is about to die.

A program whose call we have read cannot be killed before it is answered: kill -9 waits for us (request_wait_answer in
fs/fuse/dev.c). The kernel tells of it (FUSE_INTERRUPT), pyfuse3 tells nobody; so whoever waits for long is looked at.
"""

from __future__ import annotations

import signal
from contextvars import ContextVar

asking: ContextVar[int] = ContextVar("asking", default=0)
"""The thread that the call under way is of, as /proc names it; of an open file: that which opened it. 0: not known."""

_EXITING = 0x4  # PF_EXITING of linux/sched.h: it is closing its files
_KILL = 1 << (signal.SIGKILL - 1)


def is_dying(thread: int) -> bool:
    """By /proc, proc(5): fields 3 (state), 9 (flags) and 31 (signals that wait for it). False for one that is dead: its
    file may be another's by now."""
    try:
        with open(f"/proc/{thread}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[0] not in (b"Z", b"X") and bool(int(fields[6]) & _EXITING or int(fields[28]) & _KILL)
