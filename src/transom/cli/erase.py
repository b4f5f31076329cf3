"""`transom erase`: what was asked and answered, destroyed for good."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from transom.cli.common import AsJson, console, print_json, stores
from transom.config.duration import duration
from transom.decisions.erase import Erased, Eraser
from transom.decisions.erase import Progress as Step
from transom.decisions.governance import TERMINAL
from transom.errors import InvalidRequest
from transom.ledger.keys import LedgerKeys
from transom.values import CallerId, DecisionId, Pseudonym

_PSEUDONYM = "p_"


def erase(
    decision: Annotated[list[str] | None, typer.Option(help="A decision's id; may be repeated.")] = None,
    caller: Annotated[
        str | None,
        typer.Option(help="Everything of one caller: a key's id, a subject's (`oidc:…`), or a pseudonym (`p_…`)."),
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="Everything older than this, such as 90d.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy prompts and answers with their salts, for good. Decisions and proofs stay, and it is recorded."""
    if sum(each is not None for each in (decision or None, caller, older_than)) != 1:
        raise InvalidRequest("Say what to erase: --decision ID, --caller WHO or --older-than 90d, one of them.")
    if not yes:
        typer.confirm("What is erased now cannot be brought back, not even from this record. Go on?", abort=True)
    with stores() as opened:
        eraser = Eraser(opened.database, instance="terminal", by=opened.keys.pseudonym(TERMINAL))
        if decision:
            steps = eraser.decisions([DecisionId(each) for each in decision])
        elif caller is not None:
            steps = eraser.of_caller(_pseudonym(opened.keys, caller))
        else:
            steps = eraser.older_than(_moment(older_than or ""))
        erased = _follow(steps, quiet=as_json)
        for table in ("record_key", "content", "facts"):
            opened.database.overwrite_deleted(table)
    if as_json:
        print_json({"decisions": erased.decisions, "contents": erased.contents})
    else:
        console.print(
            f"{erased.contents} prompts and answers of {erased.decisions} decisions are erased, and that is on record. "
            "Backups made before still hold them until their own keys are deleted.",
            soft_wrap=True,
        )


def _pseudonym(keys: LedgerKeys, who: str) -> Pseudonym:
    return Pseudonym(who) if who.startswith(_PSEUDONYM) else keys.pseudonym(CallerId(who))


def _moment(text: str) -> int:
    try:
        seconds = duration(text)
    except ValueError as error:
        raise InvalidRequest(f"--older-than: {error}.") from error
    return time.time_ns() // 1_000_000 - 1000 * seconds


def _follow(steps: Iterator[Step], *, quiet: bool) -> Erased:
    """Show how far it is; what has been erased stays erased whenever it is stopped."""
    erased = Erased(0, 0)
    columns = (TextColumn("erasing"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for step in steps:
            erased = Erased(erased.decisions + step.erased.decisions, erased.contents + step.erased.contents)
            bar.update(task, completed=step.done, total=step.whole or None)
    return erased
