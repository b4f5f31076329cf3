"""A process of writers that make decisions durable through one group commit, which may lose what it was given.

    python -m tests.ledger.lossy HOME URL WRITERS EACH LOSES

Each writer promises each of its decisions, once it is told to be durable, by a line on standard output: its id and, in
hexadecimal, the entry that a receipt would bind. With LOSES = 1 one decision is not written, nor is its outcome.
"""

import asyncio
import sys
from pathlib import Path

from tests.crash.victim import Anyone, Nobody
from typing_extensions import override

from transom.decisions.record import Decisions, Outcome, Promised
from transom.decisions.writer import GroupCommit, Write
from transom.ledger.keys import load_or_create
from transom.ledger.seal import Vault
from transom.storage.engine import Database, open_database
from transom.values import Caller, CallerId, DecisionId, Pseudonym


class Lossy(GroupCommit):
    """A group commit that loses one of its first decisions, and tells nobody."""

    def __init__(self, database: Database, *, loses: bool) -> None:
        super().__init__(database, Anyone())
        self._wants = loses
        self._lost: DecisionId | None = None

    @override
    def _commit(self, batch: list[Write]) -> None:
        super()._commit([write for write in batch if not self._loses(write)])

    def _loses(self, write: Write) -> bool:
        if self._wants and write.opens is not None:
            self._wants, self._lost = False, write.opens
        return self._lost is not None and self._lost in (write.opens, write.closes)


async def work(decisions: Decisions, each: int) -> None:
    caller = Caller(CallerId("key_1"), "somebody", (), Pseudonym("p_" + "0" * 20))
    for _ in range(each):
        record = decisions.begin(caller, "infer")
        record.promised = Promised()
        decisions.open(record)
        await decisions.durable(record)
        print(record.id, record.promised.entry.hex(), flush=True)
        decisions.close(record, Outcome("answered", 200))


async def main() -> None:
    home, url, (writers, each, loses) = Path(sys.argv[1]), sys.argv[2], map(int, sys.argv[3:])
    database = open_database(url)
    writer = Lossy(database, loses=loses == 1)
    writer.start()
    vault = Vault(load_or_create(home / "keys").master_key)
    decisions = Decisions(writer, vault, Nobody(), instance="one", build="0", retain_seconds=1)
    await asyncio.gather(*[work(decisions, each) for _ in range(writers)])
    assert await writer.stop()
    database.close()


if __name__ == "__main__":
    asyncio.run(main())
