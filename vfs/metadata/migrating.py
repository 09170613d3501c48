"""Bring a database to the newest revision, inside the one transaction that the engine holds."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from vfs.errors import ConfigurationError
from vfs.metadata.revision import REVISION


def is_current(revision: str) -> bool:
    return revision == REVISION


def upgrade(connection: sa.Connection) -> None:
    """Raises ConfigurationError for a database of a newer Kelp. Nothing is done when it is current."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each plugin as it is imported
    # Alembic costs 0.2 s to import: only a database that needs it pays.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        raise ConfigurationError(f"the database is of revision {found}, which this Kelp does not know") from error
