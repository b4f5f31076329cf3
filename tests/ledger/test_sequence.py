import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, text
from tests.ledger import outsider
from tests.ledger.faults import Fault, FaultyDatabase, FaultyObjects
from tests.ledger.making import Home, requests
from typing_extensions import override

from transom.errors import LedgerError, StorageError
from transom.ledger import sequence, store
from transom.ledger.entry import encode
from transom.ledger.keys import load_or_create
from transom.ledger.sequence import Sequencer, SequencerThread
from transom.ledger.verify import verify_all
from transom.storage import tables


def published(home: Home) -> list[bytes]:
    """All entries of what is published, as a stranger verifies it."""
    return outsider.verify_log(home.fetch, home.keys.vkey)


def rows(home: Home) -> list[bytes]:
    with home.database.begin(write=False) as connection:
        return [bytes(row[0]) for row in connection.execute(text("SELECT body FROM entry ORDER BY id"))]


def assert_sound(home: Home) -> None:
    """The log is exactly the rows, for the stranger and for the operator."""
    assert published(home) == rows(home)
    report = verify_all(home.database, home.objects, home.keys)
    assert (report.problems, report.waiting) == ([], 0)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited for too long"
        time.sleep(0.01)


def test_rows_become_the_log_in_their_order(any_home: Home) -> None:
    sequencer = any_home.sequencer()
    total = 0
    for count in (1, 2, 252, 1, 1, 600, 1):
        any_home.write(requests(count))
        total += count
        assert sequencer.run_once() == count
        assert len(published(any_home)) == total
        assert sequencer.run_once() == 0
    assert_sound(any_home)


def test_an_empty_log_is_a_log(any_home: Home) -> None:
    assert any_home.sequencer().run_once() == 0
    assert published(any_home) == []
    assert_sound(any_home)


def test_batches_and_fetches_of_any_size_give_the_same_log(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write(requests(1000))
    monkeypatch.setattr(sequence, "BATCH", 300)
    monkeypatch.setattr(sequence, "_FETCH", 70)
    assert home.sequencer().run_once() == 1000
    assert_sound(home)
    with home.database.begin(write=False) as connection:
        assert [row.size for row in store.checkpoints_after(connection, -1, 10)] == [0, 300, 600, 900, 1000]


def test_a_restart_goes_on(any_home: Home) -> None:
    for _ in range(4):
        any_home.write(requests(150))
        assert any_home.sequencer().run_once() == 150
    assert_sound(any_home)


def test_replaced_partial_tiles_are_deleted_and_needed_ones_kept(home: Home) -> None:
    sequencer = home.sequencer()
    for _ in range(7):
        home.write(requests(50))
        sequencer.run_once()
    partial = {path for path in home.objects.list("ledger/tile") if ".p/" in path}
    assert partial == {
        "ledger/tile/0/001.p/44",
        "ledger/tile/0/001.p/94",
        "ledger/tile/1/000.p/1",
        "ledger/tile/entries/001.p/44",
        "ledger/tile/entries/001.p/94",
    }


def test_partial_tiles_that_a_crash_left_are_deleted_at_the_next_start(home: Home) -> None:
    home.write(requests(300))
    home.sequencer().run_once()
    home.objects.put("ledger/tile/0/000.p/7", home.objects.get("ledger/tile/0/000")[: 7 * 32])  # type: ignore[index] # it is there
    assert home.sequencer().recover()
    assert home.objects.get("ledger/tile/0/000.p/7") is None
    assert_sound(home)


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_every_fault_at_every_durable_write_loses_and_forks_nothing(
    any_home: Home, *, done: bool, restart: bool
) -> None:
    home = any_home
    home.sequencer().run_once()
    for at in range(100):
        before = published(home)
        home.write(requests(200))
        fault = Fault(at, done=done)
        database, objects = FaultyDatabase.over(home, fault), FaultyObjects.over(home, fault)
        sequencer = Sequencer(database, objects, home.keys, instance="one")
        try:
            sequencer.run_once()
        except StorageError as error:
            assert "injected" in str(error)  # noqa: PT017 - the last round raises nothing
        # Whatever is published at this moment is whole.
        assert published(home)[: len(before)] == before
        (home.sequencer() if restart else sequencer).run_once()
        assert published(home) == rows(home)
        database._threads.shutdown()
        if not fault.tripped:
            break
    else:
        pytest.fail("a run has fewer durable writes than this")
    assert at > 6
    assert_sound(home)


@pytest.mark.parametrize("torn", [b"", b"half of it"])
def test_a_tile_torn_by_a_power_cut_is_written_again(home: Home, torn: bytes) -> None:
    home.sequencer().run_once()
    home.write(requests(300))
    for path in ("ledger/tile/0/000", "ledger/tile/entries/000", "ledger/tile/0/001.p/44", "ledger/tile/1/000.p/1"):
        home.objects.put(path, torn)
    assert home.sequencer().run_once() == 300
    assert_sound(home)


@pytest.mark.parametrize("path", ["ledger/tile/0/000.p/70", "ledger/tile/entries/000.p/70"])
def test_a_torn_tile_of_a_size_that_never_came_is_gone_at_the_next_start(home: Home, path: str) -> None:
    home.sequencer().run_once()
    home.objects.put(path, b"half of it")  # by a run that died before it signed
    home.write(requests(100))
    home.sequencer().run_once()  # and the next one ends elsewhere
    assert home.objects.get(path) is None
    assert_sound(home)


def test_lost_and_damaged_objects_are_made_again_from_rows(home: Home) -> None:
    home.write(requests(600))
    home.sequencer().run_once()
    for path in [*home.objects.list("ledger/tile"), "ledger/checkpoint"]:
        whole = home.objects.get(path)
        home.objects.delete([path])
        assert home.sequencer().recover()
        assert home.objects.get(path) == whole
    damaged = [path for path in home.objects.list("ledger/tile") if "entries/00" not in path or ".p/" in path]
    for path in damaged:
        whole = home.objects.get(path)
        assert whole is not None
        home.objects.put(path, whole[:-1])
        assert home.sequencer().recover()
        assert home.objects.get(path) == whole
    assert_sound(home)


def test_a_whole_lost_store_is_made_again(home: Home) -> None:
    home.write(requests(600))
    home.sequencer().run_once()
    home.objects.delete(home.objects.list("ledger"))
    home.write(requests(5))
    assert home.sequencer().run_once() == 5
    assert_sound(home)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE entry SET body = replace(CAST(body AS TEXT), 'infer', 'embed') WHERE id = 101",
        "DELETE FROM entry WHERE id = 100",
        "DELETE FROM entry WHERE id = 600",
    ],
)
def test_altered_rows_never_replace_what_was_signed(home: Home, harm: str) -> None:
    home.write(requests(600))
    home.sequencer().run_once()
    before = {path: home.objects.get(path) for path in home.objects.list("ledger")}
    home.objects.delete(["ledger/tile/0/000"])
    with home.database.begin() as connection:
        connection.execute(text(harm))
    with pytest.raises(LedgerError, match="do not give the root that was signed at size 600"):
        home.sequencer().recover()
    del before["ledger/tile/0/000"]
    assert {path: home.objects.get(path) for path in home.objects.list("ledger")} == before


def test_another_key_does_not_go_on_with_the_log(home: Home) -> None:
    home.sequencer().run_once()
    home.keys = load_or_create(home.folder / "other")
    with pytest.raises(LedgerError, match=r"not signed by ledger\.key"):
        home.sequencer().run_once()


def test_an_altered_checkpoint_row_is_refused(home: Home) -> None:
    home.write(requests(2))
    home.sequencer().run_once()
    with home.database.begin() as connection:
        connection.execute(text("UPDATE checkpoint SET size = 1 WHERE size = 2"))
    with pytest.raises(LedgerError, match="not what its signed note says"):
        home.sequencer().run_once()


def test_a_database_from_an_older_backup_forks_nothing(home: Home) -> None:
    home.write(requests(2))
    home.sequencer().run_once()
    home.write(requests(2))
    home.sequencer().run_once()
    before = {path: home.objects.get(path) for path in home.objects.list("ledger")}
    with home.database.begin() as connection:
        connection.execute(text("DELETE FROM checkpoint WHERE size = 4"))
        connection.execute(text("DELETE FROM entry WHERE id > 2"))
    home.write(requests(2))
    with pytest.raises(LedgerError, match="restored from an older backup"):
        home.sequencer().run_once()
    assert {path: home.objects.get(path) for path in home.objects.list("ledger")} == before


def test_a_damaged_published_checkpoint_is_replaced(home: Home) -> None:
    home.write(requests(2))
    home.sequencer().run_once()
    home.objects.put("ledger/checkpoint", b"damaged")
    home.sequencer().recover()
    assert_sound(home)


def test_one_instance_at_a_time(any_home: Home) -> None:
    one, two = any_home.sequencer("one"), any_home.sequencer("two")
    any_home.write(requests(10))
    assert one.run_once() == 10
    any_home.write(requests(10))
    assert not two.recover()
    assert two.run_once() == 0
    one.release()
    assert two.run_once() == 10
    assert one.run_once() == 0
    assert_sound(any_home)


def test_a_killed_holder_is_replaced_within_seconds(any_home: Home) -> None:
    any_home.write(requests(10))
    any_home.sequencer("killed").run_once()
    any_home.write(requests(10))
    two = any_home.sequencer("two")
    started = time.monotonic()
    wait_for(lambda: two.run_once() == 10)
    assert 1 < time.monotonic() - started < 5
    assert_sound(any_home)


def ahead(home: Home, instance: str) -> Sequencer:
    """A sequencer whose clock is ahead: it finds every lease of others run out."""
    clock = lambda: time.time_ns() // 1_000_000 + 60_000  # noqa: E731 - a clock, right here
    return Sequencer(home.database, home.objects, home.keys, instance=instance, clock=clock)


def test_a_holder_that_was_overtaken_in_the_middle_signs_nothing(any_home: Home) -> None:
    home = any_home
    two = ahead(home, "two")

    class Pausing(FaultyObjects):
        @override
        def create(self, path: str, data: bytes) -> bool:
            written = super().create(path, data)
            if path == "ledger/tile/0/000.p/10":
                home.write(requests(3))
                assert two.run_once() == 13  # while the first one is about to sign a log of 10
            return written

    one = Sequencer(home.database, Pausing.over(home, Fault(-1, done=False)), home.keys, instance="one")
    one.recover()
    home.write(requests(10))
    assert one.run_once() == 0
    assert_sound(home)
    with home.database.begin(write=False) as connection:
        assert [row.size for row in store.checkpoints_after(connection, -1, 10)] == [0, 13]
    assert one.run_once() == 0


def test_a_holder_that_was_overtaken_before_publishing_publishes_nothing_older(home: Home) -> None:
    two = ahead(home, "two")

    class Pausing(FaultyObjects):
        paused = False

        @override
        def get(self, path: str) -> bytes | None:
            if path == "ledger/checkpoint" and len(rows(home)) == 10 and not self.paused:
                self.paused = True
                home.write(requests(3))
                assert two.run_once() == 3
            return super().get(path)

    one = Sequencer(home.database, Pausing.over(home, Fault(-1, done=False)), home.keys, instance="one")
    one.recover()
    home.write(requests(10))
    assert one.run_once() == 10
    assert len(published(home)) == 13
    assert_sound(home)


def test_an_older_checkpoint_put_by_a_late_holder_is_corrected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sequencer = home.sequencer()
    home.write(requests(10))
    sequencer.run_once()
    old = home.objects.get("ledger/checkpoint")
    assert old is not None
    home.write(requests(10))
    sequencer.run_once()
    home.objects.put("ledger/checkpoint", old)
    monkeypatch.setattr(sequence, "_RENEW_SECONDS", 0.01)
    sequencer.release()
    sequencer.run_once()
    home.objects.put("ledger/checkpoint", old)
    wait_for(lambda: sequencer.run_once() == 0 and len(published(home)) == 20)


def test_a_stale_holder_with_altered_rows_overwrites_nothing(home: Home) -> None:
    one = home.sequencer("one")
    one.recover()
    home.write(requests(10))
    ahead(home, "two").run_once()
    tile = home.objects.get("ledger/tile/entries/000.p/10")
    with home.database.begin() as connection:
        connection.execute(text("UPDATE entry SET body = :body WHERE id = 5"), {"body": encode(requests(1)[0])})
    with pytest.raises(LedgerError, match="part of the signed log"):
        one.run_once()
    assert home.objects.get("ledger/tile/entries/000.p/10") == tile


def test_two_that_begin_the_same_log_begin_it_once(any_home: Home) -> None:
    home = any_home
    two = ahead(home, "two")

    class Pausing(FaultyDatabase):
        begun = 0

        @override
        @contextmanager
        def begin(self, *, write: bool = True) -> Iterator[Connection]:
            self.begun += write
            if write and self.begun == 2:  # the lease is taken, the first checkpoint is about to be written
                assert two.recover()
            with super().begin(write=write) as connection:
                yield connection

    database = Pausing.over(home, Fault(-1, done=False))
    one = Sequencer(database, home.objects, home.keys, instance="one")
    with pytest.raises(StorageError, match="has just begun this ledger"):
        one.recover()
    database._threads.shutdown()
    home.write(requests(2))
    assert two.run_once() == 2
    assert_sound(home)


def test_a_store_that_does_not_keep_what_it_is_given_is_noticed(home: Home) -> None:
    class Forgetful(FaultyObjects):
        @override
        def put(self, path: str, data: bytes) -> None:
            pass

    home.write(requests(5))
    home.sequencer().run_once()
    home.objects.delete(["ledger/tile/0/000.p/5"])
    objects = Forgetful.over(home, Fault(-1, done=False))
    with pytest.raises(LedgerError, match="still differ"):
        Sequencer(home.database, objects, home.keys, instance="one").recover()


def test_two_that_compete_write_one_log(any_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home = any_home
    monkeypatch.setattr(sequence, "LEASE_MS", 20)
    monkeypatch.setattr(sequence, "_RENEW_SECONDS", 0.005)
    threads = [SequencerThread(home.sequencer(name), 0.001) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    total = 0
    for count in [1, 7, 40, 300, 2] * 6:
        home.write(requests(count))
        total += count
        time.sleep(0.01)
    for thread in threads:
        thread.stop()
    home.sequencer("last").run_once()
    assert len(published(home)) == total
    assert_sound(home)


def test_ids_that_appear_out_of_order_are_waited_for(postgres_url: str, tmp_path: Path) -> None:
    home = Home(tmp_path, postgres_url)
    sequencer = home.sequencer()
    sequencer.run_once()
    made: list[dict[str, object]] = [{"type": "x", "instance": "one", "body": encode(each)} for each in requests(2)]
    early, late = made
    with home.database.engine.connect() as slow:
        slow.execute(insert(tables.entry), [early])
        home.write_rows([late])  # a higher id, committed first
        with pytest.raises(StorageError, match="lock timeout"):
            sequencer.run_once()
        assert published(home) == []
        slow.commit()
    assert sequencer.run_once() == 2
    assert published(home) == [early["body"], late["body"]]
    assert_sound(home)
    home.close()


def test_rows_of_many_writers_are_all_sequenced(any_home: Home) -> None:
    home = any_home
    thread = SequencerThread(home.sequencer(), 0.002)
    thread.start()

    def write() -> None:
        for count in (1, 5, 20, 3) * 5:
            home.write(requests(count))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    thread.stop()
    assert len(published(home)) == 4 * 29 * 5
    assert_sound(home)


def test_the_leaf_of_a_row(any_home: Home) -> None:
    home = any_home
    sequencer = home.sequencer()
    for count in (1, 300, 4):
        home.write(requests(count))
        home.write_rows([{"type": "gap", "instance": "one", "body": b"{}"}])
        with home.database.begin() as connection:  # as a transaction that was given up leaves one
            connection.execute(text("DELETE FROM entry WHERE type = 'gap'"))
        sequencer.run_once()
    home.write(requests(1))
    with home.database.begin(write=False) as connection:
        ids = list(connection.execute(text("SELECT id FROM entry ORDER BY id")).scalars())
        found = [store.leaf_index(connection, row) for row in ids]
    assert found == [*range(305), None]


def test_the_thread_sequences_and_finishes(home: Home) -> None:
    thread = SequencerThread(home.sequencer(), 0.01)
    thread.start()
    home.write(requests(3))
    wait_for(lambda: home.fetch("checkpoint") is not None and len(published(home)) == 3)
    home.write(requests(400))
    thread.stop()
    assert len(published(home)) == 403
    assert home.sequencer("next").recover()  # at once: the lease was given up


def test_the_thread_says_what_fails_and_goes_on(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Sequencer):
        failures: list[Exception]

        @override
        def run_once(self) -> int:
            if self.failures:
                raise self.failures.pop()
            return super().run_once()

    sequencer = Failing(home.database, home.objects, home.keys, instance="one")
    sequencer.failures = [StorageError("the disk is full"), ValueError("a mistake of ours")]
    home.write(requests(3))
    with caplog.at_level(logging.ERROR, logger="transom.ledger"):
        thread = SequencerThread(sequencer, 0.01)
        thread.start()
        wait_for(lambda: home.fetch("checkpoint") is not None and len(published(home)) == 3)
        thread.stop()
    assert "the disk is full" in caplog.text
    assert "a mistake of ours" in caplog.text


def test_the_thread_stops_whatever_fails(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Sequencer):
        @override
        def release(self) -> None:
            raise StorageError("the database is gone")

    thread = SequencerThread(Failing(home.database, home.objects, home.keys, instance="one"))
    thread.start()
    thread.stop()
    assert "runs out in seconds. the database is gone" in caplog.text
    with home.database.begin() as connection:
        connection.execute(text("DROP TABLE entry"))
    thread = SequencerThread(home.sequencer())
    thread.start()
    thread.stop()
    assert "could not be sequenced" in caplog.text
