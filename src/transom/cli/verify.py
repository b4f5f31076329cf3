"""`transom verify`: receipts, proofs and whole logs, checked as a stranger does: without home, database or trust."""

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from transom.audit.exported import check as check_export
from transom.cli.common import AsJson, console, print_json
from transom.errors import LedgerError, StorageError
from transom.ledger.check import Findings, Witnesses, check_proof, check_receipt
from transom.ledger.cosign import parse_witness_vkey
from transom.ledger.note import Verifier, parse_vkey
from transom.ledger.portable import Portable, parse_portable
from transom.ledger.receipt import ReceiptFile, parse_file
from transom.ledger.remote import open_source
from transom.ledger.verify import verify_log

_PROOF = "c2sp.org/tlog-proof@"
_MARKS = {"holds": ("✓", "green"), "wrong": ("✗", "bold red"), "not checked": ("·", "dim")}
app = typer.Typer(
    help="Check receipts, proofs and logs with a log's public key alone: no home, no database, no network but a log's.",
    no_args_is_help=True,
)

_File = typer.Argument(exists=True, dir_okay=False, readable=True)
Prompt = Annotated[
    Path | None, typer.Option("--prompt", exists=True, dir_okay=False, help="The request's body, as it was sent.")
]
Answer = Annotated[
    Path | None, typer.Option("--answer", exists=True, dir_okay=False, help="The answer's body, as it came.")
]
Vkey = Annotated[
    list[str] | None,
    typer.Option(
        "--vkey",
        metavar="KEY|FILE",
        envvar="TRANSOM_VKEY",
        help="The log's public key, or a file of such, one a line: what `transom ledger vkey` printed. From its "
        "operator, but not together with what is to be checked.",
    ),
]


Witness = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="KEY|FILE",
        help="A witness's public key, or a file of such: the proof's checkpoint must be cosigned by it. Any number.",
    ),
]
Quorum = Annotated[
    int | None, typer.Option("--quorum", min=1, help="So many of the witnesses are enough; else it takes all of them.")
]


@app.command("receipt")
def receipt(
    file: Annotated[Path, _File],
    prompt: Prompt = None,
    answer: Answer = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", exists=True, dir_okay=False, help="The receipt's .tlog-proof.")
    ] = None,
    vkey: Vkey = None,
    witness: Witness = None,
    quorum: Quorum = None,
    as_json: AsJson = False,
) -> None:
    """Check a receipt: who signed it, that this was asked and answered, that the log holds it. Exit status 1 if not."""
    verifiers, witnesses = read_verifiers(vkey), _witnesses(witness, quorum)
    text = _text(file)
    given = _portable(_text(proof), proof) if proof is not None else None
    if text.startswith(_PROOF):
        portable = _portable(text, file)
        found_receipt, given = _receipt_in(portable, file), given or portable
    else:
        found_receipt = _receipt(text, file)
    if witnesses.keys and given is None:
        raise LedgerError("Witnesses cosign what a proof is under: give the receipt's --proof, too.")
    found = check_receipt(
        found_receipt, verifiers, prompt=_given(prompt), answer=_given(answer), proof=given, witnesses=witnesses
    )
    _end(found, as_json=as_json)


@app.command("proof")
def proof(
    file: Annotated[Path, _File],
    entry: Annotated[
        Path | None,
        typer.Option("--entry", exists=True, dir_okay=False, help="The entry, byte for byte; else the file's own."),
    ] = None,
    prompt: Prompt = None,
    answer: Answer = None,
    vkey: Vkey = None,
    witness: Witness = None,
    quorum: Quorum = None,
    as_json: AsJson = False,
) -> None:
    """Check a .tlog-proof: that the log holds its entry, and all that it brings besides. Exit status 1 if not."""
    verifiers, witnesses = read_verifiers(vkey), _witnesses(witness, quorum)
    portable = _portable(_text(file), file)
    if entry is None and (portable.receipt is not None or prompt is not None or answer is not None):
        inner = _receipt_in(portable, file)
        found = check_receipt(
            inner, verifiers, prompt=_given(prompt), answer=_given(answer), proof=portable, witnesses=witnesses
        )
    else:
        found = check_proof(portable, verifiers, entry=_given(entry), witnesses=witnesses)
    _end(found, as_json=as_json)


@app.command("export")
def export(file: Annotated[Path, _File], vkey: Vkey = None, as_json: AsJson = False) -> None:
    """Check an export (JSON Lines): that the log holds every row of it. Exit status 1 if not."""
    verifiers = read_verifiers(vkey)
    with file.open("rb") as lines:
        found = check_export(lines, verifiers)
    size = found.checkpoint.size
    if as_json:
        print_json({"ok": True, "size": size, "decisions": found.decisions, "outcomes": found.outcomes})
        return
    console.print(
        f"✓ The log {found.checkpoint.origin}, at {size} entries, holds all {found.decisions} decisions and "
        f"{found.outcomes} outcomes of this export. What was left out of it, nobody can tell from it.",
        style="green",
        soft_wrap=True,
    )


@app.command("log")
def log(
    where: Annotated[str, typer.Argument(metavar="URL|FOLDER", help="What stands before /checkpoint and /tile/.")],
    vkey: Vkey = None,
    as_json: AsJson = False,
) -> None:
    """Check a whole log from its tiles up, as anybody can. A closed log's key is read from TRANSOM_KEY."""
    (verifier, *_) = read_verifiers(vkey)
    with open_source(where, os.environ.get("TRANSOM_KEY")) as source:
        report = verify_log(source, verifier.vkey)
    problems = [{"where": problem.where, "what": problem.what} for problem in report.problems]
    if as_json:
        print_json({"ok": report.ok, "size": report.size, "entries": dict(report.entries), "problems": problems})
    else:
        for problem in report.problems:
            console.print(f"✗ {problem.where}: {problem.what}", style="bold red", soft_wrap=True)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.entries.items()))
        console.print(f"{report.size} entries in the log: {kinds or 'none'}.", soft_wrap=True)
        verdict = "Everything verifies." if report.ok else f"{report.problem_count} problems."
        console.print(verdict, style="green" if report.ok else "bold red")
    if not report.ok:
        raise typer.Exit(1)


def read_verifiers(given: list[str] | None) -> list[Verifier]:
    """Read the keys that the one who checks trusts."""
    found = [parse_vkey(line) for line in _keys(given)]
    if not found:
        raise LedgerError(
            "Say which key you trust: --vkey KEY, or a file that holds it. The log's operator prints it with "
            "`transom ledger vkey`."
        )
    return found


def _witnesses(given: list[str] | None, quorum: int | None) -> Witnesses:
    keys = [parse_witness_vkey(line) for line in _keys(given)]
    if quorum is not None and quorum > len(keys):
        raise LedgerError(f"A quorum of {quorum} needs as many witnesses: name each with --witness.")
    return Witnesses(keys, len(keys) if quorum is None else quorum)


def _keys(given: list[str] | None) -> Iterator[str]:
    """Give the keys among what was given: each a key as text, or a file of such, one a line."""
    for each in given or []:
        is_text = "+" in each and not Path(each).exists()
        lines = [each] if is_text else _text(Path(each)).splitlines()
        yield from (line for line in lines if line.strip() and not line.startswith("#"))


def _receipt(text: str, file: Path) -> ReceiptFile:
    """Read a receipt's file, or a header's value as it came."""
    if not text.startswith("transom-receipt-file/"):
        with suppress(binascii.Error, ValueError):  # what it is not, is said below
            text = base64.b64decode(text.strip().removeprefix("transom-receipt:").strip(), validate=True).decode()
    try:
        return parse_file(text)
    except LedgerError as error:
        raise LedgerError(f"{file}: {error}") from error


def _portable(text: str, file: Path) -> Portable:
    try:
        return parse_portable(text)
    except LedgerError as error:
        raise LedgerError(f"{file}: {error}") from error


def _receipt_in(portable: Portable, file: Path) -> ReceiptFile:
    if portable.receipt is None:
        raise LedgerError(f"{file}: this proof brings no receipt. Check the receipt itself, with this as its --proof.")
    return portable.receipt


def _text(file: Path) -> str:
    try:
        return _bytes(file).decode()
    except UnicodeDecodeError as error:
        raise LedgerError(f"{file}: this is no text, so no receipt, proof or key.") from error


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StorageError(f"{file} cannot be read ({error.strerror}).") from error


def _given(file: Path | None) -> bytes | None:
    return None if file is None else _bytes(file)


def _end(found: Findings, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": found.ok, "steps": [step._asdict() for step in found.steps]})
    else:
        for step in found.steps:
            mark, style = _MARKS[step.said]
            console.print(f"{mark} {step.what}", style=style, soft_wrap=True)
    if not found.ok:
        raise typer.Exit(1)
