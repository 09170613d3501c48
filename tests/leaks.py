"""What was put into a vault, searched for where nothing of it may be: words and bytes in all forms that they may have.

`Needles` looks into files, `leaked` into an open drive.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import tarfile
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from blake3 import blake3
from sqlalchemy import make_url

from vfs.core import Kelp

STEMS = ("Quxzwillop", "Jänkßpüñdé", "鱷魚醃薑")  # of every word
PLAIN = "Snarkelbix"  # of what lies beside the vault, and is to be found
MOVED = "Plimfrotzel"  # of what lay beside it before it went in
_BLOCK = 64  # bytes that appear at every 4096th of a content
_LARGE = 1024 * 1024  # bytes
_TEXTS = (".log", ".db", "-wal", ".jsonl")
_AROUND = 100  # bytes that are shown beside what was found
_SHORTEST = 6  # bytes of a form; less is found by chance


def word(what: str) -> str:
    """A text for a name, a property or the like: `what` tells what it was, where it is found."""
    return f"{what} {' '.join(STEMS)}"


class Needles:
    """Forms of the stems, marks of contents, and digests of these, each with what it is."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}
        self._bytes: dict[bytes, str] = {}  # those that are looked for in what is large, and no text
        for stem in (*STEMS, PLAIN, MOVED):
            for form in _forms(stem):
                self._known.setdefault(form, stem)
            self._bytes[stem.encode()] = stem

    def content(self, name: str, size: int) -> bytes:
        """`size` bytes that no compression makes shorter, and that are looked for from here on."""
        rng = random.Random(name)
        mark = rng.randbytes(_BLOCK)
        pieces = (mark + rng.randbytes(4096 - _BLOCK) for _ in range(-(-size // 4096)))
        data = b"".join(pieces)[:size]
        for form in (mark[:24], *_in_base64(mark[:24]), mark[:24].hex().encode()):
            self._known[form] = f"content {name}"
        self._bytes[mark[:24]] = f"content {name}"
        for digest in (hashlib.sha256, hashlib.sha1, hashlib.md5, blake3):
            found = digest(data).digest()
            for form in (found[:16], found.hex()[:32].encode(), *_in_base64(found[:16])):
                self._known[form] = f"{digest.__name__} of content {name}"
        return data

    def found_in(self, files: Iterable[Path]) -> Iterator[tuple[str, str, bytes]]:
        """(file, what, its surroundings), also inside archives, compressed ones too, and in names of files."""
        for file in files:
            yield from self._found(f"name of {file}", str(file).encode())
            if file.is_file():
                for where, data in _opened(str(file), file.read_bytes()):
                    yield from self._found(where, data)

    def _found(self, where: str, data: bytes) -> Iterator[tuple[str, str, bytes]]:
        is_object = len(data) > _LARGE and not where.endswith(_TEXTS)
        for form, what in (self._bytes if is_object else self._known).items():
            at = data.find(form)
            if at >= 0:
                yield where, what, data[max(0, at - _AROUND) : at + _AROUND]


def _opened(where: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if data[257:262] != b"ustar":
        yield where, data
    if data[:2] == b"\x1f\x8b":
        yield from _opened(f"{where} (unpacked)", zlib.decompress(data, 31))
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                yield where, member.name.encode()
                if (file := archive.extractfile(member)) is not None:
                    yield from _opened(f"{where}: {member.name}", file.read())


def _forms(stem: str) -> set[bytes]:
    forms: set[bytes] = set()
    for text in {stem, stem.lower(), stem.upper(), stem.casefold()}:
        for same in {unicodedata.normalize(form, text) for form in ("NFC", "NFD")}:
            data = same.encode()
            shown = {quote(same), quote(quote(same)), json.dumps(same)[1:-1], ascii(same)[1:-1], repr(data)[2:-1]}
            forms |= {data, data.hex().encode(), same.encode("utf-16-le"), same.encode("utf-16-be")}
            forms |= {each.encode() for each in shown} | {quote(same).lower().encode()}
            forms |= set(_in_base64(data))
    return {form for form in forms if len(form) >= _SHORTEST}


def _in_base64(data: bytes) -> Iterator[bytes]:
    """What of it is the same whatever is before and after it, in both alphabets, and in base32."""
    for shift in range(3):
        inner = data[shift:]
        inner = inner[: len(inner) // 3 * 3]
        yield base64.b64encode(inner)
        yield base64.urlsafe_b64encode(inner)
    for shift in range(5):
        inner = data[shift:]
        inner = inner[: len(inner) // 5 * 5]
        if inner:
            yield base64.b32encode(inner)
            yield base64.b32encode(inner).lower()


def leaked(kelp: Kelp, secrets: Iterable[str]) -> list[str]:
    """Where these texts are in the database, among the keys of the cache, or among the names on the NAS."""
    wanted = {form: secret for secret in secrets for form in _forms(secret)}
    return [f"{wanted[form]!r} in {place}" for place, data in _kept(kelp) for form in wanted if form in data]


def _kept(kelp: Kelp) -> Iterator[tuple[str, bytes]]:
    """Every value of every table; of SQLite its files too, where what was deleted may still stand."""
    url = make_url(kelp.settings.database.url)
    with kelp.database.read() as tx:
        if url.get_backend_name() == "sqlite":
            tables = tx.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        else:
            tables = tx.all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            rows = tx.all(f"SELECT * FROM {table}")
            yield table, "\n".join(str(value) for row in rows for value in row).encode(errors="replace")
            yield table, b"\n".join(value for row in rows for value in row if isinstance(value, bytes))
    for suffix in ("", "-wal"):
        file = Path(f"{url.database}{suffix}")
        if url.get_backend_name() == "sqlite" and file.exists():
            yield file.name, file.read_bytes()
    yield "the cache", "\n".join(info.key for info in kelp.cache.list()).encode()
    names = [file.name for file in kelp.settings.nas_root.rglob("*")]
    yield "the NAS", "\n".join(names).encode(errors="surrogateescape")
