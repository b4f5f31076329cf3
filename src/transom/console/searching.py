"""Searching for decisions: the page, and what the API does the same way."""

import time
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from transom.audit.asking import FIELDS, Callers, read_query
from transom.audit.search import Query, search
from transom.console import rows, store
from transom.console.rows import Row
from transom.console.site import Visit
from transom.errors import InvalidRequest
from transom.values import DecisionId


class Results(msgspec.Struct, frozen=True):
    """A page of decisions that were found. `waiting`: how many of the newest rows could not be found yet, at most."""

    rows: tuple[Row, ...]
    older: DecisionId | None
    waiting: int


def is_search(visit: Visit) -> bool:
    """Say whether anything is searched for: else the latest are meant, which need no index."""
    return any(visit.asked(name) for name in FIELDS)


def read(visit: Visit) -> Query:
    """Read what the visitor looks for. Raises `InvalidRequest`."""
    callers = Callers(visit.site.door.keyring.names(), visit.site.keys.pseudonym)
    now_ms = time.time_ns() // 1_000_000
    return read_query(visit.request.query_params, callers, now_ms=now_ms, flagged=visit.only_flagged)


async def find(visit: Visit, query: Query) -> Results:
    """Search. Raises `InvalidRequest`, `StorageError`."""
    names = visit.site.door.keyring.names()

    def work(connection: Connection) -> Results:
        page = search(connection, query)
        stored = store.decisions(connection, [row.decision for row in page.rows])
        lines = (rows.make(row.decision, stored[row.decision], names) for row in page.rows if row.decision in stored)
        return Results(tuple(lines), page.older, page.waiting)

    return await visit.site.door.database.run(work)


async def page(visit: Visit) -> Response:
    """Show a form to search with, and what was found."""
    results, wrong = None, None
    if is_search(visit):
        try:
            results = await find(visit, read(visit))
        except InvalidRequest as error:
            wrong = error.message
    asked = {name: value for name in FIELDS if (value := visit.asked(name))}
    older = None if results is None or results.older is None else urlencode({**asked, "before": results.older})
    registry = visit.site.door.running.registry
    models = [version.model for version in registry.versions if visit.may("view_model", version.resource)]
    return visit.page(
        "search.html",
        400 if wrong else 200,
        asked=asked,
        results=results,
        wrong=wrong,
        older=older,
        first=visit.asked("before") is None,
        newest=urlencode(asked),
        models=models,
        policies=tuple(visit.site.door.running.policies.policies),
    )
