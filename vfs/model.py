"""Frozen values that travel between the rooms: what an entry, a lock, a caller is.

Times ending in `_ns` are nanoseconds since 1970 (UTC); sizes and offsets are bytes; ids that are `int`
are rows of the database and never leave the core's faces, ids that are `str` (UUIDs) are public.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

ROOT_ID = 1  # the drive's root is the first row of `entries`, made by the first migration
PART_SIZE = 8 * 1024 * 1024  # bytes of one part of a content (design §3)
BLOCK_SIZE = 64 * 1024  # bytes of a part that are verified at once: no range is read that was not
PIECE_SIZE = 1024 * 1024  # bytes moved at a time; smaller pieces cost a thread switch each, bigger ones memory


class Kind(StrEnum):
    FOLDER = "folder"
    FILE = "file"
    SYMLINK = "symlink"


class State(StrEnum):
    ACTIVE = "ACTIVE"
    TRASHED = "TRASHED"
    DELETED = "DELETED"


class StoreStatus(StrEnum):
    """State of one thing in one store (spec §2)."""

    SYNCING = "SYNCING"
    AVAILABLE = "AVAILABLE"
    PENDING = "PENDING"
    EVICTING = "EVICTING"
    MISSING = "MISSING"
    ERROR = "ERROR"


class EventType(StrEnum):
    SYNC = "SYNC"
    RENAME = "RENAME"
    MOVE = "MOVE"
    COPY = "COPY"
    TRASH = "TRASH"
    RESTORE = "RESTORE"
    DELETE = "DELETE"
    MKDIR = "MKDIR"


class EventStatus(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class OnConflict(StrEnum):
    """What to do when the target name is taken (spec §6, §7)."""

    ERROR = "ERROR"
    RENAME = "RENAME"
    OVERWRITE = "OVERWRITE"
    SKIP = "SKIP"
    MERGE = "MERGE"


class Role(StrEnum):
    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


class Level(IntEnum):
    """Right on a folder and all below it (spec §10); each includes the ones before it."""

    NONE = 0
    READ = 1
    WRITE = 2
    MANAGE = 3


class Scope(StrEnum):
    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Place(NamedTuple):
    """Where a name is or would be: the folder's id and the name in it. The root has no place."""

    folder_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the tree, as an operation returns it."""

    id: int
    uuid: str
    parent_id: int | None  # None only for the root
    name: str
    kind: Kind
    state: State
    content_id: str | None  # None for folders; changes on each content commit, so it is the ETag
    size: int
    mime_type: str
    mtime_ns: int  # the true time
    shown_mtime: int  # whole seconds, what HTTP shows (clients.md R8)
    created_ns: int
    owner_id: int | None
    version: int
    nas_status: StoreStatus
    vault_id: int | None = None  # the row of `vaults` that it is sealed in, for ever; None: it lies in plain folders
    seal_id: str | None = None  # of what is sealed: binds the names below it, and its texts; never changes
    is_vault: bool = False  # the folder that the vault is: its own name is plain

    @property
    def is_folder(self) -> bool:
        return self.kind == Kind.FOLDER

    @property
    def is_root(self) -> bool:
        return self.id == ROOT_ID

    @property
    def place(self) -> Place:
        if self.parent_id is None:
            raise ValueError("the root has no place")
        return Place(self.parent_id, self.name)


class Row(NamedTuple):
    """One entry of a listing: a plain tuple, since ten thousand of them are made for one answer."""

    id: int
    name: str
    kind: str
    content_id: str | None
    size: int
    mime_type: str
    shown_mtime: int
    created_ns: int
    vault_id: int | None = None  # as of an `Entry`


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to.

    `chain` holds the ids from the root down to the deepest folder that exists. `folder` is the one that
    holds (or would hold) `name`; None when the path is the root or when a folder on the way is missing.
    """

    segments: tuple[str, ...]
    chain: tuple[int, ...]
    folder: Entry | None
    entry: Entry | None

    @property
    def place(self) -> Place | None:
        return Place(self.folder.id, self.segments[-1]) if self.folder else None


@dataclass(frozen=True, slots=True)
class DavLock:
    """A write lock of RFC 4918 §6, on `entry_id` and, with depth infinity, on all below it."""

    token: str  # urn:uuid:…
    entry_id: int
    infinite: bool  # Depth: infinity
    scope: Scope
    owner: str  # XML or text as the client sent it, "" when none
    user_id: int
    user_name: str
    expires_ns: int
    timeout: int  # seconds granted


# Checked once before the work and again inside the transaction, on the locked row: raises PreconditionFailed.
# It gets the entry (None when unmapped) and the tokens of the locks that cover the place.
Condition = Callable[["Entry | None", frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Every operation takes one; rights, lock ownership, history and traces come from it."""

    user_id: int
    name: str
    role: Role
    face: str  # "dav", "rest", "fuse", "cli"
    trace_id: str = ""
    tokens: frozenset[str] = field(default_factory=frozenset)  # lock tokens submitted with the request
    refuse_while_syncing: bool = False  # REST without `Prefer: respond-async` (spec §5)
    most: Level = Level.MANAGE  # what the token allows that was logged in with; a password allows everything

    @property
    def on_drive(self) -> bool:
        return self.face in ("dav", "fuse")

    @property
    def administers(self) -> bool:
        """An admin, and not by a token for less."""
        return self.role == Role.ADMIN and self.most == Level.MANAGE

    @property
    def scopes(self) -> tuple[str, ...]:
        """Names of what the caller may do as far as his token goes (`people.SCOPES`)."""
        return ("read", "write", "admin")[: self.most]

    @property
    def rights(self) -> tuple[int, Role, Level]:
        """What, besides grants, decides what may be seen and done: part of the key of all that is remembered."""
        return self.user_id, self.role, self.most


@dataclass(frozen=True, slots=True)
class Peer:
    """The client of a network connection, as far as trusted proxies tell who it is."""

    address: str
    secure: bool  # TLS all the way
    local: bool  # on this machine: what it sends crosses no network
    known: bool = True  # False: `address` may be that of a proxy, which speaks for others


@dataclass(frozen=True, slots=True)
class Expected:
    """What the client announced about a body; a difference raises UploadIncomplete."""

    length: int | None = None
    sha1: str | None = None  # lower-case hex
    md5: str | None = None
    most: int | None = None  # bytes that it has at most, where its length is not known

    @property
    def bound(self) -> int | None:
        return self.most if self.length is None else self.length


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says it has durably taken: byte count and BLAKE3 checksum (hex)."""

    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Part:
    """One object of a content; parts in order make the content."""

    key: str
    size: int
    checksum: str  # BLAKE3, hex; "": not known yet (an adopted file)
    blocks: bytes | None = None  # XXH3 of each block of BLOCK_SIZE, 8 bytes each; None: one block, or not known


@dataclass(frozen=True, slots=True)
class ContentSeal:
    """What opens a sealed content (docs/vault-format.md), for who has the vault's key."""

    vault_id: int  # the row of `vaults`
    wrapped_key: str
    part_list: bytes  # sealed: its parts' ids, keys and plain lengths, in order


@dataclass(frozen=True, slots=True)
class Content:
    """Of a sealed one everything here is of the sealed bytes, also size and checksum: who carries, verifies and keeps
    them needs no key."""

    id: str
    size: int
    checksum: str  # BLAKE3 of the whole, hex; "": not known yet (an adopted file, an upload that came in parts)
    digests: str | None  # "SHA1:… MD5:…" (hex), for clients that announced one
    parts: tuple[Part, ...]
    seal: ContentSeal | None = None

    @property
    def is_verifiable(self) -> bool:
        """Each of its parts has its checksum."""
        return bool(self.parts) and all(part.checksum for part in self.parts)

    def offset_of(self, number: int) -> int:
        """Where the part `number`, from 0, begins in the content: bytes."""
        return sum(part.size for part in self.parts[:number])


class ByteRange(NamedTuple):
    """Half open: bytes start … stop-1."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a move or copy. `replaced`: something else had the target name and gave way; `skipped`: nothing was
    done, since `existing` has it."""

    entry: Entry
    replaced: bool = False
    skipped: bool = False
    existing: Entry | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a face shows of an entry beside its row. `parent_uuid` None: it lies in the root, or is it."""

    path: str
    parent_uuid: str | None
    cache: StoreStatus | None  # of its content; None for a folder
    nas: StoreStatus | None
    message: str  # "" unless there is something to tell of its way to the NAS
    event_uuid: str  # of the newest change that is on its way, "" when there is none


@dataclass(frozen=True, slots=True)
class Written:
    """Result of a put. `created`: the name was free before. `facts`: as of its commit, where they were wanted."""

    entry: Entry
    created: bool
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class LockResult:
    """Result of LOCK. `created`: the name was unmapped and an empty file was made (RFC 4918 §7.3)."""

    lock: DavLock
    entry: Entry
    created: bool


@dataclass(frozen=True, slots=True)
class Version:
    """An older content of a file (spec §6)."""

    uuid: str
    entry_id: int
    content_id: str
    size: int
    created_ns: int  # when the content was written
    user_name: str


@dataclass(frozen=True, slots=True)
class TrashItem:
    entry: Entry
    original_path: str
    trashed_ns: int
    expires_ns: int
    user_name: str


@dataclass(frozen=True, slots=True)
class Done:
    """What one round of a batch did; nothing is told of a round that did nothing.

    `bytes` where it has to do with any. `more`: there is more to do, so the next round comes soon.
    """

    count: int = 0
    bytes: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    role: Role
    created_ns: int
    uuid: str
