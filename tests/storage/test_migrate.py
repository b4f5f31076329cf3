"""The migrations, all together, are the tables; and the way down and up again loses no table."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

import transom.storage.migrations
from transom.errors import StartError
from transom.storage.engine import Database, open_database
from transom.storage.migrate import ensure_schema, head, migrate
from transom.storage.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind in turn."""
    url = f"sqlite:///{tmp_path / 'db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    yield opened
    opened.close()


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(next(iter(transom.storage.migrations.__path__)))))
    made.attributes["connection"] = connection
    return made


def tables(database: Database) -> dict[str, list[str]]:
    with database.begin(write=False) as connection:
        found = inspect(connection)
        return {
            name: sorted(str(column["name"]) for column in found.get_columns(name)) for name in found.get_table_names()
        }


def test_the_migrations_are_the_tables(database: Database) -> None:
    migrate(database)
    with database.begin(write=False) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    assert {name: sorted(table.columns.keys()) for name, table in metadata.tables.items()} == {
        name: columns for name, columns in tables(database).items() if name != "alembic_version"
    }


def test_ids_of_entries_are_never_used_again(database: Database) -> None:
    """The log is in the order of ids: a row that took a deleted one's would stand before what is sequenced."""
    migrate(database)
    insert = text("INSERT INTO entry (type, instance, body) VALUES ('policy/1', 'i', :body) RETURNING id")
    with database.begin() as connection:
        first = connection.execute(insert, {"body": b"a"}).scalar_one()
        connection.execute(text("DELETE FROM entry"))
        assert connection.execute(insert, {"body": b"b"}).scalar_one() > first


def test_every_step_down_and_up_again(database: Database) -> None:
    migrate(database)
    whole = tables(database)
    with database.begin(write=False) as connection:
        steps = [step.revision for step in ScriptDirectory.from_config(config(connection)).walk_revisions()]
    assert steps[0] == head()
    for step in (*steps[1:], "base"):
        with database.begin() as connection:
            command.downgrade(config(connection), step)
    assert tables(database).keys() == {"alembic_version"}
    for step in reversed(steps):
        migrate(database, step)
    assert tables(database) == whole
    migrate(database)  # nothing is left to do
    assert tables(database) == whole


def test_a_newer_database_is_left_alone(database: Database) -> None:
    migrate(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9999'"))
    for work in (migrate, ensure_schema):
        with pytest.raises(StartError, match=r"newer version.*v9999.*Use the newer version"):
            work(database)
    with database.begin(write=False) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "v9999"


NEXT = """revision = "9998"
down_revision = "{last}"


def upgrade():
    from alembic import op

    op.execute("CREATE TABLE made_by_the_next_version (id INTEGER)")
"""


def test_an_older_database_waits_for_the_start(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_schema(database)  # an empty one is made ready
    before = tables(database)
    assert before.keys() == {*metadata.tables, "alembic_version"}
    ensure_schema(database)
    last = head()
    steps = tmp_path / "migrations"
    shutil.copytree(next(iter(transom.storage.migrations.__path__)), steps)
    (steps / "versions" / "v9998_next.py").write_text(NEXT.format(last=last))
    monkeypatch.setattr("transom.storage.migrate._MIGRATIONS", steps)
    with pytest.raises(StartError, match=rf"older version.*{last}.*9998.*`transom up` once"):
        ensure_schema(database)
    assert tables(database) == before
    migrate(database)
    ensure_schema(database)
    assert "made_by_the_next_version" in tables(database)


def test_keys_move_out_of_contents_and_back(database: Database) -> None:
    """Whatever was sealed before can be opened after the step, and after the way back; what was erased stays so."""
    migrate(database, "0003")
    before = "INSERT INTO content (decision, part, key, sealed, expires) VALUES (:decision, :part, :key, :sealed, 9)"
    rows = [
        {"decision": decision, "part": part, "key": decision.encode(), "sealed": part.encode()}
        for decision in ("one", "two")
        for part in ("answer", "prompt")
    ]
    with database.begin() as connection:
        connection.execute(text(before), rows)
    migrate(database)
    with database.begin() as connection:
        keys = connection.execute(text("SELECT decision, wrapped FROM record_key ORDER BY decision")).all()
        assert [(row.decision, bytes(row.wrapped)) for row in keys] == [("one", b"one"), ("two", b"two")]
        connection.execute(text("UPDATE record_key SET wrapped = NULL, erased = 1 WHERE decision = 'two'"))
    with database.begin() as connection:
        command.downgrade(config(connection), "0003")
    with database.begin(write=False) as connection:
        kept = connection.execute(text("SELECT decision, part, key, sealed FROM content ORDER BY decision, part")).all()
    assert [(row.decision, row.part, bytes(row.key), bytes(row.sealed)) for row in kept] == [
        ("one", "answer", b"one", b"answer"),
        ("one", "prompt", b"one", b"prompt"),
    ]
