"""SQL of the search index: what the log says of each decision, by everything that it may be looked for by.

Made of the log's entries, and made again from them at any time: nothing is true because it stands here.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    any_,
    delete,
    func,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.sql.selectable import Subquery

from transom.storage.bulk import insert_rows
from transom.storage.tables import checkpoint, entry, found, found_tag, revision
from transom.values import DecisionId, Pseudonym

_WATERMARK: Final = "found"

Column: TypeAlias = Literal["caller", "action", "model", "effect", "status"]
Tag: TypeAlias = Literal["policy", "safeguard", "verdict", "upstream", "reason", "look"]


class FoundRow(NamedTuple):
    """A decision in the index. `entry` is its row, `leaf` its place in the log, `cost` in 1e-8 of `currency`."""

    entry: int
    decision: DecisionId
    leaf: int
    outcome_leaf: int | None
    at: int
    caller: Pseudonym
    action: str
    model: str
    effect: str | None
    status: str | None
    cost: int | None
    currency: str | None
    milliseconds: int | None


class TagRow(NamedTuple):
    """Something that a decision has several of, or rarely; `at` and `entry` are the decision's."""

    kind: Tag
    value: str
    at: int
    entry: int


class Place(NamedTuple):
    """Where a decision stands in the order of the list: by its time, then by its row."""

    at: int
    entry: int


class Window(NamedTuple):
    """A stretch of the list. Times in milliseconds since the Unix epoch; `until` and `before` are not in it."""

    since: int | None = None
    until: int | None = None
    before: Place | None = None


class Among(NamedTuple):
    """Decisions whose column, or one of whose tags, has one of these values."""

    name: Column | Tag
    values: tuple[str, ...]


class Cost(NamedTuple):
    """Decisions that cost at least and at most so much, in 1e-8 of `currency` (of any, where it is `None`)."""

    least: int | None
    most: int | None
    currency: str | None


Filter: TypeAlias = Among | Cost
SORTED: Final = 4_000
"""So many decisions of some cost may be put into the order of their time for a page."""
_COLUMNS: Final = frozenset(("caller", "action", "model", "effect", "status"))
_FOUND_INSERT: Final = f"INSERT INTO found ({', '.join(FoundRow._fields)}) VALUES "  # noqa: S608 - no input
_FOUND_UPDATE: Final = " ON CONFLICT (entry) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in ("outcome_leaf", "status", "cost", "currency", "milliseconds")
)
_TAG_INSERT: Final = f"INSERT INTO found_tag ({', '.join(TagRow._fields)}) VALUES "  # noqa: S608 - no input


def watermark(connection: Connection) -> int:
    """Return the row up to which entries are in the index."""
    value = connection.execute(select(revision.c.value).where(revision.c.name == _WATERMARK)).scalar_one_or_none()
    return value or 0


def move_watermark(connection: Connection, seen: int, new: int) -> bool:
    """Move the watermark on; `False` where another process has moved it since it was seen."""
    connection.execute(
        text("INSERT INTO revision (name, value) VALUES (:name, 0) ON CONFLICT (name) DO NOTHING"),
        {"name": _WATERMARK},
    )
    moved = connection.execute(
        update(revision).where(revision.c.name == _WATERMARK, revision.c.value == seen).values(value=new)
    )
    return moved.rowcount == 1


def clear(connection: Connection) -> None:
    """Empty the index."""
    connection.execute(delete(found_tag))
    connection.execute(delete(found))
    connection.execute(delete(revision).where(revision.c.name == _WATERMARK))


def put_found(connection: Connection, rows: Sequence[FoundRow]) -> None:
    """Write decisions; of those that are there already, what came of them."""
    insert_rows(connection, _FOUND_INSERT, rows, _FOUND_UPDATE)


def put_tags(connection: Connection, rows: Sequence[TagRow]) -> None:
    """Write tags, those that are there already left as they are."""
    insert_rows(connection, _TAG_INSERT, rows, " ON CONFLICT DO NOTHING")


def found_of(connection: Connection, decisions: Sequence[DecisionId]) -> list[FoundRow]:
    """Return those of `decisions` that are in the index."""
    return [FoundRow(*row) for row in connection.execute(select(found).where(found.c.decision.in_(decisions)))]


def bodies(connection: Connection, decisions: Sequence[DecisionId]) -> dict[DecisionId, dict[str, bytes]]:
    """Return the entries of decisions, by their type."""
    rows = connection.execute(
        select(entry.c.decision, entry.c.type, entry.c.body).where(entry.c.decision.in_(decisions))
    )
    gathered: dict[DecisionId, dict[str, bytes]] = {}
    for row in rows:
        gathered.setdefault(row.decision, {})[row.type] = bytes(row.body)
    return gathered


def rows_of_log(connection: Connection, size: int) -> int | None:
    """Return how many rows there are up to the one that is the last leaf of a log of so many entries.

    `None` where no checkpoint of that size is kept.
    """
    last = connection.execute(select(checkpoint.c.last_entry).where(checkpoint.c.size == size)).scalar_one_or_none()
    if last is None:
        return None
    return connection.execute(select(func.count()).select_from(entry).where(entry.c.id <= last)).scalar_one()


def rows_gone(connection: Connection) -> int:
    """Return how many rows of the record were deleted, as far as the database can tell: SQLite alone skips no id."""
    if connection.dialect.name != "sqlite":
        return 0
    given = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")).scalar_one_or_none()
    return (given or 0) - connection.execute(select(func.count()).select_from(entry)).scalar_one()


def decision_at(connection: Connection, place: Place) -> DecisionId:
    """Return the decision that stands at a place."""
    return DecisionId(connection.execute(select(found.c.decision).where(found.c.entry == place.entry)).scalar_one())


def looks_at(connection: Connection, decision: DecisionId, limit: int) -> list[bytes]:
    """Return the entries of the newest looks at one decision, newest first."""
    rows = connection.execute(
        select(entry.c.body)
        .join(found_tag, found_tag.c.entry == entry.c.id)
        .where(found_tag.c.kind == "look", found_tag.c.value == decision)
        .order_by(found_tag.c.at.desc(), found_tag.c.entry.desc())
        .limit(limit)
    )
    return [bytes(row.body) for row in rows]


def models(connection: Connection) -> list[str]:
    """Return every model that decisions are of: as many questions to the index as there are models."""
    rows = connection.execute(
        text(
            "WITH RECURSIVE each(model) AS (SELECT min(model) FROM found UNION ALL "
            "SELECT (SELECT min(model) FROM found WHERE model > each.model) FROM each WHERE each.model IS NOT NULL) "
            "SELECT model FROM each WHERE model IS NOT NULL"
        )
    )
    return list(rows.scalars())


def count(connection: Connection, each: Filter, window: Window, limit: int) -> int:
    """Count the decisions in a window that a filter lets through, up to `limit`; those of some cost in any window."""
    arms = (
        [select(found.c.entry).where(_costs(each)).limit(limit)]
        if isinstance(each, Cost)
        # Ordered, so that it is counted in the index: PostgreSQL may think that it soon finds so many in the table.
        else [_newest_arm(each.name, value, window, limit) for value in each.values]
    )
    return sum(connection.execute(select(func.count()).select_from(arm.subquery())).scalar_one() for arm in arms)


def nth(connection: Connection, driver: Filter | None, window: Window, n: int) -> Place | None:
    """Return the place of the `n`th decision (from 1) that the driver lets through; `None` where there are fewer."""
    row = connection.execute(select(_candidates(driver, window, n)).limit(1).offset(n - 1)).one_or_none()
    return None if row is None else Place(*row)


def matching(
    connection: Connection, driver: Filter | None, filters: Sequence[Filter], window: Window, *, reach: int, limit: int
) -> list[FoundRow]:
    """Return the first `limit` decisions, newest first, of the first `reach` that the driver lets through.

    What is looked through, and in which order, is said here and not left to a planner: SQLite has no statistics
    unless somebody asks it to make some.
    """
    query = (
        select(found)
        .where(_is_one_of(connection, _candidates(driver, window, reach)), *[_holds(each) for each in filters])
        .order_by(found.c.at.desc(), found.c.entry.desc())
        .limit(limit)
    )
    return [FoundRow(*row) for row in connection.execute(query)]


def _is_one_of(connection: Connection, candidates: Subquery) -> ColumnElement[bool]:
    """Look candidates up by their rows, one by one: joined, PostgreSQL may read the whole table instead."""
    entries = select(candidates.c.entry)
    if connection.dialect.name == "postgresql":
        one_by_one: ColumnElement[bool] = found.c.entry == any_(func.array(entries.scalar_subquery()))
        return one_by_one
    return found.c.entry.in_(entries)


def _candidates(driver: Filter | None, window: Window, reach: int) -> Subquery:
    """Give the places of the newest `reach` decisions in a window that the driver lets through, newest first."""
    if driver is None:
        every = select(found.c.at, found.c.entry).where(*_within(found.c.at, found.c.entry, window))
        return _newest(every, found.c.at, found.c.entry, reach).subquery()
    if isinstance(driver, Cost):
        few = select(found.c.at, found.c.entry).where(_costs(driver)).limit(SORTED).subquery()
        return _newest(
            select(few).where(*_within(few.c.at, few.c.entry, window)), few.c.at, few.c.entry, reach
        ).subquery()
    arms = [_newest_arm(driver.name, value, window, reach) for value in driver.values]
    if len(arms) == 1:
        return arms[0].subquery()
    # A decision may have two of the values: once is enough.
    both = union_all(*[select(arm.subquery()) for arm in arms]).subquery()
    return _newest(select(both).distinct(), both.c.at, both.c.entry, reach).subquery()


def _newest_arm(name: Column | Tag, value: str, window: Window, reach: int) -> Select[tuple[int, int]]:
    table = found if name in _COLUMNS else found_tag
    return _newest(_arm(name, value, window), table.c.at, table.c.entry, reach)


def _newest(
    query: Select[tuple[int, int]], at: ColumnElement[int], row: ColumnElement[int], limit: int
) -> Select[tuple[int, int]]:
    return query.order_by(at.desc(), row.desc()).limit(limit)


def _arm(name: Column | Tag, value: str, window: Window) -> Select[tuple[int, int]]:
    if name in _COLUMNS:
        return select(found.c.at, found.c.entry).where(
            found.c[name] == value, *_within(found.c.at, found.c.entry, window)
        )
    return select(found_tag.c.at, found_tag.c.entry).where(
        found_tag.c.kind == name, found_tag.c.value == value, *_within(found_tag.c.at, found_tag.c.entry, window)
    )


def _within(at: ColumnElement[int], row: ColumnElement[int], window: Window) -> list[ColumnElement[bool]]:
    bounds = []
    if window.since is not None:
        bounds.append(at >= window.since)
    if window.until is not None:
        bounds.append(at < window.until)
    if window.before is not None:
        bounds.append(tuple_(at, row) < tuple_(*window.before))
    return bounds


def _holds(each: Filter) -> ColumnElement[bool]:
    """Look at one decision, in words that no planner takes for a way to find it by."""
    if isinstance(each, Cost):
        return _costs(each, found.c.cost + 0)
    if each.name in _COLUMNS:
        return func.coalesce(found.c[each.name], "").in_(each.values)
    tagged = (
        select(func.count())
        .where(
            found_tag.c.kind == each.name,
            found_tag.c.value.in_(each.values),
            found_tag.c.at == found.c.at,
            found_tag.c.entry == found.c.entry,
        )
        .correlate(found)
        .scalar_subquery()
    )
    return tagged > 0


def _costs(cost: Cost, amount: ColumnElement[int | None] = found.c.cost) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [amount.is_not(None)]
    if cost.least is not None:
        bounds.append(amount >= cost.least)
    if cost.most is not None:
        bounds.append(amount <= cost.most)
    if cost.currency is not None:
        bounds.append(found.c.currency == cost.currency)
    return and_(*bounds)
