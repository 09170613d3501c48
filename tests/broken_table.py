"""A table to which nothing can be written, as a defect or a damaged page would have it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests import engines
from vfs.errors import KelpError
from vfs.metadata.database import Database

ERRORS = (sqlite3.Error, psycopg.Error, KelpError)  # one of which a change gets
_BREAK = {
    "sqlite": (
        "CREATE TRIGGER no_insert BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END",
        "CREATE TRIGGER no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$",
        "CREATE TRIGGER no_change BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
}
_MEND = {
    "sqlite": ("DROP TRIGGER no_insert", "DROP TRIGGER no_update"),
    "postgresql": ("DROP FUNCTION refuse CASCADE",),
}


@contextmanager
def broken_table(database: Database, table: str) -> Iterator[None]:
    with database.write() as tx:
        for statement in _BREAK[engines.CHOSEN.database]:
            tx.run(statement.format(table=table))
    try:
        yield
    finally:
        with database.write() as tx:
            for statement in _MEND[engines.CHOSEN.database]:
                tx.run(statement.format(table=table))
