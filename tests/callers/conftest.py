from collections.abc import Iterator
from pathlib import Path

import pytest

from transom.storage.engine import Database, open_database
from transom.storage.tables import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'transom.db'}")
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples of a property."""
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'transom.db'}")
    metadata.create_all(opened.engine)
    yield opened
    opened.close()
