"""`transom keys`: who may come through the door."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from transom.callers.issue import list_keys
from transom.callers.keys import REVOKED_SECONDS
from transom.cli.common import AsJson, console, print_json, stores
from transom.config.duration import duration
from transom.decisions.governance import TERMINAL, issue_key, revoke_key

app = typer.Typer(help="Issue, list and revoke callers' keys.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people to read.")],
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the caller; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is valid: 30d, 12h …")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a key. It is shown once, here, and kept as a hash only."""
    try:
        until = None if expires is None else int((time.time() + duration(expires)) * 1000)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from error
    with stores() as opened, opened.database.begin() as connection:
        issued = issue_key(connection, opened.keys, name, group or [], by=TERMINAL, expires=until)
    if as_json:
        print_json({"id": issued.id, "key": issued.key})
        return
    console.print(f"Key {issued.id} for {name!r}, shown this once:\n\n  {issued.key}\n", soft_wrap=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every key, without secrets."""
    with stores() as opened, opened.database.begin(write=False) as connection:
        found = list_keys(connection)
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "groups", "created", "state")
    for key in found:
        created = datetime.fromtimestamp(key.created / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(key.id, key.name, ", ".join(key.groups), created, key.state)
    console.print(table)


@app.command("revoke")
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key. When this returns, no answer to it begins any more, in any process of this door."""
    with stores() as opened, opened.database.begin() as connection:
        changed = revoke_key(connection, opened.keys, id_, by=TERMINAL)
    time.sleep(REVOKED_SECONDS)
    if as_json:
        print_json({"id": id_, "revoked": True, "changed": changed})
        return
    console.print(f"{id_} is revoked." if changed else f"{id_} was revoked before; nothing has changed.")
