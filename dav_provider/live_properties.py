"""Live properties (RFC 4918 §15): what each is on an entry, as XML text made by f-strings.

A listing of ten thousand entries is made here, so nothing in this module asks the database: what the
answer needs beyond the rows is fetched once and handed in as a `View`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from dav_provider.paths import MOUNT, Segments, href
from dav_provider.xmlio import DAV, escape
from vfs.model import DavLock, Entry, Kind, Row, Scope
from vfs.operations.sync_states import SyncState
from vfs.web.conditions import etag_of
from vfs.web.dates import NANOSECONDS, http_date, iso_date

Node: TypeAlias = Entry | Row

OWNCLOUD = "http://owncloud.org/ns"
WINDOWS = "urn:schemas-microsoft-com:"
KELP = "urn:kelp:dav"
WIN_MODIFIED = f"{{{WINDOWS}}}Win32LastModifiedTime"
WIN_CREATED = f"{{{WINDOWS}}}Win32CreationTime"

_LOCK_ENTRIES = "".join(
    f"<D:lockentry><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
    for scope in Scope
)


@dataclass(frozen=True, slots=True)
class CoveringLock:
    """A lock as seen from an entry that it covers. `root` is the path of the entry it was taken on."""

    lock: DavLock
    root: Segments
    root_is_folder: bool


@dataclass(slots=True)
class View:
    """What one answer knows besides its rows. Empty where the request did not ask for it."""

    now_ns: int = 0
    lockable: bool = True  # LOCK would be granted to this caller (R9)
    quota: tuple[int, int] | None = None  # bytes used, bytes available; None also for who must not be told
    entry_id: int = 0  # the resource of the request
    path: Segments = ()  # of that resource, below the mount
    own_locks: Sequence[CoveringLock] = ()  # that cover it
    member_locks: Mapping[int, Sequence[DavLock]] = field(default_factory=dict)  # taken on its members, by entry
    dead: Mapping[int, Mapping[str, str]] = field(default_factory=dict)  # by entry: Clark name → element
    digests: Mapping[int, str] = field(default_factory=dict)  # by entry
    sync: Mapping[int, SyncState] = field(default_factory=dict)  # by entry
    in_vault: bool = False  # the resource of the request is one, or lies in one

    def locks_of(self, node: Node) -> Sequence[CoveringLock]:
        """The locks that cover the resource of the request or one of its members."""
        if node.id == self.entry_id:
            return self.own_locks
        direct = [
            CoveringLock(lock, (*self.path, node.name), is_folder(node)) for lock in self.member_locks.get(node.id, ())
        ]
        return [*direct, *(one for one in self.own_locks if one.lock.infinite)]

    def dead_of(self, node: Node) -> Mapping[str, str]:
        """Dead properties, where the two times that Windows sets always tell the current ones.

        They are stored so that it is known who has them; an upload after that would make the value stale.
        """
        stored = self.dead.get(node.id)
        if not stored:
            return {}
        current = dict(stored)
        if WIN_MODIFIED in current:
            current[WIN_MODIFIED] = _windows_time("Win32LastModifiedTime", node.shown_mtime)
        if WIN_CREATED in current:
            current[WIN_CREATED] = _windows_time("Win32CreationTime", node.created_ns // NANOSECONDS)
        return current


Renderer: TypeAlias = Callable[[Node, View], str | None]


def is_folder(node: Node) -> bool:
    return node.kind == Kind.FOLDER


def of_all(node: Node, view: View) -> str:
    """The live properties of allprop, at most some 500 bytes: Windows stops at 1,000,000 bytes a listing (R10)."""
    common = (
        f"<D:creationdate>{iso_date(node.created_ns // NANOSECONDS)}</D:creationdate>"
        f"<D:displayname>{escape(display_name(node))}</D:displayname>"
        f"<D:getlastmodified>{http_date(node.shown_mtime)}</D:getlastmodified>"
    )
    locks = _lockdiscovery(node, view) if view.own_locks or view.member_locks else ""
    if is_folder(node):
        return f"{common}<D:resourcetype><D:collection/></D:resourcetype>{locks}"
    return (
        f"{common}<D:getcontentlength>{node.size}</D:getcontentlength>{_type_element(node.mime_type)}"
        f'<D:getetag>"{node.content_id}"</D:getetag><D:resourcetype/>{locks}'
    )


@lru_cache(maxsize=1024)
def _type_element(mime_type: str) -> str:
    return f"<D:getcontenttype>{escape(mime_type or 'application/octet-stream')}</D:getcontenttype>"


def display_name(node: Node) -> str:
    return node.name or MOUNT[-1]  # the root row has no name of its own


def content_type(node: Node) -> str:
    return node.mime_type or "application/octet-stream"


def activelock(covering: CoveringLock, seconds: int) -> str:
    """One lock of `lockdiscovery` (RFC 4918 §14.1). `seconds`: what is left of it. The owner is shown to everyone."""
    lock = covering.lock
    owner = f"<D:owner>{lock.owner}</D:owner>" if lock.owner else ""
    return (
        f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{lock.scope}/></D:lockscope>"
        f"<D:depth>{'infinity' if lock.infinite else '0'}</D:depth>{owner}"
        f"<D:timeout>Second-{seconds}</D:timeout><D:locktoken><D:href>{escape(lock.token)}</D:href></D:locktoken>"
        f"<D:lockroot><D:href>{href(MOUNT + covering.root, folder=covering.root_is_folder)}</D:href></D:lockroot>"
        "</D:activelock>"
    )


def _creationdate(node: Node, view: View) -> str:
    return f"<D:creationdate>{iso_date(node.created_ns // NANOSECONDS)}</D:creationdate>"


def _displayname(node: Node, view: View) -> str:
    return f"<D:displayname>{escape(display_name(node))}</D:displayname>"


def _getcontentlength(node: Node, view: View) -> str | None:
    return None if is_folder(node) else f"<D:getcontentlength>{node.size}</D:getcontentlength>"


def _getcontenttype(node: Node, view: View) -> str | None:
    return None if is_folder(node) else _type_element(node.mime_type)


def _getetag(node: Node, view: View) -> str | None:
    etag = etag_of(node.content_id)
    return f"<D:getetag>{etag}</D:getetag>" if etag else None


def _getlastmodified(node: Node, view: View) -> str:
    return f"<D:getlastmodified>{http_date(node.shown_mtime)}</D:getlastmodified>"


def _resourcetype(node: Node, view: View) -> str:
    return "<D:resourcetype><D:collection/></D:resourcetype>" if is_folder(node) else "<D:resourcetype/>"


def _supportedlock(node: Node, view: View) -> str | None:
    # LibreOffice opens a document read-only when this is promised and LOCK then refused.
    return f"<D:supportedlock>{_LOCK_ENTRIES}</D:supportedlock>" if view.lockable else None


def _lockdiscovery(node: Node, view: View) -> str:
    locks = "".join(
        activelock(one, max(0, one.lock.expires_ns - view.now_ns) // NANOSECONDS) for one in view.locks_of(node)
    )
    return f"<D:lockdiscovery>{locks}</D:lockdiscovery>" if locks else "<D:lockdiscovery/>"


def _quota_used(node: Node, view: View) -> str | None:
    if view.quota is None or not is_folder(node):
        return None
    return f"<D:quota-used-bytes>{max(view.quota[0], 1)}</D:quota-used-bytes>"  # never 0: taken for "no quota" (R9)


def _quota_available(node: Node, view: View) -> str | None:
    if view.quota is None or not is_folder(node):
        return None
    return f"<D:quota-available-bytes>{max(view.quota[1], 1)}</D:quota-available-bytes>"


def _checksums(node: Node, view: View) -> str | None:
    digests = view.digests.get(node.id)
    if not digests:
        return None
    return f'<oc:checksums xmlns:oc="{OWNCLOUD}"><oc:checksum>{digests}</oc:checksum></oc:checksums>'


def _sync_state(node: Node, view: View) -> str | None:
    state = view.sync.get(node.id)
    return None if state is None else f'<K:sync-state xmlns:K="{KELP}">{state.status}</K:sync-state>'


def _sync_message(node: Node, view: View) -> str | None:
    state = view.sync.get(node.id)
    if state is None or not state.message:
        return None
    said = "".join(one if one.isprintable() else " " for one in state.message)  # it may name what no XML can hold
    return f'<K:sync-message xmlns:K="{KELP}">{escape(said)}</K:sync-message>'


def _vault(node: Node, view: View) -> str | None:
    """Whether a folder is a vault itself, or an entry lies in one: what is there is sealed."""
    if node.vault_id is None:
        return None
    is_vault = node.is_vault if isinstance(node, Entry) else not view.in_vault
    return f'<K:vault xmlns:K="{KELP}">{"root" if is_vault else "inside"}</K:vault>'


def _windows_time(local: str, seconds: int) -> str:
    return f'<Z:{local} xmlns:Z="{WINDOWS}">{http_date(seconds)}</Z:{local}>'


CHECKSUMS = f"{{{OWNCLOUD}}}checksums"
QUOTA_USED = f"{{{DAV}}}quota-used-bytes"
QUOTA_AVAILABLE = f"{{{DAV}}}quota-available-bytes"
LOCKDISCOVERY = f"{{{DAV}}}lockdiscovery"
SYNC_STATE = f"{{{KELP}}}sync-state"  # of the way to the NAS: SYNCING, AVAILABLE, ERROR
VAULT = f"{{{KELP}}}vault"  # root, inside; not there where nothing is sealed
SYNC_MESSAGE = f"{{{KELP}}}sync-message"  # what went wrong there, where something did

LIVE: dict[str, Renderer] = {
    f"{{{DAV}}}creationdate": _creationdate,
    f"{{{DAV}}}displayname": _displayname,
    f"{{{DAV}}}getcontentlength": _getcontentlength,
    f"{{{DAV}}}getcontenttype": _getcontenttype,
    f"{{{DAV}}}getetag": _getetag,
    f"{{{DAV}}}getlastmodified": _getlastmodified,
    f"{{{DAV}}}resourcetype": _resourcetype,
    f"{{{DAV}}}supportedlock": _supportedlock,
    LOCKDISCOVERY: _lockdiscovery,
    QUOTA_USED: _quota_used,
    QUOTA_AVAILABLE: _quota_available,
    CHECKSUMS: _checksums,
    SYNC_STATE: _sync_state,
    SYNC_MESSAGE: _sync_message,
    VAULT: _vault,
}
