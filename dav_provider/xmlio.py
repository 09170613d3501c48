"""XML in and out: bounded, without DTD or entities, the DAV namespace always as `D:` (clients.md R4, design §11)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any
from xml.sax import saxutils

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from dav_provider.http_body import Body
from vfs.errors import InvalidRequest

DAV = "DAV:"
XML_TYPE = "application/xml; charset=utf-8"
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_LARGEST_BODY = 1024 * 1024  # bytes
_DEEPEST = 50  # elements inside each other
_MOST_ELEMENTS = 20_000
_MOST_NAME_BYTES = 8 * 1024 * 1024  # a namespace written once is part of the name of each element and attribute in it

__all__ = ["DAV", "DECLARATION", "LANGUAGE", "XML_TYPE", "TooLarge", "error_document", "escape", "parse", "serialize"]


class TooLarge(InvalidRequest):
    """XML over a limit: of its bytes, its depth, its elements, or the properties it names."""


class _BoundedBuilder(ET.TreeBuilder):
    """Builds the tree until it is deeper or has more elements than any honest request."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._count = 0
        self._named = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._depth += 1
        self._count += 1
        self._named += len(tag) + sum(map(len, attrs))
        if self._depth > _DEEPEST or self._count > _MOST_ELEMENTS or self._named > _MOST_NAME_BYTES:
            raise TooLarge("the XML body is too deep or has too many elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)


def read_bounded(body: Body, announced: int | None) -> bytes:
    """All of a body that must be small. Raises TooLarge over 1 MiB, UploadIncomplete when it is cut."""
    if announced is not None and announced > _LARGEST_BODY:
        raise TooLarge("an XML body may have 1 MiB")
    pieces: list[bytes] = []
    total = 0
    while piece := body.read(_LARGEST_BODY + 1 - total):
        pieces.append(piece)
        total += len(piece)
        if total > _LARGEST_BODY:
            raise TooLarge("an XML body may have 1 MiB")
    return b"".join(pieces)


def parse(data: bytes, root: str) -> ET.Element:
    """The root element, which must be `{DAV:}root`. Raises InvalidRequest for anything that is not good XML, TooLarge
    for what is too deep or too much."""
    parser = DefusedXMLParser(target=_BoundedBuilder(), forbid_dtd=True)
    try:
        parser.feed(data)
        element: ET.Element = parser.close()
    except DefusedXmlException as error:
        raise InvalidRequest("XML with a DTD or entities is refused") from error
    except (ET.ParseError, ValueError, LookupError, AssertionError) as error:  # the last ones: strange encodings
        raise InvalidRequest("the body is not well-formed XML") from error
    if element.tag != f"{{{DAV}}}{root}":
        raise InvalidRequest(f"the body must be a DAV:{root} element")
    return element


def split_name(name: str) -> tuple[str, str]:
    """Namespace ("" for none) and local part of a Clark name."""
    if name.startswith("{"):
        namespace, _, local = name[1:].partition("}")
        return namespace, local
    return "", name


def clark(tag: str) -> str:
    """ElementTree leaves out the braces of the empty namespace; a property's name always has them."""
    return tag if tag.startswith("{") else "{}" + tag


def empty_element(name: str) -> str:
    """`<D:getetag/>`, or with its own declaration for a foreign namespace."""
    namespace, local = split_name(name)
    if namespace == DAV:
        return f"<D:{local}/>"
    return f'<X:{local} xmlns:X="{attribute(namespace)}"/>' if namespace else f"<{local}/>"


def serialize(element: ET.Element) -> str:
    """An element as text that stands alone: every namespace but `D` is declared on it. Its tail is left out."""
    prefixes: dict[str, str] = {DAV: "D", _XML_NAMESPACE: "xml", "": ""}
    for one in element.iter():
        for name in (one.tag, *one.attrib):
            namespace = split_name(name)[0]
            prefixes.setdefault(namespace, f"n{len(prefixes) - 2}")
    foreign = [
        f' xmlns:{prefix}="{attribute(namespace)}"'
        for namespace, prefix in prefixes.items()
        if prefix not in ("", "xml", "D")
    ]
    return "".join(_written(element, prefixes, "".join(foreign)))


def inner_xml(element: ET.Element) -> str:
    """Text and child elements of an element, as an XML fragment that stands alone."""
    return text(element.text) + "".join(serialize(child) + text(child.tail) for child in element)


def _written(element: ET.Element, prefixes: dict[str, str], declarations: str) -> Iterator[str]:
    name = _prefixed(element.tag, prefixes)
    attributes = "".join(f' {_prefixed(key, prefixes)}="{attribute(value)}"' for key, value in element.attrib.items())
    if not element.text and not len(element):
        yield f"<{name}{declarations}{attributes}/>"
        return
    yield f"<{name}{declarations}{attributes}>{text(element.text)}"
    for child in element:
        yield from _written(child, prefixes, "")
        yield text(child.tail)
    yield f"</{name}>"


def _prefixed(name: str, prefixes: dict[str, str]) -> str:
    namespace, local = split_name(name)
    prefix = prefixes[namespace]
    return f"{prefix}:{local}" if prefix else local


def escape(value: str) -> str:
    """Character data, quickly where nothing has to be escaped, which is nearly everywhere."""
    return saxutils.escape(value) if "&" in value or "<" in value or ">" in value else value


def text(value: str | None) -> str:
    """Character data; a carriage return would be read back as a line feed if it were not a reference."""
    return saxutils.escape(value, {"\r": "&#13;"}) if value else ""


def attribute(value: str) -> str:
    return saxutils.escape(value, {'"': "&quot;", "\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})


def error_document(condition: str, href: str | None = None) -> bytes:
    """`D:error` naming one pre- or postcondition of RFC 4918 §16, perhaps with the URL it is about."""
    inner = f"<D:{condition}><D:href>{escape(href)}</D:href></D:{condition}>" if href else f"<D:{condition}/>"
    return f'{DECLARATION}<D:error xmlns:D="DAV:">{inner}</D:error>'.encode()
