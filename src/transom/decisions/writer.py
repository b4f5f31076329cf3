"""Group commit: everything that arrived while the last commit ran becomes durable in the next one.

Writes are handed over on the event loop, committed by one thread, and told of on the event loop. They keep their order.
A write that fails is told so at once (its caller gets 503) and tried again behind the scenes until it is durable, so
that a decision that was refused for want of a disk is on record as soon as there is one. The line of waiting writes is
bounded, in number and in bytes: past its end a decision is refused at once.
"""

import asyncio
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn, Protocol

import msgspec
from sqlalchemy import Connection

from transom.decisions import store
from transom.decisions.facts import Facts
from transom.errors import NotDurable, StorageError
from transom.metering.accounts import Books, Charge, Hold, Shortage
from transom.metering.store import open_books, write_books
from transom.storage.engine import Database
from transom.values import Caller, DecisionId

_log = logging.getLogger("transom.decisions")
_BATCH = 512
_LINE = 20_000
_LINE_BYTES = 256 * 1024 * 1024
"""Of entries and sealed contents that are not durable yet; one write may exceed it by its own size."""
_RETRY_SECONDS = 0.5
_LINGER_SECONDS = 0.005
_SWEEP_SECONDS = 0.5
_SILENT_SECONDS = 20.0
"""Well below what `decisions.recover` takes for a death."""


class Standing(Protocol):
    """Whether a caller's key still stands, by the database's own word at the moment of the commit."""

    def refresh(self, connection: Connection) -> None:
        """Read again what has changed, holding it still until the transaction ends."""
        ...

    def refusal(self, caller: Caller) -> str | None:
        """Return why the caller is refused now, or `None`."""
        ...


class Write(msgspec.Struct, eq=False):
    """Rows that become durable together.

    At the commit `caller`, where given, must still stand, and `holds` must fit beside what is spent and held of their
    counters. `done` is told on the event loop. `opens` and `closes` name the decision that stays unclosed between two
    writes; `after` is the write that opened what this one closes, `charges` what that used up of its holds (`None`
    where it had none).
    """

    entries: list[store.EntryRow]
    contents: list[store.ContentRow]
    keys: list[store.KeyRow] = []
    facts: list[Facts] = []
    """What its entries name and is not known to be durable yet; another write may bring it too."""
    caller: Caller | None = None
    done: asyncio.Future[None] | None = None
    opens: DecisionId | None = None
    closes: DecisionId | None = None
    after: "Write | None" = None
    holds: tuple[Hold, ...] = ()
    charges: tuple[Charge, ...] | None = None
    since: float = 0.0
    tried: bool = False
    dropped: "DroppedError | None" = None
    size: int = 0
    """What it takes of the line, in bytes, as it was when it joined."""


class DroppedError(Exception):
    """A decision was not opened, for what the database said at the moment of the commit. Nothing of it is written."""


class KeyNoLongerStandsError(DroppedError):
    """The caller's key was revoked, or expired, between its identification and the commit."""


class LimitReachedError(DroppedError):
    """What the call may use up does not fit into a limit."""

    def __init__(self, shortage: Shortage) -> None:
        self.shortage = shortage
        super().__init__(shortage.hold.limit.name)


class GroupCommit:
    """The one writer of entries in this process."""

    def __init__(self, database: Database, standing: Standing, *, patience: float = 10.0) -> None:
        """`patience`: seconds that a write may wait before its caller is told that it is not durable."""
        self._database = database
        self._standing = standing
        self._patience = patience
        self._waiting: deque[Write] = deque()
        self._running: list[Write] = []
        self._bytes = 0
        self._work: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._commit_all, name="group-commit", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._unclosed: dict[DecisionId | None, int] = {}
        self._floor = 0
        self._lingering: asyncio.TimerHandle | None = None
        self.instance: str | None = None
        """This process's name, once it has said that it lives."""
        self.beaten_at = 0.0
        """When it last did, in seconds since the Unix epoch."""
        self.last_error: str | None = None
        self.observe_commit: Callable[[float, int], None] = _ignore

    def start(self) -> None:
        """Start on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._idle.set()
        self._thread.start()
        self._sweep()

    async def stop(self, patience: float = 15.0) -> bool:
        """Wait for what is waiting, then stop. `False` where some of it could not be made durable in time."""
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            _log.error("%d writes were not durable at the end", len(self._waiting) + len(self._running))
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._work.put(None)
        await asyncio.to_thread(self._thread.join, 6.0)
        return self._idle.is_set()

    @property
    def waiting(self) -> int:
        """How many writes are in line or under way."""
        return len(self._waiting) + len(self._running)

    @property
    def settled(self) -> int:
        """A row id up to which every decision of this process has its outcome on disk."""
        return min(self._unclosed.values(), default=self._floor)

    def raise_floor(self, last_entry: int) -> None:
        """Tell the newest row's id: decisions opened from now on stand in later rows."""
        self._floor = last_entry

    def future(self) -> "asyncio.Future[None]":
        """Make a future of the loop that this runs on, without asking which one that is."""
        assert self._loop is not None
        return self._loop.create_future()

    def submit(self, write: Write) -> None:
        """Put a write in line. Raises `NotDurable` where the line is full; nothing is written then.

        What closes an opened decision is always taken: there are no more of these than requests under way.
        """
        if (len(self._waiting) >= _LINE or self._bytes >= _LINE_BYTES) and write.after is None:
            raise NotDurable(
                "The record cannot be written fast enough, so nothing can be answered now. Try again shortly.",
                retry_after=1,
            )
        write.since = time.monotonic()
        write.size = _size_of(write)
        self._bytes += write.size
        if write.opens is not None:
            self._unclosed[write.opens] = self._floor
        self._waiting.append(write)
        if self._running:
            return
        if write.done is not None:
            self._start_batch()
        elif self._lingering is None:
            self._linger()

    def _linger(self) -> None:
        """Nobody waits for an outcome: it rides along with the next decision, or goes after a moment."""
        assert self._loop is not None
        self._idle.clear()
        self._lingering = self._loop.call_later(_LINGER_SECONDS, self._retry)

    def _start_batch(self) -> None:
        self._idle.clear()
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        waiting = self._waiting
        self._running = [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
        self._work.put(self._running)

    def _commit_all(self) -> None:
        """Commit batch after batch, in the thread."""
        assert self._loop is not None
        while (batch := self._work.get()) is not None:
            started = time.monotonic()
            error: StorageError | None = None
            try:
                self._commit(batch)
            except StorageError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - whatever it was, the writer must outlive it
                _log.exception("the record cannot be written")
                error = StorageError(f"the writer failed within ({type(failure).__name__})")
            self._loop.call_soon_threadsafe(self._told, batch, error, time.monotonic() - started)

    def _commit(self, batch: list[Write]) -> None:
        with self._database.begin() as connection:
            self._make_sure_we_live(connection)
            # Read in the same transaction as the rows: a revocation that was answered before this commit is seen by it,
            # in every process. A decision of a key that no longer stands is not written, and its answer never leaves.
            self._standing.refresh(connection)
            books = _open_books(connection, batch)
            for write in batch:
                write.dropped = self._drop(write, books)
            accepted = [write for write in batch if write.dropped is None]
            if any(write.tried for write in accepted):
                accepted = _without_present(connection, accepted)
            store.insert_entries(connection, [row for write in accepted for row in write.entries])
            store.insert_keys(connection, [row for write in accepted for row in write.keys])
            store.insert_contents(connection, [row for write in accepted for row in write.contents])
            facts = {each.row.id: each.row for write in accepted for each in write.facts if not each.durable}
            store.insert_facts(connection, list(facts.values()))
            if books is not None:
                write_books(connection, books, time.time_ns() // 1_000_000)
        # A crash before the commit: nobody was answered, and nothing is held. A crash after it: the decision stands
        # without an outcome, with what it holds, and the next start closes it as interrupted and charges that.

    def _make_sure_we_live(self, connection: Connection) -> None:
        """End this process if it was silent for so long that others may have taken it for dead.

        They have closed its decisions as interrupted then; another outcome of its own would contradict them.
        """
        now = time.time()
        if self.instance is None or now - self.beaten_at < _SILENT_SECONDS:
            return
        if not store.beat(connection, self.instance, int(now * 1000)):
            end_buried()
        self.beaten_at = now

    def _drop(self, write: Write, books: Books | None) -> DroppedError | None:
        """Say why a write must not happen: its key no longer stands, or what it would hold does not fit.

        Reserves what does fit, and settles what ends, in the order of the writes.
        """
        if write.after is not None:
            if write.after.dropped is not None:
                # Nobody was answered and nobody will be, but somebody asked: that goes on record whole.
                write.entries[:0], write.contents[:0] = write.after.entries, write.after.contents
                write.keys[:0] = write.after.keys
                write.facts[:0] = write.after.facts
                write.after = None
            elif write.charges is not None and write.closes is not None and books is not None:
                books.settle(write.closes, write.charges)
            return None
        refusal = self._standing.refusal(write.caller) if write.caller is not None else None
        if refusal is not None:
            return KeyNoLongerStandsError(refusal)
        if write.holds and write.opens is not None and books is not None:
            shortage = books.reserve(write.opens, write.holds)
            return None if shortage is None else LimitReachedError(shortage)
        return None

    def _told(self, batch: list[Write], error: StorageError | None, seconds: float) -> None:
        """Tell those who wait, on the event loop, and go on with whatever arrived meanwhile."""
        self._running = []
        self.observe_commit(seconds, len(batch))
        if error is not None:
            self._failed(batch, error)
            return
        if self.last_error is not None:
            _log.warning("the record can be written again")
            self.last_error = None
        for write in batch:
            self._bytes -= write.size
            if write.dropped is not None:
                self._unclosed.pop(write.opens, None)
                _tell(write, write.dropped)
                continue
            if write.closes is not None:
                self._unclosed.pop(write.closes, None)
            for facts in write.facts:
                facts.durable = True
            write.contents, write.keys, write.facts = (
                [],
                [],
                [],
            )  # durable; whoever closes it holds on to the rest until then
            _tell(write, None)
        if any(write.done is not None for write in self._waiting):
            self._start_batch()
        elif self._waiting:
            self._linger()
        else:
            self._idle.set()

    def _failed(self, batch: list[Write], error: StorageError) -> None:
        assert self._loop is not None
        if self.last_error is None:
            _log.error("the record cannot be written: %s", error)
        self.last_error = str(error)
        for write in batch:
            write.tried = True
            _let_go(write)
            _tell(write, _not_durable())
        self._waiting.extendleft(reversed(batch))
        self._loop.call_later(_RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._lingering = None
        if self._waiting and not self._running:
            self._start_batch()

    def _sweep(self) -> None:
        """Tell those who have waited too long. Their rows stay in line: what is refused is on record too."""
        assert self._loop is not None
        limit = time.monotonic() - self._patience
        for write in (*self._running, *self._waiting):
            if write.since > limit:
                break
            if self.last_error is None:
                self.last_error = f"a write has waited for more than {self._patience:g} s"
                _log.error("the record cannot be written in time: %s", self.last_error)
            _let_go(write)
            _tell(write, _not_durable())
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)


def _size_of(write: Write) -> int:
    size = 0
    for row in write.entries:
        size += len(row.body)
    for content in write.contents:
        size += len(content.sealed)
    return size


def end_buried() -> NoReturn:
    """End this process, at once and without another word to the database."""
    _log.critical("this process was silent for too long and was taken for dead; it ends")
    os._exit(1)


def _let_go(write: Write) -> None:
    """Let a write happen whoever asked and whatever is spent: nothing was answered to it and nothing will be.

    It may hold something all the same, where the commit is under way or its end is not known; its outcome settles that.
    """
    write.caller, write.holds = None, ()


def _open_books(connection: Connection, batch: list[Write]) -> Books | None:
    """Open the books of what a batch reserves and settles; `None`, at no cost, where that is nothing."""
    holds = [hold for write in batch for hold in write.holds]
    closing = [write.closes for write in batch if write.charges is not None and write.closes is not None]
    if not holds and not closing:
        return None
    if any(write.tried for write in batch):
        store.await_inserts(connection)  # needed below, and to be had before the counters' locks
    else:
        store.announce_inserts(connection)
    return open_books(connection, holds, closing)


def _without_present(connection: Connection, writes: list[Write]) -> list[Write]:
    """Leave out what an earlier try made durable although its end was reported as a failure."""
    rows = [row for write in writes if write.tried for row in write.entries]
    decisions = [row.decision for row in rows if row.decision is not None]
    stored = store.present(connection, [row.body for row in rows], decisions)
    return [write for write in writes if not (write.tried and write.entries and write.entries[0].body in stored)]


def _tell(write: Write, error: Exception | None) -> None:
    if write.done is None or write.done.done():
        return
    if error is None:
        write.done.set_result(None)
    else:
        write.done.set_exception(error)
        write.done.exception()  # its client may have left: then nobody asks, and asyncio would log the text


def _not_durable() -> NotDurable:
    return NotDurable(
        "The decision could not be made durable, so no answer may leave. The operator finds the cause in /readyz "
        "and in the log. Try again shortly.",
        retry_after=1,
    )


def _ignore(_seconds: float, _writes: int) -> None:
    """Observe nothing."""
