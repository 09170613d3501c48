"""The one table from the core's errors to statuses and codes of the API (spec §8), and the body that goes with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from http_api.messages import message
from http_api.models import ErrorBody, time_of
from vfs import errors
from vfs.errors import KelpError
from vfs.model import Entry, Kind


class ApiError(KelpError):
    """What only this face knows, by its code in `STATUS`; `facts` become members of the body."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(code)
        self.code, self.facts = code, facts


# Every code, once.
STATUS: dict[str, int] = {
    "INVALID_REQUEST": 400,
    "INVALID_NAME": 400,
    "FILE_IN_TRASH": 400,
    "FILE_ALREADY_TRASHED": 400,
    "UPLOAD_SESSION_EXPIRED": 400,
    "UPLOAD_INCOMPLETE": 400,
    "PARTS_INCOMPLETE": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "IP_DENIED": 403,
    "NOT_FOUND": 404,
    "FILE_NOT_FOUND": 404,
    "FILE_DELETED": 404,
    "FOLDER_NOT_FOUND": 404,
    "PARENT_FOLDER_NOT_FOUND": 404,
    "TARGET_FOLDER_NOT_FOUND": 404,
    "UPLOAD_SESSION_NOT_FOUND": 404,
    "SYNC_EVENT_NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "FILE_SYNCING": 409,
    "FOLDER_SYNCING": 409,
    "CHILD_FILES_SYNCING": 409,
    "FILE_IN_USE": 409,
    "DUPLICATE_FILE_EXISTS": 409,
    "DUPLICATE_FOLDER_EXISTS": 409,
    "CIRCULAR_MOVE": 409,
    "CROSSES_VAULT": 409,
    "IP_LOCKOUT": 409,
    "UPLOAD_SESSION_COMPLETED": 409,
    "PRECONDITION_FAILED": 412,
    "FILE_TOO_LARGE": 413,
    "FILE_TOO_LARGE_USE_MULTIPART": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "NO_PREVIEW": 415,
    "RANGE_NOT_SATISFIABLE": 416,
    "LOCKED": 423,
    "TOO_MANY_ATTEMPTS": 429,
    "CHECKSUM_MISMATCH": 460,
    "INTERNAL_ERROR": 500,
    "FOLDER_SYNC_FAILED": 500,
    "FILE_NOT_FOUND_IN_STORAGE": 500,
    "CACHE_UNAVAILABLE": 503,
    "NAS_UNAVAILABLE": 503,
    "VAULT_KEY_MISSING": 503,
    "INSUFFICIENT_STORAGE": 507,
}

# A class that is missing here is answered as its nearest ancestor; a test sees that none is forgotten.
CODE: dict[type[KelpError], str] = {
    KelpError: "INTERNAL_ERROR",
    errors.NotFound: "NOT_FOUND",
    errors.ParentNotFound: "PARENT_FOLDER_NOT_FOUND",
    errors.Deleted: "FILE_DELETED",
    errors.SessionNotFound: "UPLOAD_SESSION_NOT_FOUND",
    errors.AlreadyExists: "CONFLICT",
    errors.WrongKind: "CONFLICT",
    errors.InvalidName: "INVALID_NAME",
    errors.NameTooLong: "INVALID_NAME",
    errors.InvalidRequest: "INVALID_REQUEST",
    errors.NotEmpty: "CONFLICT",
    errors.CircularMove: "CIRCULAR_MOVE",
    errors.CrossesVault: "CROSSES_VAULT",
    errors.InTrash: "FILE_IN_TRASH",
    errors.InUse: "FILE_IN_USE",
    errors.StillSyncing: "FILE_SYNCING",
    errors.ChildrenSyncing: "CHILD_FILES_SYNCING",
    errors.FolderFailed: "FOLDER_SYNC_FAILED",
    errors.SessionExpired: "UPLOAD_SESSION_EXPIRED",
    errors.SessionCompleted: "UPLOAD_SESSION_COMPLETED",
    errors.PartsIncomplete: "PARTS_INCOMPLETE",
    errors.Locked: "LOCKED",
    errors.LockTokenMismatch: "CONFLICT",
    errors.Forbidden: "FORBIDDEN",
    errors.AddressDenied: "IP_DENIED",
    errors.LocksOut: "IP_LOCKOUT",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.TooManyAttempts: "TOO_MANY_ATTEMPTS",
    errors.PreconditionFailed: "PRECONDITION_FAILED",
    errors.RangeNotSatisfiable: "RANGE_NOT_SATISFIABLE",
    errors.NoSpace: "INSUFFICIENT_STORAGE",
    errors.TooLarge: "INSUFFICIENT_STORAGE",
    errors.UploadIncomplete: "UPLOAD_INCOMPLETE",
    errors.StoreError: "CACHE_UNAVAILABLE",
    errors.StoreUnavailable: "CACHE_UNAVAILABLE",
    errors.Conflict: "CACHE_UNAVAILABLE",
    errors.NasDown: "NAS_UNAVAILABLE",
    errors.NasFault: "NAS_UNAVAILABLE",
    errors.ObjectMissing: "FILE_NOT_FOUND_IN_STORAGE",
    errors.ContentCorrupt: "FILE_NOT_FOUND_IN_STORAGE",
    errors.ContentLost: "FILE_NOT_FOUND_IN_STORAGE",
    errors.KeyMissing: "VAULT_KEY_MISSING",
}

# Said of an entry, and the word depends on what it is.
_OF_FOLDERS = {"FILE_SYNCING": "FOLDER_SYNCING"}
_NOT_FOUND = {"file": "FILE_NOT_FOUND", "folder": "FOLDER_NOT_FOUND", "event": "SYNC_EVENT_NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    body: ErrorBody
    headers: tuple[tuple[str, str], ...] = ()


def code_of(error: KelpError, noun: str = "", *, target: bool = False) -> str:
    """`noun` and `target` as in `Route`."""
    if isinstance(error, ApiError):
        return error.code
    code = next(CODE[kind] for kind in type(error).__mro__ if kind in CODE)
    if code == "NOT_FOUND" or (code == "FILE_DELETED" and noun == "folder"):
        return _NOT_FOUND.get(noun, code)
    if code == "PARENT_FOLDER_NOT_FOUND" and target:
        return "TARGET_FOLDER_NOT_FOUND"
    if isinstance(error, errors.AlreadyExists) and error.existing is not None:
        return "DUPLICATE_FOLDER_EXISTS" if error.existing.is_folder else "DUPLICATE_FILE_EXISTS"
    if isinstance(error, errors.StillSyncing) and error.entry is not None and error.entry.is_folder:
        return _OF_FOLDERS.get(code, code)
    return code


def refusal(
    error: KelpError,
    trace_id: str,
    language: str,
    noun: str = "",
    *,
    target: bool = False,
    actions: Sequence[str] = (),
) -> Refusal:
    """What the client gets: the status of the code, one clear line in its language, and what else is known.
    `noun`, `target` and `actions` as in `Route`."""
    code = code_of(error, noun, target=target)
    facts = error.facts if isinstance(error, ApiError) else _facts(error)
    if actions and isinstance(error, errors.AlreadyExists) and error.existing is not None:
        facts["availableActions"] = _possible(actions, error.existing.kind)
    said = "" if isinstance(error, ApiError) else str(error)
    body = ErrorBody(error=code, message=message(code, language, said), trace_id=trace_id, **facts)
    return Refusal(STATUS[code], body, _headers(error, STATUS[code]))


def _possible(actions: Sequence[str], kind: Kind) -> list[str]:
    each = (action.partition(":") for action in actions)
    return [action for action, _, over in each if over in ("", kind.value)]


def _facts(error: KelpError) -> dict[str, Any]:
    match error:
        case errors.AlreadyExists() if error.existing is not None:
            found = existing(error.existing) | ({"path": error.path} if error.path else {})
            return {"existingFolder" if error.existing.is_folder else "existingFile": found}
        case errors.ChildrenSyncing():
            return {
                "syncingFiles": [{"id": each.uuid, "name": each.name, "path": path} for each, path in error.entries]
            }
        case errors.AddressDenied():
            return {"reason": error.reason}
        case errors.PartsIncomplete():
            return {"missingParts": list(error.numbers)}
        case errors.KeyMissing():
            return {"vaultId": error.vault, "keyIds": list(error.key_ids)}
        case errors.Locked():
            return {"lockedBy": error.lock.user_name, "lockPath": "/" + "/".join(error.lock_path)}
    return {}


def existing(entry: Entry) -> dict[str, Any]:
    """What is in the way, as `001` shows it."""
    found = {"id": entry.uuid, "name": entry.name, "modifiedAt": time_of(entry.mtime_ns)}
    return found if entry.kind == Kind.FOLDER else {**found, "size": entry.size, "mimeType": entry.mime_type}


def _headers(error: KelpError, status: int) -> tuple[tuple[str, str], ...]:
    match error:
        case errors.RangeNotSatisfiable():
            return (("Content-Range", f"bytes */{error.size}"),)
        case errors.Unauthenticated():
            challenges = 'Basic realm="Kelp", charset="UTF-8", Bearer realm="Kelp"'
            return (("WWW-Authenticate", challenges),)
    wait = getattr(error, "retry_after", 5 if status == 503 else None)
    return () if wait is None else (("Retry-After", str(wait)),)
