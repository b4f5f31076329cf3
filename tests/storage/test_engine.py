"""A database's URL: what is one is opened when it is used, what is none is refused without being shown."""

import pytest

from transom.errors import ConfigError
from transom.storage.engine import open_database

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "",
        PASSWORD,
        f"postgresql:/{PASSWORD}@host/name",
        f"postgresql://user@host:{PASSWORD}/name",
        f"postgresql://user:{PASSWORD}@host:port/name",
        f"postgresql://user:{PASSWORD}@[::1/name",
        f"sqlite://user:{PASSWORD}@host/file",
        f"sqlite:///file?timeout={PASSWORD}",
        f"mysql://user:{PASSWORD}@host/name",
        f"postgres://user:{PASSWORD}@host/name",
    ],
)
def test_what_is_no_url_of_ours_is_refused_unseen(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^storage\.database: .*postgresql://USER@HOST/NAME") as raised:
        open_database(url)
    assert PASSWORD not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////no/such/folder/file", "sqlite:////no/such/folder/file"),
        ("sqlite+aiosqlite:///file", "sqlite:///file"),
        (f"postgresql://user:{PASSWORD}@127.0.0.1:1/name", "postgresql+psycopg://user:***@127.0.0.1:1/name"),
        (f"postgresql+asyncpg://user:{PASSWORD}@127.0.0.1:1/name", "postgresql+psycopg://user:***@127.0.0.1:1/name"),
    ],
)
def test_nothing_is_connected_to_before_it_is_used(url: str, shown: str) -> None:
    database = open_database(url)
    assert database.url == shown
    database.close()
