"""Whose rights a mount has: one account's, as they are now and not when it was mounted."""

from __future__ import annotations

import logging

from vfs.core import Kelp
from vfs.errors import Forbidden, KelpError, NotFound
from vfs.model import Caller
from vfs.operations import access

_log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two looks


class Account:
    def __init__(self, kelp: Kelp, name: str | None) -> None:
        """`name` None: the drive's first admin, as on the command line. Raises NotFound."""
        self._kelp = kelp
        self._name = name if name is not None else access.system_caller(kelp, "fuse").name
        self._caller: Caller | None = access.caller_named(kelp, self._name, "fuse")

    @property
    def caller(self) -> Caller:
        """Raises Forbidden: the account was removed."""
        if self._caller is None:
            raise Forbidden(f"the account {self._name!r} is gone")
        return self._caller

    def look(self) -> bool:
        """See whether it is there still, and what its role is: whether that has changed. It reads the database."""
        before = self._caller
        try:
            self._caller = access.caller_named(self._kelp, self._name, "fuse")
        except NotFound:
            self._caller = None
        except KelpError as error:
            _log.warning("whether the account %r is still there: %s", self._name, error)
        except Exception:  # it would end the mount
            _log.exception("whether the account %r is still there", self._name)
        return self._caller != before
