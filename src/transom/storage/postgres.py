"""Connections to PostgreSQL that end: a server, or a network, that falls silent is given up, on both sides.

A commit under way then fails within `SILENT_SECONDS` of the last word, and is tried again on a new connection. The
server forgets its half within the same time: else the locks of a transaction that nobody will end would hold up all.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, event
from typing_extensions import override

T = TypeVar("T")
SILENT_SECONDS = 20.0
"""A server that says nothing for so long while it owes an answer is given up. It is told to wait for locks for less."""
LOCK_SECONDS = 5.0
CONNECT_SECONDS = 5
NETWORK_SECONDS = 10.0
"""A network that takes what is sent nowhere for so long is given up (tcp(7), TCP_USER_TIMEOUT)."""
PROBE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""Ask a connection that nobody uses whether it still stands: given up after eleven seconds (tcp(7))."""


def connect_arguments() -> dict[str, object]:
    """Return libpq's parameters, and in them what the server is told for the session."""
    session = {
        "synchronous_commit": "on",
        "lock_timeout": int(LOCK_SECONDS * 1000),
        "idle_in_transaction_session_timeout": int(SILENT_SECONDS * 1000),
    }
    return {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives": 1,
        **PROBE,
        "tcp_user_timeout": int(NETWORK_SECONDS * 1000),
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
    }


def give_up_silent_servers(engine: Engine) -> None:
    """Make the engine's connections ones that do. TCP alone cannot tell: a proxy, or a kernel, may take everything."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> object:
        return _Connection.connect(*arguments, **parameters)


class _Connection(psycopg.Connection[Any]):
    """A connection that closes where its server owes an answer and says nothing."""

    @override
    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        return super().wait(self._unless_silent(gen), *arguments, **options)

    def _unless_silent(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Stand between a conversation with the server and the wait for its socket, which wakes up now and then."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > SILENT_SECONDS:
                    self.close()
                    raise psycopg.OperationalError(f"the server has said nothing for {SILENT_SECONDS:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # the type of what a generator returns is not kept
