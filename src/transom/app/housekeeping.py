"""What a serving process does now and then, besides answering."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from transom.app.alerts import Alerts
from transom.app.build import Parts
from transom.app.scrubbing import Scrubbing
from transom.audit.index import catch_up
from transom.decisions import store
from transom.decisions.erase import erase_expired
from transom.decisions.recover import recover
from transom.decisions.writer import end_buried
from transom.errors import ConfigError, NotDurable, StorageError
from transom.ledger.acts import AccessEntry
from transom.ledger.entry import new_id, timestamp
from transom.metering.settings import AlertSettings
from transom.metering.store import forget

_log = logging.getLogger("transom.housekeeping")
_BEAT_SECONDS = 5.0
_COUNTS_SECONDS = 60.0
_RATES_SECONDS = 1.0
_ALERTS_SECONDS = 1.0
_KEPT_MS = 90 * 86_400_000
"""How long a counter whose window is over, and an alert that was sent, can be looked up in the database."""
_INDEX_SECONDS = 1.0
_INDEXING_SECONDS = 0.2
_INDEXED = 512
_INDEXED_WHILE_BUSY = 32
_BUSY = 200
"""A process that made more writes durable since the last look works hard."""
_ERASE_SECONDS = 60.0
_ERASE_BATCH = 100
"""Each may be tens of megabytes, and decisions wait meanwhile."""


class Housekeeping:
    """The periodic tasks of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._alerts = Alerts(parts.stores.database, parts.door.keyring)
        self.alert_settings: Callable[[], AlertSettings] = lambda: parts.stores.settings.alerts
        """What the files say now of where alerts go."""
        self._counted_from = _now()
        self._facts_revision: int | None = None
        self._writes = 0
        self._scrubbing = Scrubbing(parts)

    async def run(self) -> None:
        """Run for ever."""
        await asyncio.gather(
            _every(_BEAT_SECONDS, self.beat),
            _every(self._scrubbing.pace, self._scrubbing.look),
            _every(_COUNTS_SECONDS, self.note_counts),
            _every(_RATES_SECONDS, self.check_rates),
            _every(_ALERTS_SECONDS, self.send_alerts),
            _every(_ERASE_SECONDS, self.erase),
            _every(_INDEX_SECONDS, self.index),
            _every(_BEAT_SECONDS, self.look_at_facts),
            _every(_BEAT_SECONDS, self.keep_declared),
        )

    async def beat(self) -> None:
        """Say that this process lives, and close what dead ones left open."""
        parts = self._parts
        settled = parts.writer.settled

        def work(connection: Connection) -> int:
            if parts.writer.instance is None:
                store.be_born(connection, parts.instance, _now())
            elif not store.beat(connection, parts.instance, _now(), settled):
                end_buried()
            return store.last_entry(connection)

        parts.writer.raise_floor(await parts.stores.database.run(work, write=True))
        parts.writer.instance, parts.writer.beaten_at = parts.instance, time.time()
        closed = await asyncio.to_thread(recover, parts.stores.database)
        if closed:
            _log.warning("%d decisions of a process that died were closed as interrupted", closed)

    async def note_counts(self) -> None:
        """Write into the ledger how many requests had no caller, and how often what is open to anyone was read."""
        door = self._parts.door
        if not door.unidentified and not door.anonymous_reads:
            self._counted_from = _now()
            return
        now = _now()
        entry = AccessEntry(
            id=new_id(now),
            at=timestamp(now),
            unidentified=dict(door.unidentified),
            anonymous=dict(door.anonymous_reads),
            start=timestamp(self._counted_from),
            end=timestamp(now),
        )
        door.unidentified.clear()
        door.anonymous_reads.clear()
        self._counted_from = now
        await door.decisions.note(entry)

    async def check_rates(self) -> None:
        """See whether the common count of rates can be asked, so that readiness says so before anybody is refused."""
        rates = self._parts.door.running.rates
        if rates:
            await rates.check()

    async def send_alerts(self) -> None:
        """Tell the webhook of what has passed a threshold."""
        if any(rule.limit.warn_at for rule in self._parts.door.running.limits.rules):
            await self._alerts.send(self.alert_settings())

    async def index(self) -> None:
        """Make what the log has newly taken in be found by searches. What serves goes first.

        A decision costs a third of what answering it did: a process that works hard takes in a few at a time, and
        leaves the rest for later or for another process.
        """
        database, began = self._parts.stores.database, time.monotonic()
        writes = self._parts.door.telemetry.writes
        busy = writes - self._writes > _BUSY
        self._writes = writes
        taken = await asyncio.to_thread(catch_up, database, _INDEXED_WHILE_BUSY if busy else _INDEXED)
        while taken == _INDEXED and time.monotonic() - began < _INDEXING_SECONDS:
            taken = await asyncio.to_thread(catch_up, database, _INDEXED)

    async def close(self) -> None:
        """End the connections of its own."""
        await self._alerts.close()

    async def erase(self) -> None:
        """Delete prompts and answers whose retention has ended, and say in the ledger that it was done."""
        now, instance, database = _now(), self._parts.instance, self._parts.stores.database
        progress = self._parts.door.telemetry.retention

        def work(connection: Connection) -> int:
            return erase_expired(connection, instance, now, _ERASE_BATCH)

        progress.due, progress.looked = await database.run(lambda connection: store.due(connection, now)), now
        whole = progress.due
        erased = _ERASE_BATCH
        while erased == _ERASE_BATCH:
            erased = await database.run(work, write=True)
            progress.erased += erased
            progress.due = max(0, progress.due - erased)
        if whole:
            _log.info("%d prompts and answers were past their retention; %d are left", whole, progress.due)
        old_facts = now - 1000 * self._parts.door.decisions.facts_seconds

        def forget_old(connection: Connection) -> None:
            forget(connection, now - _KEPT_MS)
            store.forget_old_facts(connection, old_facts)

        await self._parts.stores.database.run(forget_old, write=True)

    async def look_at_facts(self) -> None:
        """Keep what policy is asked anew where somebody's was erased: this process may think that it has it."""
        revision = await self._parts.stores.database.run(store.facts_revision)
        if self._facts_revision not in (None, revision):
            self._parts.door.decisions.facts.forget()
        self._facts_revision = revision

    async def keep_declared(self) -> None:
        """Keep what is in force under its digest, where the object store could not take it when it came into force."""
        await self._parts.declared.keep(self._parts.door.running)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` again and again; a database that fails is tried again the next time."""
    while True:
        try:
            await work()
        except (StorageError, NotDurable, ConfigError) as error:
            _log.warning("%s", error)
        await asyncio.sleep(seconds)


def _now() -> int:
    return time.time_ns() // 1_000_000
