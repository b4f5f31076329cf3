"""A database's schema: brought to this version's in one transaction, or only compared with it.

Each step is a file of `migrations/versions`, `vREVISION_what_it_does.py`. Alembic runs them; whoever finds nothing to
run does not wait for its import, which is a good part of a short command's time.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from transom.errors import StartError
from transom.storage.engine import Database

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_265_101
"""PostgreSQL's advisory lock that processes starting together take in turn; any number of our own."""


def migrate(database: Database, to: str | None = None) -> None:
    """Run every step up to `to` (`None`: all) that has not run yet. Processes that start together take turns.

    Raises `StartError` where the database is of a newer version than this one, `StorageError` where it fails.
    """
    with database.begin() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        schema = _schema(connection)
        _refuse_newer(database, schema)
        if schema != head():
            _upgrade(connection, to or head())


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
    return _steps()[-1]


def _refuse_newer(database: Database, schema: str | None) -> None:
    if schema is not None and schema not in _steps():
        raise StartError(
            f"The database ({database.url}) is of a newer version of Transom: its schema is {schema}, this one knows "
            f"up to {head()}. Use the newer version, or restore a backup from before."
        )


def _schema(connection: Connection) -> str | None:
    """Return the name of the step that the database is at, `None` where no step has run."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _steps() -> list[str]:
    """Name every step, the oldest first."""
    return sorted(file.stem[1:].partition("_")[0] for file in (_MIGRATIONS / "versions").glob("v*_*.py"))


def _upgrade(connection: Connection, to: str) -> None:
    from alembic import command  # noqa: PLC0415 # see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
