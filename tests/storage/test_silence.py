"""A PostgreSQL that falls silent holds up nobody for long, and what it was told is written exactly once."""

import asyncio
import contextlib
import ctypes
import socket
import struct
import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text

from transom.decisions.store import ContentRow, EntryRow
from transom.decisions.writer import GroupCommit, Write
from transom.errors import NotDurable, StorageError
from transom.storage import postgres
from transom.storage.engine import Database, open_database
from transom.storage.migrate import migrate
from transom.values import Caller, DecisionId

_SO_ATTACH_FILTER = 26
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""A filter of one instruction (socket(7), SO_ATTACH_FILTER): give 0 bytes of any packet to the socket."""


class Proxy:
    """A port before a PostgreSQL's socket. A connection that has fallen silent stays so; a new one speaks.

    `word`: the next connection that says it is silent from there on, both ways. `passes`: the word gets through.
    """

    def __init__(self, server: str) -> None:
        self.word: bytes | None = None
        self.passes = False
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def swallow(self) -> None:
        """Let the network take whatever is sent on the connections of now, and acknowledge nothing."""
        for client in self._clients:
            program = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))
            client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._clients.append(client)
                self._sockets += [client, server]
                silent = threading.Event()
                both = [
                    threading.Thread(target=self._pass_on, args=(client, server, silent)),
                    threading.Thread(target=self._pass_on, args=(server, client, silent)),
                ]
                self._threads += both
                for thread in both:
                    thread.start()

    def _pass_on(self, one: socket.socket, other: socket.socket, silent: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if self.word is not None and self.word in data:
                    self.word = None
                    silent.set()
                    if self.passes:
                        other.sendall(data)
                if not silent.is_set():
                    other.sendall(data)
            if not silent.is_set():
                other.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    made = Proxy(f"{make_url(postgres_url).query['host']}/.s.PGSQL.5432")
    yield made
    made.close()


@pytest.fixture
def url(postgres_url: str, proxy: Proxy) -> str:
    """The database's URL through the proxy."""
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(postgres_url).database}"


@contextlib.contextmanager
def opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.close()


class Standing:
    """Nobody's key is ever revoked."""

    def refresh(self, connection: Connection) -> None:
        pass

    def refusal(self, caller: Caller) -> str | None:
        return None


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("word", "passes"),
    [(b"INSERT INTO entry", False), (b"INSERT INTO content", False), (b"COMMIT", False), (b"COMMIT", True)],
    ids=["at the start", "holding locks", "before the commit", "after the commit"],
)
def test_a_commit_to_a_silent_server_fails_and_is_written_once(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, url: str, word: bytes, passes: bool
) -> None:
    """TCP sees no harm: everything that is sent is acknowledged by somebody."""
    monkeypatch.setattr(postgres, "SILENT_SECONDS", 0.5)
    decision = DecisionId("a")
    write = Write([EntryRow(decision, "x", "i", b"a")], [ContentRow(decision, "prompt", b"sealed", 9)])

    async def work(database: Database) -> None:
        writer = GroupCommit(database, Standing(), patience=60.0)
        writer.start()
        write.done = writer.future()
        proxy.word, proxy.passes = word, passes
        writer.submit(write)
        with pytest.raises(NotDurable):
            await write.done
        assert writer.last_error is not None
        assert "said nothing for 0.5 s" in writer.last_error
        assert await writer.stop()

    with opened(url) as database:
        migrate(database)
        asyncio.run(work(database))
        with database.begin(write=False) as connection:
            assert [row.body for row in connection.execute(text("SELECT body FROM entry"))] == [b"a"]
            assert connection.execute(text("SELECT count(*) FROM content")).scalar_one() == 1


@pytest.mark.timeout(30)
def test_a_connection_that_fell_silent_unused_is_replaced(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, url: str
) -> None:
    monkeypatch.setattr(postgres, "SILENT_SECONDS", 0.5)
    with opened(url) as database:
        with database.begin():
            pass
        proxy.word = b""  # whatever it is
        with database.begin() as connection:
            assert connection.execute(text("SELECT 7")).scalar_one() == 7
        assert proxy.word is None


@pytest.fixture
def brief_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "NETWORK_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "PROBE", {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 1})


@pytest.mark.timeout(15)
@pytest.mark.usefixtures("brief_network")
def test_a_network_that_acknowledges_nothing_is_given_up(proxy: Proxy, url: str) -> None:
    """By the system, before our own patience is at its end."""

    def talk(database: Database) -> None:
        with database.begin() as connection:
            connection.execute(text("SELECT 1"))
            proxy.swallow()
            connection.execute(text("SELECT 1"))

    with opened(url) as database, pytest.raises(StorageError, match="timed out"):
        talk(database)


@pytest.mark.timeout(15)
@pytest.mark.usefixtures("brief_network")
def test_a_network_that_is_gone_while_an_answer_is_waited_for_is_given_up(
    proxy: Proxy, url: str, postgres_url: str
) -> None:
    def swallow_once_asked() -> None:
        with contextlib.closing(psycopg.connect(postgres_url, autocommit=True)) as server:
            while not server.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'").fetchone():
                pass
        proxy.swallow()

    def talk(database: Database) -> None:
        with database.begin() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    watching = threading.Thread(target=swallow_once_asked)
    watching.start()
    with opened(url) as database, pytest.raises(StorageError, match="timed out"):
        talk(database)
    watching.join()
