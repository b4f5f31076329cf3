from collections.abc import Iterator
from pathlib import Path

import pytest

from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database at this version's schema, of each kind in turn."""
    url = f"sqlite:///{tmp_path / 'db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    migrate(opened)
    yield opened
    opened.close()
