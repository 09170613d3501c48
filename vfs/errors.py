"""Every way an operation of the core can refuse or fail.

    KelpError
    ├── NotFound                 no such entry (or one the caller may not see)
    │   ├── ParentNotFound       the folder that should hold it is missing
    │   ├── Deleted              it was there, and was deleted for good
    │   └── SessionNotFound      no such upload
    ├── AlreadyExists            the name is taken (`existing`)
    ├── WrongKind                a folder where a file is needed, or the reverse
    ├── InvalidName              the name cannot be stored (`NameTooLong` is its long form)
    │   └── NameTooLong
    ├── InvalidRequest           a value that makes no sense, whoever asks
    ├── NotEmpty                 a folder that must be empty is not
    ├── CircularMove             a folder into itself or below itself
    ├── CrossesVault             from one side of a vault's border to the other
    ├── InTrash                  the entry is in the trash
    ├── InUse                    somebody reads it just now, and the caller asked to be refused
    ├── StillSyncing             the mirror is at work and the caller asked to be refused (`entry`)
    │   └── ChildrenSyncing      … on files below the folder (`entries`)
    ├── FolderFailed             the folder could not be carried to the NAS, and the caller asked to be refused
    ├── SessionExpired           the upload was not ended in time
    ├── SessionCompleted         the upload has become a file already
    ├── PartsIncomplete          parts of the upload are missing, or not as announced (`numbers`)
    ├── Locked                   a DAV lock is in the way (`lock`, `lock_path`)
    ├── LockTokenMismatch        UNLOCK or refresh with a token that is not on this resource
    ├── Forbidden                the caller's rights do not reach (`level`)
    ├── AddressDenied            nobody may come from that network address (`reason`)
    ├── LocksOut                 a change of the policies after which its own author could not come any more
    ├── Unauthenticated          unknown user or wrong password
    ├── TooManyAttempts          too many failed log-ins: not now (`retry_after` seconds)
    ├── PreconditionFailed       a condition of the request does not hold
    ├── NotModified              a conditional read whose answer the client already has
    ├── RangeNotSatisfiable      a byte range outside the file (`size`)
    ├── NoSpace                  cache, NAS or quota is full
    │   └── TooLarge             no file of that size could ever be kept here
    ├── UploadIncomplete         the body ended early or does not match what was announced
    ├── StoreError               a store did not do its work
    │   ├── StoreUnavailable     away for now: try again (`retry_after` seconds)
    │   │   ├── Conflict         another change of the database got in the way; tried again inside, hardly ever seen
    │   │   └── NasDown          the NAS as a whole does not work; never the fault of one entry (`reason`)
    │   ├── ObjectMissing        the store does not hold it
    │   ├── ContentCorrupt       the bytes are not the ones that were stored
    │   ├── ContentLost          proven absent or corrupt in both cache and NAS: nobody can give it
    │   └── NasFault             one entry cannot be carried to the NAS (its name, its rights)
    ├── KeyMissing               a vault is closed: no private key that opens it is here (`vault`, `key_ids`)
    └── ConfigurationError       a setting that cannot work; shown in one line

Classes carry facts, never a status: each face translates them in one table
(`dav_provider/errors.py`, `jobs/outage.py`), and a test walks this tree to see that no table lacks a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vfs.model import DavLock, Entry, Level


class KelpError(Exception):
    """Base of all errors that a face translates; `str(error)` is one clear line for people."""


class NotFound(KelpError):
    pass


class ParentNotFound(NotFound):
    pass


class Deleted(NotFound):
    pass


class SessionNotFound(NotFound):
    pass


class AlreadyExists(KelpError):
    """`path` of the existing one on the drive, where it is known."""

    def __init__(self, message: str, existing: Entry | None = None, path: str = "") -> None:
        super().__init__(message)
        self.existing = existing
        self.path = path


class WrongKind(KelpError):
    pass


class InvalidName(KelpError):
    pass


class NameTooLong(InvalidName):
    pass


class InvalidRequest(KelpError):
    pass


class NotEmpty(KelpError):
    pass


class CircularMove(KelpError):
    pass


class CrossesVault(KelpError):
    pass


class InTrash(KelpError):
    pass


class InUse(KelpError):
    pass


class StillSyncing(KelpError):
    def __init__(self, message: str, entry: Entry | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class ChildrenSyncing(StillSyncing):
    """`entries`: some of the files that are on their way, each with its path."""

    def __init__(self, message: str, entry: Entry, entries: Sequence[tuple[Entry, str]]) -> None:
        super().__init__(message, entry)
        self.entries = entries


class FolderFailed(KelpError):
    pass


class SessionExpired(KelpError):
    pass


class SessionCompleted(KelpError):
    pass


class PartsIncomplete(KelpError):
    """`numbers`: the parts that are missing or wrong."""

    def __init__(self, message: str, numbers: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.numbers = numbers


class Locked(KelpError):
    """`lock` is the lock in the way; `lock_path` the drive path (segments) of its root."""

    def __init__(self, message: str, lock: DavLock, lock_path: tuple[str, ...]) -> None:
        super().__init__(message)
        self.lock = lock
        self.lock_path = lock_path


class LockTokenMismatch(KelpError):
    pass


class Forbidden(KelpError):
    def __init__(self, message: str, level: Level | None = None) -> None:
        super().__init__(message)
        self.level = level


class AddressDenied(KelpError):
    """`reason` is an `addresses.Reason`."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class LocksOut(KelpError):
    pass


class Unauthenticated(KelpError):
    pass


class TooManyAttempts(KelpError):
    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PreconditionFailed(KelpError):
    pass


class NotModified(KelpError):
    pass


class RangeNotSatisfiable(KelpError):
    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class NoSpace(KelpError):
    pass


class TooLarge(NoSpace):
    pass


class UploadIncomplete(KelpError):
    pass


class StoreError(KelpError):
    pass


class StoreUnavailable(StoreError):
    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(StoreUnavailable):
    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=1)


class NasDown(StoreUnavailable):
    """`reason` is the name of the errno ("ESTALE", "ENOSPC" …), or "marker" when the root's is missing or another's."""

    def __init__(self, message: str, reason: str, retry_after: int = 5) -> None:
        super().__init__(message, retry_after)
        self.reason = reason


class ObjectMissing(StoreError):
    pass


class ContentCorrupt(StoreError):
    pass


class ContentLost(StoreError):
    pass


class NasFault(StoreError):
    pass


class KeyMissing(KelpError):
    """`vault`: its id, "" for one that is only to be made; `key_ids`: of the keys that would open it. Nobody did
    anything wrong, and nothing is lost: an administrator has to provide the key."""

    def __init__(self, message: str, vault: str = "", key_ids: Sequence[str] = (), retry_after: int = 60) -> None:
        super().__init__(message)
        self.vault = vault
        self.key_ids = tuple(key_ids)
        self.retry_after = retry_after


class ConfigurationError(KelpError):
    pass
