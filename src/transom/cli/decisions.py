"""`transom decisions`: what was decided, found and handed out."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from transom.app.build import Stores
from transom.audit import index
from transom.audit.asking import FIELDS, Callers, read_query
from transom.audit.export import Source, choose, chosen_rows, found_rows, open_source
from transom.audit.exported import Row, json_lines
from transom.audit.looks import Look, Why, read_why, record_look
from transom.audit.parquet import parquet
from transom.audit.search import Page, Query, search
from transom.callers.keys import Keyring
from transom.cli.common import AsJson, console, print_json, stores
from transom.decisions.governance import TERMINAL
from transom.ledger.entry import timestamp
from transom.metering.money import in_words

app = typer.Typer(help="Search the record, and export of it what is found.", no_args_is_help=True)


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    PARQUET = "parquet"


_WORDS = "\n\n".join(f"{name}=… {said.replace('`', '')}" for name, said in FIELDS.items())
Search = Annotated[
    list[str] | None,
    typer.Argument(metavar="WORD=VALUE…", help="What to look for, every one of them; see the list above."),
]


@app.command("find", help=f"Find decisions that the log has taken in, newest first, by any of:\n\n{_WORDS}")
def find(
    searched: Search = None,
    before: Annotated[str, typer.Option(help="Go on after this decision: the page before says which.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most, up to 200.")] = 50,
    as_json: AsJson = False,
) -> None:
    asked = _read(searched or []) | {"before": before, "limit": str(limit)}
    with stores() as opened:
        callers = _up_to_date(opened)
        with opened.database.begin(write=False) as connection:
            page = search(connection, read_query(asked, callers, now_ms=time.time_ns() // 1_000_000))
    if as_json:
        print_json(_facts(page, callers))
    else:
        _show(page, callers)


@app.command("export", help=f"Write decisions into a file, with what proves each; chosen by any of:\n\n{_WORDS}")
def export(
    out: Annotated[Path, typer.Option(help="The file to write; one that is there is replaced.")],
    searched: Search = None,
    format_: Annotated[Format, typer.Option("--format", help="JSON Lines or Parquet.")] = Format.JSONL,
    content: Annotated[bool, typer.Option("--content", help="With what was asked and answered, where kept.")] = False,
    reason: Annotated[str, typer.Option(help="With --content, why you look, in a word, for the record.")] = "",
    note: Annotated[str, typer.Option(help="With --content, what else there is to say of why; kept sealed.")] = "",
) -> None:
    asked = _read(searched or [])
    why = read_why(reason, note) if content else None
    with stores() as opened:
        query = read_query(asked, _up_to_date(opened), now_ms=time.time_ns() // 1_000_000)
        source = open_source(opened.database, opened.objects, opened.keys, asked)
        pages = found_rows(source, query) if why is None else _look(opened, source, query, why)
        write = parquet if format_ is Format.PARQUET else json_lines
        draft = out.with_name(f".{out.name}.part")
        try:
            with draft.open("wb") as file:
                file.writelines(write(source.header, pages))
            draft.replace(out)
        finally:
            draft.unlink(missing_ok=True)
    size = source.checkpoint.size
    console.print(f"{out} holds what was found among the log's first {size} entries, with proofs.", soft_wrap=True)


def _look(opened: Stores, source: Source, query: Query, why: Why) -> Iterator[list[Row]]:
    """Choose the decisions, put the look at them on record, and only then open what was said."""
    chosen = choose(source, query)
    look = Look(
        by=opened.keys.pseudonym(TERMINAL),
        decisions=chosen,
        why=why,
        retain_seconds=opened.settings.retention.default,
    )
    with opened.database.begin() as connection:
        record_look(connection, opened.vault, look)
    return chosen_rows(msgspec.structs.replace(source, vault=opened.vault), chosen)


@app.command("reindex")
def reindex() -> None:
    """Make the index that searches read again from the record. A door may run meanwhile."""
    with stores() as opened:
        taken = 0
        for taken in index.rebuild(opened.database):
            console.print(f"{taken} entries …", end="\r")
        console.print(f"{taken} entries of the log are in the index.")


def _read(searched: list[str]) -> dict[str, str]:
    asked = {}
    for each in searched:
        name, equals, value = each.partition("=")
        if not equals or name not in FIELDS:
            raise typer.BadParameter(f"{each!r} is not WORD=VALUE, with a word of {', '.join(FIELDS)}.")
        asked[name] = value
    return asked


def _up_to_date(opened: Stores) -> Callers:
    """Take into the index what the log has taken in, and return who callers are."""
    while index.catch_up(opened.database):
        pass
    keyring = Keyring(opened.keys.pseudonym)
    with opened.database.begin(write=False) as connection:
        keyring.reload(connection)
    return Callers(keyring.names(), opened.keys.pseudonym)


def _facts(page: Page, callers: Callers) -> dict[str, object]:
    decisions = [
        {
            "id": row.decision,
            "at": timestamp(row.at),
            "caller": row.caller,
            "name": callers.names.get(row.caller),
            "action": row.action,
            "resource": row.model,
            "effect": row.effect,
            "status": row.status,
            "cost": None if row.cost is None else in_words(row.cost),
            "currency": row.currency,
            "milliseconds": row.milliseconds,
            "leaf": row.leaf,
            "outcome_leaf": row.outcome_leaf,
        }
        for row in page.rows
    ]
    return {"decisions": decisions, "older": page.older, "waiting": page.waiting}


def _show(page: Page, callers: Callers) -> None:
    table = Table("decision", "time", "caller", "action", "model", "ruling", "outcome", "cost")
    for row in page.rows:
        cost = "" if row.cost is None else f"{in_words(row.cost)} {row.currency}"
        caller = callers.names.get(row.caller, row.caller)
        status = row.status or "under way"
        table.add_row(
            row.decision, timestamp(row.at)[:19], caller, row.action, row.model, row.effect or "none", status, cost
        )
    console.print(table if page.rows else "Nothing was found.")
    if page.older is not None:
        console.print(f"There are older ones: --before {page.older}", soft_wrap=True)
    if page.waiting:
        console.print(f"{page.waiting} rows of the record wait for the log's next checkpoint, and are not searched.")
