"""The one table from the core's errors to HTTP statuses (clients.md R21), and the bodies that go with them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from dav_provider.http_body import UploadTooSlow
from dav_provider.paths import MOUNT, ElsewhereError, href
from dav_provider.request import Answer, Request, text_answer
from dav_provider.xmlio import XML_TYPE, TooLarge, error_document
from vfs import errors
from vfs.errors import KelpError

_log = logging.getLogger(__name__)

REALM = 'Basic realm="Kelp", charset="UTF-8"'  # one for the whole host (R2)

# A class that is missing here is answered as its nearest ancestor; a test sees that none is forgotten.
STATUS: dict[type[KelpError], int] = {
    errors.NotFound: 404,
    errors.ParentNotFound: 409,
    errors.AlreadyExists: 412,
    errors.WrongKind: 409,
    errors.InvalidName: 400,
    errors.NameTooLong: 414,
    errors.InvalidRequest: 400,
    errors.NotEmpty: 409,
    errors.CircularMove: 403,  # RFC 4918 §9.8.5, §9.9.4
    errors.CrossesVault: 409,
    errors.InTrash: 404,
    errors.Deleted: 404,
    errors.SessionNotFound: 404,
    errors.InUse: 503,  # this and the next six are never raised for a drive's caller (R19)
    errors.StillSyncing: 503,
    errors.ChildrenSyncing: 503,
    errors.FolderFailed: 503,
    errors.SessionExpired: 503,
    errors.SessionCompleted: 503,
    errors.PartsIncomplete: 503,
    errors.AddressDenied: 403,
    errors.LocksOut: 409,
    errors.Locked: 423,
    errors.LockTokenMismatch: 409,
    errors.Forbidden: 403,
    errors.Unauthenticated: 401,
    errors.TooManyAttempts: 429,  # 401 would make clients ask their user for another password (RFC 6585 §4)
    errors.PreconditionFailed: 412,
    errors.NotModified: 304,
    errors.RangeNotSatisfiable: 416,
    errors.NoSpace: 507,
    errors.TooLarge: 507,
    errors.UploadIncomplete: 400,
    errors.StoreError: 503,
    errors.StoreUnavailable: 503,
    errors.ObjectMissing: 503,
    errors.ContentCorrupt: 503,
    errors.ContentLost: 503,
    errors.Conflict: 503,
    errors.NasDown: 503,
    errors.NasFault: 503,
    errors.KeyMissing: 503,  # with the vault and the keys that would open it in the body
    errors.ConfigurationError: 503,
    KelpError: 503,
    ElsewhereError: 502,
    TooLarge: 413,
    UploadTooSlow: 408,
}

# Where one method has another word for the same fact.
BY_METHOD: dict[tuple[str, type[KelpError]], int] = {
    ("MKCOL", errors.AlreadyExists): 405,  # RFC 4918 §9.3.1
    ("PUT", errors.WrongKind): 405,  # RFC 4918 §9.7.2
    ("LOCK", errors.LockTokenMismatch): 412,  # a refresh with an unknown token (R13)
    ("PUT", errors.AlreadyExists): 405,
}


def status_of(error: KelpError, method: str = "") -> int:
    for kind in type(error).__mro__:
        status = BY_METHOD.get((method, kind)) or STATUS.get(kind)
        if status:
            return 403 if isinstance(error, ElsewhereError) and error.same_host else status
    return 503


def answer_for(error: KelpError, request: Request, is_folder: Callable[[int], bool] = lambda _: False) -> Answer:
    """What the client gets for `error`: a status, a DAV precondition where RFC 4918 §16 names one, one clear line.

    `is_folder` tells for an entry's id whether its href ends in `/`.
    """
    status = status_of(error, request.method)
    match error:
        case errors.Locked():
            return Answer(status, [("Content-Type", XML_TYPE)], _locked_body(error, request.method, is_folder))
        case errors.LockTokenMismatch():
            return Answer(status, [("Content-Type", XML_TYPE)], error_document("lock-token-matches-request-uri"))
        case errors.NotModified():
            return Answer(status)
        case errors.RangeNotSatisfiable():
            return text_answer(status, str(error), ("Content-Range", f"bytes */{error.size}"))
        case errors.Unauthenticated():
            return text_answer(status, "Name and password, please.", ("WWW-Authenticate", REALM))
        case errors.TooManyAttempts():
            return text_answer(status, str(error), ("Retry-After", str(error.retry_after)))
        case errors.UploadIncomplete():
            return text_answer(status, str(error), ("Connection", "close"))
    if status == 503:
        _log.warning("%s %s: %s: %s", request.method, request.logged, type(error).__name__, error)
        wait = getattr(error, "retry_after", 5)
        return text_answer(status, f"{error} (trace {request.trace_id})", ("Retry-After", str(wait)))
    return text_answer(status, str(error))


def _locked_body(error: errors.Locked, method: str, is_folder: Callable[[int], bool]) -> bytes:
    condition = "no-conflicting-lock" if method == "LOCK" else "lock-token-submitted"
    return error_document(condition, href(MOUNT + error.lock_path, folder=is_folder(error.lock.entry_id)))
