"""What all tables are made with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()
# SQLite numbers rows only by a column whose type is exactly INTEGER; elsewhere ids are 64 bits wide.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def numbered(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    """A table whose ids are never used again."""
    return sa.Table(name, metadata, *columns, sqlite_autoincrement=True)


def id_column() -> sa.Column[int]:
    return sa.Column("id", Id, primary_key=True, autoincrement=True)
