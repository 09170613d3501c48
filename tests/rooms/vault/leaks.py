"""What may not be found anywhere outside of who shows it: the plain names of a vault."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator

from sqlalchemy import make_url

from vfs.core import Kelp


def leaked(kelp: Kelp, secrets: Iterable[str]) -> list[str]:
    """Where these texts are found in the database, in the cache, or as names on the NAS: in any form of Unicode, in
    any case, as text or as JSON has it. Names that are short are found everywhere: take long ones."""
    wanted = {form: secret for secret in secrets for form in _forms(secret)}
    found = []
    for place, text in _texts(kelp):
        found += [f"{wanted[form]!r} in {place}" for form in wanted if form in text]
    return found


def _forms(secret: str) -> Iterator[str]:
    assert len(secret) > 5, "it would be found by chance"
    for normal in ("NFC", "NFD"):
        folded = unicodedata.normalize(normal, secret).casefold()
        yield folded
        yield ascii(folded)[1:-1]


def _texts(kelp: Kelp) -> Iterator[tuple[str, str]]:
    """Every value of every table; of SQLite its files too, where what was deleted may still stand."""
    url = make_url(kelp.settings.database.url)
    with kelp.database.read() as tx:
        if url.get_backend_name() == "sqlite":
            tables = tx.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        else:
            tables = tx.all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            for row in tx.all(f"SELECT * FROM {table}"):
                yield table, repr(tuple(row)).casefold()
                yield table, "\n".join(str(value) for value in row).casefold()
    if url.get_backend_name() == "sqlite" and url.database:
        for suffix in ("", "-wal"):
            if os.path.exists(url.database + suffix):
                with open(url.database + suffix, "rb") as file:
                    yield f"kelp.db{suffix}", file.read().decode("utf-8", "replace").casefold()
    for info in kelp.cache.list():
        yield "the cache", info.key
    for folder, folders, files in os.walk(kelp.settings.nas_root):
        for name in (*folders, *files):
            yield folder, name.casefold()
