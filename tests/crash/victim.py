"""A process that forks children which record decisions and sequence them, and die at a wanted point of that.

    python -m tests.crash.victim HOME URL

reads an order (a line of JSON) for each child from standard input, and writes how it died to standard output. A child
writes to the file `answered` of the home which decisions it has answered.
It opens nothing itself: what is forked has no threads, no connections and no runtime of the object store's.
"""

import asyncio
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import Connection
from typing_extensions import override

from transom.decisions import store
from transom.decisions.record import Decisions, Outcome, Record
from transom.decisions.recover import instance_name, recover
from transom.decisions.writer import GroupCommit
from transom.ledger.keys import load_or_create
from transom.ledger.seal import Vault
from transom.ledger.sequence import Sequencer
from transom.ledger.tiles import CHECKPOINT
from transom.storage.engine import Database, open_database
from transom.storage.objects import Objects, open_objects
from transom.values import DOOR, Caller, CallerId, Digest, Obligations, Pseudonym, Ruling

POINTS = (
    "at random",
    "batch read",
    "checkpoint after commit",
    "checkpoint before commit",
    "delete after",
    "delete before",
    "publish after",
    "publish before",
    "tile after",
    "tile before",
    "tile torn",
    "write after commit",
    "write before commit",
)
TOGETHER = 12
LOOPS = 400
SURVIVED = 3
_RULING = Ruling("permit", ("all",), Obligations(), Digest("sha256:" + "ab" * 32), b"what was asked")
_CALLER = Caller(CallerId("key_1"), "somebody", (), Pseudonym("p_" + "0" * 20))


class Death:
    """Comes at the point `name`, after it was passed `at` times."""

    def __init__(self, name: str, at: int) -> None:
        self._name = name
        self._left = at
        self._lock = threading.Lock()

    def here(self, name: str) -> bool:
        if name != self._name:
            return False
        with self._lock:
            self._left -= 1
            return self._left < 0

    def come(self, name: str) -> None:
        if self.here(name):
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # another thread must not go on in the moment until it does


class DeadlyDatabase(Database):
    """A database of the writer or of the sequencer (`whose`)."""

    death: Death
    whose: str

    @override
    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        with super().begin(write=write) as connection:
            yield connection
            if write:
                self.death.come(f"{self.whose} before commit")
        self.death.come(f"{self.whose} after commit" if write else "batch read")


class DeadlyObjects(Objects):
    """An object store in a folder."""

    death: Death

    @override
    def put(self, path: str, data: bytes) -> None:
        if path == CHECKPOINT:
            self.death.come("publish before")
        super().put(path, data)
        if path == CHECKPOINT:
            self.death.come("publish after")

    @override
    def create(self, path: str, data: bytes) -> bool:
        self.death.come("tile before")
        if self.death.here("tile torn"):
            file = Path(self.where) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        done = super().create(path, data)
        self.death.come("tile after")
        return done

    @override
    def delete(self, paths: list[str]) -> None:  # type: ignore[override] # what the sequencer gives
        if paths:
            self.death.come("delete before")
        super().delete(paths)
        if paths:
            self.death.come("delete after")


class Anyone:
    """Whose keys all stand."""

    def refresh(self, connection: Connection) -> None:
        pass

    def refusal(self, caller: Caller) -> str | None:
        return None


class Nobody:
    """Counts nothing."""

    def closed(self, record: Record, outcome: Outcome, seconds: float) -> None:
        pass


def live(home: Path, url: str, death: Death, told: int) -> None:
    """Do what a door does: recover, then record and sequence, until death comes."""
    engine = open_database(url).engine
    databases = {}
    for whose in ("write", "checkpoint"):
        databases[whose] = database = DeadlyDatabase(engine)
        database.death, database.whose = death, whose
    plain = open_objects(home / "objects")
    objects = DeadlyObjects(plain._store, plain.where)
    objects.death = death
    keys = load_or_create(home / "keys")
    recover(Database(engine))
    instance = instance_name()
    with Database(
        engine
    ).begin() as connection:  # before it takes the lease: else nobody could see that its holder died
        store.be_born(connection, instance, time.time_ns() // 1_000_000)
    sequencer = Sequencer(databases["checkpoint"], objects, keys, instance=instance)
    threading.Thread(target=_sequence, args=(sequencer,), daemon=True).start()
    asyncio.run(_record(databases["write"], Vault(keys.master_key), instance, told))


def _sequence(sequencer: Sequencer) -> None:
    try:
        while True:
            sequencer.run_once()
            time.sleep(0.002)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(4)


async def _record(database: Database, vault: Vault, instance: str, told: int) -> None:
    writer = GroupCommit(database, Anyone())
    decisions = Decisions(writer, vault, Nobody(), instance=instance, build="0", retain_seconds=86_400)
    writer.instance, writer.beaten_at = instance, time.time()
    writer.start()

    async def one() -> None:
        record = decisions.begin(_CALLER, "infer")
        record.resource, record.ruling, record.prompt = DOOR, _RULING, b"what?"
        decisions.open(record)
        await decisions.durable(record)
        os.write(told, record.id.encode() + b"\n")  # an answer leaves
        decisions.close(record, Outcome("answered", 200, answer=b"that", complete=True))

    for _ in range(LOOPS):
        await asyncio.gather(*[one() for _ in range(TOGETHER)])


class Order(msgspec.Struct):
    """What the next child is to die of; by the clock where `seconds` are given."""

    point: str
    at: int
    seconds: float = 0.0


def main() -> None:
    home, url = Path(sys.argv[1]), sys.argv[2]
    told = os.open(home / "answered", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        child = os.fork()
        if child == 0:
            random.seed()
            live(home, url, Death(order.point, order.at), told)
            os._exit(SURVIVED)
        if order.seconds:
            time.sleep(order.seconds)
            os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
