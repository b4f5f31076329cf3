"""One door to the database: SQLite (WAL, `synchronous=FULL`) or PostgreSQL (`synchronous_commit=on`).

The engine is synchronous. Whoever must not block an event loop calls `Database.run`, which works in a thread;
the group commit has a thread of its own (`decisions.writer`).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from transom.errors import ConfigError, StorageError

T = TypeVar("T")
_BUSY_MS = 5_000
_SETTING = "storage.database"
_FORMS = "Write sqlite:///FILE or postgresql://USER@HOST/NAME."


class Database:
    """An open database. `url` is SQLAlchemy's, without a password when shown."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="database")

    @property
    def url(self) -> str:
        """The database's address, its password hidden."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        """Open a transaction, committed at the end of the block, rolled back if it raises.

        In SQLite a writing transaction takes the write lock at once, so that it never fails half-way for want of it.
        Raises `StorageError` where the database cannot be reached, falls silent, is locked for longer than five
        seconds, or refuses.
        """
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
                yield connection
                connection.commit()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError(f"The database ({self.url}) failed: {_first_line(error)}") from error

    async def run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Run `work(connection)` in one transaction, in a thread."""

        def job() -> T:
            with self.begin(write=write) as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, job)

    def overwrite_deleted(self, table: str) -> None:
        """Have the database let go of what deleted or changed rows of a table leave behind, as far as it can.

        SQLite: the write-ahead log is emptied into the file. PostgreSQL: the table is vacuumed. Copies, replicas and
        the disk's own memory are not reached. Raises `StorageError`.
        """
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)" if self.is_sqlite else f'VACUUM "{table}"')
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StorageError(f"The database ({self.url}) failed: {_first_line(error)}") from error

    def close(self) -> None:
        """Let go of every connection and thread."""
        self._threads.shutdown(wait=True)
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at `url` (`sqlite:///FILE` or `postgresql://…`). Connects only when it is first used.

    Raises `ConfigError`, whose `file` is the setting's path, where the URL is of neither kind, and never shows it.
    """
    try:
        return Database(_engine(make_url(url)))
    except (ArgumentError, ValueError):
        # `from None`: what SQLAlchemy could not read is a part of the URL, perhaps of its password.
        raise ConfigError(
            f"This is no database's URL. {_FORMS} A password's special characters are written as %XX in it.",
            file=_SETTING,
        ) from None


def _engine(url: URL) -> Engine:
    kind = url.get_backend_name()
    if kind == "sqlite":
        engine = sqlalchemy.create_engine(
            url.set(drivername="sqlite"),
            poolclass=NullPool if url.database in (None, ":memory:") else QueuePool,
            connect_args={"timeout": _BUSY_MS / 1000, "check_same_thread": False, "cached_statements": 512},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    if kind == "postgresql":
        # Its driver takes a tenth of a second to import.
        from transom.storage.postgres import connect_arguments, give_up_silent_servers  # noqa: PLC0415

        engine = sqlalchemy.create_engine(
            url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=connect_arguments()
        )
        give_up_silent_servers(engine)
        return engine
    raise ConfigError(f"Transom cannot use a database of the kind {kind!r}. {_FORMS}", file=_SETTING)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Hand transactions to us (the driver would open them lazily) and make a commit mean durable."""
    connection.isolation_level = None
    # secure_delete: a key that was erased is overwritten in its page, and not only no longer pointed at.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_MS}",
        "foreign_keys=ON",
        "secure_delete=FAST",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
