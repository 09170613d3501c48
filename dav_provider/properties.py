"""PROPPATCH (RFC 4918 §9.2, clients.md R18): all changes of one request together, or none."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dav_provider import conditions, xmlio
from dav_provider.listing import multistatus
from dav_provider.live_properties import LIVE, WIN_CREATED, WIN_MODIFIED
from dav_provider.paths import href
from dav_provider.request import Answer, Request
from dav_provider.resources import locate_existing, tokens_on
from vfs.core import Kelp
from vfs.errors import InvalidRequest
from vfs.operations import properties
from vfs.web.dates import parse_time_ns

# Names under which clients set the modification time: WinSCP, rclone, Windows.
_MODIFIED = frozenset({"{DAV:}getlastmodified", "{DAV:}lastmodified", WIN_MODIFIED})
_OK = "200 OK"
_PROTECTED = "403 Forbidden"
_BAD_VALUE = "409 Conflict"
_DEPENDENT = "424 Failed Dependency"


@dataclass(frozen=True, slots=True)
class Change:
    """One property to set, or to remove when `value` is None. `value` is its whole element, `text` what it says."""

    name: str
    value: str | None
    text: str = ""

    @property
    def fault(self) -> str | None:
        """The status this change fails with, whatever the entry; None when it can be made."""
        if self.name in _MODIFIED or self.name == WIN_CREATED:
            if self.value is None:
                return _PROTECTED if self.name.startswith("{DAV:}") else None
            return None if parse_time_ns(self.text) is not None else _BAD_VALUE
        return _PROTECTED if self.name.startswith("{DAV:}") or self.name in LIVE else None

    @property
    def is_dead(self) -> bool:
        """Stored as text. The times of Windows are, too, so that they are known to be set (`View.dead_of`)."""
        return not self.name.startswith("{DAV:}")


def proppatch(kelp: Kelp, request: Request) -> Answer:
    """207 with a status for each property. Raises NotFound, InvalidRequest, Locked, Forbidden, PreconditionFailed."""
    changes = parse_propertyupdate(xmlio.read_bounded(request.body, request.length))
    found, entry = locate_existing(kelp, request)
    faults = {change.name: change.fault for change in changes if change.fault}
    if not faults:
        properties.patch(
            kelp,
            request.caller,
            entry.id,
            [(change.name, change.value) for change in changes if change.is_dead],
            mtime_ns=_time(changes, _MODIFIED),
            created_ns=_time(changes, {WIN_CREATED}),
            condition=conditions.for_change(request),
        )
    elif (condition := conditions.for_change(request)) is not None:
        condition(entry, tokens_on(kelp, request, found))
    address = href(request.path, folder=entry.is_folder)
    return multistatus([_result(address, [change.name for change in changes], faults)])


def parse_propertyupdate(body: bytes) -> list[Change]:
    """The changes in document order, the last one for each name (RFC 4918 §9.2). Raises InvalidRequest."""
    update = xmlio.parse(body, "propertyupdate")
    changes: dict[str, Change] = {}
    for action in update:
        if action.tag not in ("{DAV:}set", "{DAV:}remove"):
            continue
        for prop in action.iterfind("{DAV:}prop"):
            languages = (one.get(xmlio.LANGUAGE) for one in (prop, action, update))
            language = next(filter(None, languages), None)
            for element in prop:
                change = _change(element, language, remove=action.tag == "{DAV:}remove")
                changes.pop(change.name, None)
                changes[change.name] = change
    if not changes:
        raise InvalidRequest("a propertyupdate sets or removes at least one property")
    return list(changes.values())


def _change(element: ET.Element, language: str | None, *, remove: bool) -> Change:
    name = xmlio.clark(element.tag)
    if remove:
        return Change(name, None)
    if language and element.get(xmlio.LANGUAGE) is None:
        element.set(xmlio.LANGUAGE, language)  # the language in scope belongs to the value (RFC 4918 §4.3)
    return Change(name, xmlio.serialize(element), (element.text or "").strip())


def _time(changes: Iterable[Change], names: Iterable[str]) -> int | None:
    wanted = frozenset(names)
    times = [parse_time_ns(change.text) for change in changes if change.name in wanted and change.value is not None]
    return times[-1] if times else None


def _result(address: str, names: list[str], faults: dict[str, str]) -> str:
    return f"<D:response><D:href>{address}</D:href>{''.join(_propstats(names, faults))}</D:response>"


def _propstats(names: list[str], faults: dict[str, str]) -> Iterator[str]:
    """One propstat for each status; what would have succeeded failed with the others (RFC 4918 §9.2.1)."""
    by_status: dict[str, list[str]] = {}
    for name in names:
        by_status.setdefault(faults.get(name, _DEPENDENT if faults else _OK), []).append(name)
    for status, members in by_status.items():
        elements = "".join(xmlio.empty_element(name) for name in members)
        why = "<D:error><D:cannot-modify-protected-property/></D:error>" if status == _PROTECTED else ""
        yield f"<D:propstat><D:prop>{elements}</D:prop><D:status>HTTP/1.1 {status}</D:status>{why}</D:propstat>"
