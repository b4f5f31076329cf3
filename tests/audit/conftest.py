from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ledger.making import Home


@pytest.fixture(params=["sqlite", "postgresql"])
def any_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """An installation on each database."""
    url = f"sqlite:///{tmp_path}/transom.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = Home(tmp_path, url)
    yield made
    made.close()
