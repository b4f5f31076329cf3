"""`transom redecide`: rule again on a decision, from the record alone."""

from pathlib import Path
from typing import Annotated

import typer

from transom.cli.common import AsJson, console, print_json, stores
from transom.decisions import redecide as again
from transom.decisions.redecide import Redecided, Said

_RESULTS = {
    "same": "The same ruling follows from the record alone.",
    "differs": "ANOTHER RULING follows from the record.",
    "unknown": "It cannot be ruled on again.",
}


def redecide(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A decision's id: the transom-decision header's.")],
    policies: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Say too what the policies of this folder would rule.", file_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rule again on a decision with the policies and facts of then; exit status 1 where the ruling is not the same."""
    proposed = None if policies is None else again.read_texts(policies.absolute())
    with stores() as opened, opened.database.begin(write=False) as connection:
        found = again.redecide(connection, opened.objects, opened.keys, opened.vault, id_, proposed=proposed)
    if as_json:
        print_json(found)
    else:
        _tell(found)
    raise typer.Exit(0 if found.result == "same" else 1)


def _tell(found: Redecided) -> None:
    console.print(_RESULTS[found.result])
    for word, said in (("recorded", found.recorded), ("again", found.again), ("proposed", found.proposed)):
        if said is not None:
            console.print(f"{word:<9} {_ruling(said)}", soft_wrap=True)
    for remark in found.remarks:
        console.print(remark, soft_wrap=True)


def _ruling(said: Said) -> str:
    decided = f"decided by {', '.join(said.policies)}" if said.policies else "since no policy permits it"
    return f"{said.effect}, {decided}; policy set {said.digest}"
