"""One serving process from start to end."""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from transom.app.build import Parts, Stores, build
from transom.app.engine_news import EngineLink
from transom.app.housekeeping import Housekeeping
from transom.app.reload import Reloader, note_in_force
from transom.app.server import Server, build_server, drop_slow_heads
from transom.decisions.recover import bury, recover
from transom.errors import NotDurable, StorageError
from transom.gateway.running import Door
from transom.upstreams.probing import Probing

_log = logging.getLogger("transom")

Started = Callable[[Parts], Awaitable[None]]


async def serve(stores: Stores, listener: socket.socket, link: EngineLink, started: Started, *, workers: int) -> None:
    """Serve on `listener`, one of `workers` processes, until SIGINT or SIGTERM. `started` runs once it answers.

    The database must be at this version's schema. Raises `ConfigErrors`, `StorageError`, `LedgerError` where it
    cannot start.
    """
    closed = recover(stores.database)
    if closed:
        _log.warning("%d decisions that were open at the last end were closed as interrupted", closed)
    parts = build(stores)
    reloader, housekeeping = Reloader(parts, link, workers=workers), Housekeeping(parts)
    parts.door.reload = reloader.reload
    housekeeping.alert_settings = lambda: reloader.settings.alerts
    link.attach(parts.door)
    _add_probes(parts)
    parts.writer.start()
    await housekeeping.beat()
    await note_in_force(parts, None)
    await asyncio.to_thread(parts.sequencer.start)
    server = build_server(parts.gateway, stores.settings.server, lambda: started(parts))
    _stop_on_signals(server, parts.door)
    work = (
        reloader.watch(),
        Probing(lambda: parts.door.running.upstreams).run(),
        housekeeping.run(),
        drop_slow_heads(server, stores.settings.server.header_seconds),
    )
    tasks = [asyncio.create_task(each) for each in work]
    _settle_memory()
    try:
        await server.serve(sockets=[listener])
    finally:
        # What still answers after a second signal is cut here, before its decision is closed.
        for task in (*tasks, *server.server_state.tasks):
            task.cancel()
        await asyncio.gather(*tasks, *server.server_state.tasks, return_exceptions=True)
        await _finish(parts, housekeeping)


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process.

    Python's collector walks everything that is alive, again and again, and every request waits meanwhile: tens of
    milliseconds with its own settings. Requests leave hardly any cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _add_probes(parts: Parts) -> None:
    """Say what must be well for this process to be ready."""
    probes = parts.door.probes
    probes["record"] = lambda: None if parts.writer.last_error is None else "the record cannot be written"
    probes["rates"] = lambda: parts.door.running.rates.last_error
    probes["ledger"] = lambda: parts.sequencer.problem


def _stop_on_signals(server: Server, door: Door) -> None:
    """End politely on the first SIGINT or SIGTERM, at once on the second."""

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True
        door.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _finish(parts: Parts, housekeeping: Housekeeping) -> None:
    """Leave nothing undone: counts, writes, the instance's own end through the code that recovers, the log."""
    try:
        await housekeeping.note_counts()
    except (NotDurable, StorageError):
        _log.exception("the last counts are not on record yet")
    try:
        if await parts.writer.stop():
            with parts.stores.database.begin() as connection:
                bury(connection, parts.instance, parts.writer.settled)
    except StorageError:
        _log.exception("not everything could be recorded at the end; the next start closes what is open")
    await asyncio.to_thread(parts.sequencer.stop)
    await housekeeping.close()
    if parts.witnesses is not None:
        await parts.witnesses.close()
    await parts.door.running.rates.close()
    for upstream in parts.door.running.upstreams.values():
        await upstream.close()
