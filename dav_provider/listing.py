"""PROPFIND (RFC 4918 §9.1): what was asked, the rows, and the multistatus made of them in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from dav_provider import conditions, xmlio
from dav_provider.listing_cache import ListingCache
from dav_provider.live_properties import (
    CHECKSUMS,
    LIVE,
    LOCKDISCOVERY,
    QUOTA_AVAILABLE,
    QUOTA_USED,
    SYNC_MESSAGE,
    SYNC_STATE,
    CoveringLock,
    Node,
    View,
    is_folder,
    of_all,
)
from dav_provider.paths import encode, href
from dav_provider.quirks import quota_left_out
from dav_provider.request import Answer, Request
from dav_provider.resources import locate_existing, tokens_on
from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.model import Entry, Found, Level, Row
from vfs.operations import reading, sync_states
from vfs.web.contents import close

_PIECE = 64 * 1024  # characters of XML gathered before they are encoded and sent
_LARGEST_WHOLE = 1024 * 1024  # bytes; a longer answer goes out in chunks while it is made (R3)
_MOST_NAMES = 1000  # properties that a request may name; each is answered for each entry
_UNSTEADY = (QUOTA_USED, QUOTA_AVAILABLE, SYNC_STATE, SYNC_MESSAGE)  # they change while the listing stays as it is
_OK = "HTTP/1.1 200 OK"
_MISSING = "HTTP/1.1 404 Not Found"
_HEAD = f'{xmlio.DECLARATION}<D:multistatus xmlns:D="DAV:">'
_TAIL = "</D:multistatus>"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a PROPFIND asks for: everything, or only names, or `names` (which `include` adds to everything)."""

    everything: bool = False
    names_only: bool = False
    names: tuple[str, ...] = ()

    def asks(self, *names: str) -> bool:
        return self.names_only or any(name in self.names for name in names)

    @property
    def needs_dead(self) -> bool:
        return self.everything or self.names_only or any(name not in LIVE for name in self.names)


def parse_propfind(data: bytes) -> Wanted:
    """Read the body; an empty one means allprop (RFC 4918 §9.1). Raises InvalidRequest, TooLarge."""
    if not data.strip():
        return Wanted(everything=True)
    parts = {child.tag: child for child in xmlio.parse(data, "propfind")}
    kinds = [kind for kind in ("allprop", "propname", "prop") if f"{{DAV:}}{kind}" in parts]
    if len(kinds) != 1:
        raise InvalidRequest("a propfind has exactly one of allprop, propname and prop")
    if kinds == ["propname"]:
        return Wanted(names_only=True)
    listed = parts.get("{DAV:}prop" if kinds == ["prop"] else "{DAV:}include")
    names = dict.fromkeys(xmlio.clark(child.tag) for child in listed) if listed is not None else {}
    if len(names) > _MOST_NAMES:
        raise xmlio.TooLarge(f"a propfind may name {_MOST_NAMES} properties")
    return Wanted(everything=kinds == ["allprop"], names=tuple(names))


class Listings:
    """PROPFIND of one application, with its cache."""

    def __init__(self) -> None:
        self._cache = ListingCache()

    def propfind(self, kelp: Kelp, request: Request) -> Answer:
        """Raises NotFound, InvalidRequest, PreconditionFailed. Depth infinity on a folder is refused (R10)."""
        depth = request.depth
        wanted = parse_propfind(xmlio.read_bounded(request.body, request.length))
        version = reading.version(kelp)
        found, entry = locate_existing(kelp, request)
        conditions.check_if(request, entry, tokens_on(kelp, request, found))
        if not entry.is_folder:
            depth = "0"
        if depth not in ("0", "1"):
            return finite_depth_only()
        key = (request.caller.rights, request.path, depth, wanted)
        body = self._cache.find(kelp, request.caller, key, entry.id)
        if body is not None:
            return Answer(207, [("Content-Type", xmlio.XML_TYPE)], body)
        listing = reading.listing_version(kelp, request.caller, entry.id)
        is_current = listing is None or listing[1] == entry.version  # … and not changed since it was found
        view = _view(kelp, request, found, entry, wanted, members=depth == "1")
        answer = multistatus(_responses(kelp, request, entry, wanted, view, members=depth == "1"))
        if not is_current or view.own_locks or view.member_locks or wanted.asks(*_UNSTEADY):
            return answer
        if isinstance(answer.body, bytes):
            self._cache.keep(key, version, listing, answer.body)
            return answer
        return replace(answer, body=self._cache.keeping(key, version, listing, iter(answer.body)))


def _responses(
    kelp: Kelp, request: Request, entry: Entry, wanted: Wanted, view: View, *, members: bool
) -> Iterator[str]:
    address = href(request.path, folder=entry.is_folder)
    yield response(address, entry, wanted, view)
    if members:
        rows = reading.list_folder(kelp, request.caller, entry.id)
        try:
            yield from _members(address, rows, wanted, view)
        finally:
            close(rows)


def finite_depth_only() -> Answer:
    return Answer(403, [("Content-Type", xmlio.XML_TYPE)], xmlio.error_document("propfind-finite-depth"))


def multistatus(responses: Iterable[str]) -> Answer:
    """207 with Content-Length up to 1 MiB; what is longer goes out in pieces, made while they are sent."""
    pieces = _encoded(responses)
    whole: list[bytes] = []
    size = 0
    for piece in pieces:
        whole.append(piece)
        size += len(piece)
        if size > _LARGEST_WHOLE:
            return Answer(207, [("Content-Type", xmlio.XML_TYPE)], _Chained(whole, pieces))
    return Answer(207, [("Content-Type", xmlio.XML_TYPE)], b"".join(whole))


def response(address: str, node: Node, wanted: Wanted, view: View) -> str:
    """One `D:response`."""
    if wanted.everything:
        present = of_all(node, view) + "".join(view.dead_of(node).values())
        missing = ""
        if wanted.names:
            extra, missing = _asked(node, tuple(name for name in wanted.names if name not in view.dead_of(node)), view)
            present += extra
    elif wanted.names_only:
        present, missing = _names(node, view), ""
    else:
        present, missing = _asked(node, wanted.names, view)
    return f"<D:response><D:href>{address}</D:href>{_propstats(present, missing)}</D:response>"


def _members(base: str, rows: Iterable[Row], wanted: Wanted, view: View) -> Iterator[str]:
    present = _plain(wanted, view)
    for row in rows:
        address = f"{base}{encode(row.name)}/" if is_folder(row) else base + encode(row.name)
        text = present(row)
        if text is None:
            yield response(address, row, wanted, view)
        else:
            yield f"<D:response><D:href>{address}</D:href><D:propstat><D:prop>{text}</D:propstat></D:response>"


def _plain(wanted: Wanted, view: View) -> Callable[[Row], str | None]:
    """The properties of a member that has all it is asked for and nothing else to tell, as most have; None for another.

    Decided once for a listing, not for each of its entries: that was half of its time.
    """
    end = f"</D:prop><D:status>{_OK}</D:status>"
    if wanted.names_only or view.dead or (wanted.everything and wanted.names):
        return lambda row: None
    if wanted.everything:
        return lambda row: of_all(row, view) + end
    renderers = [LIVE[name] for name in wanted.names if name in LIVE]
    missing = "".join(xmlio.empty_element(name) for name in wanted.names if name not in LIVE)
    if missing:
        end += f"</D:propstat><D:propstat><D:prop>{missing}</D:prop><D:status>{_MISSING}</D:status>"

    def named(row: Row) -> str | None:
        values = [renderer(row, view) for renderer in renderers]
        return None if None in values else "".join(values) + end  # type: ignore[arg-type]

    return named if renderers else lambda row: None


def _propstats(present: str, missing: str) -> str:
    """A propstat for what is there, one for what is not; the first also when nothing at all was asked."""
    text = f"<D:propstat><D:prop>{missing}</D:prop><D:status>{_MISSING}</D:status></D:propstat>" if missing else ""
    if present or not missing:
        return f"<D:propstat><D:prop>{present}</D:prop><D:status>{_OK}</D:status></D:propstat>{text}"
    return text


def _asked(node: Node, names: Sequence[str], view: View) -> tuple[str, str]:
    """The elements of the named properties, and the empty elements of those that this entry lacks."""
    dead = view.dead_of(node)
    present: list[str] = []
    missing: list[str] = []
    for name in names:
        renderer = LIVE.get(name)
        value = renderer(node, view) if renderer else dead.get(name)
        if value is None:
            missing.append(xmlio.empty_element(name))
        else:
            present.append(value)
    return "".join(present), "".join(missing)


def _names(node: Node, view: View) -> str:
    live = (name for name, renderer in LIVE.items() if renderer(node, view) is not None)
    return "".join(xmlio.empty_element(name) for name in chain(live, view.dead_of(node)))


def _view(kelp: Kelp, request: Request, found: Found, entry: Entry, wanted: Wanted, *, members: bool) -> View:
    """Fetch what the answer needs besides rows: a fixed number of statements, whatever the folder holds."""
    caller = request.caller
    folder_id = entry.id if entry.is_folder or entry.parent_id is None else entry.parent_id
    lockable = reading.level_on(kelp, caller, folder_id) >= Level.WRITE  # R9: shown only where LOCK will be granted
    view = View(now_ns=kelp.clock.now_ns(), lockable=lockable, entry_id=entry.id, path=found.segments)
    view.in_vault = entry.vault_id is not None
    if wanted.everything or wanted.asks(LOCKDISCOVERY):
        view.own_locks = _covering(kelp, entry)
        view.member_locks = reading.locks_below(kelp, entry.id) if members else {}
    if wanted.asks(QUOTA_USED, QUOTA_AVAILABLE) and not quota_left_out(kelp.settings.dav, request.header("User-Agent")):
        usage = reading.usage(kelp)
        view.quota = (usage.used, usage.free)
    if wanted.needs_dead:
        own = {entry.id: reading.properties_of(kelp, caller, entry.id)}
        view.dead = {**reading.properties_below(kelp, caller, entry.id), **own} if members else own
    if wanted.asks(CHECKSUMS):
        own_digests = None if entry.is_folder else reading.digests_of(kelp, entry)
        view.digests = {entry.id: own_digests} if own_digests else {}
        if members:
            view.digests |= reading.digests_below(kelp, caller, entry.id)
    if wanted.asks(SYNC_STATE, SYNC_MESSAGE):
        view.sync = sync_states.below(kelp, caller, entry.id) if members else {}
        view.sync[entry.id] = sync_states.of_entry(kelp, caller, entry.id)
    return view


def _covering(kelp: Kelp, entry: Entry) -> list[CoveringLock]:
    """The entry's own locks and those of depth infinity above it, which are always on folders."""
    return [
        CoveringLock(lock, root, entry.is_folder or lock.entry_id != entry.id)
        for lock, root in reading.locks_on(kelp, entry.id)
    ]


class _Chained(Iterator[bytes]):
    """Pieces that were made already, then the others; closing gives the cursor back."""

    def __init__(self, made: list[bytes], rest: Iterator[bytes]) -> None:
        self._rest = rest
        self._pieces = chain(made, rest)

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        close(self._rest)


def _encoded(responses: Iterable[str]) -> Iterator[bytes]:
    """The document in UTF-8, a piece at a time."""
    gathered, size = [_HEAD], 0
    try:
        for text in responses:
            gathered.append(text)
            size += len(text)
            if size >= _PIECE:
                yield "".join(gathered).encode()
                gathered, size = [], 0
        yield ("".join(gathered) + _TAIL).encode()
    finally:
        close(responses)
