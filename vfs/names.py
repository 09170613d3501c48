"""Rules for names: on the drive (clients.md R-N1), on the NAS (spec §5), and which names are litter.

Pure functions. A name is data: nothing here touches a file system.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from vfs.errors import InvalidName, NameTooLong

MAX_NAME_BYTES = 255  # of UTF-8, per segment, as sent
MAX_KEY_BYTES = 2048  # of UTF-8: folding can make a name longer, never that long

_STAMPED = re.compile(r"^\d{14}__")
_RESERVED_AT_ROOT = frozenset({".trash", ".kelp"})
# What clients leave beside a document while they save it (the last paragraph of clients.md §2, no other).
_LITTER = re.compile(
    r"""^(?:~\$.*|\.~lock\..*\#|\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\..*\.sw.|.*\.tmp|.*~"""
    r"""|.*\.sb-[^/]{8}-[^/]{6})$""",
    re.IGNORECASE | re.DOTALL,
)
# Characters that XML 1.0 cannot carry: a name with one could never be listed by WebDAV.
_UNLISTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def check_segment(name: str) -> str:
    """Return `name` when it can be one segment of a path.

    Raises InvalidName (empty, "." or "..", "/", control characters, halves of surrogate pairs) or
    NameTooLong (over 255 bytes of UTF-8).
    """
    if not name or name in (".", "..") or "/" in name or _UNLISTABLE.search(name):
        raise InvalidName(f"not a usable name: {name!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise NameTooLong(f"a name may have {MAX_NAME_BYTES} bytes, this one has {len(name.encode())}")
    return name


def key(name: str, case_sensitive: bool = True) -> str:
    """The form under which a name is unique in its folder: NFC, and case-folded on a drive that ignores case."""
    normal = unicodedata.normalize("NFC", name)
    return normal if case_sensitive else unicodedata.normalize("NFC", normal.casefold())


def is_key(text: str) -> bool:
    """It may be the `key` of a name."""
    return 0 < len(text.encode(errors="replace")) <= MAX_KEY_BYTES and "/" not in text and not _UNLISTABLE.search(text)


def is_litter(name: str) -> bool:
    return _LITTER.match(name) is not None


def is_apple_double(name: str) -> bool:
    """`._name` holds real data (resource forks), so it is never thrown away as litter."""
    return name.startswith("._")


def numbered(name: str, is_folder: bool) -> Iterator[str]:
    """ "name (1).ext", "name (2).ext" …, cut at a character boundary so that each fits 255 bytes."""
    stem, ext = (name, "") if is_folder else _split(name)
    number = 0
    while True:
        number += 1
        tail = f" ({number}){ext}"
        yield _cut(stem, MAX_NAME_BYTES - len(tail.encode())) + tail


def labelled(name: str, label: str) -> str:
    """ "name LABEL.ext", cut at a character boundary so that it fits 255 bytes; the label is cut when it alone is long.

    What cannot be in a name becomes "_".
    """
    stem, ext = _split(name)
    clean = _UNLISTABLE.sub("_", label.replace("/", "_"))
    tail = f" {_cut(clean, MAX_NAME_BYTES // 2)}{ext}"
    return _cut(stem, MAX_NAME_BYTES - len(tail.encode())) + tail


# --- on the NAS -----------------------------------------------------------------------------------


def stamp(time_ns: int) -> str:
    """`YYYYMMDDHHMMSS` in UTC (spec §5)."""
    return _stamp(time_ns // 1_000_000_000)


@lru_cache(maxsize=64)  # of now, nearly always
def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S")


def nas_file_name(stamped: str, name: str, uuid: str, refused: frozenset[str]) -> str:
    """`{stamp}__{name}`, cut to `{stamp}__{head}~{8 hex}{.ext}` when it would pass 255 bytes."""
    return _fit(f"{stamped}__", escape(name, refused), uuid, keep_extension=True)


def looks_stamped(name: str) -> bool:
    return _STAMPED.match(name) is not None


def is_reserved_at_root(name: str) -> bool:
    """Kelp's own folders on the NAS are called so."""
    return name.casefold() in _RESERVED_AT_ROOT


def nas_folder_name(name: str, uuid: str, refused: frozenset[str], at_root: bool) -> str:
    """The folder's own name; one that looks like a stamp, or like Kelp's own folders, gets the prefix `_`."""
    escaped = escape(name, refused)
    taken = at_root and is_reserved_at_root(escaped)
    prefix = "_" if taken or _STAMPED.match(escaped) else ""
    return _fit(prefix, escaped, uuid, keep_extension=False)


def nas_folder_name_taken(name: str, uuid: str, number: int = 1) -> str:
    """What a folder is called on the NAS when its plain NAS name is taken; from `number` 2 on, when this is too."""
    tail = f"~{short(uuid)}" + (f"-{number}" if number > 1 else "")
    return _cut(name, MAX_NAME_BYTES - len(tail)) + tail


def nas_key(nas_name: str, folds_case: bool) -> str:
    """The form under which a NAS name is unique in its folder."""
    normal = unicodedata.normalize("NFC", nas_name)
    return normal.casefold() if folds_case else normal


def escape(name: str, refused: frozenset[str]) -> str:
    if not refused or not any(character in refused for character in name):
        return name
    return "".join(
        "".join(f"%{byte:02X}" for byte in character.encode()) if character in refused else character
        for character in name
    )


def short(uuid: str) -> str:
    """The first eight hex digits of a UUID."""
    return uuid.replace("-", "")[:8]


def extension(name: str) -> str:
    """`.ext` of a file name, "" when it has none (a leading dot makes no extension)."""
    return _split(name)[1]


def _fit(prefix: str, name: str, uuid: str, *, keep_extension: bool) -> str:
    whole = prefix + name
    if len(whole.encode()) <= MAX_NAME_BYTES:
        return whole
    ext = extension(name) if keep_extension else ""
    tail = f"~{short(uuid)}{ext}"
    return prefix + _cut(name, MAX_NAME_BYTES - len((prefix + tail).encode())) + tail


def _split(name: str) -> tuple[str, str]:
    """Stem and extension; an "extension" over 32 bytes is part of the stem, else cutting could leave nothing."""
    dot = name.rfind(".")
    if dot <= 0 or len(name[dot:].encode()) > 32:
        return name, ""
    return name[:dot], name[dot:]


def _cut(text: str, limit: int) -> str:
    """The longest head of `text` with at most `limit` bytes that does not end inside a character."""
    return text.encode()[:limit].decode("utf-8", "ignore")
