"""`transom callers`: subjects of identity providers, who have no key that could be revoked."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from transom.callers.block import list_blocked
from transom.callers.keys import REVOKED_SECONDS
from transom.cli.common import AsJson, console, print_json, stores
from transom.decisions.governance import TERMINAL, block_subject, unblock_subject

app = typer.Typer(help="Block callers who come with an identity provider's token.", no_args_is_help=True)
Issuer = Annotated[str, typer.Argument(help="The provider, as its tokens say it in `iss`.")]
Subject = Annotated[str, typer.Argument(help="The subject, as its tokens say it in the subject's claim.")]


@app.command("block")
def block(issuer: Issuer, subject: Subject, as_json: AsJson = False) -> None:
    """Let a subject in no more. When this returns, no answer to it begins any more, in any process of this door."""
    with stores() as opened, opened.database.begin() as connection:
        changed = block_subject(connection, opened.keys, issuer, subject, by=TERMINAL)
    time.sleep(REVOKED_SECONDS)
    if as_json:
        print_json({"issuer": issuer, "subject": subject, "blocked": True, "changed": changed})
        return
    console.print(f"{subject} is blocked." if changed else f"{subject} was blocked before; nothing has changed.")


@app.command("unblock")
def unblock(issuer: Issuer, subject: Subject, as_json: AsJson = False) -> None:
    """Let a subject in again."""
    with stores() as opened, opened.database.begin() as connection:
        changed = unblock_subject(connection, opened.keys, issuer, subject, by=TERMINAL)
    if as_json:
        print_json({"issuer": issuer, "subject": subject, "blocked": False, "changed": changed})
        return
    console.print(f"{subject} may come in again." if changed else f"{subject} was not blocked; nothing has changed.")


@app.command("blocked")
def blocked(as_json: AsJson = False) -> None:
    """List the subjects that are blocked."""
    with stores() as opened, opened.database.begin(write=False) as connection:
        found = list_blocked(connection)
    if as_json:
        print_json(found)
        return
    table = Table("issuer", "subject", "blocked")
    for row in found:
        table.add_row(row.issuer, row.subject, datetime.fromtimestamp(row.at / 1000, UTC).strftime("%Y-%m-%d %H:%M"))
    console.print(table)
