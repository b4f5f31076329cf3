"""The record of a home, read as its operator and as an outsider would: nothing twice, missing or wrong."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.ledger import outsider
from tests.support.server import Server

from transom.ledger.entry import DecisionEntry, OutcomeEntry
from transom.ledger.report import Report
from transom.ledger.verify import verify_all

TROUBLE = ("failed within", "Traceback", "never retrieved")
"""What a log never has in it, whatever a client or an upstream does."""


class Told(NamedTuple):
    """What the record says of one decision."""

    decision: DecisionEntry
    outcome: OutcomeEntry | None


def told(server: Server) -> dict[str, Told]:
    """Every decision on record by id; asserts that none has two beginnings or two ends."""
    decisions: dict[str, DecisionEntry] = {}
    outcomes: dict[str, OutcomeEntry] = {}
    for entry in server.entries():
        if isinstance(entry, DecisionEntry):
            assert entry.id not in decisions, f"decision {entry.id} is on record twice"
            decisions[entry.id] = entry
        elif isinstance(entry, OutcomeEntry):
            assert entry.decision in decisions, f"an outcome before its decision, {entry.decision}"
            assert entry.decision not in outcomes, f"decision {entry.decision} has two outcomes"
            outcomes[entry.decision] = entry
    return {id_: Told(decision, outcomes.get(id_)) for id_, decision in decisions.items()}


@contextmanager
def sound(server: Server) -> Iterator[Server]:
    """Serve; assert at the end that it stops as asked, without a wrong word in its log or a wrong row on record."""
    with server:
        yield server.start()
        assert server.stop() == 0
    verify(server)
    told(server)
    for words in TROUBLE:
        assert words not in server.log


def report(server: Server) -> Report:
    """Verify the log as its operator does."""
    with server.stores() as stores:
        return verify_all(stores.database, stores.objects, stores.keys)


def verify(server: Server) -> Report:
    """Verify the log; assert that nothing is wrong."""
    found = report(server)
    assert found.ok, found.problems
    return found


async def sequenced(server: Server, seconds: float = 15.0) -> Report:
    """Wait until the log has every durable row and nothing is wrong with it."""
    until = time.monotonic() + seconds
    while (found := report(server)).waiting or not found.ok:
        assert time.monotonic() < until, (found.waiting, found.problems)
        await asyncio.sleep(0.05)
    return found


def outside(server: Server) -> Counter[str]:
    """Verify the log from its tiles alone, with a verifier that knows nothing of Transom; count its entries."""
    with server.stores() as stores:
        leaves = outsider.verify_log(lambda path: stores.objects.get(f"ledger/{path}"), stores.keys.vkey)
    return Counter(json.loads(leaf)["type"] for leaf in leaves)
