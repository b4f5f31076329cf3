"""Bring a database to the schema of this version, in one transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text

from transom.errors import StartError
from transom.storage.engine import Database

_LOCK = 7_265_101
"""PostgreSQL's advisory lock that processes starting together take in turn; any number of our own."""


def migrate(database: Database, to: str = "head") -> None:
    """Run every step up to `to` that has not run yet. Processes that start together take turns.

    Raises `StartError` where the database is of a newer version than this one, `StorageError` where it fails.
    """
    with database.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, to)
        except CommandError as error:
            raise StartError(
                f"The database ({database.url}) was written by another version of Transom ({error}). "
                "Start that version, or restore a backup from before."
            ) from error


def head() -> str:
    """Return the newest step's name."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
