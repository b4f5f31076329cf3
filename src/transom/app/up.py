"""`transom up`: this machine's door, with its engine and as many serving processes as it is told."""

import asyncio
import contextlib
import fcntl
import logging
import socket
from collections.abc import Iterator
from typing import Protocol

from transom.app.build import Parts, Stores, open_stores
from transom.app.declared import read_running
from transom.app.engine_news import EngineLink, EngineNews
from transom.app.home import Home, prepare
from transom.app.serve import serve
from transom.app.server import listen
from transom.app.signer import settle
from transom.app.workers import Workers
from transom.callers.issue import Issued, list_keys
from transom.decisions.governance import TERMINAL, issue_key
from transom.engine.supervisor import Engine
from transom.engine.weights import ensure_weights
from transom.errors import StartError
from transom.storage.migrate import migrate

_log = logging.getLogger("transom")
_LOOK_SECONDS = 0.2
_LOAD_SECONDS = 60.0


class Screen(Protocol):
    """What a person sees while it starts."""

    def pulling(self, phase: str, done: int, total: int) -> None:
        """Show how far the weights are."""

    def serving(self, url: str, home: Home, first_key: Issued | None) -> None:
        """Show that requests are answered, and where; the first key, this once."""

    def engine(self, state: str, error: str | None) -> None:
        """Show a change of the engine's state."""

    def stopping(self) -> None:
        """Show that everything is being stopped."""


async def up(home: Home, screen: Screen, *, port: int | None, workers: int | None) -> None:
    """Serve `home` until SIGINT or SIGTERM, engine included; make what is missing first.

    Raises `ConfigErrors`, `StartError`, `StorageError`, `LedgerError` where it cannot start.
    """
    prepare(home)
    with only_one(home):
        stores = open_stores(home, workers)
        try:
            migrate(stores.database)
            stores = settle(stores)
            await _up(stores, screen, port, workers)
        finally:
            stores.close()


_INSTALL = "Install it with `pip install 'transom[local]'` and start again, or remove these models."


async def _up(stores: Stores, screen: Screen, port: int | None, workers: int | None) -> None:
    settings, home = stores.settings, stores.home
    count = settings.server.workers if workers is None else workers
    listener = _listen(settings.server.host, settings.server.port if port is None else port)
    wanted = settings.engine_wanted and settings.engine.wanted()
    link = EngineLink(wanted=wanted)
    engine: Engine | None = None
    if wanted:
        weights = await asyncio.to_thread(ensure_weights, home.path, screen.pulling)
        engine = Engine(home.path, weights, settings.engine)
        await engine.start()
    follow = asyncio.create_task(_follow(engine, link, screen)) if engine is not None else None
    url = f"http://{_host(settings.server.host)}:{listener.getsockname()[1]}"

    async def tell() -> None:
        if settings.engine_wanted and not wanted:
            screen.engine("not installed", f"{', '.join(settings.embedded_models)} cannot answer. {_INSTALL}")
        # The example that is shown asks the embedded model: shown any sooner, it would be refused.
        if engine is not None:
            screen.engine("starting", None)
            with contextlib.suppress(StartError):
                await engine.wait_ready(_LOAD_SECONDS)
        # Made only when it can be shown: it is shown once.
        screen.serving(url, home, _first_key(stores))

    telling: set[asyncio.Task[None]] = set()

    async def started(_parts: Parts | None = None) -> None:
        telling.add(asyncio.create_task(tell()))

    try:
        if count == 1:
            await serve(stores, listener, link, started, workers=count)
        else:
            read_running(home, settings)  # what is wrong with the files is said here, not by each of them
            await Workers(str(home.path), listener, link, count, started).run()
    finally:
        screen.stopping()
        for task in (*telling, *([follow] if follow is not None else [])):
            task.cancel()
        if engine is not None:
            await engine.stop()


async def _follow(engine: Engine, link: EngineLink, screen: Screen) -> None:
    """Pass on what the engine's supervisor knows."""
    while True:
        ready = engine.state == "ready"
        news = EngineNews(
            engine.state, engine.base_url if ready else None, engine.api_key if ready else None, engine.last_error
        )
        if news.state not in (link.news.state, "starting", "stopped"):
            screen.engine(news.state, news.error)
        link.tell(news)
        await asyncio.sleep(_LOOK_SECONDS)


def _first_key(stores: Stores) -> Issued | None:
    """Issue an operator's key where there is no key at all."""
    with stores.database.begin() as connection:
        if list_keys(connection):
            return None
        # A crash after this commit and before the key is shown leaves a key that nobody knows; `transom keys create`
        # makes another.
        return issue_key(connection, stores.keys, "first operator", ["operators"], by=TERMINAL)


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock. It ends with this process, however that ends."""
    with home.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"Another Transom serves {home.path}. Stop it first, or set TRANSOM_HOME to another folder."
            ) from error
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise StartError(
            f"{host}:{port} cannot be listened on ({error.strerror}). Choose another with --port, or server.port in "
            "transom.toml."
        ) from error


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
