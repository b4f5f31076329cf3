"""`transom reconcile`: the record held against what others say, so that what was left out of it surfaces."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from transom.audit import index
from transom.audit.completeness import ALWAYS_UNKNOWN, hold_account, hold_itself, hold_receipts
from transom.audit.reconcile import Report
from transom.audit.usage import PRESETS, Line, columns, read_lines
from transom.cli.common import AsJson, console, print_json, stores
from transom.errors import ConfigError

_TITLES = {
    "omitted": ("omitted here", "bold red"),
    "differing": ("not the same", "yellow"),
    "only_here": ("only on our record", "yellow"),
}
_SHOWN = 50


def reconcile(
    receipts: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A folder of callers' receipts, or proofs of such."),
    ] = None,
    usage: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="An upstream's usage export or invoice, as CSV.")
    ] = None,
    upstream: Annotated[str, typer.Option(help="With --usage, whose it is: a name of [upstreams].")] = "",
    preset: Annotated[str, typer.Option(help=f"Which columns --usage has: {', '.join(PRESETS)}.")] = "plain",
    columns_: Annotated[
        str, typer.Option("--columns", help="Columns that are called otherwise: time=when,input=a+b …")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Hold the record against receipts, upstreams' accounts and itself. Exit status 1 if anything was omitted."""
    report = Report(unknown=list(ALWAYS_UNKNOWN))
    lines = None if usage is None else _lines(usage, upstream, columns(preset, columns_))
    with stores() as opened:
        while index.catch_up(opened.database):
            pass
        with opened.database.begin(write=False) as connection:
            waiting = index.waiting(connection)
        if waiting:
            report.unknown.append(
                f"{waiting} rows of the record wait for the log's next checkpoint; calls in them look omitted."
            )
        hold_itself(report, opened.database, opened.objects, opened.keys)
        if receipts is not None:
            now = datetime.fromtimestamp(time.time(), UTC)
            hold_receipts(report, opened.database, opened.objects, opened.keys, receipts, now=now)
        if lines is not None:
            hold_account(report, opened.database, lines, upstream)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.omitted:
        raise typer.Exit(1)


def _lines(usage: Path, upstream: str, chosen: dict[str, str]) -> list[Line]:
    if not upstream:
        raise ConfigError("Say whose account this is: --upstream NAME, as [upstreams.NAME] in transom.toml.")
    with usage.open(encoding="utf-8-sig", newline="") as text:
        return list(read_lines(text, chosen, str(usage)))


def _show(report: Report) -> None:
    console.print(f"{report.matched} things on our record are as others say.")
    for name, (title, style) in _TITLES.items():
        for found in getattr(report, name)[:_SHOWN]:
            console.print(f"{title}: {found.where}: {found.what}", style=style, soft_wrap=True)
        more = report.counts.get(name, 0) - _SHOWN
        if more > 0:
            console.print(f"{title}: {more} more; --json shows them.", style=style)
    console.print("What cannot be known:", style="bold")
    for sentence in report.unknown:
        console.print(f"· {sentence}", style="dim", soft_wrap=True)
    omitted = report.counts.get("omitted", 0)
    verdict = f"{omitted} omissions." if omitted else "Nothing that was looked for is missing."
    console.print(verdict, style="bold red" if omitted else "green")
