"""Extended attributes of files and folders, as file systems have them: bytes under a name.

They are dead properties of one namespace, so WebDAV shows and changes them, and they are copied and dumped with their
entry. Text is the property's text; what XML cannot carry is base64 in it, with an attribute that says so. A local name
of XML allows less than that of an attribute: what it lacks is `_x`, the code point in hexadecimal, `_`.
"""

from __future__ import annotations

import base64
import binascii
import re
import xml.etree.ElementTree as ET
from xml.sax import saxutils

from vfs.core import Kelp
from vfs.model import Caller
from vfs.operations import properties, reading

NAMESPACE = "urn:kelp:xattr"

_PREFIX = f"{{{NAMESPACE}}}"
_ESCAPED = re.compile(r"_(?=x)|^[^A-Za-z_]|[^A-Za-z0-9_.-]")
_ESCAPE = re.compile(r"_x([0-9A-F]{1,6})_")
# Not in XML 1.0 §2.2: control characters but tab, line feed and carriage return, and two that are no characters.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_BASE64 = "base64"


def attributes(kelp: Kelp, caller: Caller, entry_id: int) -> dict[str, bytes]:
    """All of an entry, by name. Raises NotFound."""
    found = reading.properties_of(kelp, caller, entry_id)
    own = {_name_of(name.removeprefix(_PREFIX)): value for name, value in found.items() if name.startswith(_PREFIX)}
    return {name: _bytes_of(value) for name, value in own.items() if name is not None}


def put(kelp: Kelp, caller: Caller, entry_id: int, name: str, value: bytes) -> None:
    """Raises NotFound, Forbidden, Locked, InvalidRequest (too much for one entry)."""
    local = _local_of(name)
    properties.patch(kelp, caller, entry_id, [(_PREFIX + local, _element(local, value))])


def remove(kelp: Kelp, caller: Caller, entry_id: int, name: str) -> bool:
    """False: there is none of that name. Raises NotFound, Forbidden, Locked."""
    if name not in attributes(kelp, caller, entry_id):
        return False
    properties.patch(kelp, caller, entry_id, [(_PREFIX + _local_of(name), None)])
    return True


def _local_of(name: str) -> str:
    return _ESCAPED.sub(lambda found: f"_x{ord(found[0]):X}_", name)


def _name_of(local: str) -> str | None:
    """None: a property that a file system has no name for, so only WebDAV shows it."""
    try:
        name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), local)
        name.encode()
    except ValueError:
        return None
    return name if _local_of(name) == local and "\0" not in name else None


def _element(local: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    how = ""
    if _NO_TEXT.search(text):
        text, how = base64.b64encode(value).decode(), f' encoding="{_BASE64}"'
    return f'<X:{local} xmlns:X="{NAMESPACE}"{how}>{saxutils.escape(text, {chr(13): "&#13;"})}</X:{local}>'


def _bytes_of(element: str) -> bytes:
    """What an element says. It was read by the face that stored it, and written anew."""
    (found,) = ET.fromstring(f'<x xmlns:D="DAV:">{element}</x>')
    text = "".join(found.itertext())
    if found.get("encoding") == _BASE64:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            pass
    return text.encode()
