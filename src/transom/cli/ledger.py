"""`transom ledger`: the record, checked."""

import typer

from transom.cli.common import AsJson, console, print_json, stores
from transom.ledger.verify import verify_all

app = typer.Typer(help="Verify the log; show its public key.", no_args_is_help=True)


@app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Check everything from the tiles up: signatures, hashes, rows, contents. Exit status 1 if anything is wrong."""
    with stores() as opened:
        report = verify_all(opened.database, opened.objects, opened.keys)
    if as_json:
        print_json(report)
    else:
        for problem in report.problems:
            console.print(f"[red]{problem.where}[/]: {problem.what}", soft_wrap=True)
        console.print(report.summary if hasattr(report, "summary") else str(report), soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)


@app.command("vkey")
def vkey() -> None:
    """Print the public key with which anybody can verify the log (C2SP signed-note)."""
    with stores() as opened:
        print(opened.keys.vkey)
