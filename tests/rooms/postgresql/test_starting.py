"""How a database on PostgreSQL begins: migrations, its schema, and what cannot work, told in one line."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.nasty_names import NASTY_NAMES
from tests.rooms.core.drive import Drive
from tests.rooms.postgresql.racing import Nodes, activity, raw
from tests.services.postgresql import PostgreSQL, postgresql_server
from vfs.errors import ConfigurationError, InvalidName
from vfs.metadata import schema
from vfs.metadata.database import Database

SECRET = "pa$s-wörd-42"


@pytest.fixture
def empty(server: PostgreSQL) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"kelp_rooms_empty_{os.getpid()}"
    server.drop(name)
    server.create(name)
    yield server.url(name)
    server.drop(name)


def test_migrations_lead_to_the_described_schema(empty: str) -> None:
    Database(empty).close()
    engine = sa.create_engine(sa.make_url(empty).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.REVISION
        made = {
            row[0] for row in connection.exec_driver_sql("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
        }
        assert made == set(schema.VIEWS)
        for name in made:
            assert connection.exec_driver_sql(f"SELECT * FROM {name}") is not None
        indexes = connection.exec_driver_sql("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        definitions: dict[str, str] = dict(indexes.all())  # type: ignore[arg-type]
        for table in schema.metadata.tables.values():
            for index in table.indexes:
                text = definitions[str(index.name)]
                assert ("UNIQUE" in text) == bool(index.unique), text
                partial = index.dialect_options["postgresql"]["where"]
                assert ("WHERE" in text) == (partial is not None), text
    engine.dispose()


def test_every_text_sorts_by_its_bytes_as_on_sqlite(empty: str) -> None:
    Database(empty).close()
    with raw(empty) as beside:
        other = beside.execute(
            """SELECT c.relname, a.attname, l.collname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               JOIN pg_collation l ON l.oid = a.attcollation
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
               AND c.relname <> 'alembic_version' AND l.collname <> 'C'"""
        ).fetchall()
    assert other == []


def test_names_are_listed_in_the_order_of_their_bytes(drive: Drive) -> None:
    for name in (*NASTY_NAMES, "Zebra", "apple", "Äpfel", "zz", "a-b", "a b", "ab", "\U0001f40b", "\uff5e"):
        with contextlib.suppress(InvalidName):
            drive.put(name)
    keys = [row[0] for row in drive.sql("SELECT name_key FROM entries WHERE parent_id = 1 AND state = 'ACTIVE'")]
    listed = drive.sql("SELECT name_key FROM entries WHERE parent_id = 1 AND state = 'ACTIVE' ORDER BY name_key")
    assert [row[0] for row in listed] == sorted(keys, key=str.encode)


def open_and_close(url: str) -> None:
    Database(url).close()


def test_nodes_that_start_at_once_make_one_database(empty: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    starting = [spawn.Process(target=open_and_close, args=(empty,)) for _ in range(3)]
    for process in starting:
        process.start()
    for process in starting:
        process.join(60)
    assert [process.exitcode for process in starting] == [0, 0, 0]
    with raw(empty) as beside:
        assert beside.execute("SELECT COUNT(*) FROM entries").fetchone() == (1,)
        assert beside.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.REVISION,)]


def test_a_node_waits_while_another_migrates_for_long(empty: str) -> None:
    """Longer than a change may wait for a lock."""
    with raw(empty) as beside, beside.transaction():
        beside.execute("SELECT pg_advisory_xact_lock(%s, 3)", (0x6B656C70,))
        spawn = multiprocessing.get_context("spawn")
        starting = spawn.Process(target=open_and_close, args=(empty,))
        starting.start()
        starting.join(11)
        assert starting.exitcode is None
    starting.join(60)
    assert starting.exitcode == 0


def test_a_newer_database_is_refused_in_one_line(empty: str) -> None:
    Database(empty).close()
    with raw(empty) as beside:
        beside.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in refused(empty)
    assert activity(empty, "true") == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"database": "nothing_of_this_name"}, "nothing_of_this_name"),
        ({"username": "nobody_here"}, "nobody_here"),
        ({"port": 1}, "refused"),
        ({"host": "no-such-host.invalid"}, "no-such-host.invalid"),
        ({"query": {"sslmode": "verify-full"}}, ""),
        ({"query": {"sslmode": "nonsense"}}, "sslmode"),
        ({"query": {"no_such_option": "1"}}, "no_such_option"),
    ],
)
def test_what_cannot_be_reached_is_told_in_one_line(empty: str, change: dict[str, object], told: str) -> None:
    url = sa.make_url(empty).set(password=SECRET).set(**change)  # type: ignore[arg-type]
    assert told in refused(url.render_as_string(hide_password=False))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@host:port/name",
        f"postgresql://u:{SECRET}@[::1/name",
        f"postgresql://u:{SECRET}@/name?connect_timeout=x",
        f"mysql://u:{SECRET}@host/name",
        f"postgres://u:{SECRET}@host/name",
        f"postgresql:u:{SECRET}@host",
        f"postgresql+nodriver://u:{SECRET}@127.0.0.1:1/name",
        f"{SECRET}",
    ],
)
def test_an_address_that_makes_no_sense_is_told_in_one_line(url: str) -> None:
    refused(url)


def test_a_wrong_password_is_told_in_one_line() -> None:
    with postgresql_server() as server:
        server.create("kelp")
        with raw(server.url("kelp")) as beside:
            beside.execute("CREATE ROLE keeper LOGIN PASSWORD 'another'")
        (server.folder / "pg_hba.conf").write_text("host all keeper all scram-sha-256\nhost all all all trust\n")
        server.restart()
        url = sa.make_url(server.url("kelp")).set(username="keeper", password=SECRET)
        assert "keeper" in refused(url.render_as_string(hide_password=False))
        may_not_make_tables = url.set(password="another").render_as_string(hide_password=False)
        assert "permission denied" in refused(may_not_make_tables)


def refused(url: str) -> str:
    """The one line that says why."""
    with pytest.raises(ConfigurationError) as caught:
        Database(url, timeout=20)
    text = str(caught.value)
    assert text and "\n" not in text and len(text) < 400
    whole = "".join(traceback.format_exception(caught.value))
    assert SECRET not in whole and "p%C3%B6" not in whole, whole
    return text


def test_no_password_in_what_settings_show(tmp_path: Path, nodes: Nodes) -> None:
    url = sa.make_url(nodes.url).set(password=SECRET).render_as_string(hide_password=False)
    database = Database(url)
    assert SECRET not in repr(database) and SECRET not in repr(database.__dict__)
    database.close()
