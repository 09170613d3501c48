"""The helper of `warm_starts`: imports all of Kelp, then forks for each request until whoever asks is gone.

It never has a thread, an open drive or a socket of its own but the one it is asked through. `python -m … DESCRIPTOR`.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import time
from typing import Any, NoReturn

_MODULES = (
    *("kelp", "dav_provider.app", "dav_provider.http_server", "http_api.app", "vfs.storage.s3", "tests.crash.dying"),
    *(
        "fuse_mount.mounting",
        "jobs.redis_queue",
        "jobs.worker",
        "jobs.runner",
        "redis",
        "rq",
        "boto3",
        "encodings.idna",
    ),
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"),
)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    for module in _MODULES:
        with contextlib.suppress(ImportError):  # not here: who needs it says so
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    words = _serve(asked)
    if words is not None:
        _become(words)


def _serve(asked: socket.socket) -> list[str] | None:
    """None when nobody asks any more; in the child what it is to run."""
    ended, wake = os.pipe()  # a byte for each that ended
    os.set_blocking(wake, False)
    os.set_blocking(ended, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then ends its servers in order
    telling: dict[int, int] = {}  # descriptors by process
    while True:
        ready, _, _ = select.select([asked.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _bury(telling)
        if asked.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, 1)
            if not message:
                return None
            us = os.getpid()
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for descriptor in (ended, wake, *descriptors, *telling.values()):
                    os.close(descriptor)
                asked.close()
                return _settle(json.loads(message), us)
            telling[pid] = descriptors[0]
            asked.send(str(pid).encode())


def _bury(telling: dict[int, int]) -> None:
    while telling:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        descriptor = telling.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(descriptor, os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        os.close(descriptor)


def _settle(request: dict[str, Any], parent: int) -> list[str]:
    """As a process that was just started: what it is to run."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
    for descriptor, file in enumerate(request["files"], start=1):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    time.tzset()
    tempfile.tempdir = None  # TMPDIR may be another
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    words: list[str] = request["words"]
    return words


def _become(words: list[str]) -> NoReturn:
    module, *arguments = words
    if module == "-c":
        sys.argv = [module, *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
        sys.exit()
    sys.argv = [importlib.import_module(module).__file__ or module, *arguments]
    if module == "kelp":
        importlib.import_module(module).main()
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    sys.exit()


if __name__ == "__main__":
    main()
