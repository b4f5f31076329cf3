"""The `transom` command: its groups, and how every error reaches a person."""

import sys

import typer
from rich.console import Console

from transom.app.logs import set_up_logs
from transom.cli import (
    backup,
    callers,
    config,
    decisions,
    erase,
    explain,
    import_,
    keys,
    ledger,
    limits,
    models,
    reconcile,
    redecide,
    up,
    verify,
)
from transom.errors import Refusal, TransomError

app = typer.Typer(
    help="The one door through which an organisation offers AI models, open and closed, side by side.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("up")(up.up)
app.command("explain")(explain.explain)
app.command("reconcile")(reconcile.reconcile)
app.command("redecide")(redecide.redecide)
app.command("erase")(erase.erase)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(keys.app, name="keys")
app.add_typer(callers.app, name="callers")
app.add_typer(decisions.app, name="decisions")
app.add_typer(limits.app, name="limits")
app.add_typer(models.app, name="models")
app.add_typer(ledger.app, name="ledger")
app.add_typer(verify.app, name="verify")
app.add_typer(config.app, name="config")
app.add_typer(import_.app, name="import")


def main() -> None:
    """Run the command. What a person can mend is said in a line each; exit status 1."""
    set_up_logs()
    try:
        app()
    except TransomError as error:
        text = error.message if isinstance(error, Refusal) else str(error)
        Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
