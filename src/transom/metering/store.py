"""The SQL of counters, holds and alerts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, text, update

from transom.metering.accounts import Account, Books, Hold
from transom.storage.tables import alert, counter, hold
from transom.values import DecisionId

_SOME = 500
"""Values in one statement."""
_ADD = text(
    "INSERT INTO counter (id, spent, held, told, ends) VALUES (:id, 0, 0, 0, :ends) ON CONFLICT (id) DO NOTHING"
)
_UPDATE = (
    update(counter)
    .where(counter.c.id == bindparam("of"))
    .values(spent=bindparam("spent"), held=bindparam("held"), told=bindparam("told"))
)


def open_books(connection: Connection, holds: Iterable[Hold], closing: Sequence[DecisionId]) -> Books:
    """Read the counters of `holds`, and of what the decisions `closing` hold; none changes until the transaction ends.

    To be called once in a transaction, which holds its lock on the table `entry` by then: whoever takes both takes that
    first. Counters are made and locked in the order of their ids, so that no two transactions wait for each other.
    """
    held: dict[DecisionId, dict[str, int]] = {}
    for some in _some(closing):
        for row in connection.execute(select(hold).where(hold.c.decision.in_(some))):
            held.setdefault(row.decision, {})[row.counter] = row.amount
    ends = {each.counter: each.ends for each in holds}
    ids = sorted(ends.keys() | {id_ for each in held.values() for id_ in each})
    there = {
        row.id for some in _some(ids) for row in connection.execute(select(counter.c.id).where(counter.c.id.in_(some)))
    }
    missing = [{"id": id_, "ends": ends.get(id_)} for id_ in ids if id_ not in there]
    if missing:
        connection.execute(_ADD, missing)
    accounts = {}
    for some in _some(ids):
        query = select(counter).where(counter.c.id.in_(some)).order_by(counter.c.id).with_for_update()
        for row in connection.execute(query):
            accounts[row.id] = Account(row.spent, row.held, row.told)
    return Books(accounts, held)


def write_books(connection: Connection, books: Books, now: int) -> None:
    """Write what has become of the counters. `now` in milliseconds since the Unix epoch."""
    changed = [
        {"of": id_, "spent": account.spent, "held": account.held, "told": account.told}
        for id_, account in books.accounts.items()
        if id_ in books.touched
    ]
    if changed:
        connection.execute(_UPDATE, changed)
    begun = [
        {"decision": decision, "counter": id_, "amount": amount}
        for decision, held in books.opened.items()
        for id_, amount in held.items()
    ]
    if begun:
        connection.execute(insert(hold), begun)
    for some in _some(books.settled):
        connection.execute(delete(hold).where(hold.c.decision.in_(some)))
    passed = [{**each._asdict(), "at": now, "tries": 0, "due": now} for each in books.alerts]
    if passed:
        connection.execute(insert(alert), passed)


class CounterRow(NamedTuple):
    """A row of `counter`."""

    id: str
    spent: int
    held: int


def current(connection: Connection, now: int, limit: int) -> list[CounterRow]:
    """Return up to `limit` counters whose windows are not over, by id. `now` in milliseconds since the Unix epoch."""
    query = (
        select(counter.c.id, counter.c.spent, counter.c.held)
        .where(or_(counter.c.ends.is_(None), counter.c.ends > now))
        .order_by(counter.c.id)
        .limit(limit)
    )
    return [CounterRow(*row) for row in connection.execute(query)]


def forget(connection: Connection, before: int) -> None:
    """Delete counters whose windows ended before `before` and that nothing holds, and alerts as old."""
    over = and_(counter.c.ends < before, counter.c.held == 0)
    connection.execute(delete(counter).where(over))
    connection.execute(delete(alert).where(alert.c.at < before, alert.c.due.is_(None)))


class AlertRow(NamedTuple):
    """A row of `alert` that is to be sent."""

    id: int
    counter: str
    threshold: int
    spent: int
    ceiling: int
    at: int
    tries: int


def claim_alerts(connection: Connection, now: int, again: int, limit: int) -> list[AlertRow]:
    """Take up to `limit` alerts that are due, so that no other process does before `again`, and count a try."""
    columns = [alert.c[name] for name in AlertRow._fields]
    query = select(*columns).where(alert.c.due <= now).order_by(alert.c.id).limit(limit)
    rows = [AlertRow(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    if rows:
        taken = update(alert).where(alert.c.id.in_([row.id for row in rows]))
        connection.execute(taken.values(due=again, tries=alert.c.tries + 1))
    return rows


def alerts_due(connection: Connection, now: int) -> bool:
    """Say whether there is anything to claim."""
    return connection.execute(select(alert.c.id).where(alert.c.due <= now).limit(1)).first() is not None


def settle_alert(connection: Connection, id_: int, due: int | None) -> None:
    """Say when an alert is to be sent again; `None`: never, because it was sent, or given up."""
    connection.execute(update(alert).where(alert.c.id == id_).values(due=due))


def _some(values: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while some := list(islice(rest, _SOME)):
        yield some
