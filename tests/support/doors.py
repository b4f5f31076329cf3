"""Doors that many tests share: started once a session, on SQLite and on PostgreSQL, before one scripted upstream.

A test that changes what is in force, or stops the process, makes a `Server` of its own (`make_server`).
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from openai import OpenAI
from tests.support import faulty
from tests.support.postgres import fresh_database
from tests.support.server import NO_ENGINE, Server
from tests.support.upstream import Script, Upstream

from transom.callers.issue import Issued

GROUPS = ("operators", "developers", "students", "auditors", "monitors", "nobodies")
MODELS = """
[upstreams.vendor]
base_url = "{url}"
headers = {{ "x-vendor" = "yes" }}
timeouts = {{ connect = 2, first_byte = 5, between_chunks = 5 }}
[upstreams.dead]
base_url = "http://127.0.0.1:1/v1"

[models.open]
route = ["vendor"]
weights = "open"
licence = "Apache-2.0"
producer = "Somebody"
[models.closed]
route = ["vendor"]
weights = "none"
[models.internal]
route = ["vendor"]
rung = "internal"
weights = "open"
[models.hosted]
route = ["vendor"]
rung = "hosted"
weights = "open"
[models.renamed]
route = [{{ upstream = "vendor", model = "vendor/real name" }}]
[models.spare]
route = ["dead", "vendor"]
[models.lost]
route = ["dead"]
[models."two@1"]
route = ["vendor"]
[models."two@2"]
route = ["vendor"]
in_service = true
[models.priced]
route = ["vendor"]
price = {{ currency = "EUR", input = "2.50", cached_input = "0.25", output = "10" }}
[models.vectors]
route = ["vendor"]
kind = "embedding"
weights = "open"
"""
QUICK = "{ connect = 0.5, first_byte = 0.5, between_chunks = 0.5, whole = 1.5 }"


def models(upstream: Upstream, *scripts: str, timeouts: str = QUICK) -> str:
    """Settings: for each of these scripts of the upstream, a model of its name that is answered by it."""
    sections = [
        f'[upstreams.{name}]\nbase_url = "{upstream.url_of(name)}"\ntimeouts = {timeouts}\n'
        f'[models.{name}]\nroute = ["{name}"]\n'
        for name in scripts
    ]
    return "\n".join(sections)


class Door:
    """A served home with a key for each group (`nobodies` is no group that a policy names)."""

    def __init__(self, server: Server, upstream: Upstream) -> None:
        self.server = server
        self.upstream = upstream
        self.keys: dict[str, Issued] = {group: server.issue(group, group) for group in GROUPS}

    def key(self, group: str = "developers") -> str:
        return self.keys[group].key

    def client(self, group: str = "developers") -> OpenAI:
        """Give OpenAI's client, which must be closed: use it as a context manager."""
        return OpenAI(base_url=f"{self.server.url}/v1", api_key=self.key(group), max_retries=0, timeout=20)


MakeServer: TypeAlias = Callable[..., Server]


@pytest.fixture(scope="session")
def vendor() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def hostile() -> Iterator[Upstream]:
    """An upstream that does everything wrong that upstreams do: see `tests.support.faulty`, and `models` above."""
    with Upstream(faulty.SCRIPTS) as running:
        yield running


@pytest.fixture
def gate(hostile: Upstream) -> Iterator[threading.Event]:
    """What the script `held` of `hostile` waits for, in this test, before it answers at all."""
    made = threading.Event()
    hostile.scripts["held"] = Script(gate=made)
    yield made
    made.set()


@pytest.fixture(scope="session")
def sqlite_door(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream) -> Iterator[Door]:
    """A door on SQLite."""
    with Server(tmp_path_factory.mktemp("sqlite") / "home", NO_ENGINE + MODELS.format(url=vendor.url)) as server:
        yield Door(server.start(), vendor)


@pytest.fixture(scope="session")
def postgres_door(tmp_path_factory: pytest.TempPathFactory, vendor: Upstream, postgres_socket: Path) -> Iterator[Door]:
    """A door on a PostgreSQL database of its own, whose URL it has from the environment."""
    settings = NO_ENGINE + '[storage]\ndatabase = { env = "TEST_DATABASE" }\n' + MODELS.format(url=vendor.url)
    home = tmp_path_factory.mktemp("postgres") / "home"
    with (
        fresh_database(postgres_socket) as url,
        Server(home, settings, environment={"TEST_DATABASE": url}) as server,
    ):
        yield Door(server.start(), vendor)


@pytest.fixture(params=["sqlite", "postgresql"])
def door(request: pytest.FixtureRequest) -> Door:
    """A door, on each database in turn."""
    found = request.getfixturevalue("sqlite_door" if request.param == "sqlite" else "postgres_door")
    assert isinstance(found, Door)
    return found


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Makes servers (of tests.support.server.Server's arguments but the home) that are stopped after the test."""
    made: list[Server] = []
    numbers = itertools.count()

    def make(settings: str, **options: object) -> Server:
        made.append(Server(tmp_path / f"home{next(numbers)}", settings, **options))  # type: ignore[arg-type]  # passed on
        return made[-1]

    yield make
    for server in made:
        server.stop()
