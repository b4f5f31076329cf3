"""What the counters of a home say: of money in hundred-millionths, of calls under way in calls."""

from typing import NamedTuple

from sqlalchemy import text
from tests.support.server import Server

from transom.metering.accounts import Named, named
from transom.metering.money import parts


class Counted(NamedTuple):
    """One counter."""

    name: Named
    spent: int
    held: int


def counted(server: Server) -> list[Counted]:
    """Every counter, by id."""
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        rows = connection.execute(text("SELECT id, spent, held FROM counter ORDER BY id")).all()
    return [Counted(named(row.id), row.spent, row.held) for row in rows]


def holds(server: Server) -> int:
    """How many holds there are."""
    with server.stores() as stores, stores.database.begin(write=False) as connection:
        return int(connection.execute(text("SELECT count(*) FROM hold")).scalar_one())


def billed(server: Server) -> int:
    """What all outcomes together cost, by the record."""
    costs = [cost for entry in server.entries() if (cost := getattr(entry, "cost", None)) is not None]
    return sum(parts(cost.amount) for cost in costs)
