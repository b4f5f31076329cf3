"""Stores that fail at one durable write: before it is done, or after it was done but as if it had failed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from sqlalchemy import Connection
from tests.ledger.making import Home
from typing_extensions import override

from transom.errors import StorageError
from transom.storage.engine import Database
from transom.storage.objects import Objects, open_objects


class Fault:
    """Fails the durable write number `at` (from 0). `done`: the write is done all the same."""

    def __init__(self, at: int, *, done: bool) -> None:
        self._at = at
        self._done = done
        self._count = -1
        self.tripped = False

    @contextmanager
    def around(self) -> Iterator[None]:
        self._count += 1
        now = self._count == self._at
        self.tripped = self.tripped or now
        if now and not self._done:
            raise StorageError("injected: not persisted")
        yield
        if now:
            raise StorageError("injected: persisted")


class FaultyDatabase(Database):
    """A database whose commits may fail."""

    fault: Fault

    @classmethod
    def over(cls, home: Home, fault: Fault) -> Self:
        database = cls(home.database.engine)
        database.fault = fault
        return database

    @override
    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        if not write:
            with super().begin(write=False) as connection:
                yield connection
            return
        with self.fault.around(), super().begin() as connection:
            yield connection


class FaultyObjects(Objects):
    """An object store whose writes may fail."""

    fault: Fault

    @classmethod
    def over(cls, home: Home, fault: Fault) -> Self:
        objects = cls(open_objects(home.objects.where)._store, home.objects.where)
        objects.fault = fault
        return objects

    @override
    def put(self, path: str, data: bytes) -> None:
        with self.fault.around():
            super().put(path, data)

    @override
    def create(self, path: str, data: bytes) -> bool:
        with self.fault.around():
            return super().create(path, data)

    @override
    def create_all(self, objects: Sequence[tuple[str, bytes]]) -> Sequence[bool]:
        return [self.create(*each) for each in objects]  # in an order, so that a fault has its place in it

    @override
    def delete(self, paths: Sequence[str]) -> None:
        with self.fault.around():
            super().delete(paths)
