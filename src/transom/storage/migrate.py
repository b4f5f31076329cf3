"""A database's schema: brought to this version's in one transaction, or only compared with it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from transom.errors import StartError
from transom.storage.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_265_101
"""PostgreSQL's advisory lock that processes starting together take in turn; any number of our own."""


def migrate(database: Database, to: str = "head") -> None:
    """Run every step up to `to` that has not run yet. Processes that start together take turns.

    Raises `StartError` where the database is of a newer version than this one, `StorageError` where it fails.
    """
    with database.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _refuse_newer(database, _schema(connection))
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def ensure_schema(database: Database) -> None:
    """See that the database is of this version's schema, for whoever must not change one that others use.

    Only an empty one is brought to it. Raises `StartError` where it is of another version, older or newer.
    """
    with database.begin(write=False) as connection:
        schema = _schema(connection)
    if schema is None:
        migrate(database)
        return
    _refuse_newer(database, schema)
    if schema != head():
        raise StartError(
            f"The database ({database.url}) is of an older version of Transom: its schema is {schema}, this one's is "
            f"{head()}. Back it up, then run `transom up` once, which brings it up to date."
        )


def head() -> str:
    """Return the newest step's name."""
    return _steps().get_current_head() or ""


def _refuse_newer(database: Database, schema: str | None) -> None:
    if schema is not None and schema not in {step.revision for step in _steps().walk_revisions()}:
        raise StartError(
            f"The database ({database.url}) is of a newer version of Transom: its schema is {schema}, this one knows "
            f"up to {head()}. Use the newer version, or restore a backup from before."
        )


def _schema(connection: Connection) -> str | None:
    """Return the name of the step that the database is at, `None` where no step has run."""
    return MigrationContext.configure(connection).get_current_revision()


def _steps() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
