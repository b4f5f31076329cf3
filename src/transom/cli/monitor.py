"""`transom ledger monitor`: follow a log, anybody's, and raise an alarm where it does not go on from what was seen."""

import os
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from transom.cli.common import console
from transom.cli.verify import Vkey, read_verifiers
from transom.config.duration import duration
from transom.errors import LedgerError, StorageError
from transom.ledger.cosign import parse_witness_vkey
from transom.ledger.entry import timestamp
from transom.ledger.monitor import Step, Trusted, follow
from transom.ledger.note import Verifier, parse_vkey
from transom.ledger.remote import open_source

ALARM: Final = 2
"""The exit status of an alarm."""
_WEBHOOK_SECONDS: Final = 20.0


def monitor(
    where: Annotated[str, typer.Argument(metavar="URL|FOLDER", help="What stands before /checkpoint and /tile/.")],
    *,
    vkey: Vkey = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", metavar="KEY", help="A witness's public key; any number of them.")
    ] = None,
    quorum: Annotated[int, typer.Option(min=0, help="So many of them must have cosigned each checkpoint.")] = 0,
    every: Annotated[str, typer.Option(metavar="TIME", help="How often to look: 60s, 5m.")] = "60s",
    state: Annotated[
        Path, typer.Option(dir_okay=False, help="Holds the last checkpoint that was seen. Keep it safe.")
    ] = Path("checkpoint.seen"),
    evidence: Annotated[
        Path, typer.Option(file_okay=False, help="Where the two checkpoints of an alarm are kept.")
    ] = Path(),
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Is told of an alarm, as JSON by POST.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, for a timer of your own.")] = False,
) -> None:
    """Follow a log: each checkpoint must be signed and go on from the one before. Exit status 2 is an alarm.

    Run it where the log's operator cannot reach the state file. A closed log's key is read from TRANSOM_KEY.
    """
    trusted = Trusted(
        [*read_verifiers(vkey), *_learned(state)], [parse_witness_vkey(each) for each in witness or ()], quorum
    )
    if quorum > len(trusted.witnesses):
        raise LedgerError(f"A quorum of {quorum} needs as many witnesses: name each with --witness.")
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise typer.BadParameter("give a URL with http:// or https://", param_hint="--webhook")
    seconds = _seconds(every)
    while True:
        try:
            step = _look(where, trusted, state)
        except (LedgerError, StorageError) as error:
            if once:
                raise
            console.print(f"{_now()} not to be seen now, looking again: {error}", style="yellow", soft_wrap=True)
        else:
            if step.alarm is not None:
                raise typer.Exit(_alarm(where, step, state, evidence, webhook))
            trusted = trusted._replace(keys=[*trusted.keys, *step.learned])
            problem = _report(step, quorum)
            if once:
                raise typer.Exit(1 if problem else 0)
        time.sleep(seconds)


def _look(where: str, trusted: Trusted, state: Path) -> Step:
    """Look once, and keep what was seen where all is well."""
    kept = state.read_text(encoding="utf-8") if state.exists() else None
    with open_source(where, os.environ.get("TRANSOM_KEY")) as source:
        step = follow(source.get, trusted, kept)
    if step.learned and step.alarm is None:
        # Kept before the checkpoint that needs them.
        vkeys = [each.vkey for each in (*_learned(state), *step.learned)]
        _write(_learned_file(state), "".join(f"{each}\n" for each in vkeys))
    if step.alarm is None and not step.stale and step.note != kept:
        _write(state, step.note)
    return step


def _learned_file(state: Path) -> Path:
    return state.with_name(f"{state.name}.vkeys")


def _learned(state: Path) -> list[Verifier]:
    """Read the keys that were learned from the log itself."""
    file = _learned_file(state)
    return [parse_vkey(line) for line in file.read_text(encoding="utf-8").split()] if file.exists() else []


def _report(step: Step, quorum: int) -> bool:
    """Print what was seen; say whether it is worth a look though no alarm."""
    checkpoint = step.checkpoint
    who = f", cosigned by {', '.join(step.cosigned)}" if step.cosigned else ""
    console.print(f"{_now()} {checkpoint.size} entries, root {checkpoint.root.hex()}{who}", soft_wrap=True)
    for key in step.learned:
        console.print(f"  The log's key was rotated: the one that was trusted endorses {key.vkey}", soft_wrap=True)
    if step.stale:
        console.print("  This is older than what was seen before: some cache shows it.", style="yellow")
    if step.unwitnessed:
        console.print(f"  Only {len(step.cosigned)} of {quorum} witnesses have cosigned it.", style="yellow")
    return step.stale or step.unwitnessed


def _alarm(where: str, step: Step, state: Path, evidence: Path, webhook: str | None) -> int:
    """Keep both notes and tell whoever is to know; what was seen before stays in the state file."""
    console.print(f"{_now()} ALARM: {step.alarm}", style="bold red", soft_wrap=True)
    kept = state.read_text(encoding="utf-8") if state.exists() else None
    found = {"event": "ledger.alarm", "at": _now(), "log": where, "what": step.alarm, "kept": kept, "found": step.note}
    body = msgspec.json.encode(found)
    file = evidence / f"alarm-{time.time_ns() // 1_000_000}.json"
    try:
        _write(file, msgspec.json.format(body, indent=2).decode() + "\n")
        console.print(f"Both checkpoints are kept in {file}: signed, they prove it to anybody.", soft_wrap=True)
    except StorageError as error:
        console.print(f"{error} This is the evidence: {body.decode()}", style="red", soft_wrap=True)
    if webhook is not None:
        _tell(webhook, body)
    return ALARM


def _tell(webhook: str, body: bytes) -> None:
    """Send an alarm to a webhook, tried once: the alarm stands whether or not it is taken."""
    request = urllib.request.Request(webhook, body, {"content-type": "application/json"})  # noqa: S310 - see `monitor`
    try:
        urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS).close()  # noqa: S310 - see `monitor`
    except OSError as error:
        console.print(f"The webhook did not take it: {error}", style="yellow", soft_wrap=True)


def _write(file: Path, text: str) -> None:
    """Replace a file, whole or not at all: a crash leaves what was seen before."""
    draft = file.with_name(f".{file.name}.draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except OSError as error:
        raise StorageError(f"{file} cannot be written ({error.strerror}). What was seen is not kept.") from error


def _seconds(text: str) -> int:
    try:
        return duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--every") from error


def _now() -> str:
    return timestamp(time.time_ns() // 1_000_000)
