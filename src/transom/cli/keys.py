"""`transom keys`: who may come through the door."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from transom.callers.issue import KeyInfo, Terms, list_keys
from transom.callers.keys import REVOKED_SECONDS
from transom.cli.common import AsJson, console, print_json, stores
from transom.config.duration import duration, overlap_seconds
from transom.decisions.governance import TERMINAL, issue_key, revoke_key, rotate_key

app = typer.Typer(help="Issue, list, rotate and revoke callers' keys.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for people to read.")],
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the caller; may be repeated.")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is valid: 30d, 12h …")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model it is for, and no other; may be repeated.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option("--network", help="A network it opens from, as 10.0.0.0/8; may be repeated.")
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="It is a machine's: policies see it, lists show it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a key. It is shown once, here, and kept as a hash only."""
    try:
        until = None if expires is None else int((time.time() + duration(expires)) * 1000)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from error
    terms = Terms(service, tuple(model or ()), tuple(network or ()))
    with stores() as opened, opened.database.begin() as connection:
        issued = issue_key(connection, opened.keys, name, group or [], by=TERMINAL, expires=until, terms=terms)
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
    for title, keys in (
        (None, [key for key in found if not key.service]),
        ("services", [k for k in found if k.service]),
    ):
        if keys or title is None:
            console.print(_table(title, keys))


def _table(title: str | None, keys: list[KeyInfo]) -> Table:
    table = Table("id", "name", "groups", "held to", "created", "expires", "state", title=title)
    for key in keys:
        held = ", ".join((*key.models, *key.networks))
        expires = "" if key.expires is None else _day(key.expires)
        state = (
            key.state if key.overlap_ends is None else f"{key.state}, the secret before until {_day(key.overlap_ends)}"
        )
        table.add_row(key.id, key.name, ", ".join(key.groups), held, _day(key.created), expires, state)
    return table


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


@app.command("rotate")
def rotate(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    overlap: Annotated[
        str, typer.Option(help="How long the old secret opens beside the new one: 24h …, or none.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret. Its id, groups and bounds stay; with `--overlap none` the old secret ends at once."""
    try:
        seconds = overlap_seconds(overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from error
    with stores() as opened, opened.database.begin() as connection:
        issued = rotate_key(connection, opened.keys, id_, by=TERMINAL, overlap=seconds)
    time.sleep(REVOKED_SECONDS)
    if as_json:
        print_json({"id": issued.id, "key": issued.key, "overlap_ends": issued.overlap_ends})
        return
    until = "opens nothing any more" if issued.overlap_ends is None else f"opens until {_day(issued.overlap_ends)}"
    console.print(
        f"New secret of {issued.id} ({issued.fact.name!r}), shown this once; the old one {until}:\n\n  {issued.key}\n",
        soft_wrap=True,
    )


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
