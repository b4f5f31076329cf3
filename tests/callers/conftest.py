from collections.abc import Iterator
from pathlib import Path

import pytest

from transom.storage.engine import Database, open_database
from transom.storage.tables import metadata


def opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    is_sqlite = request.param == "sqlite"
    yield from opened(f"sqlite:///{tmp_path}/transom.db" if is_sqlite else request.getfixturevalue("postgres_url"))


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    yield from opened(postgres_url)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples of a property."""
    yield from opened(f"sqlite:///{tmp_path_factory.mktemp('shared')}/transom.db")
