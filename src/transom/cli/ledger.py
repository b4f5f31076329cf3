"""`transom ledger`: the record, checked."""

from pathlib import Path
from typing import Annotated

import typer

from transom.app.signer import rotate
from transom.app.up import only_one
from transom.cli import monitor
from transom.cli.common import AsJson, console, print_json, stores
from transom.ledger import schemas
from transom.ledger.keys import load_or_create_witness
from transom.ledger.report import Report
from transom.ledger.verify import verify_all, wait_published

_PATIENCE_SECONDS = 5.0
app = typer.Typer(help="Verify the log; follow one; describe its entries; show its public key.", no_args_is_help=True)
app.command("monitor")(monitor.monitor)


@app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Check everything from the tiles up: signatures, hashes, rows, contents. Exit status 1 if anything is wrong."""
    with stores() as opened:
        begun = wait_published(opened.database, opened.objects, _PATIENCE_SECONDS)
        report = verify_all(opened.database, opened.objects, opened.keys) if begun else Report()
    if as_json:
        print_json(_facts(report))
    elif begun:
        _show(report)
    else:
        console.print("There is no log yet: the first `transom up` begins it.")
    if not report.ok:
        raise typer.Exit(1)


@app.command("schemas")
def write_schemas(
    folder: Annotated[Path, typer.Argument(help="Where to write ledger-entries.md and schema/*.json.")],
) -> None:
    """Describe every type of entry: a JSON Schema each, and a document for people."""
    for name, text in schemas.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    console.print(f"{len(schemas.types())} types of entries are described in {folder}.", soft_wrap=True)


@app.command("vkey")
def vkey(
    witness: Annotated[bool, typer.Option("--witness", help="The key that cosigns other logs ([witness]).")] = False,
) -> None:
    """Print the public key with which anybody can verify the log (C2SP signed-note)."""
    with stores() as opened:
        if witness:
            cosigner = load_or_create_witness(opened.home.data / "keys", opened.settings.witness.name)
            print(cosigner.verifier.vkey)
        else:
            print(opened.keys.vkey)


@app.command("rotate-key")
def rotate_key(
    new_key: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Where ledger.key names another place: the next key's file, made if missing."
        ),
    ] = None,
) -> None:
    """Have another key sign the log from the next start on, endorsed in it by the one before. Stop the door first."""
    with stores() as opened, only_one(opened.home):
        vkey = rotate(opened, new_key)
    console.print(
        "The log's next checkpoint is signed by another key. Give it to whoever verifies the log:", soft_wrap=True
    )
    print(vkey)
    console.print("Who trusts the one before finds it endorsed in the log.", soft_wrap=True)
    if new_key is not None:
        console.print(
            f"Bring {new_key} to where ledger.key says before the next start, and delete the file.", soft_wrap=True
        )


def _facts(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "size": report.size,
        "root": report.checkpoint.root.hex() if report.checkpoint else None,
        "entries": dict(report.entries),
        "checkpoints": report.checkpoints,
        "contents": report.contents,
        "waiting": report.waiting,
        "open": report.open,
        "problem_count": report.problem_count,
        "problems": [{"where": problem.where, "what": problem.what} for problem in report.problems],
    }


def _show(report: Report) -> None:
    for problem in report.problems:
        console.print(f"{problem.where}: {problem.what}", style="red", markup=False, soft_wrap=True)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.entries.items()))
    console.print(f"{report.size} entries in the log: {kinds or 'none yet'}.", soft_wrap=True)
    console.print(
        f"{report.checkpoints} checkpoints and {report.contents} kept contents compared; "
        f"{report.waiting} durable rows wait for the next checkpoint.",
        soft_wrap=True,
    )
    if report.open:
        console.print(
            f"{len(report.open)} decisions have no outcome yet: {', '.join(report.open[:5])} …", soft_wrap=True
        )
    verdict = "Everything verifies." if report.ok else f"{report.problem_count} problems."
    console.print(verdict, style="green" if report.ok else "bold red")
