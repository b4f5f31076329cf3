"""Rows of every table out of one database and into another, of either kind: for backups.

A file holds one table's rows, each a length (four bytes, big-endian) and a MessagePack array in the columns' order.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from sqlalchemy import Connection, Table, func, insert, select, text

from transom.errors import StorageError
from transom.storage.tables import metadata

TABLES: Final = tuple(sorted(metadata.tables.keys() - {"lease"}))
"""What is copied: everything but who sequences at this moment."""
_ROWS: Final = 500
_LENGTH: Final = 4
_LONGEST: Final = 1 << 30


def hold_still(connection: Connection) -> None:
    """Have a reading transaction see the database as it is now, until it ends, whatever others write meanwhile."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def count(connection: Connection, table: str) -> int:
    """Return how many rows a table has."""
    return int(connection.execute(select(func.count()).select_from(metadata.tables[table])).scalar_one())


def write_rows(connection: Connection, table: str, file: BinaryIO, seen: Callable[[int], None]) -> int:
    """Write a table's rows to a file; return how many. `seen` is told as they go by."""
    of, written = metadata.tables[table], 0
    encoder = msgspec.msgpack.Encoder()
    found = connection.execution_options(yield_per=_ROWS).execute(select(of).order_by(*of.primary_key.columns))
    for row in found:
        data = encoder.encode(tuple(row))
        file.write(len(data).to_bytes(_LENGTH, "big") + data)
        written += 1
        if written % _ROWS == 0:
            seen(_ROWS)
    seen(written % _ROWS)
    return written


def read_rows(connection: Connection, table: str, path: Path, seen: Callable[[int], None]) -> int:
    """Insert a file's rows into an empty table; return how many. Raises `StorageError` where it is no such file."""
    into = metadata.tables[table]
    names = [column.name for column in into.columns]
    inserted = 0
    with path.open("rb") as file:
        rows = _rows(file, path, len(names))
        while batch := [dict(zip(names, row, strict=True)) for row in islice(rows, _ROWS)]:
            connection.execute(insert(into), batch)
            inserted += len(batch)
            seen(len(batch))
    _go_on_counting(connection, into)
    return inserted


def _rows(file: BinaryIO, path: Path, columns: int) -> Iterator[list[object]]:
    decoder = msgspec.msgpack.Decoder(list)
    while head := file.read(_LENGTH):
        length = int.from_bytes(head, "big")
        data = file.read(length) if len(head) == _LENGTH and length <= _LONGEST else b""
        try:
            row = decoder.decode(data)
        except msgspec.DecodeError as error:
            raise StorageError(f"{path} is damaged ({error}). Use another backup.") from error
        if len(row) != columns:
            raise StorageError(f"{path} is of another schema. Restore it with the version of Transom that made it.")
        yield row


def _go_on_counting(connection: Connection, table: Table) -> None:
    """Have ids that the database gives follow those that were put in. SQLite sees to that itself."""
    column = table.autoincrement_column
    if connection.dialect.name == "postgresql" and column is not None and column.autoincrement is True:
        connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608 - no input
                f"coalesce((SELECT max({column.name}) FROM {table.name}), 1), "
                f"(SELECT count(*) FROM {table.name}) > 0)"
            )
        )
