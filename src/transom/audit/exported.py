"""What an export is: rows that carry their own proofs, in JSON Lines; and how a stranger checks one. No I/O.

The first line says what all rows have in common, the checkpoint above all; the last one how many there were: a file
without it was cut off.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from transom.errors import LedgerError
from transom.ledger.checkpoint import Checkpoint, parse_checkpoint
from transom.ledger.entry import DecisionEntry, OutcomeEntry, decode
from transom.ledger.note import Verifier, open_note
from transom.ledger.proof import parse_proof, verify_inclusion
from transom.ledger.tree import leaf_hash
from transom.values import DecisionId

FORMAT: Final = "transom-export/1"


class Header(msgspec.Struct, frozen=True):
    """What all rows of an export have in common. `searched` is what was asked for, word by word."""

    export: str
    origin: str
    vkey: str
    checkpoint: str
    """The signed note that every proof leads to."""
    at: str
    searched: dict[str, str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. What stands before `leaf` is read from its entries, for the reader's convenience.

    `entry` and `outcome` are the very bytes of the log's leaves, as text; the proofs are tlog-proof files. `prompt` and
    `answer` are there where content was asked for and is kept.
    """

    decision: DecisionId
    at: str
    caller: str
    action: str
    model: str
    effect: str | None
    status: str | None
    cost: str | None
    currency: str | None
    milliseconds: int | None
    leaf: int
    entry: str
    proof: str
    outcome_leaf: int | None = None
    outcome: str | None = None
    outcome_proof: str | None = None
    prompt: str | None = None
    answer: str | None = None


class Leaf(NamedTuple):
    """An entry's bytes, its place in the log, and the file that proves it."""

    body: bytes
    place: int
    proof: str


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line."""

    exported: int


_T = TypeVar("_T", Header, Row, End)


class Checked(NamedTuple):
    """What an export was found to prove."""

    checkpoint: Checkpoint
    decisions: int
    outcomes: int


def row_of(opening: Leaf, closing: Leaf | None, *, prompt: str | None = None, answer: str | None = None) -> Row:
    """Make a row of a decision's entries. Raises `LedgerError` where they are none, or not of one decision."""
    decision = decode(opening.body)
    outcome = None if closing is None else decode(closing.body)
    if not isinstance(decision, DecisionEntry) or not (outcome is None or isinstance(outcome, OutcomeEntry)):
        raise LedgerError("These are no entries of a decision and its outcome.")
    if outcome is not None and outcome.decision != decision.id:
        raise LedgerError(f"The outcome is of decision {outcome.decision}, not of {decision.id}.")
    cost = None if outcome is None else outcome.cost
    return Row(
        decision=DecisionId(decision.id),
        at=decision.at,
        caller=decision.by,
        action=decision.action,
        model=decision.resource.id,
        effect=decision.ruling.effect if decision.ruling else None,
        status=outcome.status if outcome else None,
        cost=cost.amount if cost else None,
        currency=cost.currency if cost else None,
        milliseconds=outcome.milliseconds.total if outcome and outcome.milliseconds else None,
        leaf=opening.place,
        entry=opening.body.decode(),
        proof=opening.proof,
        outcome_leaf=None if closing is None else closing.place,
        outcome=None if closing is None else closing.body.decode(),
        outcome_proof=None if closing is None else closing.proof,
        prompt=prompt,
        answer=answer,
    )


def json_lines(header: Header, pages: Iterable[Sequence[Row]]) -> Iterator[bytes]:
    """Write JSON Lines: the header, a row a line, and how many there were."""
    count = 0
    yield msgspec.json.encode(header) + b"\n"
    for page in pages:
        count += len(page)
        if page:
            yield b"".join([msgspec.json.encode(row) + b"\n" for row in page])
    yield msgspec.json.encode(End(count)) + b"\n"


def check(lines: Iterable[bytes], verifiers: Sequence[Verifier]) -> Checked:
    """Check an export in JSON Lines as a stranger does, with the log's keys alone: every row is in the log.

    That nothing was left out it cannot say: a search decides what is in an export. Raises `LedgerError`, with the line.
    """
    source = enumerate(lines, 1)
    _, first = next(source, (1, b""))
    header = _read(first, 1, Header)
    checkpoint = parse_checkpoint(open_note(header.checkpoint.encode(), verifiers))
    decisions = outcomes = 0
    end: End | None = None
    for number, line in source:
        if end is not None:
            raise LedgerError(f"Line {number}: the export ended above.")
        if line.startswith(b'{"exported"'):
            end = _read(line, number, End)
            continue
        row = _read(line, number, Row)
        try:
            _check_row(row, header, checkpoint)
        except LedgerError as error:
            raise LedgerError(f"Line {number}: {error}") from error
        decisions += 1
        outcomes += row.outcome is not None
    if end is None or end.exported != decisions:
        raise LedgerError("The export is not whole: its last line, with the number of its rows, is missing or differs.")
    return Checked(checkpoint, decisions, outcomes)


def _read(line: bytes, number: int, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerError(f"Line {number} is not what stands in an export: {error}.") from error


def _check_row(row: Row, header: Header, checkpoint: Checkpoint) -> None:
    opening = _proven(row.entry, row.leaf, row.proof, header, checkpoint)
    closing = None
    if row.outcome is not None or row.outcome_proof is not None or row.outcome_leaf is not None:
        closing = _proven(row.outcome or "", row.outcome_leaf or 0, row.outcome_proof or "", header, checkpoint)
    if row_of(opening, closing, prompt=row.prompt, answer=row.answer) != row:
        raise LedgerError("Its entries say something else than the row.")


def _proven(entry: str, leaf: int, proof: str, header: Header, checkpoint: Checkpoint) -> Leaf:
    file = parse_proof(proof)
    if file.note != header.checkpoint:
        raise LedgerError("Its proof leads to another checkpoint than the export's.")
    body = entry.encode()
    if file.index != leaf or not verify_inclusion(
        leaf_hash(body), file.index, checkpoint.size, file.hashes, checkpoint.root
    ):
        raise LedgerError("Its proof does not show that the log holds it: entry, place or proof was altered.")
    return Leaf(body, leaf, proof)
