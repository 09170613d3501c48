"""Names without their meaning: what a recording of a session may say about paths, people, hosts and values.

A name keeps what makes clients and servers behave differently: extension, class of length, case, odd characters,
normal form, and the patterns of temporary files (clients.md §2). Two names are alike exactly when they were.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import quote, unquote_to_bytes

_KEPT = frozenset(
    ". .. .DS_Store ._. .hidden .localized .metadata_never_index .Spotlight-V100 .Trashes .fseventsd Contents "
    "desktop.ini autorun.inf folder.jpg Thumbs.db 4913".split()
)
_LITTER = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"()(~WR[DL]\d{4}\.tmp)()",
        r"(~\$|\._|\.#)(.+)()",
        r"(\.~lock\.)(.+)(#)",
        r"(\.)(.+)(\.sw[a-z])",
        r"()(.+)(\.sb-[0-9a-f]{8}-\w{6})",
        r"()(.+)(~|_tmp|\.tmp|\.__tmp)",
        r"(\.)(.+)()",
    )
]
_EXTENSION = re.compile(r"(.+)(\.[A-Za-z0-9]{1,5})", re.DOTALL)
_LENGTHS = (8, 24, 64, 128, 200)  # bytes; longer names keep their length, which is near the limit
_BAD_ESCAPE = re.compile(r"%(?:00|2[fF]|(?![0-9A-Fa-f]{2}))")
_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_HARMLESS = re.compile(
    r"\d{1,10}|[0-9A-Fa-f]{8}|[TF]|infinity|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|\d{4}-\d\d-\d\dT[\d:.]+Z?"
)
_XML_TEXT = re.compile(r">([^<>]+)<")
_ATTRIBUTE = re.compile(r"""(\s)(?!xmlns[:=]|(?:xml:lang|version|encoding)=)([\w:.-]+)(\s*=\s*)("[^"]*"|'[^']*')""")


class Pseudonyms:
    """`secret` makes the names of one recording; it is thrown away with it. `mount` is the first segment of paths on
    the drive, for which {drive} is written."""

    def __init__(self, secret: bytes, mount: str) -> None:
        self._secret = secret
        self._mount = mount

    def name(self, name: str) -> str:
        if name in _KEPT or not name:
            return name
        for pattern in _LITTER:
            if match := pattern.fullmatch(name):
                before, inner, after = match.groups()
                return f"{before}{inner if not before + after else self.name(inner)}{after}"
        match = _EXTENSION.fullmatch(name)
        stem, extension = match.groups() if match else (name, "")
        return self._stem(stem) + extension

    def path(self, path: str) -> str:
        """Of an absolute, encoded path; a query is dropped."""
        _, *segments = path.partition("?")[0].split("/")
        if segments[:1] == [self._mount]:
            return "/".join(("{drive}", *map(self._segment, segments[1:])))
        return "/" + "/".join(map(self._segment, segments))

    def url(self, url: str, hosts: frozenset[str]) -> str:
        """Of a URL or an absolute path, as Destination and tags of `If` have it. `hosts` are names of this server."""
        match = _URL.fullmatch(url)
        if match is None:
            return self.path(url) if url.startswith("/") else "unknown"
        scheme, authority, path = match.groups()
        userinfo, at, host = authority.rpartition("@")
        ours = host.lower() in hosts
        shown = ("u:p@" if ":" in userinfo else "u@") if at else ""
        return f"{scheme}://{shown}{'{host}' if ours else 'elsewhere.example'}{self.path(path or '/')}"

    def _segment(self, segment: str) -> str:
        if bad := _BAD_ESCAPE.findall(segment):
            return "malformed" + "".join(bad)
        try:
            name = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            return "malformed%FF"
        return segment if name in _KEPT else quote(self.name(name), safe="-._~!$'()*,;=:@")

    def _stem(self, stem: str) -> str:
        size = len(stem.encode("utf-8", "replace"))
        wanted = next((length for length in _LENGTHS if size <= length), size)
        composed = unicodedata.normalize("NFC", stem)
        odd = "".join(dict.fromkeys(char for char in stem if char.isascii() and not char.isalnum()))
        if not stem.isascii():
            odd += "é" if composed == stem else "e\u0301"
        if any(ord(char) > 0xFFFF for char in stem):
            odd += "😀"
        end = stem[-1] if stem[-1] in " ." else ""
        letters = self._letters(composed.casefold(), max(8, wanted - len((odd + end).encode())))
        if stem.isupper():
            letters = letters.upper()
        elif stem[0].isupper():
            letters = letters.capitalize()
        return letters[:4] + odd + letters[4:] + end

    def _letters(self, text: str, count: int) -> str:
        digest = hashlib.shake_128(self._secret + text.encode("utf-8", "replace")).digest(count)
        return "".join(chr(ord("a") + byte % 26) for byte in digest)


def xml_without_values(data: bytes) -> str | None:
    """The XML in one line, elements as they stand, texts and attributes replaced but for dates and numbers.

    None for what may not be cut up so simply: comments, CDATA, instructions, document types, other encodings.
    """
    try:
        text = " ".join(data.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        return None
    instructions = text.count("<?") - text.startswith("<?xml ")
    if instructions or "<!" in text or "{" in text or not (text.startswith("<") and text.endswith(">")):
        return None
    text = _XML_TEXT.sub(lambda match: f">{_value(match[1])}<", text)
    return _ATTRIBUTE.sub(r'\1\2\3"x"', text)


def _value(text: str) -> str:
    bare = text.strip()
    return bare if not bare or _HARMLESS.fullmatch(bare) else "x" * min(len(bare), 40)
