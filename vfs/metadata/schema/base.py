"""What all tables are made with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()
# SQLite numbers rows only by a column whose type is exactly INTEGER; elsewhere ids are 64 bits wide.
NUMBERED = {"numbered": True}  # a sequence of PostgreSQL numbers its rows
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def numbered(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    """A table whose ids are never used again."""
    return sa.Table(name, metadata, *columns, sqlite_autoincrement=True, info=NUMBERED)


def counted(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    """A table that every change makes rows in. On SQLite it goes on after the last one that is there: to remember who
    is gone, each change wrote a page more, and counting so took a twentieth of its time."""
    return sa.Table(name, metadata, *columns, info=NUMBERED)


def id_column() -> sa.Column[int]:
    return sa.Column("id", Id, primary_key=True, autoincrement=True)
