"""The group commit: order, bounds, and every fault twice: not persisted, and persisted but reported as failed."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from sqlalchemy import Connection, text
from typing_extensions import override

from transom.decisions import writer as writing
from transom.decisions.store import ContentRow, EntryRow
from transom.decisions.writer import GroupCommit, KeyNoLongerStandsError, Write
from transom.errors import NotDurable, StorageError
from transom.storage.engine import Database
from transom.values import Caller, CallerId, DecisionId, Pseudonym

Fault = Literal["not persisted", "persisted"]


class Faulty(Database):
    """A database whose next transactions fail, before their commit or just after it."""

    def __init__(self, real: Database) -> None:
        super().__init__(real.engine)
        self.faults: list[Fault] = []
        self.begun = 0

    @override
    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        self.begun += 1
        fault = self.faults.pop(0) if self.faults else None
        with super().begin(write=write) as connection:
            yield connection
            if fault == "not persisted":
                raise StorageError("the disk is full")
        if fault == "persisted":
            raise StorageError("the connection was lost")


class Standing:
    """Keys that stand, but for those that are said to be revoked."""

    def __init__(self) -> None:
        self.revoked: set[CallerId] = set()

    def refresh(self, connection: Connection) -> None:
        pass

    def refusal(self, caller: Caller) -> str | None:
        return "revoked" if caller.id in self.revoked else None


@pytest.fixture
def faulty(database: Database, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    monkeypatch.setattr(writing, "_RETRY_SECONDS", 0.02)
    return Faulty(database)


class Written:
    """A running writer and what it made durable."""

    def __init__(self, database: Faulty, **options: float) -> None:
        self.database = database
        self.standing = Standing()
        self.writer = GroupCommit(database, self.standing, **options)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        async def whole() -> None:
            self.writer.start()
            try:
                await asyncio.wait_for(work, 20)
            finally:
                await self.writer.stop()

        asyncio.run(whole())

    def note(self, body: str) -> Write:
        return self.told(Write([EntryRow(None, "policy/1", "here", body.encode())], []))

    def opening(self, id_: str, caller: str | None = None) -> Write:
        decision = DecisionId(id_)
        write = Write(
            [EntryRow(decision, "decision/1", "here", id_.encode())],
            [ContentRow(decision, "prompt", b"sealed", 9)],
            caller=None if caller is None else Caller(CallerId(caller), caller, (), Pseudonym("p")),
            opens=decision,
        )
        return self.told(write)

    def closing(self, after: Write) -> Write:
        id_ = after.entries[0].decision
        assert id_ is not None
        row = EntryRow(id_, "outcome/1", "here", b"end of " + id_.encode())
        return Write([row], [ContentRow(id_, "answer", b"sealed", 9)], closes=id_, after=after)

    def told(self, write: Write) -> Write:
        write.done = self.writer.future()
        return write

    def rows(self) -> list[str]:
        with self.database.begin(write=False) as connection:
            return [bytes(row.body).decode() for row in connection.execute(text("SELECT body FROM entry ORDER BY id"))]

    def contents(self) -> int:
        with self.database.begin(write=False) as connection:
            return int(connection.execute(text("SELECT count(*) FROM content")).scalar_one())


async def end_of(write: Write) -> None:
    assert write.done is not None
    await write.done


def test_writes_keep_their_order(faulty: Faulty) -> None:
    written = Written(faulty)

    async def work() -> None:
        writes = [written.note(f"{number:04}") for number in range(1500)]
        for index, write in enumerate(writes):
            written.writer.submit(write)
            if index % 97 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(end_of(write) for write in writes))
        assert written.rows() == [f"{number:04}" for number in range(1500)]

    written.run(work())
    # What arrives while one commit runs is in the next one together.
    assert faulty.begun < 30


def test_an_outcome_goes_without_anybody_waiting(faulty: Faulty) -> None:
    written = Written(faulty)

    async def work() -> None:
        opening = written.opening("a")
        written.writer.submit(opening)
        await end_of(opening)
        written.writer.submit(written.closing(opening))
        assert written.writer.waiting == 1

    written.run(work())
    assert written.rows() == ["a", "end of a"]
    assert written.writer.waiting == 0


@pytest.mark.parametrize("fault", ["not persisted", "persisted"])
@pytest.mark.parametrize("times", [1, 3])
def test_what_failed_is_told_at_once_and_written_exactly_once(faulty: Faulty, fault: Fault, times: int) -> None:
    written = Written(faulty)

    async def work() -> None:
        before = written.opening("before")
        written.writer.submit(before)
        await end_of(before)
        faulty.faults = [fault] * times
        first = [written.opening("one"), written.note("note"), written.opening("two"), written.closing(before)]
        for write in first:
            written.writer.submit(write)
        with pytest.raises(NotDurable) as raised:
            await end_of(first[0])
        assert raised.value.retry_after == 1
        assert written.writer.last_error is not None
        # What is refused for it closes what it opened, and comes after it.
        written.writer.submit(written.closing(first[0]))
        written.writer.submit(Write(written.note("later").entries, []))

    written.run(work())
    assert written.writer.last_error is None
    assert sorted(written.rows()) == sorted(["before", "one", "note", "two", "end of before", "end of one", "later"])
    rows = written.rows()
    assert rows.index("one") < rows.index("end of one")
    assert rows.index("one") < rows.index("note") < rows.index("two") < rows.index("end of before")
    assert written.contents() == 5


def test_a_batch_that_failed_is_not_lost_behind_new_ones(faulty: Faulty) -> None:
    written = Written(faulty)

    async def work() -> None:
        faulty.faults = ["not persisted", "persisted", "not persisted"]
        for number in range(50):
            written.writer.submit(Write(written.note(str(number)).entries, []))
            await asyncio.sleep(0.002)

    written.run(work())
    assert written.rows() == [str(number) for number in range(50)]


def test_a_full_line_refuses_at_once_but_takes_what_closes(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LINE", 3)
    written = Written(faulty)

    async def work() -> None:
        opening = written.opening("a")
        written.writer.submit(opening)  # runs at once; the loop is not given a turn, so the rest waits
        waiting = [written.note(str(number)) for number in range(3)]
        for write in waiting:
            written.writer.submit(write)
        with pytest.raises(NotDurable) as raised:
            written.writer.submit(written.note("one too many"))
        assert raised.value.retry_after == 1
        written.writer.submit(written.closing(opening))
        await asyncio.gather(*(end_of(write) for write in waiting))

    written.run(work())
    assert written.rows() == ["a", "0", "1", "2", "end of a"]


BIG = b"." * 1000


def big(written: Written, id_: str, caller: str | None = None) -> Write:
    """A decision with a long prompt."""
    write = written.opening(id_, caller)
    write.contents = [ContentRow(DecisionId(id_), "prompt", BIG, 9)]
    return write


def test_a_line_that_is_long_in_bytes_refuses_at_once_but_takes_what_closes(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_LINE_BYTES", 2 * len(BIG))
    written = Written(faulty)

    async def work() -> None:
        faulty.faults = ["not persisted"]
        first, second = big(written, "a"), big(written, "b")
        for write in (first, second):  # what is under way counts too
            written.writer.submit(write)
        for refused in (written.opening("c"), written.note("note")):
            with pytest.raises(NotDurable) as raised:
                written.writer.submit(refused)
            assert raised.value.retry_after == 1
        written.writer.submit(written.closing(first))
        with pytest.raises(NotDurable):
            await end_of(first)
        with pytest.raises(NotDurable):  # it failed, so it is in line still
            written.writer.submit(written.opening("d"))

    written.run(work())
    assert written.rows() == ["a", "b", "end of a"]


def test_one_write_may_be_longer_than_the_line(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LINE_BYTES", 10)
    written = Written(faulty)

    async def work() -> None:
        write = big(written, "a")
        written.writer.submit(write)
        await end_of(write)
        assert not write.contents  # it is remembered until it is closed, which may be minutes: not its prompt

    written.run(work())
    assert written.rows() == ["a"]


def test_whatever_becomes_of_a_write_it_gives_its_place_back(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LINE_BYTES", 3 * len(BIG))
    written = Written(faulty)
    written.standing.revoked.add(CallerId("gone"))

    async def work() -> None:
        for number in range(10):
            faulty.faults = ["not persisted", "persisted"] if number == 5 else []
            kept, dropped = big(written, f"kept {number}"), big(written, f"dropped {number}", "gone")
            written.writer.submit(kept)
            written.writer.submit(dropped)
            written.writer.submit(written.closing(kept))
            written.writer.submit(written.closing(dropped))
            last = written.note(f"last {number}")
            written.writer.submit(last)
            with contextlib.suppress(NotDurable):
                await end_of(last)
            while written.writer.waiting:  # noqa: ASYNC110 - an outcome's end is told to nobody
                await asyncio.sleep(0.001)

    written.run(work())
    assert len(written.rows()) == 50
    assert written.contents() == 40


def test_a_write_that_waits_too_long_is_told_so_and_stays_in_line(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_SWEEP_SECONDS", 0.02)
    written = Written(faulty, patience=0.05)

    async def work() -> None:
        write = written.note("late")
        with faulty.engine.connect() as other:  # holds the lock that every writer needs
            other.exec_driver_sql("BEGIN IMMEDIATE" if faulty.is_sqlite else "LOCK TABLE entry")
            written.writer.submit(write)
            with pytest.raises(NotDurable):
                await end_of(write)
            other.rollback()

    written.run(work())
    assert written.rows() == ["late"]


def test_a_key_that_no_longer_stands_gets_nothing_and_what_it_asked_is_on_record_at_its_end(faulty: Faulty) -> None:
    written = Written(faulty)

    async def work() -> None:
        written.standing.revoked.add(CallerId("gone"))
        dropped, kept = written.opening("dropped", "gone"), written.opening("kept", "here")
        for write in (dropped, kept):
            written.writer.submit(write)
        with pytest.raises(KeyNoLongerStandsError, match="revoked"):
            await end_of(dropped)
        await end_of(kept)
        assert written.rows() == ["kept"]
        written.writer.submit(written.closing(dropped))
        written.writer.submit(written.closing(kept))

    written.run(work())
    assert written.rows() == ["kept", "dropped", "end of dropped", "end of kept"]
    assert written.contents() == 4


def test_settled_says_up_to_which_row_everything_is_closed(faulty: Faulty) -> None:
    written = Written(faulty)

    async def work() -> None:
        written.writer.raise_floor(7)
        assert written.writer.settled == 7
        opening = written.opening("a")
        written.writer.submit(opening)
        written.writer.raise_floor(40)
        assert written.writer.settled == 7
        await end_of(opening)
        assert written.writer.settled == 7
        last = written.told(written.closing(opening))
        written.writer.submit(last)
        await end_of(last)
        assert written.writer.settled == 40

    written.run(work())


def test_the_writer_outlives_what_nobody_expected(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(faulty)
    failing = [True]

    def refresh(_connection: Connection) -> None:
        if failing:
            failing.clear()
            raise ZeroDivisionError

    monkeypatch.setattr(written.standing, "refresh", refresh)

    async def work() -> None:
        write = written.note("a")
        written.writer.submit(write)
        with pytest.raises(NotDurable):
            await end_of(write)
        again = written.note("b")
        written.writer.submit(again)
        await end_of(again)

    written.run(work())
    assert written.rows() == ["a", "b"]
